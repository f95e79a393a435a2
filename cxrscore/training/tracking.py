"""The figures and files of a finished training run in MLflow, on request.

The store is checked before any film is read. The run is logged after the model is written, so that no fault of the
store costs a model. The table of the split, which holds the paths of all films, is never logged.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import math
import os
import re
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import cxrscore
from cxrscore.errors import CxrscoreError, InputError, WriteError
from cxrscore.models.run_folder import HISTORY, LOSS, RECIPE
from cxrscore.remote import is_url, parse_location, without_secrets
from cxrscore.training.model_metadata import recipe_of
from cxrscore.training.options import TrainOptions, TrainResult

INSTALL = 'pip install "cxrscore[mlflow]"'
EXPERIMENT = "cxrscore"
"""Name of the experiment, unless MLFLOW_EXPERIMENT_NAME gives another one."""
RUN_FILES = (RECIPE, HISTORY, LOSS)
"""Files of the run folder that are logged: not split.csv."""
_OF_MODELS = {"mlflow.experimentKind": "custom_model_development"}
"""Tag of an experiment, so that the page of MLflow 3 opens with its runs, not with traces of language models."""
_SETTINGS = {
    "MLFLOW_ALLOW_FILE_STORE": "true",  # MLflow 3 refuses a folder without it
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Environment variables of MLflow while it is in use."""
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4", "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}
"""Those that the user may set; MLflow's own defaults wait for minutes."""
_LOGGERS = ("mlflow", "alembic", "urllib3")
_METRICS, _PARAMETERS = 500, 100
"""Largest numbers of entries in a request; MLflow allows 1000 and 100."""
_LONGEST_VALUE, _LONGEST_NAME = 500, 250
"""Longest value of a parameter and longest name, in characters, that all versions of MLflow take."""
_NOT_OF_A_NAME = re.compile(r"[^A-Za-z0-9_\-. ]")
_STATUS = re.compile(r"\berror code (\d{3})\b|\btoo many (\d{3}) error responses")
_ERROR_CODE = re.compile(r"[A-Z_]{1,60}")
_ON_DISK = ("", "file")
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
"""Schemes of the databases in which MLflow keeps runs, before any "+driver"."""


class Point(NamedTuple):
    """A value of a metric; step: the epoch, or the number of films of a learning curve, else 0."""

    name: str
    value: float
    step: int = 0


