"""What an imported file's names and operating points become."""

from pathlib import Path

import numpy as np
import pytest

from cxrscore import import_checkpoint
from cxrscore.errors import InputError
from cxrscore.import_checkpoint import ImportOptions
from cxrscore.models.import_torch import ImportedCheckpoint

NAN = float("nan")


def foreign(outputs=None, points=None, count=3, kind="torchxrayvision"):
    kernel, bias = np.zeros((1024, count), np.float32), np.zeros(count, np.float32)
    told = {"outputs": outputs, "points": points}
    return ImportedCheckpoint(kind=kind, base={}, kernel=kernel, bias=bias, normalize="signed-1024", **told)


def options(*findings):
    return ImportOptions(file=Path("x.pt"), findings=findings)


def test_names_are_made_canonical_and_the_users_come_first():
    theirs = foreign(("Pleural Effusion", "", "Lung_Lesion"))
    assert import_checkpoint._outputs(options(), theirs) == ("Effusion", "", "Lung Lesion")
    assert import_checkpoint._outputs(options("Mass", " Infiltrate ", ""), theirs) == ("Mass", "Infiltration", "")


def test_eighteen_outputs_without_names_are_asked_for_with_the_names_of_all():
    with pytest.raises(InputError, match=r"Give --findings, 18 names .* are Atelectasis,.*,Enlarged Cardiomediastinum"):
        import_checkpoint._outputs(options(), foreign(count=18))


def test_only_chexnets_own_number_of_outputs_has_names_by_itself():
    assert import_checkpoint._outputs(options(), foreign(count=14, kind="chexnet"))[13] == "Hernia"
    for count, kind in ((14, "torchvision"), (15, "chexnet")):
        with pytest.raises(InputError, match="names none of its"):
            import_checkpoint._outputs(options(), foreign(count=count, kind=kind))


def test_operating_points_of_outputs_that_are_kept_and_have_one():
    found = import_checkpoint._thresholds(options(), foreign(points=(0.25, NAN, 0.5)), ("Mass", "Edema", ""))
    assert found == {"Mass": {"prob": 0.25, "rule": "op_threshs of the imported file", "chosen_on": "imported"}}
    assert import_checkpoint._thresholds(options(), foreign(), ("Mass", "Edema", "")) == {}


def test_as_many_operating_points_as_outputs():
    with pytest.raises(InputError, match="3 outputs and 2 operating points"):
        import_checkpoint._thresholds(options(), foreign(points=(0.5, 0.5)), ("Mass", "Edema", ""))
