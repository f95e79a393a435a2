"""`show` of files made by an enemy: one line that names the file, no traceback, nothing of it on the screen."""

import json
from pathlib import Path
from typing import Any

import h5py
import pytest
import test_hostile_h5_scores as h5
import test_hostile_models as models
from click.testing import CliRunner
from made_run import made_file

from cxrscore.cli import main
from cxrscore.models.model_file import model_bytes
from cxrscore.networks.tensors import initial_tensors


def shown(path: Path, *words: str) -> Any:
    return CliRunner().invoke(main, ["show", str(path), *words])


def assert_refused(path: Path, *words: str) -> None:
    result = shown(path, *words)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("cxrscore: ")
    assert result.stderr.count("\n") == 1
    assert path.name in result.stderr
    assert all(letter.isprintable() for letter in result.stderr[:-1])


QUICK = [name for name in models.FILES if "a million" not in name]  # which take seconds, in test_hostile_models, too
NO_FOLDERS = [name for name in models.PLACES if name != "folder"]  # which click refuses by itself


@pytest.mark.parametrize("name", QUICK)
def test_a_hostile_model_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "evil.safetensors"
    path.write_bytes(models.FILES[name])
    assert_refused(path)


@pytest.mark.parametrize("name", ["nothing", "HDF5", "text", "document 900 deep", "no finding"])
@pytest.mark.parametrize("word", ["--model-card", "--model-card-format=chai-xml", "--json"])
def test_it_is_refused_in_every_form(tmp_path: Path, name: str, word: str) -> None:
    path = tmp_path / "evil.safetensors"
    path.write_bytes(models.FILES[name])
    assert_refused(path, word)


@pytest.mark.parametrize("name", NO_FOLDERS)
def test_what_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "evil.safetensors"
    models.PLACES[name](path)
    assert_refused(path)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return made_file(tmp_path_factory.mktemp("honest") / "out.h5").read_bytes()


@pytest.mark.parametrize("attack", h5.ATTACKS, ids=lambda attack: attack.__name__)
def test_hostile_scores_are_refused(tmp_path: Path, honest: bytes, attack: Any) -> None:
    path, canary = tmp_path / "evil.h5", tmp_path / "canary.h5"
    path.write_bytes(honest)
    with h5py.File(canary, "w") as file:
        file["secret"] = [0.25]
    with h5py.File(path, "r+") as file:
        attack(file, canary)
    assert_refused(path)


@pytest.mark.parametrize("words", [(), ("--model-card",), ("--model-card-format=chai-xml",), ("--json",)])
def test_an_honest_model_with_evil_words_is_shown(tmp_path: Path, words: tuple[str, ...]) -> None:
    evil = "\x1b[2J\x07\u202e<script>"
    whole = json.loads(json.dumps(models.WHOLE))
    whole["licence"] = whole["training"]["monitor"] = whole["training"]["labels"]["file"] = evil
    whole["training"]["recipe"][evil] = evil
    path = tmp_path / "evil.safetensors"
    path.write_bytes(model_bytes(json.dumps(whole), initial_tensors(models.SPEC, 0)))
    result = shown(path, *words)
    assert result.exit_code == 0, result.stderr
    assert all(letter.isprintable() or letter == "\n" for letter in result.stdout)
