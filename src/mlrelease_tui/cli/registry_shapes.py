"""What registries hold as the JSON of `models` and `versions`."""

from __future__ import annotations

from mlrelease_tui.cli.shapes import Shape, known
from mlrelease_tui.domain.models import Lineage, Model, ModelVersion


def model_shape(model: Model) -> Shape:
    return known(
        id=model.ref.id,
        connection=model.ref.connection,
        name=model.ref.name,
        aliases=dict(model.aliases),
        latest_version=model.latest_version,
        version_count=model.version_count,
        description=model.description,
        tags=dict(model.tags) or None,
        updated_at=model.updated_at,
        observed_at=model.observed_at,
    )


def version_shape(version: ModelVersion) -> Shape:
    shape = known(
        version=version.ref.version,
        readiness=version.readiness,
        readiness_message=version.readiness_message,
        source=version.source,
        digest=version.digest,
        run_id=version.run_id,
        description=version.description,
        tags=dict(version.tags) or None,
        created_at=version.created_at,
        created_by=version.created_by,
        observed_at=version.observed_at,
    )
    shape["aliases"] = list(version.aliases)
    if version.lineage is not None:
        shape["lineage"] = lineage_shape(version.lineage)
    return shape


def lineage_shape(lineage: Lineage) -> Shape:
    shape = known(
        run_id=lineage.run_id,
        run_name=lineage.run_name,
        params=dict(lineage.params),
        metrics=dict(lineage.metrics),
        signature_inputs=lineage.signature_inputs,
        signature_outputs=lineage.signature_outputs,
        user=lineage.user,
        started_at=lineage.started_at,
    )
    shape["datasets"] = [known(name=item.name, digest=item.digest, context=item.context) for item in lineage.datasets]
    return shape