@dataclass(frozen=True, kw_only=True)
class Tracker:
    """An MLflow store that answered.

    uri         what MLflow gets; it may contain a password
    experiment  ID of the experiment
    """

    uri: str
    experiment: str

    @property
    def place(self) -> str:
        """The store as messages name it."""
        return _place(self.uri)

    def log(self, options: TrainOptions, members: Sequence[TrainOptions], result: TrainResult) -> tuple[str, str]:
        """Logs a finished run, an ensemble with one run below it for each member.

        Returns
        -------
        tuple of (str, str)
            The ID of the run, and why it is not there or not complete; "" each if there is none.
        """
        started = ""
        try:
            with _mlflow_in_use(_PATIENCE):
                client = _client(self.uri)
                run = self._run(client, options, {})
                started = run.info.run_id
                self._fill(client, run, options, result)
                for own, member in zip(members, result.members, strict=False):
                    below = self._run(client, own, {"mlflow.parentRunId": started})
                    self._fill(client, below, own, member)
                _close(client, started, "FINISHED")
        except Exception as error:  # noqa: BLE001 - whatever MLflow raises, the model is written
            if started:
                with suppress(Exception), _mlflow_in_use({"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}):
                    _close(_client(self.uri), started, "FAILED")
            return started, f"the run is not logged to {self.place}: {_reason(error)}"
        return started, ""

    def _run(self, client: Any, options: TrainOptions, tags: Mapping[str, str]) -> Any:
        own = {
            "mlflow.source.name": "cxrscore train",
            "mlflow.source.type": "LOCAL",
            "cxrscore.version": cxrscore.__version__,
            "cxrscore.backend": options.backend,
            **tags,
        }
        return client.create_run(self.experiment, run_name=options.output.stem, tags=own)

    def _fill(self, client: Any, run: Any, options: TrainOptions, result: TrainResult) -> None:
        """The parameters, metrics, tags and files of one model."""
        entities = importlib.import_module("mlflow.entities")
        now, name = int(time.time() * 1000), run.info.run_id
        parameters = [entities.Param(key, value) for key, value in parameters_of(options).items()]
        tags = [entities.RunTag("cxrscore.has_leakage", str(bool(result.leakage)).lower())]
        metrics = [entities.Metric(point.name, point.value, now, point.step) for point in metrics_of(result)]
        for first in range(0, len(parameters), _PARAMETERS):
            client.log_batch(name, params=parameters[first : first + _PARAMETERS])
        for first in range(0, len(metrics), _METRICS):
            client.log_batch(name, metrics=metrics[first : first + _METRICS])
        client.log_batch(name, tags=tags)
        _check_artifacts(self.uri, run.info.artifact_uri)
        for path in files_of(result):
            client.log_artifact(name, str(path))
        if "mlflow.parentRunId" in run.data.tags:
            _close(client, name, "FINISHED")


def open_tracker(options: TrainOptions) -> Tracker | None:
    """The store of ``options.mlflow``, with its experiment; None if the option is not given.

    Raises
    ------
    InputError
        If MLflow is not installed, or the folder holds other files.
    WriteError
        If the store does not answer, or refuses.
    """
    if options.mlflow is None:
        return None
    uri = _store_uri(options.mlflow, options.films)
    with _mlflow_in_use({**_PATIENCE, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}):
        try:
            client = _client(uri)
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
            found = client.get_experiment_by_name(name)
            if found is None:
                found = client.get_experiment(client.create_experiment(name, tags=_OF_MODELS))
            if found.lifecycle_stage != "active":
                raise InputError("its experiment is deleted: restore it, or name another in MLFLOW_EXPERIMENT_NAME")
            _check_artifacts(uri, found.artifact_location)
        except Exception as error:  # noqa: BLE001 - of whatever MLflow raises, one line
            hint = "Nothing is trained; correct --mlflow, or leave it out."
            raise WriteError(f"cannot use the MLflow store {_place(uri)}: {_reason(error)}. {hint}") from None
    return Tracker(uri=uri, experiment=found.experiment_id)


def parameters_of(options: TrainOptions) -> dict[str, str]:
    """The options that decide the model, and device and workers; none that names a folder or a machine."""
    given = {name: value for name, value in recipe_of(options).items() if value not in (None, "", ())}
    return {name: _shortened(value) for name, value in given.items()}


def _shortened(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


def metrics_of(result: TrainResult) -> list[Point]:
    """The history by epoch, the figures of held-out and test films, and the learning curve by films. Undefined figures
    are left out."""
    found = [
        Point(name, value, int(row["epoch"]))
        for row in result.history
        for name, value in row.items()
        if name != "epoch"
    ]
    found += [Point("best_epoch", result.best_epoch)] if result.history else []
    found += [Point(f"films/{part}", number) for part, number in result.films.items()]
    found += _evaluation(result.evaluation)
    return [point for point in found if point.value is not None and math.isfinite(point.value)]


def _evaluation(evaluated: Mapping[str, Any]) -> Iterator[Point]:
    """The figures of the document's "evaluation"."""
    kind = "cross_validation" if evaluated["on"] == "folds" else "validation"
    names = _metric_names(evaluated["findings"])
    for figure in ("macro_auc", "brier"):
        yield from _interval(f"{kind}/{figure}", evaluated[figure])
    for figure in ("brier_skill", "calibration_error", "spread"):
        yield Point(f"{kind}/{figure}", evaluated[figure])
    for finding, own in evaluated["findings"].items():
        for figure in ("auc", "average_precision", "brier"):
            yield Point(f"{kind}/{figure}_by_finding/{names[finding]}", own[figure]["value"])
    if tested := evaluated["test"]:
        yield from _interval("test/macro_auc", tested["macro_auc"])
        for finding, own in tested["auc"].items():
            yield Point(f"test/auc_by_finding/{names[finding]}", own["value"])
    if curve := evaluated["learning_curve"]:
        for films, area in zip(curve["films"], curve["macro_auc"], strict=True):
            yield Point("learning_curve/macro_auc", area, films)


def _interval(name: str, figure: Mapping[str, Any]) -> Iterator[Point]:
    yield Point(name, figure["value"])
    yield Point(f"{name}_low", figure["low"])
    yield Point(f"{name}_high", figure["high"])


def _metric_names(findings: Sequence[str] | Mapping[str, Any]) -> dict[str, str]:
    """A name for each finding that MLflow takes as part of a metric's name; no two are the same."""
    names: dict[str, str] = {}
    for finding in findings:
        plain = _NOT_OF_A_NAME.sub("_", finding)[: _LONGEST_NAME - 100].strip(" .") or "finding"
        tried = (plain if number == 1 else f"{plain}_{number}" for number in count(1))
        names[finding] = next(name for name in tried if name not in names.values())
    return names


def files_of(result: TrainResult) -> list[Path]:
    """The model file, and those files of the run folder that name no film."""
    return [path for path in (result.output, *(result.run_folder / name for name in RUN_FILES)) if path.is_file()]


def _close(client: Any, run: str, status: str) -> None:
    client.set_terminated(run, status)


def _store_uri(given: str, films: Path) -> str:
    """The URI for MLflow: of a folder always the whole path."""
    place = parse_location(given)
    if isinstance(place, Path):
        folder = place.expanduser().resolve()
        _check_folder(folder, films.resolve())
        return folder.as_uri()
    if place.scheme in ("http", "https"):
        return given
    if place.scheme.partition("+")[0] not in _DATABASES:
        raise InputError(
            f"MLflow has no tracking store {place.scheme}://, expected a folder, the URL of a tracking server (http, "
            f"https), or a database ({', '.join(_DATABASES)})"
        )
    if importlib.util.find_spec("sqlalchemy") is None:
        raise InputError(
            f"an MLflow store {place.scheme}:// needs the whole of MLflow: pip install mlflow. Or give "
            "a folder, or the URL of a tracking server"
        )
    return given


def _check_folder(folder: Path, films: Path) -> None:
    """InputError for a folder that is no store, or one whose pictures the next run would take for films."""
    if folder.is_relative_to(films):
        raise InputError(f"the MLflow store {folder} lies in the folder of the films: choose another folder")
    try:
        held = {path.name for path in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise WriteError(f"cannot use the MLflow store {folder}: {error.strerror}") from error
    if held and ".trash" not in held:
        raise InputError(f"{folder} holds other files, expected a new or empty folder, or a store of MLflow")


def _check_artifacts(uri: str, location: Any) -> None:
    """InputError if a server would let files be written to a path on this machine."""
    scheme = str(location).partition(":")[0].lower() if ":" in str(location) else ""
    if is_url(uri) and uri.lower().startswith("http") and (scheme in _ON_DISK or len(scheme) == 1):
        raise InputError("the server keeps files on its own disk only: start it with --serve-artifacts")


def _client(uri: str) -> Any:
    return importlib.import_module("mlflow.tracking").MlflowClient(tracking_uri=uri)


@contextmanager
def _mlflow_in_use(changeable: Mapping[str, str]) -> Iterator[None]:
    """Imports MLflow without its telemetry; in the block it prints nothing, and environment variables of MLflow have
    the values of _SETTINGS, and those of ``changeable`` where the user set none."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # it stays: MLflow looks at it whenever it is used
    values = {**{name: value for name, value in changeable.items() if name not in os.environ}, **_SETTINGS}
    earlier = {name: os.environ.get(name) for name in values}
    levels: dict[str, int] = {}
    os.environ.update(values)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _import()
            for name in _LOGGERS:
                levels[name] = logging.getLogger(name).level
                logging.getLogger(name).setLevel(logging.CRITICAL + 1)
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for name, value in earlier.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _import() -> None:
    try:
        importlib.import_module("mlflow.tracking")
    except ImportError:
        raise InputError(f"--mlflow needs mlflow-skinny, which is not installed. Install it with: {INSTALL}") from None


def _place(uri: str) -> str:
    place = parse_location(uri)
    return str(place) if isinstance(place, Path) else without_secrets(uri)


def _reason(error: BaseException) -> str:
    """Why MLflow failed, in words of cxrscore: its own messages quote URLs with their passwords."""
    if isinstance(error, CxrscoreError):
        return str(error)
    chain: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None and len(chain) < 10:
        chain.append(seen)
        seen = seen.__cause__ or seen.__context__
    names = {kind.__name__ for one in chain for kind in type(one).__mro__}
    if found := _STATUS.search(str(error)):
        return f"it answered with status {found[1] or found[2]}"
    if names & {"ConnectionRefusedError", "gaierror"}:
        return "there is no such server, or it does not run"
    if names & {"Timeout", "TimeoutError"}:
        return "it did not answer in time"
    if "failed with exception" in str(error):
        return "the connection failed"
    for one in chain:
        if isinstance(one, OSError) and one.strerror:
            return one.strerror
    code = str(getattr(error, "error_code", ""))  # of a server, so it may be any text
    return f"MLflow raised {type(error).__name__}" + (f", {code}" if _ERROR_CODE.fullmatch(code) else "")
