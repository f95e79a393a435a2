"""verify: a sound file passes every claim; each kind of tampering fails its own."""

import json
import os
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from made_model import document

from cxrscore.contract import ModelSpec
from cxrscore.errors import InputError
from cxrscore.models.model_file import load_model, save_model
from cxrscore.networks import reference as numpy_reference
from cxrscore.networks.tensors import initial_tensors
from cxrscore.scorefile.columns import LIBVER, write_column
from cxrscore.scorefile.layout import LAYOUT
from cxrscore.scoring import ScoreOptions, score_films
from cxrscore.synthetic.phantoms import golden_films
from cxrscore.verify import as_dicts, verify_file

SPEC = ModelSpec(architecture="tinycnn", findings=("Mass", "Edema"), size=32)


def golden(tensors):
    logits = numpy_reference.logits(SPEC, tensors, golden_films(32, 2))
    return {"films": 2, "logits": logits.tolist(), "error": 1e-6, "tolerance": 1e-4}


def scored(folder, output, films, private):
    options = {"output": output, "films": films, "anonymize_paths": private, "model": folder / "model.safetensors"}
    return score_films(ScoreOptions(backend="torch", device="cpu", **options)).output


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """films/, model.safetensors, out.h5, and private.h5 scored without paths; one film is broken."""
    folder = tmp_path_factory.mktemp("verify")
    (folder / "films").mkdir()
    rng = np.random.default_rng(0)
    for number in range(5):
        cv2.imwrite(str(folder / "films" / f"{number}.png"), rng.integers(0, 256, (40, 40), dtype=np.uint8))
    (folder / "films" / "broken.png").write_bytes(b"not a film")
    tensors = initial_tensors(SPEC, 0)
    save_model(folder / "model.safetensors", tensors, document(SPEC, golden=golden(tensors)))
    for name, private in (("out.h5", False), ("private.h5", True)):
        scored(folder, folder / name, folder / "films", private)
    return folder


def failed(verdicts):
    return {verdict.check for verdict in verdicts if verdict.passed is False}


def open_ends(verdicts):
    return {verdict.check for verdict in verdicts if verdict.passed is None}


def test_a_sound_scores_file(home):
    found = verify_file(home / "out.h5")
    assert not failed(found)
    assert open_ends(found) == {"model", "bytes of the films"}
    found = verify_file(home / "out.h5", films=home / "films", model=home / "model.safetensors")
    assert not failed(found)
    assert not open_ends(found)
    json.dumps(as_dicts(found), allow_nan=False)


def test_a_file_without_paths_is_held_to_its_films_all_the_same(home, tmp_path):
    found = verify_file(home / "private.h5", films=home / "films")
    assert not failed(found)
    assert "list of films" in open_ends(found)
    (tmp_path / "0.png").write_bytes((home / "films" / "0.png").read_bytes())
    assert failed(verify_file(home / "private.h5", films=tmp_path)) == {"bytes of the films"}


def test_a_sound_model(home):
    found = verify_file(home / "model.safetensors")
    assert [verdict.passed for verdict in found] == [True, True, True]


@pytest.fixture
def copy(home, tmp_path):
    path = tmp_path / "copy.h5"
    path.write_bytes((home / "out.h5").read_bytes())
    return path


def change(path, name, index, value):
    with h5py.File(path, "r+") as file:
        file[name][index] = value


@pytest.mark.parametrize(
    ("name", "index", "value", "claim"),
    [
        ("scores/prob", (0, 0), 0.123, "scores"),
        ("scores/logit", (1, 1), np.nan, "scores"),
        ("scores/prob", (5, 0), 0.5, "scores"),  # the broken film is the last of the six
        ("films/status", 0, 0, "every film has a row"),
        ("films/path", 0, b"x.png", "list of films"),
    ],
)
def test_a_changed_value_fails_its_claim(copy, name, index, value, claim):
    change(copy, name, index, value)
    assert claim in failed(verify_file(copy))


def swap(path, name, one, other):
    with h5py.File(path, "r+") as file:
        file[name][[one, other]] = file[name][[one, other]][::-1]


