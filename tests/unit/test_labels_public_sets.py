"""Public data sets: which names of films are theirs, which overlap, and what is said of it."""

import pytest

from cxrscore.errors import InputError
from cxrscore.labels.public_sets import (
    MAX_NAMES,
    PUBLIC_SETS,
    describe_not_held_out,
    films_not_held_out,
    merged_not_held_out,
    public_set_names,
    set_of_film,
)

UID = "02aa804e-bde0afdd-112c0b34-7bc16630-4e384014"
PADCHEST = "216840111366964012819207061112010307142602253_04-014-084.png"
NIH = ["00000013_005.png", "images/00030805_000.PNG", "00000001_000.jpg"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("00000013_005.png", "NIH"),
        ("images_001/images/00030805_000.png", "NIH"),
        ("00000001_000.JPG", "NIH"),
        ("20250101_001.png", ""),  # a date
        ("00030806_000.png", ""),  # there are 30,805 patients
        ("00000000_000.png", ""),
        ("00000013_005.dcm", ""),
        ("00000013_0005.png", ""),
        ("0000013_005.png", ""),
        ("a00000013_005.png", ""),
        ("00000013_005.png.png", ""),
        ("patient00001/study1/view1_frontal.jpg", "CheXpert"),
        ("CheXpert-v1.0-small/train/patient64540/study12/view2_lateral.jpg", "CheXpert"),
        (r"train\\patient00001\\study1\\view1_frontal.jpg".replace("\\\\", "\\"), "CheXpert"),
        ("patient1/study1/view1_frontal.jpg", ""),
        ("patient00001/view1_frontal.jpg", ""),
        ("patient00001/study1/view1.jpg", ""),
        ("outpatient00001/study1/view1_frontal.jpg", ""),
        (f"p10/p10000032/s50414267/{UID}.jpg", "MIMIC-CXR"),
        (f"{UID}.dcm", "MIMIC-CXR"),
        ("p10/p10000032/s50414267/0004cfab-14fd-4e49-80ba-63a80b6bddd6.jpg", ""),  # a usual UUID, as RSNA's
        ("p10/p10000032/s50414267/1.jpg", ""),
        (PADCHEST, "PadChest"),
        (f"17/{PADCHEST}", "PadChest"),
        ("20536686640136348236148679891455886468_k6ga29.png", "PadChest"),
        ("216840111366964012819207061112010307142602253.png", ""),
        ("20536686640136348236148679891455886468_1.png", ""),
        ("CheXpert-v1.0/valid/patient64541/study1/view1_frontal.dcm", "CheXpert"),
        ("CXR1_1_IM-0001-3001.png", "OpenI"),
        ("NLMCXR_png/CXR3843_IM-1945-0001-0001.png", "OpenI"),
        ("images_normalized/1_IM-0001-4001.dcm.png", "OpenI"),
        ("1_IM-0001-4001.png", ""),
        ("IM-0001-0001.dcm", ""),  # a usual name of exported films
        ("CXR1.png", ""),
        ("0005e8e3701dfb1dd93d53e2ff537b6e.dicom", "VinDr"),
        ("0005e8e3701dfb1dd93d53e2ff537b6e.png", ""),  # any file named by its MD5 sum
        ("images/id_9f1c-22/Study_1.2.3/Series_4.5.6/image-7.8.9.png", "BRAX"),
        ("Anonymized_DICOMs/id_9f1c-22/Study_1-2/Series_4-5/image-7a-8b.dcm", "BRAX"),
        ("Study_1.2.3/Series_4.5.6/image-7.8.9.png", ""),
        ("image-7.8.9.png", ""),
        ("1.2.276.0.7230010.3.1.4.8323329.1000.1517875164.285000.dcm", ""),
        ("film.png", ""),
        ("", ""),
    ],
)
def test_names_of_films(path, expected):
    assert set_of_film(path) == expected


def found(trained_on, paths=(*NIH, "mine.png"), **table):
    return films_not_held_out(paths, trained_on, **table)


def record(of="NIH", films=3, by="name", trained_on=("NIH",), overlap="same"):
    return {"set": of, "films": films, "recognised_by": by, "trained_on": list(trained_on), "overlap": overlap}


