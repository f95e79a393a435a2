"""A finished run in MLflow: what is logged and what is not, and stores that fail."""

import json
import logging
import os
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

import cxrscore
from cxrscore.cli import main
from cxrscore.errors import InputError, TrackingWarning, WriteError
from cxrscore.models.model_file import load_model
from cxrscore.models.run_folder import save_run
from cxrscore.synthetic.phantoms import make_phantoms
from cxrscore.training import TrainOptions, TrainResult, tracking
from cxrscore.training.features.distributed import _OF_THE_DRIVER
from cxrscore.training.tracking import Tracker, metrics_of, open_tracker, parameters_of

SECRET = "canary-password"


def figure(value):
    return {"value": value, "low": None if value is None else value - 0.125, "high": 1.0}


def evaluation(**changed):
    own = {"auc": figure(0.75), "average_precision": figure(0.5), "brier": figure(0.25)}
    return {
        "on": "folds",
        "macro_auc": figure(0.75),
        "brier": figure(0.25),
        "brier_skill": 0.125,
        "calibration_error": 0.0625,
        "spread": None,
        "findings": {"Mass": own, "Mass (large)": own, "Mass [large]": {**own, "auc": figure(None)}},
        "test": {"macro_auc": figure(0.5), "auc": {"Mass": figure(0.5)}},
        "learning_curve": {"films": [8, 16], "macro_auc": [0.5, None]},
        **changed,
    }


