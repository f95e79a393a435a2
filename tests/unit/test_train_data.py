"""The films of a run: labels read as asked, official splits, and leaks found by patient, file and picture."""

import shutil

import cv2
import numpy as np
import pytest
from made_models import made_model

from cxrscore import labels as lab
from cxrscore.errors import InputError, LeakError
from cxrscore.labels import match_warnings
from cxrscore.progress import no_progress
from cxrscore.synthetic.phantoms import make_phantoms
from cxrscore.training import TrainOptions
from cxrscore.training.data import read_data


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    make_phantoms(folder, films=24, patients=24, side=96, seed=7)
    return folder / "films"


@pytest.fixture
def films(drawn, tmp_path, monkeypatch):
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / "cache"))
    shutil.copytree(drawn, tmp_path / "films")
    return tmp_path / "films"


def read(films, **options):
    return read_data(TrainOptions(films=films, workers=1, **{"size": 64, "solver": "adam", **options}), no_progress)


def names(films):
    return sorted(path.name for path in films.glob("*.png"))


def split_file(films, **parts):
    """A split of the first films into train, the next four into valid, the rest into test, with changes."""
    known = {name: "train" if i < 14 else "valid" if i < 18 else "test" for i, name in enumerate(names(films))}
    path = films.parent / "split.csv"
    path.write_text("film,split\n" + "".join(f"{name},{part}\n" for name, part in {**known, **parts}.items()))
    return path


