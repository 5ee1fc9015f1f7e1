"""Train the catalogue's models and register every version in a tracking server, as a team's pipeline would.

Each version is one run with parameters, metrics on held-out rows, its dataset as an input, and a logged model with signature; the
registered version carries description and tags, the model its aliases. Seeds are fixed: a second run gives the same models.
Held-out rows go to files, one a model, for the traffic generator: it need not import a data frame.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import logging
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlrelease_tui.demo.catalogue import CATALOGUE, ModelSpec, VersionSpec
from mlrelease_tui.demo.catalogue import model as model_spec

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]
    from mlflow import MlflowClient

SEED = 1
HELD_OUT = 0.4
TARGET = "target"


@dataclass(frozen=True, slots=True)
class Trained:
    """One registered version: its run, its offline metrics, and the seconds that training and registering took."""

    model: str
    version: str
    run_id: str
    metrics: Mapping[str, float]
    took_s: float


@dataclass(frozen=True, slots=True)
class Split:
    """Training rows and held-out rows, target column included."""

    train: pd.DataFrame
    held_out: pd.DataFrame


def rows_file(folder: Path, model: str) -> Path:
    """Where `train` leaves the held-out rows of `model`: JSON `{"columns": [...], "rows": [[...], ...]}`."""
    return folder / f"{model}.json"


def load(spec: ModelSpec) -> Split:
    """The model's data set, split the same way each time. `age_band` is a feature of `diabetes`: decades, as text."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    if spec.dataset == "diabetes":
        frame = datasets.load_diabetes(as_frame=True, scaled=False).frame
        decade = (frame["age"] // 10 * 10).astype(int)
        frame.insert(0, "age_band", decade.map(lambda years: f"{years}-{years + 9}"))
    else:
        loader = {"iris": datasets.load_iris, "wine": datasets.load_wine}[spec.dataset]
        frame = loader(as_frame=True).frame
    stratify = frame[TARGET] if spec.classifies else None
    train_rows, held_out = train_test_split(frame, test_size=HELD_OUT, random_state=SEED, stratify=stratify)
    return Split(train_rows, held_out)


def build(version: VersionSpec) -> Any:
    """An unfitted scikit-learn estimator for `version`."""
    builders: dict[str, Callable[[Mapping[str, Any]], Any]] = {
        "nearest_neighbours": _nearest_neighbours,
        "logistic": _logistic,
        "discriminant": _discriminant,
        "tree": _tree,
        "support_vectors": _support_vectors,
        "regression_tree": _regression_tree,
        "boosted_trees": _boosted_trees,
        "strict_forest": _strict_forest,
    }
    return builders[version.estimator](version.params)


def _nearest_neighbours(params: Mapping[str, Any]) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(**params)


def _logistic(params: Mapping[str, Any]) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(**params))


def _discriminant(params: Mapping[str, Any]) -> Any:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    return LinearDiscriminantAnalysis(**params)


def _tree(params: Mapping[str, Any]) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(random_state=SEED, **params)


def _support_vectors(params: Mapping[str, Any]) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    return make_pipeline(StandardScaler(), SVC(random_state=SEED, **params))


def _with_age_bands(estimator: Any, *, unseen: str) -> Any:
    """`unseen` is the encoder's answer to an age band that was not in the training rows: "ignore" or "error"."""
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    encode = make_column_transformer((OneHotEncoder(handle_unknown=unseen), ["age_band"]), remainder="passthrough")
    return make_pipeline(encode, estimator)


def _regression_tree(params: Mapping[str, Any]) -> Any:
    from sklearn.tree import DecisionTreeRegressor

    return _with_age_bands(DecisionTreeRegressor(random_state=SEED, **params), unseen="ignore")


def _boosted_trees(params: Mapping[str, Any]) -> Any:
    from sklearn.ensemble import GradientBoostingRegressor

    return _with_age_bands(GradientBoostingRegressor(random_state=SEED, **params), unseen="ignore")


def _strict_forest(params: Mapping[str, Any]) -> Any:
    from sklearn.ensemble import ExtraTreesRegressor

    return _with_age_bands(ExtraTreesRegressor(random_state=SEED, n_jobs=1, **params), unseen="error")


def _measure(spec: ModelSpec, truth: Any, predicted: Any) -> dict[str, float]:
    from sklearn import metrics

    if spec.classifies:
        return {
            "accuracy": float(metrics.accuracy_score(truth, predicted)),
            "f1_macro": float(metrics.f1_score(truth, predicted, average="macro")),
        }
    return {
        "rmse": float(metrics.root_mean_squared_error(truth, predicted)),
        "mae": float(metrics.mean_absolute_error(truth, predicted)),
        "r2": float(metrics.r2_score(truth, predicted)),
    }


