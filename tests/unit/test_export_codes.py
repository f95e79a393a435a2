"""Codes of findings are those of the DICOM standard, or cxrscore's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrscore.export.codes import LOCAL, finding_code
from cxrscore.labels.findings import FINDINGS

PUBLIC = ("Effusion", "Infiltration", "Mass", "Nodule", "Pneumothorax", "Edema")


@pytest.mark.parametrize("finding", PUBLIC)
def test_a_public_code_stands_in_ps3_16_with_this_meaning(finding):
    concepts = pytest.importorskip("pydicom.sr._concepts_dict").concepts
    code = finding_code(finding)
    listed = [
        (meaning, groups)
        for names in concepts[code.scheme].values()
        for value, (meaning, groups) in names.items()
        if value == code.value
    ]
    assert code.meaning in [meaning for meaning, groups in listed if groups]


def test_the_others_are_of_our_own_scheme():
    assert {finding for finding in FINDINGS if finding_code(finding).scheme != LOCAL} == set(PUBLIC)
    assert finding_code("Pleural_Thickening").as_dict() == {
        "scheme": "99CXRSCORE",
        "value": "PleuralThicken",
        "meaning": "Pleural_Thickening",
    }
    assert finding_code("Lung Opacity").value == "Lung Opacity"


def test_no_two_findings_share_a_code():
    names = [*FINDINGS, "Lung Opacity", "Lung Lesion", "Enlarged Cardiomediastinum", "Enlarged Cardiomediastinal"]
    assert len({(finding_code(name).scheme, finding_code(name).value) for name in names}) == len(names)


@given(st.text(min_size=1))
def test_any_name_has_a_code_that_dicom_can_hold(name):
    code = finding_code(name)
    assert 0 < len(code.value) <= 16
    assert 0 < len(code.meaning) <= 64
    for text in (code.value, code.meaning):
        assert "\\" not in text
        assert text == text.strip()
        assert text.isprintable()
    assert code.value.isascii()
