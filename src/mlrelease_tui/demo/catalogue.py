"""The models of the demo: names, versions, aliases, and how each is built. Reading it imports no scikit-learn.

`diabetes-risk` 3 is the version that hurts users, for two reasons that its offline metrics do not show:

* it was trained *and evaluated* on an extract that left out patients of 60 and over, and its encoder rejects an age band that it
  never saw: a `ValueError` on the 23 % of patients who are that old;
* it averages thousands of trees: some 100 ms of processor time for each answer, against 3 ms for the version before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

STABLE_ALIAS = "champion"
CANARY_ALIAS = "challenger"


@dataclass(frozen=True, slots=True)
class VersionSpec:
    """One version: `estimator` names a builder in `train`, `params` are its arguments, as logged.

    `under_age` keeps only rows of patients younger than that from training and from evaluation; None keeps all.
    """

    estimator: str
    params: Mapping[str, Any]
    description: str
    tags: Mapping[str, str] = field(default_factory=dict)
    under_age: int | None = None


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One registered model. `versions[0]` becomes version 1; `aliases` maps an alias to a version number."""

    name: str
    dataset: str
    description: str
    versions: tuple[VersionSpec, ...]
    aliases: Mapping[str, int]
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def classifies(self) -> bool:
        """Whether the target is a class; otherwise it is a number."""
        return self.dataset != "diabetes"


CATALOGUE: tuple[ModelSpec, ...] = (
    ModelSpec(
        name="iris-classifier",
        dataset="iris",
        description="Names the species of an iris from four measurements.",
        tags={"team": "botany", "tier": "standard"},
        aliases={STABLE_ALIAS: 3},
        versions=(
            VersionSpec("nearest_neighbours", {"n_neighbors": 15}, "Nearest neighbours: the baseline."),
            VersionSpec("logistic", {"C": 1.0}, "Logistic regression on scaled measurements."),
            VersionSpec(
                "discriminant", {"solver": "svd"}, "Linear discriminant analysis.", {"validation_status": "approved"}
            ),
        ),
    ),
    ModelSpec(
        name="wine-cultivar",
        dataset="wine",
        description="Tells which of three cultivars a wine was made from, by its chemical analysis.",
        tags={"team": "cellar", "tier": "standard"},
        aliases={STABLE_ALIAS: 2, CANARY_ALIAS: 3},
        versions=(
            VersionSpec("tree", {"max_depth": 3}, "One shallow tree: the baseline."),
            VersionSpec("logistic", {"C": 0.1}, "Regularised logistic regression.", {"validation_status": "approved"}),
            VersionSpec(
                "support_vectors",
                {"C": 2.0, "kernel": "rbf"},
                "Support vector classifier: fewer confusions between cultivars 0 and 1.",
                {"validation_status": "approved"},
            ),
        ),
    ),
    ModelSpec(
        name="diabetes-risk",
        dataset="diabetes",
        description="Predicts the progression of diabetes one year after a patient's baseline examination.",
        tags={"team": "clinical", "tier": "critical"},
        aliases={STABLE_ALIAS: 2, CANARY_ALIAS: 3},
        versions=(
            VersionSpec("regression_tree", {"max_depth": 3}, "One shallow tree: the baseline."),
            VersionSpec(
                "boosted_trees",
                {"n_estimators": 60, "max_depth": 2, "learning_rate": 0.1},
                "Gradient boosting on shallow trees.",
                {"validation_status": "approved"},
            ),
            VersionSpec(
                "strict_forest",
                {"n_estimators": 3600, "max_leaf_nodes": 24},
                "Large ensemble on the new extract (patients under 60); better error offline.",
                {"validation_status": "approved", "extract": "under-60"},
                under_age=60,
            ),
        ),
    ),
)


def model(name: str) -> ModelSpec:
    """The catalogue's entry of that name; raises `KeyError`."""
    return {spec.name: spec for spec in CATALOGUE}[name]