def result(output=Path("model.safetensors"), **changed):
    history = [{"epoch": 1, "train_loss": 0.5, "valid_loss": float("nan")}, {"epoch": 2, "train_loss": 0.25}]
    given = {
        "output": output,
        "run_folder": output.with_suffix(".run"),
        "films": {"train": 40, "valid": 0, "test": 10},
        "failed": (),
        "leakage": (),
        "best_epoch": 2,
        "history": history,
        "evaluated_on": "folds",
        "macro_auc": 0.75,
        "test_auc": 0.5,
        "evaluation": evaluation(),
    }
    return TrainResult(**{**given, **changed})


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A model file and a run folder as of a run with epochs; the test starts in their folder."""
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "model.safetensors"
    model.write_bytes(b"tensors")
    save_run(
        model, [{"epoch": 1, "train_loss": 0.5, "valid_loss": 0.5}], 1, "film,split\nJane Doe.png,train\n", "a = 1\n"
    )
    return result(model)


def test_the_metrics_by_hand():
    found = {(point.name, point.step): point.value for point in metrics_of(result())}
    assert found["train_loss", 1] == 0.5
    assert found["train_loss", 2] == 0.25
    assert ("valid_loss", 1) not in found  # undefined
    assert found["best_epoch", 0] == 2
    assert found["films/train", 0] == 40
    assert found["cross_validation/macro_auc_low", 0] == 0.625
    assert found["cross_validation/auc_by_finding/Mass _large_", 0] == 0.75
    assert ("cross_validation/auc_by_finding/Mass _large__2", 0) not in found
    assert found["cross_validation/brier_by_finding/Mass _large__2", 0] == 0.25
    assert found["test/auc_by_finding/Mass", 0] == 0.5
    assert found["learning_curve/macro_auc", 8] == 0.5
    assert ("learning_curve/macro_auc", 16) not in found
    assert ("cross_validation/spread", 0) not in found
    other = metrics_of(result(history=[], evaluation=evaluation(on="valid", test=None, learning_curve=None)))
    assert {point.name.partition("/")[0] for point in other} == {"films", "validation"}


def test_parameters_name_no_folder():
    found = parameters_of(
        TrainOptions(
            films="/ward/films", labels="/ward/labels.csv", weights="/ward/base.h5", split="/ward/parts.csv",
            output="/ward/model.safetensors", epochs=7, findings=["x" * 600], mlflow="/ward/store", address="host",
        )
    )  # fmt: skip
    assert (found["epochs"], found["weights"], found["split"]) == ("7", "base.h5", "parts.csv")
    assert not any("ward" in value for value in found.values())
    assert "mlflow" in _OF_THE_DRIVER  # what worker processes get
    assert found.keys().isdisjoint({"mlflow", "address", "output", "labels", "films"})
    assert len(found["findings"]) == 500


def test_the_option_is_a_folder_or_a_uri(tmp_path):
    assert TrainOptions(mlflow=tmp_path).mlflow == str(tmp_path)
    for value in (3, "", b"x"):
        with pytest.raises(InputError, match="expected a folder or the URI of a tracking server"):
            TrainOptions(mlflow=value)
    with pytest.raises(InputError, match="has a \\? or #") as raised:
        TrainOptions(mlflow=f"https://host/?token={SECRET}")
    assert SECRET not in str(raised.value)
    assert SECRET not in repr(TrainOptions(mlflow=f"https://user:{SECRET}@host"))


def test_without_the_option_nothing_is_imported(monkeypatch):
    monkeypatch.setattr(tracking.importlib, "import_module", None)
    assert open_tracker(TrainOptions()) is None


def test_folders_that_are_no_store_are_refused(tmp_path):
    films = tmp_path / "films"
    films.mkdir()
    with pytest.raises(InputError, match="lies in the folder of the films"):
        open_tracker(TrainOptions(films=films, mlflow=films / "store"))
    with pytest.raises(InputError, match="holds other files, expected a new or empty folder"):
        open_tracker(TrainOptions(films=films, mlflow=tmp_path))


@pytest.mark.parametrize("uri", ["s3://bucket/runs", "ftp://host/runs", "databricks-uc://profile"])
def test_a_scheme_without_a_store_is_named_with_those_that_have_one(uri):
    with pytest.raises(InputError, match=r"no tracking store .*://, expected a folder, .*sqlite, postgresql") as raised:
        open_tracker(TrainOptions(mlflow=uri))
    assert "pip install" not in str(raised.value)


def test_an_absent_package_is_named_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    with pytest.raises(InputError, match=r'not installed. Install it with: pip install "cxrscore\[mlflow\]"'):
        open_tracker(TrainOptions(films=tmp_path / "films", mlflow=tmp_path / "store"))
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="sqlite:// needs the whole of MLflow: pip install mlflow"):
        open_tracker(TrainOptions(mlflow="sqlite:///store.db"))


@pytest.mark.slow
def test_a_folder_gets_everything_but_the_split(run, tmp_path, monkeypatch, capfd):
    from mlflow.tracking import MlflowClient

    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    level = logging.getLogger("mlflow").level
    options = TrainOptions(films=tmp_path / "films", epochs=2, mlflow="store")
    tracker = open_tracker(options)
    name, error = tracker.log(options, [options], run)
    assert (error, tracker.place) == ("", str(tmp_path / "store"))
    assert capfd.readouterr() == ("", "")
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert "MLFLOW_ALLOW_FILE_STORE" not in os.environ
    assert logging.getLogger("mlflow").level == level

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = MlflowClient(tracking_uri=(tmp_path / "store").as_uri())
    kept = client.get_run(name)
    assert (kept.info.status, kept.info.run_name) == ("FINISHED", "model")
    kind = client.get_experiment(tracker.experiment).tags["mlflow.experimentKind"]
    assert kind == "custom_model_development"
    assert kept.data.params["epochs"] == "2"
    assert kept.data.metrics["test/macro_auc"] == 0.5
    assert kept.data.tags["cxrscore.has_leakage"] == "false"
    assert [(one.step, one.value) for one in client.get_metric_history(name, "train_loss")] == [(1, 0.5), (2, 0.25)]
    assert {one.path for one in client.list_artifacts(name)} == {
        "model.safetensors", "recipe.toml", "history.csv", "loss.png",
    }  # fmt: skip
    everything = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert not any(b"Jane Doe" in path.read_bytes() for path in everything)
    assert open_tracker(options).experiment == tracker.experiment  # a second run joins it
    client.delete_experiment(tracker.experiment)
    with pytest.raises(WriteError, match="its experiment is deleted: restore it"):
        open_tracker(options)


@pytest.mark.slow
def test_each_member_of_an_ensemble_has_a_run_below(run, tmp_path, monkeypatch):
    from mlflow.tracking import MlflowClient

    options = TrainOptions(films=tmp_path / "films", mlflow=tmp_path / "store")
    tracker = open_tracker(options)
    name, error = tracker.log(options, [options, options], result(run.output, members=(run, run), history=[]))
    assert error == ""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    found = MlflowClient(tracking_uri=(tmp_path / "store").as_uri()).search_runs([tracker.experiment])
    assert {one.info.status for one in found} == {"FINISHED"}
    assert sorted(one.data.tags.get("mlflow.parentRunId", "") for one in found) == ["", name, name]


@contextmanager
def tracking_server(answers):
    """A tracking server that answers with status and JSON by the end of a path, else with 503; it yields its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            found = (answer for end, answer in answers.items() if self.path.partition("?")[0].endswith(end))
            status, body = next(found, (503, {}))
            data = json.dumps(body).encode() if status == 200 else b"<html>no</html>"
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def experiment(location):
    own = {"experiment_id": "7", "name": "cxrscore", "lifecycle_stage": "active", "artifact_location": location}
    return {"get-by-name": (200, {"experiment": own})}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({}, "it answered with status 503"),
        ({"get-by-name": (401, {})}, "it answered with status 401"),
        (experiment("/srv/mlruns"), "the server keeps files on its own disk only"),
        (experiment("file:///srv/mlruns"), "the server keeps files on its own disk only"),
    ],
    ids=["busy", "refused", "its disk", "its disk as a URL"],
)
def test_a_server_that_is_of_no_use_ends_before_the_training(answers, reason, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(tracking, "_PATIENCE", {})
    with tracking_server(answers) as port, pytest.raises(WriteError) as raised:
        open_tracker(TrainOptions(mlflow=f"http://user:{SECRET}@127.0.0.1:{port}"))
    assert str(raised.value).startswith(f"cannot use the MLflow store http://127.0.0.1:{port}: {reason}")
    assert SECRET not in str(raised.value)
    assert raised.value.__suppress_context__


@pytest.mark.slow
def test_a_server_that_fails_at_the_end_is_a_line_only(run, monkeypatch, capfd):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    created = {"run": {"info": {"run_id": "r1", "run_uuid": "r1", "artifact_uri": "/srv"}, "data": {}}}
    answers = {**experiment("mlflow-artifacts:/7"), "runs/create": (200, created), "log-batch": (200, {})}
    with tracking_server(answers) as port:
        options = TrainOptions(mlflow=f"http://user:{SECRET}@127.0.0.1:{port}")
        tracker = open_tracker(options)
        name, error = tracker.log(options, [options], run)
        assert name == "r1"
        assert error.startswith(f"the run is not logged to http://127.0.0.1:{port}: the server keeps files on its own")
        answers["log-batch"] = (500, {})
        assert tracker.log(options, [options], run)[1].endswith("it answered with status 500")
    name, error = tracker.log(options, [options], run)
    assert (name, error.rpartition(": ")[2]) == ("", "there is no such server, or it does not run")
    assert capfd.readouterr() == ("", "")


SMALL = {"backend": "torch", "device": "cpu", "architecture": "tinycnn", "weights": "none", "size": 64, "epochs": 1}


@pytest.mark.slow
def test_a_model_is_kept_whatever_tracking_does(tmp_path, monkeypatch):
    make_phantoms(tmp_path, films=24, patients=None, side=64, seed=0)
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / "cache"))
    model = tmp_path / "model.safetensors"
    given = {**SMALL, "output": model, "mlflow": tmp_path / "store"}
    with monkeypatch.context() as patch:
        for name in [name for name in sys.modules if name.partition(".")[0] == "mlflow"]:
            patch.delitem(sys.modules, name)
        patch.setitem(sys.modules, "mlflow", None)  # as if it were not installed: any import fails
        cxrscore.train(tmp_path / "films", **{**given, "mlflow": None})
    with monkeypatch.context() as patch:
        patch.setattr("cxrscore.training.open_tracker", lambda options: Tracker(uri="/x", experiment="7"))
        patch.setattr(tracking, "_client", lambda uri: 1 / 0)
        with pytest.warns(TrackingWarning, match="not logged to /x: MLflow raised ZeroDivisionError; .* is written"):
            first = cxrscore.train(tmp_path / "films", **given)
    assert (first.mlflow_run, load_model(model).document["training"]["best_epoch"]) == ("", 1)
    said = []
    later = cxrscore.train(tmp_path / "films", **given, resume=True, log=said.append)
    assert said[-1] == f"logged to MLflow, {tmp_path / 'store'}: run {later.mlflow_run}"
    assert "resuming after epoch 1" in said


def test_the_command_ends_with_74_and_says_how_to_log_later(monkeypatch):
    failed = result(mlflow_error="the run is not logged to /x: no space left")
    monkeypatch.setattr("cxrscore.training.train_model", lambda *given, **named: failed)
    monkeypatch.setattr(sys.modules["cxrscore.cli.train"], "figure_lines", lambda evaluated: ())
    done = CliRunner().invoke(main, ["train", "films", "--backend", "torch", "--quiet", "--mlflow", "/x"])
    assert done.exit_code == 74
    assert done.output == (
        "cxrscore: the run is not logged to /x: no space left. The model is written. Rerun the same command with "
        "--resume to log it: trained epochs and features are kept.\n"
    )
