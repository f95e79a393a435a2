"""Ensemble files: what scores is the members that were trained together, and nothing that a file names otherwise."""

import json
import re

import numpy as np
import pytest
from made_ensemble import LINE, TRAINING, made_document
from made_models import FINDINGS, made_model

from cxrscore.compare_backends import BackendPair, BackendRun, Parity, _worst
from cxrscore.errors import FileFormatError, InputError
from cxrscore.export import OnnxOptions, export_onnx
from cxrscore.import_checkpoint import ImportOptions, import_model
from cxrscore.io import sha256_file
from cxrscore.models.ensemble_file import (
    ensemble_output,
    is_ensemble,
    load_ensemble,
    load_scorers,
    save_ensemble,
)
from cxrscore.models.imagenet import read_weights
from cxrscore.models.model_file import load_model, model_bytes
from cxrscore.scoring import ScoreOptions, score_films
from cxrscore.scoring.run_context import load_models
from cxrscore.show import as_text, describe_file
from cxrscore.verify import verify_file


@pytest.fixture
def home(tmp_path):
    """An ensemble of two models, and a third model."""
    members = [made_model(tmp_path / f"m.{name}.safetensors", seed) for seed, name in enumerate("abc")]
    save_ensemble(tmp_path / "m.safetensors", made_document(*members[:2]))
    return tmp_path


def test_an_ensemble_is_read_as_it_was_written(home):
    ensemble = load_ensemble(home / "m.safetensors")
    first, second = load_scorers(home / "m.safetensors")
    assert (first.path.name, second.path.name) == ("m.a.safetensors", "m.b.safetensors")
    assert first.member_of == second.member_of == ensemble
    assert ensemble.sha256 == sha256_file(home / "m.safetensors")
    assert {key: ensemble.document[key] for key in made_document()} == made_document(first.path, second.path)
    assert is_ensemble(home / "m.safetensors")
    assert not is_ensemble(home / "m.a.safetensors")
    assert not is_ensemble(home / "none")


def test_a_model_file_scores_alone(home):
    (only,) = load_scorers(home / "m.c.safetensors")
    assert only.member_of is None


def test_a_missing_member_is_named_with_its_digest_and_what_to_do(home):
    digest = sha256_file(home / "m.b.safetensors")
    (home / "m.b.safetensors").unlink()
    with pytest.raises(InputError, match=rf"m\.b\.safetensors.*{digest}.*Copy it into"):
        load_scorers(home / "m.safetensors")


def test_a_changed_member_is_named_with_both_digests(home):
    expected = sha256_file(home / "m.b.safetensors")
    (home / "m.c.safetensors").replace(home / "m.b.safetensors")
    found = sha256_file(home / "m.b.safetensors")
    with pytest.raises(InputError, match=rf"m\.b\.safetensors is not the member.*{found}, expected {expected}.*train"):
        load_scorers(home / "m.safetensors")
    failed = [result for result in verify_file(home / "m.safetensors") if result.passed is False]
    assert [result.check for result in failed] == ["member m.b.safetensors"]


def test_an_ensemble_with_other_findings_than_its_members_is_refused(home):
    members = [home / "m.a.safetensors", home / "m.b.safetensors"]
    save_ensemble(home / "m.safetensors", made_document(*members, findings=list(FINDINGS[::-1])))
    with pytest.raises(FileFormatError, match="other findings"):
        load_scorers(home / "m.safetensors")


def test_an_ensemble_is_scored_alone(home):
    named = (home / "m.safetensors", home / "m.c.safetensors")
    with pytest.raises(InputError, match="name it alone"):
        load_models(ScoreOptions(films=home, output=home / "out.h5", model=named))


def test_where_one_network_is_expected_a_member_is_asked_for(home):
    ensemble = home / "m.safetensors"
    calls = [
        lambda: load_model(ensemble),
        lambda: import_model(ImportOptions(file=ensemble, output=home / "new.safetensors")),
        lambda: read_weights(ensemble, "tinycnn"),
        lambda: export_onnx(OnnxOptions(model=ensemble, output=home / "m.onnx")),
    ]
    for call in calls:
        with pytest.raises(InputError, match="Name one of its member files"):
            call()


def test_no_output_of_score_replaces_a_member(home):
    """It is an input as its ensemble file is, though only that file names it."""
    before = (home / "m.b.safetensors").read_bytes()
    for name in ("m.safetensors", "m.b.safetensors"):
        output = {"films": home, "output": home / name, "overwrite": True}
        with pytest.raises(InputError, match=rf"{name} is an input of this command"):
            score_films(ScoreOptions(model=home / "m.safetensors", **output))
    assert (home / "m.b.safetensors").read_bytes() == before


def test_what_train_may_replace(home):
    (home / "other").write_bytes(b"text")
    kind = ensemble_output()
    found = {path.name: kind.recognises(path) for path in (home / "m.safetensors", home / "m.a.safetensors")}
    assert found == {"m.safetensors": True, "m.a.safetensors": True}
    with pytest.raises(FileFormatError):
        kind.recognises(home / "other")


