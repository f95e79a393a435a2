"""Every public function and option takes a path as str or os.PathLike, and refuses what is neither."""

import os
from pathlib import Path

import pytest
from made_models import made_model
from made_run import made_file

import cxrscore
from cxrscore.errors import InputError
from cxrscore.export import ExportOptions
from cxrscore.import_checkpoint import ImportOptions
from cxrscore.merge import MergeOptions
from cxrscore.paper import PaperOptions
from cxrscore.quantize import QuantizeOptions
from cxrscore.remote import RemotePath
from cxrscore.scoring import ScoreOptions
from cxrscore.training import TrainOptions
from cxrscore.verify import verify_file


class Place(os.PathLike):
    """A path that is neither str nor pathlib.Path."""

    def __init__(self, path):
        self.path = str(path)

    def __fspath__(self):
        return self.path


FIELDS = [
    (ScoreOptions, {"films": "films", "output": "out.h5", "labels": "labels.csv"}),
    (TrainOptions, {"films": "films", "labels": "l.csv", "split": "s.csv", "output": "m", "recipe": "r.toml"}),
    (MergeOptions, {"partial_files": ("a.h5", "b.h5"), "output": "out.h5"}),
    (ImportOptions, {"file": "net.pt", "output": "m"}),
    (QuantizeOptions, {"model": "m", "films": "films", "output": "n", "labels": "l.csv"}),
    (ExportOptions, {"output": "s.csv", "films": "films", "inputs": ("out.h5",)}),
    (PaperOptions, {"films": "films", "labels": "l.csv", "output": "paper"}),
]


@pytest.mark.parametrize(("options", "given"), FIELDS, ids=[options.__name__ for options, _ in FIELDS])
def test_fields_become_paths(options, given):
    def each(kind):
        return {
            name: tuple(map(kind, value)) if isinstance(value, tuple) else kind(value) for name, value in given.items()
        }

    made = options(**each(str))
    assert made == options(**each(Place)) == options(**each(Path))
    for name, value in each(Path).items():
        assert getattr(made, name) == value
    with pytest.raises(InputError, match=r"of type int, expected a path: str or os\.PathLike"):
        options(**{**given, next(iter(given)): 3})


def test_the_name_of_a_model_is_one_model():
    given = {"films": "films", "output": "out.h5"}
    for model in ("model.safetensors", Path("model.safetensors"), Place("model.safetensors"), ["model.safetensors"]):
        assert ScoreOptions(**given, model=model).models == (Path("model.safetensors"),)
    assert ScoreOptions(**given, model=["a", Path("b")]).models == (Path("a"), Path("b"))
    assert ScoreOptions(**given).models == (Path("model.safetensors"),)


def test_the_name_of_a_part_is_one_part():
    assert MergeOptions(partial_files="a.h5", output="out.h5").partial_files == (Path("a.h5"),)
    assert MergeOptions(partial_files=["s3://bucket/a.h5"], output="out.h5").partial_files == (
        RemotePath("s3://bucket/a.h5"),
    )


def test_a_url_is_refused_where_a_path_is_needed_and_not_repeated():
    with pytest.raises(InputError, match="labels is a URL, expected a path on this machine") as error:
        TrainOptions(labels="https://user:secret@host/labels.csv")
    assert "secret" not in str(error.value)


def test_weights_may_be_a_path():
    assert TrainOptions(weights=Path("net.safetensors")).weights == "net.safetensors"
    assert TrainOptions().weights == "imagenet"


@pytest.mark.parametrize("kind", [str, Path, Place])
def test_files_open_by_any_path(tmp_path, kind):
    scores, model = made_file(tmp_path / "out.h5"), made_model(tmp_path / "m", 1)
    assert len(cxrscore.open_scores(kind(scores)).films.path) == 150
    assert cxrscore.open_named_scores(kind(scores)).name == "out.h5"
    assert cxrscore.describe_file(kind(scores))["file_type"] == "scores"
    assert cxrscore.describe_file(kind(model))["file_type"] == "model"
    found = cxrscore.load_model(kind(model))
    cxrscore.save_model(kind(tmp_path / "again"), found.tensors, found.document)
    assert (tmp_path / "again").read_bytes() == model.read_bytes()
    assert verify_file(kind(model))
    page = cxrscore.report(kind(scores), kind(tmp_path / "page.html"), resamples=0)
    assert page["output"] == str(tmp_path / "page.html")


@pytest.mark.parametrize("function", [cxrscore.load_model, cxrscore.open_scores, cxrscore.describe_file])
def test_what_is_no_path_is_refused(function):
    with pytest.raises(InputError, match="expected a path"):
        function(3)
