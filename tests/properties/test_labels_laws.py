"""What must hold for any table, join and split."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cxrscore.contract import LabelTable
from cxrscore.errors import InputError
from cxrscore.labels import (
    FINDINGS,
    THUMBNAIL,
    LabelRules,
    canonical,
    check_leakage,
    datasets,
    draw_valid,
    join_labels,
    near_duplicates,
    read_labels,
    read_split,
    split_by_patient,
    split_csv,
)

NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters='\0\r\n"/\\', exclude_categories=["Cc", "Z"]), min_size=1
)
PATHS = st.sets(st.tuples(st.sampled_from(["", "a/", "a/b/"]), NAMES.map(lambda name: f"{name}.png")), min_size=1).map(
    lambda parts: sorted({name: folder + name for folder, name in sorted(parts)}.values())
)
COHORTS = st.lists(
    st.tuples(st.one_of(st.none(), st.integers(0, 30).map(str)), st.lists(st.booleans(), min_size=3, max_size=3)),
    min_size=1,
    max_size=80,
)


@settings(deadline=None)
@given(st.text())
def test_canonical_is_reached_in_one_step(name: str) -> None:
    assert canonical(canonical(name)) == canonical(name)


@settings(deadline=None)
@given(st.sampled_from(FINDINGS), st.booleans())
def test_case_and_underscores_do_not_matter(finding: str, upper: bool) -> None:
    spelt = finding.replace("_", " ")
    assert canonical(spelt.upper() if upper else spelt.lower()) == finding


@settings(deadline=None)
@given(COHORTS, st.integers(0, 5))
def test_a_split_keeps_patients_together_and_every_film_once(
    cohort: list[tuple[str | None, list[bool]]], seed: int
) -> None:
    patients = [patient for patient, _ in cohort]
    labels = np.array([row for _, row in cohort], np.float32)
    try:
        split = split_by_patient(patients, labels, fractions=(0.6, 0.2, 0.2), seed=seed)
    except InputError as error:
        groups = len({p for p in patients if p is not None}) + patients.count(None)
        assert "too few" in str(error)  # noqa: PT017 the split itself is checked below
        assume(groups < 20)
        return
    assert sorted(split.train + split.valid + split.test) == list(range(len(cohort)))
    check_leakage(split, patients, [""] * len(cohort), [str(row) for row in range(len(cohort))])


@settings(deadline=None)
@given(PATHS, st.randoms(use_true_random=False))
def test_rows_find_their_films_in_any_order(paths: list[str], random: object) -> None:
    order = list(range(len(paths)))
    random.shuffle(order)
    table = LabelTable(
        films=tuple(paths[k] for k in order),
        findings=("Mass",),
        labels=np.array([[k] for k in order], np.float32),
        patients=tuple(str(k) for k in order),
    )
    joined = join_labels(table, paths)
    assert joined.labels.ravel().tolist() == list(range(len(paths)))
    assert joined.patients == tuple(str(k) for k in range(len(paths)))
    assert (joined.unmatched_films, joined.unused_rows) == (0, 0)


@settings(deadline=None)
@given(PATHS, st.data())
def test_a_split_survives_its_file(
    tmp_path_factory: pytest.TempPathFactory, paths: list[str], data: st.DataObject
) -> None:
    split = split_by_patient([None] * len(paths), np.zeros((len(paths), 1)), fractions=(1.0, 0.0, 0.0), seed=0)
    chosen = data.draw(st.lists(st.sampled_from(["train", "valid", "test"]), min_size=len(paths), max_size=len(paths)))
    parts = {name: tuple(k for k, word in enumerate(chosen) if word == name) for name in ("train", "valid", "test")}
    split = type(split)(**parts, rule="drawn")
    file: Path = tmp_path_factory.mktemp("split") / "split.csv"
    file.write_text(split_csv(split, paths), encoding="utf-8")
    back = read_split(file, paths)
    assert (back.train, back.valid, back.test) == (split.train, split.valid, split.test)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(NAMES, st.lists(st.sampled_from(["", "0", "1", "0.0", "1.0"]), min_size=2, max_size=2)), min_size=1
    )
)
def test_a_plain_table_reads_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, list[str]]]
) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([("film", "Mass", "Nodule"), *((name, *cells) for name, cells in rows)])
    file: Path = tmp_path_factory.mktemp("plain") / "labels.csv"
    file.write_text(text.getvalue(), encoding="utf-8")
    table, layout = read_labels(file, datasets)
    assert (layout, table.films) == ("plain", tuple(name for name, _ in rows))
    expected = [[float(cell) if cell else np.nan for cell in cells] for _, cells in rows]
    np.testing.assert_array_equal(table.labels, np.array(expected, np.float32))


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_table_or_an_input_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file: Path = tmp_path_factory.mktemp("bytes") / "labels.csv"
    file.write_bytes(b"film,Mass\n" + data)
    try:
        table, _ = read_labels(file, datasets)
    except InputError as error:
        assert str(file) in str(error)  # noqa: PT017 either way is right
    else:
        assert len(table.films) == len(table.labels)


OBSERVED = "No Finding,Enlarged Cardiomediastinum,Lung Lesion,Pleural Effusion,Support Devices"
STATED = ["", "0.0", "1.0", "-1.0", "1", "-1"]
CELLS = st.lists(st.sampled_from(STATED), min_size=5, max_size=5).map(",".join)
READER = st.tuples(st.sampled_from(["R1", "R2", "R3"]), st.sampled_from(["Nodule/Mass", "No finding", "Mass"]))
KINDS = {
    # For each layout: its header, and what follows the film in a row of it.
    "nih": ("Image Index,Finding Labels", st.sampled_from(["Mass", "No Finding", "Mass|Effusion", ""])),
    "chexpert": (f"Path,{OBSERVED}", CELLS),
    "mimic": (f"study_id,{OBSERVED}", CELLS),
    "chexpert-plus": (f"path_to_image,{OBSERVED}", CELLS),
    "brax": (f"PngPath,{OBSERVED}", CELLS),
    "cxr-lt": ("dicom_id,Hilum,Scoliosis", st.lists(st.sampled_from(STATED), min_size=2, max_size=2).map(",".join)),
    "openi": (
        "filename,uid,projection,Problems",
        st.sampled_from(["1,Frontal,normal", "2,Lateral,Mass;Nodule", "3,Frontal,No Indexing", "4,,"]),
    ),
    "padchest": ("ImageID,Labels", st.sampled_from(["['mass']", "['normal']", "\"['mass', 'nodule']\"", "[]"])),
    "vindr-boxes": (
        "image_id,rad_id,class_name,x_min,y_min,x_max,y_max",
        READER.map(lambda read: f"{read[0]},{read[1]}," + (",,," if read[1] == "No finding" else "1,2,3,4")),
    ),
    "rsna": ("patientId,Target", st.sampled_from(["0", "1"])),
    "siim": ("ImageId,EncodedPixels", st.sampled_from(["-1", "5 3"])),
    "plain": ("film,Mass", st.sampled_from(["0", "1", ""])),
}
SEVERAL = ("vindr-boxes", "rsna", "siim")
"""Layouts with several rows a film."""


def named(layout: str, number: int) -> str:
    film = f"train/patient{number:05}/study1/view1_frontal.jpg"
    forms = {"chexpert": film, "chexpert-plus": film, "mimic": f"5{number:07}"}
    return forms.get(layout, f"{number}.png")


@settings(deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.data())
def test_the_order_of_rows_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, layout: str, data: st.DataObject
) -> None:
    header, cells = KINDS[layout]
    films = data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=12, unique=layout not in SEVERAL))
    rows = [f"{named(layout, film)},{data.draw(cells)}" for film in films]
    file: Path = tmp_path_factory.mktemp("order") / "labels.csv"
    read = []
    for lines in (rows, data.draw(st.permutations(rows))):
        file.write_text("\n".join([header, *lines]), encoding="utf-8")
        table, found = read_labels(file, datasets)
        assert found == layout
        paths = [
            f"below/{name}film.jpg" if name.endswith("/") else f"below/{name}" for name in sorted(set(table.films))
        ]
        read.append((paths, join_labels(table, paths)))
    assert read[0][0] == read[1][0]
    assert read[0][1].findings == read[1][1].findings
    np.testing.assert_array_equal(read[0][1].labels, read[1][1].labels)
    assert read[0][1].unmatched_films == 0


@settings(deadline=None)
@given(st.sampled_from(["chexpert", "chexpert-plus", "brax", "mimic"]), st.lists(CELLS, min_size=1, max_size=6))
def test_uncertain_labels_are_the_only_ones_that_differ(
    tmp_path_factory: pytest.TempPathFactory, layout: str, rows: list[str]
) -> None:
    file: Path = tmp_path_factory.mktemp("uncertain") / "labels.csv"
    lines = [f"{named(layout, film)},{cells}" for film, cells in enumerate(rows)]
    file.write_text("\n".join([KINDS[layout][0], *lines]), encoding="utf-8")
    unknown, positive, negative = (
        read_labels(file, datasets, LabelRules(uncertain=uncertain))[0].labels
        for uncertain in ("unknown", "positive", "negative")
    )
    uncertain = np.array([[cell.startswith("-1") for cell in cells.split(",")] for cells in rows])
    assert (positive[uncertain] == 1).all()
    np.testing.assert_array_equal(positive[~uncertain], negative[~uncertain])
    np.testing.assert_array_equal(positive[~uncertain], unknown[~uncertain])


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=40))
def test_any_cell_is_a_list_of_words_or_an_input_error(tmp_path_factory: pytest.TempPathFactory, cell: str) -> None:
    file: Path = tmp_path_factory.mktemp("cell") / "labels.csv"
    text = io.StringIO()
    csv.writer(text).writerows([("ImageID", "Labels"), ("a.png", cell)])
    file.write_text(text.getvalue(), encoding="utf-8", newline="")
    try:
        table, _ = read_labels(file, datasets)
    except InputError as error:
        assert "column Labels" in str(error)  # noqa: PT017 either way is right
    else:
        assert np.isin(table.labels[~np.isnan(table.labels)], (0, 1)).all()


@settings(deadline=None)
@given(PATHS, st.sampled_from(["", "root/", "a/root/"]), st.sampled_from(["", "data/", "b/data/"]))
def test_roots_of_table_and_folder_do_not_matter(paths: list[str], above: str, below: str) -> None:
    assume(not (above and below))  # either lies below the other
    table = LabelTable(
        films=tuple(above + path for path in paths),
        findings=("Mass",),
        labels=np.arange(len(paths), dtype=np.float32)[:, None],
    )
    joined = join_labels(table, [below + path for path in paths])
    assert joined.labels.ravel().tolist() == list(range(len(paths)))


@settings(deadline=None)
@given(COHORTS, st.integers(0, 5))
def test_a_drawn_validation_part_has_whole_patients(cohort: list[tuple[str | None, list[bool]]], seed: int) -> None:
    patients = [patient for patient, _ in cohort]
    labels = np.array([row for _, row in cohort], np.float32)
    try:
        split = split_by_patient(patients, labels, fractions=(0.7, 0.0, 0.3), seed=seed)
        drawn = draw_valid(split, patients, labels, fraction=0.3, seed=seed)
    except InputError as error:
        assert "too few" in str(error)  # noqa: PT017 the parts themselves are checked below
        return
    assert sorted(drawn.train + drawn.valid) == sorted(split.train)
    assert drawn.test == split.test
    check_leakage(drawn, patients, [""] * len(cohort), [str(row) for row in range(len(cohort))])


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(12)), st.floats(0.8, 1.2), st.integers(-20, 20))
def test_near_duplicates_do_not_depend_on_order_contrast_or_brightness(order: list[int], gain: float, add: int) -> None:
    rng = np.random.default_rng(1)
    coarse = rng.uniform(60, 190, (8, 16, 16))
    films = np.kron(coarse, np.ones((4, 4))) + rng.uniform(-10, 10, (8, THUMBNAIL, THUMBNAIL))
    copies = (films[:4] - 127.5) * gain + 127.5 + add
    thumbnails = np.clip(np.concatenate([films, copies]), 0, 255).round().astype(np.uint8)
    parts = np.array([0] * 8 + [1] * 4)
    pairs = near_duplicates(thumbnails[order], parts[order])
    assert {(order[pair.first], order[pair.second]) for pair in pairs} == {(k, 8 + k) for k in range(4)}