def test_show_says_what_is_in_it(home):
    described = describe_file(home / "m.safetensors")
    assert described["file_type"] == "ensemble"
    assert described["films"] == {"train": 1, "valid": 0}
    text = as_text(described)
    assert "m.a.safetensors, tinycnn" in text
    assert re.search(r"cross-validated macro AUC +0.700", text)
    assert "Probabilities are means over 2 models, as an ensemble calibrated by" in text
    assert "0.250" in text


MEMBER = {"file": "m.a.safetensors", "sha256": "0" * 64, "architecture": "tinycnn"}
OTHER = {**MEMBER, "file": "m.b.safetensors"}
RESCALED = {"method": "op-thresholds", "slope": [1.0, 1.0], "intercept": [0.0, 0.0], "fitted_on": "imported"}


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"members": [MEMBER]}, "members"),
        ({"members": [MEMBER, MEMBER]}, "different files"),
        ({"members": [MEMBER, {**OTHER, "file": "M.A.SAFETENSORS"}]}, "different files"),
        ({"members": [MEMBER, {**OTHER, "file": "m.safetensors"}]}, "none of them this one"),
        ({"members": [{**MEMBER, "file": f"{row}"} for row in range(10_000)]}, "members"),
        ({"members": [MEMBER, {**OTHER, "sha256": "0"}]}, r"members\.1\.sha256"),
        *(
            ({"members": [MEMBER, {**OTHER, "file": name}]}, r"members\.1\.file")
            for name in ("../x", "/x", "a/b", "a\\b", "..", ".", "", "a\0b", "a\nb", "x" * 300, 5)
        ),
        ({"findings": ["Mass", "Mass"]}, "findings"),
        ({"calibration": {**LINE, "slope": [1.0]}}, "slope has 1 values for 2"),
        ({"calibration": {**RESCALED, "half_at": [0.5]}}, "half_at has 1 values for 2"),
        ({"calibration": {**LINE, "slope": "steep"}}, "calibration: slope"),
        ({"calibration": 5}, "calibration"),
        ({"thresholds": {"Mass": {"prob": 2, "rule": "", "chosen_on": "folds"}}}, r"thresholds: Mass\.prob"),
        ({"evaluation": None}, "evaluation"),
        ({"evaluation": {}}, "evaluation"),
        ({"validation": {"score_quantiles": {"Mass": [0.1]}}}, r"score_quantiles\.Mass"),
        ({"training": {**TRAINING, "split": {}}}, r"training\.split"),
        ({"films": {"train": ["x"], "valid": []}}, "hashes"),
        ({"films": None}, "hashes"),
        ({"more": 1}, "more"),
    ],
)
def test_hostile_documents_are_refused_by_name(home, changed, word):
    document = {**made_document(), "members": [MEMBER, OTHER], **changed}
    text = json.dumps({"format": "cxrscore-ensemble", "version": 1, **document})
    (home / "m.safetensors").write_bytes(model_bytes(text, {}))
    with pytest.raises(FileFormatError, match=word):
        load_scorers(home / "m.safetensors")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{"format": "cxrscore-ensemble", "version": 2}', "version 2"),
        ('{"format": "cxrscore-ensemble"', "not JSON"),
        ('["cxrscore-ensemble"]', "not of format"),
        ('{"format": "cxrscore-ensemble", "version": 1, "films": 1e999}', "not JSON"),
    ],
)
def test_what_is_no_document_of_this_version_is_refused(home, text, word):
    (home / "m.safetensors").write_bytes(model_bytes(text, {}))
    with pytest.raises(FileFormatError, match=word):
        load_scorers(home / "m.safetensors")


def test_a_changed_document_is_found_by_its_checksum(home):
    data = (home / "m.safetensors").read_bytes()
    (home / "m.safetensors").write_bytes(data.replace(b"[2.0, 0.5]", b"[3.0, 0.5]"))
    with pytest.raises(FileFormatError, match="changed after it was written"):
        load_scorers(home / "m.safetensors")


def test_an_ensemble_file_holds_no_tensors(home):
    text = json.dumps({"format": "cxrscore-ensemble", "version": 1, **made_document(), "members": [MEMBER, OTHER]})
    (home / "m.safetensors").write_bytes(model_bytes(text, {"a": np.zeros(3, np.float32)}))
    with pytest.raises(FileFormatError, match="checksum"):
        load_scorers(home / "m.safetensors")


def test_parity_of_an_ensemble_is_that_of_its_worst_member():
    def parity(drift, difference, maps):
        run = BackendRun(backend="a", framework="a 1", device="cpu", films=4, max_logit_difference=drift)
        pair = BackendPair(
            backends=("a", "b"),
            max_prob_difference=difference,
            max_logit_difference=difference,
            min_heatmap_correlation=maps,
        )
        return Parity(tolerance=1e-4, runs=[run], pairs=[pair])

    found = _worst([parity(1e-6, 0.2, None), parity(3e-6, 0.1, 0.999)])
    assert found == parity(3e-6, 0.2, 0.999)
    assert np.isnan(_worst([parity(1.0, 0.2, None), parity(np.nan, 0.1, None)]).runs[0].max_logit_difference)
