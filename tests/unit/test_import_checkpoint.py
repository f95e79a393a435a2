"""What an imported file's names and operating points become."""

from pathlib import Path

import pytest

from cxrscore import import_checkpoint
from cxrscore.errors import InputError
from cxrscore.import_checkpoint import ImportOptions
from cxrscore.labels.findings import FINDINGS
from cxrscore.models.import_weights import ImportedCheckpoint
from cxrscore.networks.builtin import built_in

NAN = float("nan")


def foreign(outputs=None, points=None):
    told = {"outputs": outputs, "points": points, "layer": None, "size": 224}
    network = built_in("densenet121")
    return ImportedCheckpoint(kind="torchxrayvision", network=network, base={}, normalize="signed-1024", **told)


def options(*findings):
    return ImportOptions(file=Path("x.pt"), findings=findings)


def test_names_are_made_canonical_and_the_users_come_first():
    theirs = foreign(("Pleural Effusion", "", "Lung_Lesion"))
    assert import_checkpoint._outputs(options(), theirs, 3) == ("Effusion", "", "Lung Lesion")
    assert import_checkpoint._outputs(options("Mass", " Infiltrate ", ""), theirs, 3) == ("Mass", "Infiltration", "")


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (18, r"Give --findings, 18 names .* torchxrayvision's: --findings xrv18, for --findings 'Atelectasis,.*Cardio"),
        (14, r"NIH ChestX-ray14's: --findings nih14, for --findings 'Atelectasis,Cardiomegaly,.*Hernia'\. If it was"),
        (14, r"CheXpert's: --findings chexpert14, for --findings 'No Finding,Enlarged Cardiomediastinum,.*Devices'\."),
        (15, r"names none of its 15 outputs\. Give --findings, 15 names .* was not trained\.$"),
    ],
)
def test_outputs_without_names_are_never_guessed(count, told):
    with pytest.raises(InputError, match=told):
        import_checkpoint._outputs(options(), foreign(), count)


def test_a_word_for_a_usual_order():
    assert import_checkpoint._outputs(options("nih14"), foreign(), 14) == FINDINGS
    found = import_checkpoint._outputs(options("chexpert14"), foreign(), 14)
    assert found[:2] + found[10:] == (
        *("No Finding", "Enlarged Cardiomediastinum"),
        *("Effusion", "Pleural Other", "Fracture", "Support Devices"),
    )
    assert import_checkpoint._outputs(options("xrv18"), foreign(), 18)[17] == "Enlarged Cardiomediastinum"
    with pytest.raises(InputError, match="has 5 outputs, but 14 names of findings are given"):
        import_checkpoint._outputs(options("nih14"), foreign(), 5)
    with pytest.raises(InputError, match=r"5 outputs, but 'nih' names one .*: nih14, chexpert14, xrv18$"):
        import_checkpoint._outputs(options("nih"), foreign(), 5)
    assert import_checkpoint._outputs(options("odd14"), foreign(), 1) == ("odd14",)


def test_a_backbone_alone_scores_nothing():
    with pytest.raises(InputError, match=r"no head.*`cxrscore train --architecture densenet121 --weights x\.pt`"):
        import_checkpoint._require_head(options(), foreign())


def test_operating_points_of_outputs_that_are_kept_and_have_one():
    found = import_checkpoint._thresholds(options(), foreign(points=(0.25, NAN, 0.5)), ("Mass", "Edema", ""))
    assert found == {"Mass": {"prob": 0.25, "rule": "op_threshs of the imported file", "chosen_on": "imported"}}
    assert import_checkpoint._thresholds(options(), foreign(), ("Mass", "Edema", "")) == {}


def test_as_many_operating_points_as_outputs():
    with pytest.raises(InputError, match="3 outputs and 2 operating points"):
        import_checkpoint._thresholds(options(), foreign(points=(0.5, 0.5)), ("Mass", "Edema", ""))
