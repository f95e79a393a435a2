"""JSON of others: what cannot be written, printed or stored again is refused when it is read."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import test_hostile_models as models
from click.testing import CliRunner
from made_run import made_file

from cxrscore.cli import main
from cxrscore.errors import FileFormatError, InputError
from cxrscore.io.hdf5 import reader
from cxrscore.io.strict_json import check_unicode, parse_json
from cxrscore.labels import datasets, read_joined_labels
from cxrscore.models.model_file import checksum, load_model, model_bytes, save_model
from cxrscore.networks.tensors import initial_tensors
from cxrscore.scorefile import open_scores, read_file_provenance
from cxrscore.scoring import ScoreOptions
from cxrscore.training.checkpoint import load_checkpoint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('"\\ud800"', r"half of a character \(\\ud800\)"),
        ('{"a": [{"b": "x\\udfff"}]}', r"half of a character \(\\udfff\)"),
        ('{"\\udc00": 1}', r"half of a character \(\\udc00\)"),
        ("[" * 100_000, "nested too deep"),
        ("[" * 100 + "]" * 100, ""),
        ("NaN", "JSON compliant"),
        ("1e999", "JSON compliant"),
        ("9" * 400, "a number of 400 digits"),
        (b'"\xed\xa0\x80"', "half of a character"),
    ],
)
def test_what_can_not_be_written_again_is_refused(text: str | bytes, words: str) -> None:
    if not words:
        assert parse_json(text)
        return
    with pytest.raises(ValueError, match=words):
        parse_json(text)


def test_whole_characters_are_let_through() -> None:
    assert parse_json('"\\ud83e\\udec1 \\u00e9 \\u0000"') == "\N{LUNGS} \N{LATIN SMALL LETTER E WITH ACUTE} \0"
    check_unicode("\N{LUNGS}")


HALF = "Eff\ud800usion"


def changed(where: str) -> dict[str, Any]:
    whole = json.loads(json.dumps(models.WHOLE))
    if where == "finding":
        whole["spec"]["findings"][0] = HALF
        whole["validation"]["auc"] = dict.fromkeys(whole["spec"]["findings"])
    elif where == "licence":
        whole["licence"] = HALF
    else:
        whole["training"]["recipe"][HALF] = 1
    return whole


@pytest.mark.parametrize("where", ["finding", "licence", "key of the recipe"])
@pytest.mark.parametrize(
    "command", ["show X", "show X --model-card", "show X --json", "score films -m X -o out.h5", "verify X"]
)
def test_a_model_with_half_of_a_character_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.png").write_bytes(b"x")
    data = model_bytes(json.dumps(changed(where)), initial_tensors(models.SPEC, 0))
    (tmp_path / "odd.safetensors").write_bytes(data)
    result = CliRunner().invoke(main, command.replace("X", "odd.safetensors").split())
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == (5 if command.startswith("verify") else 1)
    told = result.output if command.startswith("verify") else result.stderr
    assert told.count("\n") == 1
    assert "odd.safetensors: its cxrscore document is not JSON that can be used: a text in it has half of a" in told
    with pytest.raises(FileFormatError, match="half of a character"):
        load_model(tmp_path / "odd.safetensors")


def test_a_model_that_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="half of a character"):
        save_model(tmp_path / "m.safetensors", initial_tensors(models.SPEC, 0), changed("licence"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["provenance", "inputs"])
@pytest.mark.parametrize(
    ("text", "words"), [('{"a": "\\ud800"}', "half of a character"), ('{"a":' * 50_000, "nested too deep")]
)
def test_an_attribute_of_a_scores_file_is_refused(tmp_path: Path, name: str, text: str, words: str) -> None:
    path = made_file(tmp_path / "out.h5")
    with h5py.File(path, "r+") as file:
        for part in [key for key in file.attrs if key.startswith(name)]:
            del file.attrs[part]
        for number, start in enumerate(range(0, len(text), 60_000)):
            piece = text[start : start + 60_000].encode()
            file.attrs.create(f"{name}+{number}" if number else name, np.bytes_(piece), dtype=f"S{len(piece)}")
    with pytest.raises(FileFormatError, match=rf"attribute {name} is not JSON that can be used: .*{words}"):
        (open_scores if name == "provenance" else read_file_provenance)(path)


def test_a_text_in_many_pieces_is_added_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    added: list[int] = []
    monkeypatch.setattr(reader, "sum", lambda values: added.append(len(list(values))) or 0, raising=False)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for number in range(300):
            file.attrs.create(f"text+{number}" if number else "text", np.bytes_(b"x"), dtype="S1")
    with reader.open_guarded(tmp_path / "a.h5") as opened:
        assert reader.read_text(opened, "text") == "x" * 300
        with pytest.raises(FileFormatError, match="longer than 100 bytes"):
            reader.read_text(opened, "text", longest=100)
    assert sum(added) == 0


def test_a_checkpoint_that_is_nested_deeply_is_refused(tmp_path: Path) -> None:
    import safetensors.numpy

    text, tensors = "[" * 100_000, {"a": np.zeros(1, np.float32)}
    told = {"cxrscore-checkpoint": text, "cxrscore-sha256": checksum(text, tensors)}
    data = safetensors.numpy.save(tensors, metadata=told)
    (tmp_path / "checkpoint.safetensors").write_bytes(data)
    with pytest.raises(FileFormatError, match="nested too deep"):
        load_checkpoint(tmp_path, {})


BYTES = "n\udcff"
"""A name on disk that is not UTF-8, as Python keeps it."""


@pytest.mark.parametrize(
    "command",
    [
        *("score X -o out.h5", "score films -m X -o out.h5", "score films -o X", "score films -o out.h5 --labels X"),
        *("train X", "train films --recipe X", "train films -o X", "show X", "verify X", "verify out.h5 --films X"),
        *(
            "report X",
            "report out.h5 -o X",
            "report out.h5 --groups X",
            "report out.h5 --finding X",
            "export X -o o.csv",
        ),
        *("export out.h5 -o X", "merge X -o all.h5", "merge out.h5 -o X", "import X", "import m.pth --findings X"),
        *("quantize X films -o q.safetensors", "check dataset:plain --table X", "demo X", "paper X", "X"),
    ],
)
def test_an_argument_that_is_not_utf8_is_refused_by_each_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, command.replace("X", BYTES).split())
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == (
        "Error: the argument n[U+DCFF] is not UTF-8. Rename the file or folder, or link to it."
    )
    assert not list(tmp_path.iterdir())


def test_so_is_one_that_comes_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXRSCORE_SCORE_LABELS", BYTES)
    result = CliRunner().invoke(main, ["score", str(tmp_path), "-o", str(tmp_path / "out.h5")])
    assert result.exit_code == 2
    assert "Error: the CXRSCORE_SCORE_LABELS n[U+DCFF] is not UTF-8." in result.stderr


def test_names_that_are_not_utf8_are_written_out_in_what_is_stored(tmp_path: Path) -> None:
    table = tmp_path / f"{BYTES}.csv"
    table.write_text("film,Mass\na.png,1\n")
    _, told = read_joined_labels(table, datasets, ["a.png"])
    assert told["file"] == "n\\udcff.csv"
    options = ScoreOptions(films=tmp_path, output=tmp_path / "out.h5", model=(tmp_path,), command=("score", BYTES))
    assert options.command == ("score", "n\\udcff")


def test_labels_are_texts_that_utf8_holds(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(b"film,Ma\xed\xa0\x80ss\na.png,1\n")  # half of a character, as if UTF-8 could hold it
    with pytest.raises(InputError, match="is not UTF-8 at byte 7"):
        read_joined_labels(path, datasets, ["a.png"])