def test_films_of_the_data_sets_of_a_model():
    assert found(["NIH", "PadChest"]) == [record()]
    assert found(["CheXpert", "my own"]) == found([]) == []
    assert found(["NIH", "PadChest"], [*NIH, PADCHEST]) == [
        record(),
        record("PadChest", 1, trained_on=["PadChest"]),
    ]


@pytest.mark.parametrize("part", ["RSNA", "SIIM", "Google"])
def test_parts_of_nih_are_perhaps_the_same_films(part):
    assert found([part]) == [record(trained_on=[part], overlap="part")]
    assert found([part, "NIH"]) == [record()]


@pytest.mark.parametrize(
    ("layout", "trained_on", "expected"),
    [
        ("rsna", "RSNA", record("RSNA", 1, "table", ["RSNA"])),
        ("rsna", "NIH", record("RSNA", 1, "table", ["NIH"])),
        ("siim", "RSNA", record("SIIM", 1, "table", ["RSNA"], "part")),
        ("padchest", "PadChest", record("PadChest", 1, "table", ["PadChest"])),
        ("cxr-lt", "MIMIC-CXR", record("MIMIC-CXR", 1, "table", ["MIMIC-CXR"])),
        ("chexpert-studies", "CheXpert", record("CheXpert", 1, "table", ["CheXpert"])),
        ("chexpert-plus", "CheXpert", record("CheXpert", 1, "table", ["CheXpert"])),
        ("vindr-boxes", "VinDr", None),  # boxes of VinDr-CXR or of VinDr-PCXR
        ("vindr-pcxr", "VinDr-PCXR", record("VinDr-PCXR", 1, "table", ["VinDr-PCXR"])),
        ("openi", "OpenI", record("OpenI", 1, "table", ["OpenI"])),
        ("brax", "BRAX", record("BRAX", 1, "table", ["BRAX"])),
        ("plain", "NIH", None),
        ("siim", "CheXpert", None),
    ],
)
def test_films_by_the_layout_of_their_table(layout, trained_on, expected):
    """Of a film with a usual name, and a row in the table. One without a row is of no data set."""
    given = found([trained_on], ["a.dcm", "b.dcm"], layout=layout, listed=(True, False))
    assert given == ([] if expected is None else [expected])


def test_a_film_is_counted_once_and_by_its_name():
    assert found(["NIH"], [NIH[0], "a.png"], layout="nih", listed=(True, True)) == [
        record(films=1),
        record(films=1, by="table"),
    ]


def test_what_is_said():
    assert describe_not_held_out(record(), 4) == (
        "Figures are not held-out: the model was trained on NIH, and 3 of 4 films have names of NIH films."
    )
    assert describe_not_held_out(record(trained_on=["RSNA", "SIIM"], overlap="part"), 3) == (
        "Figures may not be held-out: the model was trained on RSNA and SIIM, which have films in common with NIH, and "
        "3 of 3 films have names of NIH films."
    )
    assert describe_not_held_out(record("SIIM", 2, "table", ["SIIM"]), 2) == (
        "Figures may not be held-out: the model was trained on SIIM, and 2 of 2 films have a row in a label table of "
        "the layout of SIIM."
    )


def test_partial_files_are_added_up():
    parts = [{"not_held_out": [record(films=3)]}, {}, {"not_held_out": [record(films=2), record("SIIM", 1, "table")]}]
    assert merged_not_held_out(parts) == [record(films=5), record("SIIM", 1, "table")]
    assert merged_not_held_out([{}, {"not_held_out": "odd"}]) == []


def test_names_of_data_sets():
    assert public_set_names(" nih ") == public_set_names(["ChestX-ray14", "NIH"]) == ("NIH",)
    assert public_set_names(["mimic_cxr", "VinDr-CXR", "kaggle", "Clinic  of 2019"]) == (
        *("MIMIC-CXR", "VinDr", "RSNA"),
        "Clinic of 2019",
    )
    assert public_set_names(["CheXpert Plus", "IU X-Ray", "PediCXR", "CXR-LT"]) == (
        *("CheXpert", "OpenI", "VinDr-PCXR", "MIMIC-CXR"),
    )
    assert public_set_names(map(str.lower, PUBLIC_SETS)) == PUBLIC_SETS


@pytest.mark.parametrize("names", [[""], ["a" * 101], [f"set {n}" for n in range(MAX_NAMES + 1)], [3]])
def test_names_that_are_refused(names):
    with pytest.raises(InputError, match="trained_on"):
        public_set_names(names)
