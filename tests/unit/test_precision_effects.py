"""When a precision may be used: the effect that the model file states, its bound, and the machine."""

import numpy as np
import pytest
from made_effects import BOUND, EFFECT, QUANTIZATION
from made_models import made_model

from cxrscore.errors import FileFormatError, InputError
from cxrscore.models.model_file import load_model
from cxrscore.models.precision_effects import Machine, PrecisionBound, describe_effect, record_effects, why_not_auto

MACHINE = Machine(backend="openvino", device="cpu", native=("int8", "bf16", "fp32"))


def document(**changed):
    return {"precision_effects": {"bf16": {**EFFECT, **changed}}, "precision_bound": BOUND}


def test_an_effect_at_its_bound_is_accepted():
    assert why_not_auto(document(), "bf16", MACHINE) == ""
    assert why_not_auto(document(macro_auc_before=None, macro_auc_after=None), "bf16", MACHINE) == ""
    assert why_not_auto(document(macro_auc_after=0.9), "bf16", MACHINE) == ""


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"max_difference": 0.0201}, "probabilities move by up to 0.0201, more than the bound 0.02"),
        ({"macro_auc_after": 0.797}, "the macro AUC falls by 0.0030, more than the bound 0.002"),
        ({"backend": "torch"}, "its effect was measured with backend torch, not with openvino"),
        ({"device": "cuda"}, "its effect was measured on cuda, not on cpu"),
        ({"native": ["fp32"]}, "its effect was measured on a machine without native bf16 and int8"),
    ],
)
def test_why_it_is_not_used(changed, reason):
    assert reason in why_not_auto(document(**changed), "bf16", MACHINE)


def test_without_an_effect_the_command_is_named():
    for given in ({}, document()):
        assert "`cxrscore quantize MODEL FILMS -o NEW_MODEL` measures it" in why_not_auto(given, "int8", MACHINE)


def test_a_machine_with_fewer_native_precisions_may_use_it():
    """Such as one with 8-bit dot products and no bf16: layers that are not rounded are then exact."""
    assert why_not_auto(document(), "bf16", Machine(backend="openvino", device="cpu", native=("bf16", "fp32"))) == ""


def test_an_effect_in_words():
    moved = "on 300 films, probabilities differ from fp32 by at most 0.02 (bound 0.02)"
    assert describe_effect(EFFECT, BOUND) == (f"{moved}, the macro AUC of 133 films changes by -0.0020 (bound -0.002)")
    unknown = {**EFFECT, "macro_auc_before": None, "macro_auc_after": None}
    assert describe_effect(unknown, BOUND) == f"{moved}; the effect on the AUC is unknown"


def test_effects_that_are_recorded_replace_those_of_the_same_precision():
    old = {**document(), "precision_bound": {"max_difference": 1, "max_auc_loss": 1}}
    added = {name: EFFECT[name] for name in EFFECT if name not in ("backend", "framework", "device", "native")}
    found = record_effects(old, {"int8": added}, MACHINE, "openvino 2026.4.1", PrecisionBound())
    assert found == {"precision_effects": {"bf16": EFFECT, "int8": EFFECT}, "precision_bound": BOUND}


@pytest.mark.parametrize("value", [-0.001, 1.001, np.nan, "0.1", True, None])
def test_a_bound_that_is_none(value):
    with pytest.raises(InputError, match=r"max_auc_loss is .*, expected a number from 0 to 1"):
        PrecisionBound(max_auc_loss=value)


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"precision_effects": {"bf16": EFFECT}}, "precision_effects and precision_bound together"),
        ({"precision_bound": BOUND}, "precision_effects and precision_bound together"),
        ({**document(), "precision_bound": {**BOUND, "max_difference": 2}}, "precision_bound.max_difference"),
        ({**document(), "precision_bound": {"max_difference": 0.1}}, '"max_auc_loss" is a required property'),
        ({**document(), "precision_effects": {"int8": EFFECT}}, "no quantization with ranges for int8"),
        ({**document(), "precision_effects": {"fp16": EFFECT}}, "'fp16' was unexpected"),
        (document(max_difference=-0.1), "precision_effects.bf16.max_difference"),
        (document(films=0), "precision_effects.bf16.films"),
        (document(native=["fp64"]), "precision_effects.bf16.native.0"),
        (document(macro_auc_after=None), "has one macro AUC, expected two or none"),
        (document(mean_difference=0.03), "has a mean difference above the largest one"),
    ],
)
def test_a_document_with_other_values_is_refused(tmp_path, entries, reason):
    with pytest.raises(FileFormatError) as refusal:
        made_model(tmp_path / "m", 0, **entries)
    assert reason in str(refusal.value)


def test_a_document_with_effects_is_read(tmp_path):
    entries = {**document(), "quantization": QUANTIZATION}
    entries["precision_effects"]["int8"] = EFFECT
    found = load_model(made_model(tmp_path / "m", 0, **entries)).document
    assert {name: found[name] for name in entries} == entries


def test_the_auc_may_be_of_more_films_than_the_differences(tmp_path):
    """Differences are those of films outside the calibration; the AUC is that of all labelled films."""
    made_model(tmp_path / "m", 0, **document(labelled_films=301))
    (effect,) = load_model(tmp_path / "m").document["precision_effects"].values()
    assert effect["labelled_films"] == 301