def train_version(client: MlflowClient, spec: ModelSpec, number: int, experiment_id: str) -> Trained:
    """Fit version `number` (from 1), log its run and register it. The registry must give it that very number."""
    import mlflow
    from mlflow.data.code_dataset_source import CodeDatasetSource

    started = time.monotonic()
    version = spec.versions[number - 1]
    split = load(spec)
    if version.under_age is not None:
        split = Split(*(rows[rows["age"] < version.under_age] for rows in (split.train, split.held_out)))
    features, target = split.train.drop(columns=TARGET), split.train[TARGET]
    estimator = build(version).fit(features, target)
    predicted = estimator.predict(split.held_out.drop(columns=TARGET))
    metrics = _measure(spec, split.held_out[TARGET], predicted)
    dataset = mlflow.data.from_pandas(
        split.train,
        source=CodeDatasetSource(tags={"loader": f"sklearn.datasets.load_{spec.dataset}"}),
        targets=TARGET,
        name=spec.dataset if version.under_age is None else f"{spec.dataset}-under-{version.under_age}",
    )
    with mlflow.start_run(experiment_id=experiment_id, run_name=f"{spec.name}-{number}") as run:
        mlflow.log_params({"estimator": version.estimator, "seed": SEED, **version.params})
        mlflow.log_input(dataset, context="training")
        logged = mlflow.sklearn.log_model(
            estimator,
            name="model",
            signature=mlflow.models.infer_signature(features, predicted),
            # Given, because finding them out starts another interpreter for every version.
            pip_requirements=[
                f"{name}=={importlib.metadata.version(name)}"
                for name in ("mlflow", "scikit-learn", "pandas", "numpy", "cloudpickle")
            ],
            serialization_format="cloudpickle",
        )
        mlflow.log_metrics(metrics, model_id=logged.model_id, dataset=dataset)
    registered = client.create_model_version(
        spec.name,
        source=f"models:/{logged.model_id}",
        run_id=run.info.run_id,
        model_id=logged.model_id,
        tags=dict(version.tags),
        description=version.description,
    )
    if int(registered.version) != number:
        raise RuntimeError(f"{spec.name}: the registry gave version {registered.version} where {number} was expected")
    return Trained(spec.name, str(number), run.info.run_id, metrics, time.monotonic() - started)


def train(
    tracking_uri: str,
    rows: Path,
    *,
    models: Sequence[ModelSpec] = CATALOGUE,
    on_trained: Callable[[Trained], None] = lambda _: None,
) -> list[Trained]:
    """Train and register every version of `models` in an empty registry; write the held-out rows into folder `rows`.

    Changes the process's MLflow tracking address. Errors are MLflow's own.
    """
    import mlflow
    import mlflow.sklearn

    mlflow.set_tracking_uri(tracking_uri)
    client = mlflow.MlflowClient(tracking_uri)
    rows.mkdir(parents=True, exist_ok=True)
    done: list[Trained] = []
    for spec in models:
        experiment_id = client.create_experiment(spec.name)
        client.create_registered_model(spec.name, tags=dict(spec.tags), description=spec.description)
        for number in range(1, len(spec.versions) + 1):
            done.append(train_version(client, spec, number, experiment_id))
            on_trained(done[-1])
        for alias, number in spec.aliases.items():
            client.set_registered_model_alias(spec.name, alias, str(number))
        held_out = load(spec).held_out.drop(columns=TARGET)
        content = {"columns": list(held_out.columns), "rows": held_out.to_numpy(dtype=object).tolist()}
        rows_file(rows, spec.name).write_text(json.dumps(content), encoding="utf-8")
    return done


def run(argv: Sequence[str]) -> int:
    """Train as `argv` says, one JSON line on standard output for each registered version (fields of `Trained`)."""
    arguments = _parser().parse_args(argv)
    # MLflow warns of pickled models and of integer columns; both are meant, and the lines would drown the progress.
    import mlflow as _configures_logging  # noqa: F401

    warnings.filterwarnings("ignore")
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    train(
        arguments.tracking_uri,
        arguments.rows,
        models=[model_spec(name) for name in arguments.model] or CATALOGUE,
        on_trained=lambda trained: print(json.dumps(asdict(trained)), flush=True),  # noqa: T201
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mlrelease_tui.demo.train")
    parser.add_argument("--tracking-uri", required=True)
    parser.add_argument("--rows", type=Path, required=True, help="folder for the held-out rows")
    parser.add_argument("--model", action="append", default=[], help="only this one; may be given again")
    parser.add_argument("--zygote", type=Path, help="fork from the zygote at this socket")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Train here, or in a fork of `--zygote`."""
    import sys

    given = list(sys.argv[1:] if argv is None else argv)
    zygote: Path | None = _parser().parse_args(given).zygote
    if zygote is None:
        return run(given)
    from mlrelease_tui.demo.standin import delegate

    return delegate(zygote, "mlrelease_tui.demo.train", given)


if __name__ == "__main__":
    raise SystemExit(main())
