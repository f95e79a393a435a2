"""Queries of a PACS: what may stand in them, and what of them is shown and stored."""

import pytest

pytest.importorskip("pydicom")

from cxrscore.errors import InputError
from cxrscore.remote import RemotePath
from cxrscore.remote.dicomweb_query import (
    command_without_secrets,
    harmless_query,
    search_filters,
    shown_query,
    with_query,
)

HOST = "dicomweb+https://host/dicom-web/"


def test_keywords_tags_and_attributes_of_sequences_are_conditions():
    where = with_query(
        RemotePath(f"{HOST}?Modality=DX"), ["0008103e=CHEST PA & lat", "RequestAttributesSequence.00400007=x*"]
    )
    assert search_filters(where) == {
        "Modality": "DX",
        "0008103E": "CHEST PA & lat",
        "RequestAttributesSequence.00400007": "x*",
    }
    assert where.query.startswith("Modality=DX&0008103e=CHEST%20PA%20%26%20lat")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("StudyDat=2026", "'StudyDat' in the query is no DICOM keyword: expected one such as StudyDate"),
        ("StudyDate=2026-01-10", "value of StudyDate in the query is not a date or range of dates, expected"),
        ("StudyDate=20260231", "not a date"),
        ("StudyDate=20260131-20260101", "not a date"),
        ("StudyDate=-", "not a date"),
        ("00100030=canary", "value of 00100030 in the query is not a date"),
        ("RequestAttributesSequence.StudyDate=x", "not a date"),
        ("studydate=2026", "did you mean StudyDate"),
        ("limit=3", "limit cannot be in the query"),
        ("includefield=all", "includefield cannot be"),
        ("Modality=DX&Modality=CR", "Modality stands twice"),
        ("Modality=DX&00080060=CR", "00080060 stands twice"),
        ("Modality=", "the value of Modality in the query is empty"),
        ("StudyDate=2026%0A", "control characters"),
        ("Modality", "expected KEY=VALUE"),
        ("canary^name=1", "a key of the query is not valid"),
        ("PatientName=%FF", "expected KEY=VALUE"),
        ("StudyDate=" + "1" * 5000, "characters, expected at most"),
    ],
)
def test_a_query_that_cannot_be_is_an_error_that_repeats_no_value(query, message):
    with pytest.raises(InputError, match=message) as caught:
        search_filters(RemotePath(f"{HOST}?{query}"))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("value", ["20240229", "20260101-", "-20260101", "20260101-20260101"])
def test_dates_and_their_ranges_are_conditions(value):
    assert search_filters(RemotePath(f"{HOST}?StudyDate={value}")) == {"StudyDate": value}


def test_only_a_pacs_takes_conditions():
    with pytest.raises(InputError, match="--query chooses films of a PACS"):
        with_query(RemotePath("s3://bucket/films"), "Modality=DX")
    with pytest.raises(InputError, match="has no '='"):
        with_query(RemotePath(HOST), "canary")


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("Modality=DX&StudyDate=20260101-20260131", "Modality=DX&StudyDate=20260101-20260131"),
        ("PatientName=canary*&PatientID=canary&0020000D=1.2", "PatientName=...&PatientID=...&0020000D=..."),
        ("00080060=DX&00100010=canary", "00080060=DX&00100010=..."),
        ("Modality=canary%5Ename", "Modality=..."),
        ("canary%5Ename=1", "..."),
        ("canary", "..."),
        ("", ""),
    ],
)
def test_values_are_shown_of_a_fixed_list_of_attributes_alone(query, shown):
    assert shown_query(RemotePath(f"{HOST}?{query}")) == shown


def test_a_command_line_is_stored_by_the_same_rule():
    words = ["score", f"{HOST.replace('//', '//me:canary@')}?Modality=DX&PatientID=canary#canary", "--query"]
    words += ["PatientName=canary", "--query=StudyDate=2026", "--query=AccessionNumber=canary", "-o", "a=b.h5"]
    stored = command_without_secrets(words)
    assert stored == [
        *("score", f"{HOST}?Modality=DX&PatientID=...", "--query", "PatientName=...", "--query=StudyDate=2026"),
        *("--query=AccessionNumber=...", "-o", "a=b.h5"),
    ]
    assert command_without_secrets(stored) == stored
    assert command_without_secrets(["https://host/?token=canary"]) == ["https://host/"]


def test_the_query_of_the_provenance():
    assert harmless_query(RemotePath(f"{HOST}?PatientID=7&Modality=DX")) == {"PatientID": "...", "Modality": "DX"}
    assert harmless_query(RemotePath("https://host/?token=7")) == {}
