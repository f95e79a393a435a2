"""What an imported file's names and thresholds become."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from cxrscore import import_checkpoint
from cxrscore.cli import main
from cxrscore.contract import ModelSpec
from cxrscore.errors import InputError
from cxrscore.import_checkpoint import ImportOptions
from cxrscore.io.strict_json import check_document
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


THREE = ("Mass", "Edema", "")


def thresholds(options, foreign):
    return import_checkpoint._thresholds(options, import_checkpoint._operating_points(options, foreign, THREE))


def rescaling(options, points, activation="sigmoid"):
    spec = ModelSpec(architecture="tinycnn", findings=("Mass", "Edema"), size=32, activation=activation)
    return import_checkpoint._rescaling(options, spec, points)


def test_operating_points_of_outputs_that_are_kept_and_have_one():
    found = thresholds(options(), foreign(points=(0.25, NAN, 0.5)))
    assert found == {"Mass": {"prob": 0.25, "rule": "op_threshs of the imported file", "chosen_on": "imported"}}
    assert thresholds(options(), foreign()) == {}


def test_operating_points_that_are_given_come_first():
    given = replace(options(), operating_points=(NAN, 0.75, 0.5))
    assert thresholds(given, foreign(points=(0.25, NAN, 0.5))) == {
        "Edema": {"prob": 0.75, "rule": "op_threshs that were given", "chosen_on": "imported"}
    }


def test_as_many_operating_points_as_outputs():
    with pytest.raises(InputError, match="3 outputs and 2 thresholds"):
        thresholds(options(), foreign(points=(0.5, 0.5)))


def test_rescaled_operating_points_are_one_half():
    """A finding without a threshold, or with one at an end, is left as it is."""
    asked = replace(options(), rescale_to_thresholds=True)
    assert thresholds(asked, foreign(points=(0.25, 1.0, 0.5))) == {
        "Mass": {"prob": 0.5, "rule": "op_threshs of the imported file, rescaled to 0.5", "chosen_on": "imported"},
        "Edema": {"prob": 1.0, "rule": "op_threshs of the imported file", "chosen_on": "imported"},
    }
    found = rescaling(asked, {"Mass": 0.25, "Edema": 1.0})
    assert found == {
        "method": "op-thresholds",
        "slope": [1, 1],
        "intercept": [0, 0],
        "fitted_on": "imported",
        "half_at": [0.25, 0.5],
    }
    check_document(found, "model", "here", "calibration")
    assert rescaling(options(), {"Mass": 0.25}) is None


def test_what_cannot_be_rescaled():
    asked = replace(options(), rescale_to_thresholds=True)
    with pytest.raises(InputError, match=r"x\.pt has no thresholds .* leave out --rescale-to-thresholds"):
        rescaling(asked, {"Edema": 1.0})
    with pytest.raises(InputError, match="of softmax are not rescaled, expected sigmoid"):
        rescaling(asked, {"Edema": 0.1}, "softmax")


def test_operating_points_on_the_command_line(monkeypatch):
    given = []
    monkeypatch.setattr(import_checkpoint, "import_model", given.append)
    runner = CliRunner()
    runner.invoke(main, ["import", "x.pt", "--operating-points", "0.25,, 1e-3", "--trained-on", "nih,Rsna,a clinic"])
    assert given[0].operating_points == pytest.approx((0.25, NAN, 0.001), nan_ok=True)
    assert (given[0].trained_on, given[0].findings) == (("NIH", "RSNA", "a clinic"), ())
    done = runner.invoke(main, ["import", "x.pt", "--operating-points", "0.25,half"])
    assert (done.exit_code, "--operating-points" in done.stderr, len(given)) == (2, True, 1)