def test_findings_that_were_swapped_fail(copy):
    swap(copy, "labels", 0, 1)
    assert failed(verify_file(copy)) == {"list of findings"}


def test_a_film_that_was_taken_out_fails_where_there_are_no_paths_too(home, tmp_path):
    with h5py.File(home / "private.h5", "r") as file, h5py.File(tmp_path / "less.h5", "w", libver=LIBVER) as less:
        for name, value in file.attrs.items():
            less.attrs[name] = value
        for column in LAYOUT:
            values = file[column.path][()]
            on_films = column.axes[0] == "film"
            write_column(less, column, values[:-1] if on_films else values)
        for column in ("cam/film", "thumbnails/film"):
            less[column][...] = np.minimum(less[column][...], 4)
    assert failed(verify_file(tmp_path / "less.h5")) == {"list of films"}


def provenance_with(path, **document):
    with h5py.File(path, "r+") as file:
        told = json.loads(file.attrs["provenance"])
        told["models"][0]["document"] |= document
        file.attrs["provenance"] = np.bytes_(json.dumps(told))


LINE = {"method": "platt", "slope": [1, 1], "intercept": [0, 0], "fitted_on": "valid"}
HALF = {"method": "op-thresholds", "slope": [1, 1], "intercept": [0, 0], "fitted_on": "imported", "half_at": [0.5, 0.5]}


@pytest.mark.parametrize(
    "document",
    [
        {"calibration": "abc"},
        {"calibration": LINE | {"slope": "ab"}},
        {"calibration": LINE | {"slope": ["1", "1"]}},
        {"calibration": LINE | {"slope": [1, 1, 1]}},
        {"calibration": LINE | {"intercept": [1e300, 0]}},
        {"calibration": {"slope": [1, 1]}},
        {"calibration": LINE | {"half_at": [0.5, 0.1]}},
        {"calibration": HALF | {"slope": [1, 2]}},
        {"calibration": HALF | {"half_at": [0.5]}},
        {"calibration": HALF | {"half_at": [0.5, 1]}},
        {"spec": {"activation": "step"}},
        {"spec": {"activation": ["sigmoid"]}},
    ],
)
def test_a_provenance_that_nothing_follows_from_is_a_verdict(copy, document):
    provenance_with(copy, **document)
    found = verify_file(copy)
    assert failed(found) == {"provenance"}
    assert "scores" in open_ends(found)


def test_a_calibration_is_followed(copy):
    provenance_with(copy, calibration=LINE)
    assert not failed(verify_file(copy))
    provenance_with(copy, calibration=LINE | {"slope": [2, 1]})
    assert failed(verify_file(copy)) == {"scores"}
    provenance_with(copy, calibration=HALF)
    assert not failed(verify_file(copy))
    provenance_with(copy, calibration=HALF | {"half_at": [0.5, 0.1]})
    assert failed(verify_file(copy)) == {"scores"}


def test_a_provenance_against_its_schema_is_a_verdict(copy):
    with h5py.File(copy, "r+") as file:
        file.attrs["provenance"] = np.bytes_(json.dumps({**json.loads(file.attrs["provenance"]), "warnings": "none"}))
    assert failed(verify_file(copy)) == {"provenance"}


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": -Infinity}', '{"a": 1e999}', '{"a": 1' + 400 * "0" + "}"])
@pytest.mark.parametrize("name", ["inputs", "provenance"])
def test_what_json_does_not_have_is_a_verdict(copy, name, text):
    with h5py.File(copy, "r+") as file:
        file.attrs[name] = np.bytes_(text)
    (verdict,) = verify_file(copy)
    assert (verdict.check, verdict.passed) == ("format, schema and checksums", False)
    assert f"attribute {name} is not JSON" in verdict.message


def test_changed_inputs_fail_the_fingerprint(copy):
    with h5py.File(copy, "r+") as file:
        file.attrs["inputs"] = np.bytes_(json.dumps({**json.loads(file.attrs["inputs"]), "batch_size": 9}))
    assert failed(verify_file(copy)) == {"fingerprint"}