def copy_of(films, name, change):
    """Another film, of a patient of its own, with the pixels of this one changed a little."""
    pixels = cv2.imdecode(np.frombuffer((films / name).read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
    (films / "99999999_000.png").write_bytes(cv2.imencode(".png", change(pixels))[1])
    with (films / "labels.csv").open("a") as table:
        table.write("99999999_000.png,No Finding,0,99999,50,F,PA,96,96,0.1,0.1\n")
    return "99999999_000.png"


def brighter(pixels):
    return np.clip(pixels * 1.06 + 4, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [32, 48, 64, 96])
def test_different_patients_are_no_leak_at_any_size(films, size):
    data = read(films, size=size, split=split_file(films))
    assert data.leaks == ()
    assert data.sizes == {"train": 14, "valid": 4, "test": 6}


@pytest.mark.parametrize("size", [32, 96])
def test_one_picture_in_two_parts_ends_it_and_names_both(films, size):
    first = names(films)[0]
    copy = copy_of(films, first, brighter)
    with pytest.raises(LeakError) as caught:
        read(films, size=size, split=split_file(films, **{copy: "test"}))
    assert f"{first} (train) and {copy} (test)" in str(caught.value)
    assert "--allow-leakage" in str(caught.value)
    assert caught.value.exit_code == 4
    assert read(films, size=size, split=split_file(films, **{copy: "train"})).leaks == ()


def test_a_leak_that_is_allowed_is_told(films):
    first = names(films)[0]
    copy = copy_of(films, first, brighter)
    data = read(films, split=split_file(films, **{copy: "valid"}), allow_leakage=True)
    assert data.leaks == (f"{lab.leakage.SAME_PICTURE}: {first} (train) and {copy} (valid)",)
    assert data.sizes["valid"] == 5


def test_an_official_split_without_validation_films_gets_some_of_its_training_films(films):
    lists = names(films)
    (films.parent / "train_val_list.txt").write_text("\n".join(lists[:18]))
    (films.parent / "test_list.txt").write_text("\n".join(lists[18:]))
    data = read(films, split=films.parent / "train_val_list.txt")
    assert data.sizes["test"] == 6
    assert data.sizes["valid"] >= 1
    assert data.sizes["train"] + data.sizes["valid"] == 18
    assert "valid is 0.125 of train by patient" in data.split.rule
    assert [data.paths[row] for row in data.split.test] == lists[18:]


def test_uncertain_findings_count_as_asked(films):
    lines = ["Path,Sex,Age,Frontal/Lateral,AP/PA," + ",".join(lab.chexpert.OBSERVATIONS)]
    values = ["1.0", "0.0", "-1.0", ""]
    for number, name in enumerate(names(films)):
        cells = [values[number % 4]] + ["0.0"] * 13
        lines.append(f"patient{number:05d}/study1/{name},F,50,Frontal,PA,{','.join(cells)}")
        place = films / f"patient{number:05d}" / "study1"
        place.mkdir(parents=True)
        (films / name).rename(place / name)
    (films / "labels.csv").write_text("\n".join(lines) + "\n")
    first = lab.canonical(lab.chexpert.OBSERVATIONS[0])
    for word, label in lab.UNCERTAIN.items():
        data = read(films, uncertain=word)
        column = data.labels[:, data.findings.index(first)]
        np.testing.assert_array_equal(column[2::4], np.full(6, label, np.float32))
        assert column[0::4].tolist() == [1] * 6
    with pytest.raises(InputError, match="uncertain is 'maybe'"):
        read(films, uncertain="maybe")


def test_films_that_a_given_split_leaves_out_are_not_looked_at(films):
    every = names(films)
    lines = [f"{name},{'train' if number < 8 else 'valid'}" for number, name in enumerate(every[:12])]
    (films.parent / "split.csv").write_text("\n".join(["film,split", *lines]) + "\n")
    (films / every[20]).write_bytes(b"not a film")
    copy = copy_of(films, every[20 - 1], brighter)  # of a film that is not used, either
    data = read(films, split=films.parent / "split.csv")
    assert data.paths == tuple(every[:12])
    assert len(data.store.films) == len(data.patients) == len(data.labels) == 12
    assert data.failed == {}
    assert (data.split.train, data.split.valid, data.split.test) == (tuple(range(8)), tuple(range(8, 12)), ())
    whole = read(films, allow_leakage=True)
    assert len(whole.paths) == 25
    assert copy in whole.paths
    assert list(whole.failed) == [every[20]]
    place = whole.paths.index(every[3])
    columns = [whole.findings.index(name) for name in data.findings]  # others have one class only among fewer films
    np.testing.assert_array_equal(whole.labels[place, columns], data.labels[3])


def test_a_linear_probe_takes_the_validation_films_for_training(films):
    data = read(films, split=split_file(films), solver="auto")
    assert data.sizes == {"train": 18, "valid": 0, "test": 6}
    assert data.split.rule.endswith("valid belongs to train, which is cross-validated")
    assert read(films, solver="auto", test=0.5).sizes == {"train": 12, "valid": 0, "test": 12}
    assert read(films, solver="auto", test=0.0).sizes == {"train": 24, "valid": 0, "test": 0}
    assert read(films, test=0.0).sizes == {"train": 21, "valid": 3, "test": 0}


def test_a_finding_of_one_class_is_left_out_and_one_alone_ends_the_run(films):
    table = films / "plain.csv"
    rows = [(name, number % 2, 1) for number, name in enumerate(names(films))]
    table.write_text("film,Edema,Mass\n" + "".join(f"{name},{a},{b}\n" for name, a, b in rows))
    data = read(films, labels=table, solver="auto")
    assert (data.findings, data.excluded_findings) == (("Edema",), ("Mass",))
    assert data.labels.shape == (24, 1)
    table.write_text("film,Mass\n" + "".join(f"{name},{b}\n" for name, _, b in rows))
    with pytest.raises(InputError, match="no finding can be learnt: of Mass no training film is positive or none is"):
        read(films, labels=table, solver="auto")
    table.write_text("film,Edema,Mass\n" + "".join(f"{name},{a},{0.1 + 0.3 * a}\n" for name, a, _ in rows))
    assert read(films, labels=table, solver="auto").excluded_findings == ("Mass",)  # nothing can be judged of it


def test_films_are_made_square_as_those_of_the_weights_were(films, tmp_path):
    path = made_model(tmp_path / "m.safetensors", 0, fit="crop")
    data = read(films, weights=str(path), split=split_file(films))
    assert data.preprocessing.fit == "crop"
    assert read(films, weights="none", split=split_file(films)).preprocessing.fit == "stretch"


def plain_table(films, header, row):
    """Replaces the label table by a generic one; row(number, name) gives the cells after the film."""
    lines = [f"{name},{row(number, name)}" for number, name in enumerate(names(films))]
    (films / "labels.csv").write_text("\n".join([f"film,{header}", *lines]) + "\n")


def test_weights_have_mean_1_over_the_films_of_the_run(films):
    plain_table(films, "Mass,w", lambda number, name: f"{number % 2},{number % 4}")
    data = read(films, weight_column="w")
    assert data.findings == ("Mass",)
    # By hand: 0, 1, 2, 3 in turn over 24 films have the mean 1.5.
    assert data.sample_weights.tolist() == pytest.approx([number % 4 / 1.5 for number in range(24)])
    assert data.labels_file["weight_column"] == "w"
    plain_table(films, "Mass,w", lambda number, name: f"{number % 2},{number % 3}")
    assert read(films, weight_column="w").labels_digest != data.labels_digest
    assert read(films, weight_column="w", findings="Mass").sample_weights is not None


def rename_rows(films, rows, change):
    """Changes the film names in the first rows of the table."""
    header, *lines = (films / "labels.csv").read_text().splitlines()
    lines = [change(line) if number < rows else line for number, line in enumerate(lines)]
    (films / "labels.csv").write_text("\n".join([header, *lines]) + "\n")


@pytest.mark.parametrize(("rows", "warned"), [(0, None), (2, False), (3, True), (12, True)])
def test_rows_that_match_no_film_are_told_and_recorded(films, rows, warned):
    plain_table(films, "Mass", lambda number, name: number % 2)
    rename_rows(films, rows, lambda line: line.replace(".png", ".jpg"))
    data = read(films)
    assert data.labels_file["match"] == {"films": 24, "unmatched_films": rows, "rows": 24, "unmatched_rows": rows}
    told = [note for note in data.notes if "match no film" in note]
    if not rows:
        assert told == []
        return
    assert told[0].startswith("warning: " if warned else "labels.csv: ")
    assert f"{24 - rows} of 24 films have a row, {rows} have none, such as '{names(films)[0]}'; {rows} of 24" in told[0]
    assert len(match_warnings(data.labels_file["match"])) == warned


def test_more_than_half_of_the_rows_without_a_film_end_it_unless_allowed(films):
    plain_table(films, "Mass", lambda number, name: number % 2)
    rename_rows(films, 13, lambda line: line.replace(".png", "_frontal.png"))
    with pytest.raises(
        InputError, match=r"11 of 24 films have a row.*longer than those of the films.*--allow-unmatched"
    ):
        read(films)
    assert len(read(films, allow_unmatched=True).paths) == 11


def test_a_finding_whose_positives_match_no_film_is_named(films):
    plain_table(films, "Mass,Hernia", lambda number, name: f"{number % 2},{int(number < 2)}")
    rename_rows(films, 2, lambda line: f"x{line}")
    data = read(films)
    assert data.notes[2] == "labels.csv: no film with Hernia is left: its 2 positive rows match no film"
    assert data.excluded_findings == ("Hernia",)
    assert data.labels_file["match"]["lost_findings"] == ["Hernia"]


def test_a_table_of_more_films_is_no_warning(films):
    """As that of a whole data set for a part of its films."""
    plain_table(films, "Mass", lambda number, name: number % 2)
    with (films / "labels.csv").open("a") as file:
        file.writelines(f"other{number}.png,0\n" for number in range(500))
    data = read(films)
    assert [note.partition(":")[0] for note in data.notes] == ["labels.csv (layout plain)", "labels.csv"]
    assert match_warnings(data.labels_file["match"]) == ()


def test_the_mean_leaves_out_films_that_are_not_used(films):
    plain_table(films, "Mass,w", lambda number, name: f"{number % 2},{100 if number >= 12 else 2 - number % 2}")
    (films / names(films)[0]).write_bytes(b"not a film")
    lines = [f"{name},{'train' if number < 8 else 'valid'}" for number, name in enumerate(names(films)[:12])]
    (films.parent / "split.csv").write_text("\n".join(["film,split", *lines]) + "\n")
    weights = read(films, weight_column="w", split=films.parent / "split.csv").sample_weights
    # By hand: eleven readable films, six of weight 1 and five of weight 2.
    assert weights[1:].tolist() == pytest.approx([(2 - number % 2) / (16 / 11) for number in range(1, 12)])


@pytest.mark.parametrize("cell", ["", "-0.5", "nan", "inf", "much"])
def test_a_cell_that_is_no_weight_is_named_with_its_film(films, cell):
    third = names(films)[2]
    plain_table(films, "Mass,w", lambda number, name: f"{number % 2},{cell if name == third else 1}")
    with pytest.raises(InputError, match=f"column w has '{cell}' for the film '{third}', expected its weight"):
        read(films, weight_column="w")


def test_weights_of_0_everywhere_train_nothing(films):
    plain_table(films, "Mass,w", lambda number, name: f"{number % 2},0")
    with pytest.raises(InputError, match="the weights of all training films are 0"):
        read(films, weight_column="w")


def test_other_files_of_the_folder_are_told(films):
    (films / "scan.tif").write_bytes(b"II*\0")
    (films / "gone.png").symlink_to(films / "nowhere")
    tables = len(list(films.glob("*.csv")))
    assert read(films).folder_notes == (
        "films may be missing: gone.png could not be read",
        f"{tables + 1} other files: {tables} .csv (not opened); 1 TIFF image (not supported)",
    )


def test_columns_that_may_be_no_findings_are_named(films):
    plain_table(films, "Mass,opinion,fold", lambda number, name: f"{number % 2},{number % 3 // 2},{number % 4 // 3}")
    data = read(films)
    assert data.findings == ("Mass", "opinion")
    table = "labels.csv (layout plain): film = film; patient = names of the films; "
    assert data.notes == (
        f"{table}findings = Mass, opinion; attributes: fold",
        "columns of the label table taken for findings: opinion. Name the findings with --finding to leave others out",
    )
    chosen = read(films, findings="Mass,fold")
    assert chosen.findings == ("Mass", "fold")
    assert chosen.notes == (f"{table}findings = Mass, fold; attributes: opinion",)
    plain_table(films, "Mass,Edema,opinion", lambda number, name: f"{number % 2},{number % 3 // 2},{number % 4 // 3}")
    assert read(films).notes[1:] == (
        "columns of 0 and 1 that are not trained: opinion; to train them as findings, use --finding all,opinion",
    )


def test_soft_labels_are_counted_and_kept(films):
    plain_table(films, "Mass", lambda number, name: ["0", "1", "0.25"][number % 3])
    data = read(films)
    assert data.labels[:3, 0].tolist() == [0, 1, 0.25]
    assert data.notes[-1].startswith("8 labels are soft, between 0 and 1")


def test_findings_of_one_class_are_left_out_or_refused(films):
    plain_table(films, "Mass,Edema", lambda number, name: f"{number % 2},{'1' if number % 3 else ''}")
    data = read(films)
    assert (data.findings, data.excluded_findings) == (("Mass",), ("Edema",))
    with pytest.raises(InputError, match=r"of Edema no training film is positive .*--blank negative"):
        read(films, findings="Edema")
    assert read(films, findings="Edema", blank="negative").excluded_findings == ()


def test_only_films_with_a_row_are_negative_where_blank(films):
    plain_table(films, "Mass,Edema", lambda number, name: f"{number % 2},{'1' if number % 3 else ''}")
    lines = (films / "labels.csv").read_text().splitlines()
    (films / "labels.csv").write_text("\n".join(lines[:-2]) + "\n")
    data = read(films, blank="Edema=negative")
    assert len(data.paths) == 22
    assert data.labels[:3, 1].tolist() == [0, 1, 1]
    assert data.labels_file["blank"] == "Edema=negative"
