"""Which DICOM objects are chest films: body parts in the words of hospitals, and objects without pixels."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pydicom")
from corpus_bytes import chest, dicom

from cxrscore.images import Status, decode_film
from cxrscore.images.dicom_selection import is_other_part, kind_by_attributes
from cxrscore.remote.bounds import DicomAttributes

CLASSES = "1.2.840.10008.5.1.4.1.1."


@pytest.mark.parametrize(
    "text",
    [
        *("KNEE", "KNEES", "Knee_Left", "LKNEE", "RT KNEE", "BOTHKNEES", "KNEE2V", "knee^ap", "LEFT-HAND", "HANDS"),
        *("LOW_EXM", "UP_EXM", "LOWEREXTREMITY", "EXTREMITIES", "HIPS", "FEET", "TOES", "WRISTS", "SINUSES", "KUB"),
        *("ABDOMEN", "ABDOMEN_PELVIS", "C-SPINE", "LSPINE", "TSPINE", "THORACIC SPINE", "SKULL", "SHOULDERS"),
        *("KNIE", "HÜFTE", "HUEFTE RECHTS", "SCHÄDEL", "FUß", "FUSS", "HÄNDE", "Becken", "BWS", "Brustwirbelsäule"),
        *("GENOU DROIT", "GENOUX", "MAINS", "CRÂNE", "BASSIN", "PIEDS", "ÉPAULE", "RACHIS THORACIQUE", "HANCHES"),
        *("RODILLA", "MANO IZQUIERDA", "CADERAS", "CRÁNEO", "COLUMNA TORACICA", "MUÑECA", "PIE", "TOBILLO", "CODOS"),
        *("JOELHOS", "MÃO", "CRÂNIO", "COLUNA LOMBAR", "BACIA", "OMBRO", "TORNOZELO", "QUADRIL"),
        *("LOWER LIMB", "UPPERLIMBS", "TIBFIB", "TLSPINE", "BEINE", "Extremität", "MEMBRES", "EXTREMIDADES", "HANDEN"),
        *("GINOCCHIO", "MANI", "CRANIO", "BACINO", "PIEDE", "SPALLE", "CAVIGLIA", "ANCA", "ADDOME"),
    ],
)
def test_other_body_parts(text: str) -> None:
    assert is_other_part(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "CHEST",
            "CHESTS",
            "chest",
            "CHEST_TO_ABDOMEN",
            "ABDOMEN CHEST",
            "THORAX",
            "HEMITHORAX",
            "Thorax/Abdomen",
        ),
        *("TORAX", "TÓRAX", "TORACE", "POUMONS", "POLMONI", "PULMON", "LUNGE", "Brustkorb", "RIBS LEFT", "LRIBS"),
        *("CHEST SPINE", "THORACIC", "HEART", "COSTILLAS", "PECHO"),
        *("UNKNOWN", "CHARM", "WHOLEBODY", "BABYGRAM", "TRUNK", "PORTABLE", "X", "1234", "LEGACY", "HANDLE", "HIPPO"),
    ],
)
def test_the_chest_and_words_that_nobody_knows(text: str) -> None:
    assert not is_other_part(text)


@pytest.mark.parametrize(
    "elements",
    [
        {"Modality": "SR", "SOPClassUID": f"{CLASSES}88.33"},
        {"Modality": "KO", "SOPClassUID": f"{CLASSES}88.59"},
        {"Modality": "PR", "SOPClassUID": f"{CLASSES}11.1"},
        {"Modality": "DX", "SOPClassUID": f"{CLASSES}11.1"},  # written with the modality of its film
        {"Modality": "", "SOPClassUID": f"{CLASSES}88.11"},
        {"Modality": "DOC", "SOPClassUID": f"{CLASSES}104.1"},
        {"Modality": "RTPLAN", "SOPClassUID": f"{CLASSES}481.5"},
        {"Modality": "ECG", "SOPClassUID": f"{CLASSES}9.1.1"},
        {"Modality": "REG", "SOPClassUID": f"{CLASSES}66.1"},
        {"Modality": "PR", "SOPClassUID": "1.2.3.4"},  # a private class
        {"Modality": "", "SOPClassUID": "1.2.840.10008.1.3.10"},  # DICOMDIR
        {"Modality": "DX", "SOPClassUID": "1.2.3.4"},
    ],
)
def test_objects_without_pixels_are_no_films(elements: dict[str, str]) -> None:
    data = dicom(without=["PixelData", "Rows", "Columns"], **elements)
    assert decode_film(data).status == Status.NOT_CHEST
    film = decode_film(data, any_modality=True)
    assert (film.status, "no image" in film.message) == (Status.UNSUPPORTED, True)


@pytest.mark.parametrize("any_modality", [False, True])
def test_an_image_whose_pixels_are_missing_is_damaged(any_modality: bool) -> None:
    for name in ("1", "1.1", "1.1.1"):
        data = dicom(without=["PixelData"], SOPClassUID=f"{CLASSES}{name}")
        film = decode_film(data, any_modality=any_modality)
        assert (film.status, film.message) == (
            Status.DAMAGED,
            "DICOM without pixels: they are missing, or truncated",
        )


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"FloatPixelData": bytes(4 * 96 * 96)}, "Float Pixel Data, expected Pixel Data of 8 or 16 bits"),
        ({"DoubleFloatPixelData": bytes(8 * 96 * 96)}, "Double Float Pixel Data, expected Pixel Data of 8 or 16 bits"),
        ({"PixelDataProviderURL": "https://example.org/secret"}, "its pixels are on a server (JPIP)"),
    ],
)
def test_pixels_of_another_kind_are_unsupported(elements: dict[str, object], message: str) -> None:
    film = decode_film(dicom(without=["PixelData"], **elements))
    assert (film.status, message in film.message, "secret" in film.message) == (Status.UNSUPPORTED, True, False)


def test_a_segmentation_is_no_film() -> None:
    data = dicom(Modality="SEG", SOPClassUID=f"{CLASSES}66.4", BitsAllocated=1, BitsStored=1, HighBit=0)
    assert decode_film(data).status == Status.NOT_CHEST
    film = decode_film(data, any_modality=True)
    assert (film.status, "1 bits stored in 1" in film.message) == (Status.UNSUPPORTED, True)


def test_body_part_counts_only_for_chest_modalities() -> None:
    for text in ("GENOU", "KNEES"):
        assert decode_film(dicom(BodyPartExamined=text)).message == "another body part, expected the chest"
        np.testing.assert_array_equal(decode_film(dicom(BodyPartExamined=text), any_modality=True).pixels, chest())


@pytest.mark.parametrize(
    ("stated", "modality", "kind", "kind_of_any"),
    [
        ({"modality": "DX"}, "DX", "", ""),
        ({}, "", "", ""),
        ({"modality": "CT"}, "CT", "DICOM CT object", ""),
        ({"modality": "SR"}, "SR", "DICOM SR object", "DICOM SR object"),
        ({"sop_class": f"{CLASSES}88.11"}, "", "DICOM non-image object", "DICOM non-image object"),
        ({"sop_class": f"{CLASSES}66.4"}, "SEG", "DICOM segmentation", "DICOM segmentation"),
        ({"sop_class": f"{CLASSES}30"}, "DX", "DICOM parametric map", "DICOM parametric map"),
        ({"manufacturer": "cxrscore", "modality": "DX"}, "DX", "cxrscore result", "cxrscore result"),
        ({"sop_class": f"{CLASSES}7", "manufacturer": "Maker"}, "DX", "", ""),
    ],
)
def test_what_a_pacs_states_tells_what_is_no_film(
    stated: dict[str, str], modality: str, kind: str, kind_of_any: str
) -> None:
    attributes = DicomAttributes(**stated)
    assert kind_by_attributes(attributes, modality, any_modality=False) == kind
    assert kind_by_attributes(attributes, modality, any_modality=True) == kind_of_any