def test_a_changed_byte_fails_the_checksums(copy):
    with h5py.File(copy, "r") as file:
        offset = file["scores/prob"].id.get_chunk_info(0).byte_offset
    data = bytearray(copy.read_bytes())
    data[offset + 3] ^= 1
    copy.write_bytes(bytes(data))
    assert failed(verify_file(copy)) == {"format, schema and checksums"}


def test_changed_missing_and_new_films_are_told(home, tmp_path):
    for path in (home / "films").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "0.png").unlink()
    (tmp_path / "1.png").write_bytes((home / "films" / "2.png").read_bytes())
    (tmp_path / "new.png").write_bytes(b"")
    (verdict,) = [v for v in verify_file(home / "out.h5", films=tmp_path) if v.passed is False]
    assert verdict.message == (
        "1 are gone, such as 0.png; 1 have changed, such as 1.png; 1 were not scored, such as new.png"
    )


def test_films_without_a_digest_are_not_compared(home, tmp_path):
    """Not even where films go by their digests. Nor is what cannot be read taken for a film that was added."""
    (tmp_path / "films").mkdir()
    for path in (home / "films").iterdir():
        (tmp_path / "films" / path.name).write_bytes(path.read_bytes())
    with (tmp_path / "films" / "endless.png").open("wb") as file:
        file.truncate(1 << 33)  # of no byte on the disk
    for private in (False, True):
        out = scored(home, tmp_path / f"{private}.h5", tmp_path / "films", private)
        found = verify_file(out, films=tmp_path / "films")
        assert not failed(found)
        assert found[-1].message.startswith("6 as they were scored; 1 not compared")
        (tmp_path / "films" / "twin.png").write_bytes((home / "films" / "0.png").read_bytes())
        assert "1 were not scored, such as" in verify_file(out, films=tmp_path / "films")[-1].message
        (tmp_path / "films" / "twin.png").unlink()


def test_one_of_two_films_alike_is_missed(home, tmp_path):
    (tmp_path / "films").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "films" / name).write_bytes((home / "films" / "0.png").read_bytes())
    out = scored(home, tmp_path / "out.h5", tmp_path / "films", True)
    assert not failed(verify_file(out, films=tmp_path / "films"))
    (tmp_path / "films" / "b.png").unlink()
    assert verify_file(out, films=tmp_path / "films")[-1].message.startswith("1 are gone, such as ")


def test_another_model_is_told(home, tmp_path):
    tensors = initial_tensors(SPEC, 1)
    save_model(tmp_path / "other", tensors, document(SPEC, golden=golden(tensors)))
    assert failed(verify_file(home / "out.h5", model=tmp_path / "other")) == {"model"}


def test_a_model_whose_tensors_were_changed_fails(home, tmp_path):
    model = load_model(home / "model.safetensors")
    tensors = {**model.tensors, "head/bias": model.tensors["head/bias"] + np.float32(1e-3)}
    save_model(tmp_path / "m", tensors, model.document)
    assert failed(verify_file(tmp_path / "m")) == {"logits of the synthetic films"}
    save_model(tmp_path / "n", {**tensors, "head/bias": np.full(2, np.nan, np.float32)}, model.document)
    assert failed(verify_file(tmp_path / "n")) == {"tensors"}


def test_what_is_no_file_of_ours(tmp_path):
    (tmp_path / "x").write_bytes(b"hello")
    assert failed(verify_file(tmp_path / "x")) == {"format, schema and checksums"}
    with pytest.raises(InputError, match="there is no file"):
        verify_file(tmp_path / "none")


def test_a_file_that_cannot_be_opened_is_told(home, tmp_path):
    with pytest.raises(InputError, match=r"cannot read the model .*no\.safetensors"):
        verify_file(home / "out.h5", model=tmp_path / "no.safetensors")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told(home, tmp_path):
    (tmp_path / "x").touch(mode=0)
    with pytest.raises(InputError, match=r"cannot read .*Permission"):
        verify_file(tmp_path / "x")
    with pytest.raises(InputError, match=r"cannot read the model .*Permission"):
        verify_file(home / "out.h5", model=tmp_path / "x")
