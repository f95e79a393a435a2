"""What a reader of label tables returns is checked in one place, whichever command asked for it."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from foreign_plugins import registry
from kit_tables import TABLES

from cxrscore import labels as lab
from cxrscore import plugins
from cxrscore.contract import Dataset, LabelTable
from cxrscore.errors import InputError, PluginError, PluginWarning
from cxrscore.plugin_values import Origin, checked_dataset
from cxrscore.quantize import QuantizeOptions, _truth
from cxrscore.reporting import open_named_scores
from cxrscore.scoring.options import ScoreOptions
from cxrscore.scoring.run_context import RunContext, _labels
from cxrscore.training.data import labelled_films

ORIGIN = Origin(kind="dataset", name="ward", distribution="acme")
FILMS, FINDINGS = ("a.png", "b.png"), ("Mass", "Edema", "Hernia")
LABELS = np.array([[0, 1, np.nan], [1, 0, 0]], np.float32)


def raises(error):
    raise error


def ward(recognises=lambda columns: list(columns) == ["x", "y"], read=None, **changes):
    table = {"films": FILMS, "findings": FINDINGS, "labels": LABELS, **changes}
    return Dataset(name="ward", summary="x, y", recognises=recognises, read=read or (lambda path: LabelTable(**table)))


def read(tmp_path, **changes):
    return checked_dataset(ward(**changes), ORIGIN).read(tmp_path / "l.csv")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": LABELS[:1]}, "labels of shape [1, 3] for 2 films and 3 findings"),
        ({"labels": LABELS[0]}, "labels of shape [3] for 2 films"),
        ({"labels": LABELS.tolist()}, "labels returned a list, expected float [2, 3]"),
        ({"labels": LABELS > 0}, "labels returned bool [2, 3], expected float [2, 3]"),
        ({"labels": LABELS * 2}, "the label 2 of film 'a.png' and finding 'Edema', expected 0 to 1, or NaN"),
        ({"labels": np.where(LABELS == 1, np.inf, LABELS)}, "the label inf"),
        ({"films": ("a.png", "a.png")}, "the film name 'a.png' 2 times"),
        ({"films": ("a.png", "")}, "an empty film name"),
        ({"films": ("a.png", None)}, "film names with None among them"),
        ({"films": "ab"}, "film names that are a str"),
        ({"findings": ("Mass", "Mass", "Edema")}, "the finding name 'Mass' 2 times"),
        ({"findings": ("Mass", "", "Edema")}, "an empty finding name"),
        ({"findings": (), "labels": LABELS[:, :0]}, "no finding"),
        ({"patients": ("P1",)}, "1 patients for 2 films"),
        ({"patients": (1, 2)}, "patients with an int among them"),
        ({"columns": {"sex": ("F",)}}, "1 cells of column 'sex' for 2 films"),
        ({"columns": {3: ("F", "M")}}, "columns that are a dict"),
        ({"columns": None}, "columns that are None"),
        ({"read": lambda path: None}, "read of l.csv returned None, expected a LabelTable"),
        ({"read": lambda path: raises(KeyError("x"))}, "read of l.csv raised KeyError: 'x'"),
        ({"read": lambda path: raises(MemoryError())}, "ran out of memory"),
        ({"read": lambda path: raises(SystemExit(3))}, "raised SystemExit: 3"),
    ],
)
def test_a_fault_is_one_line_with_the_reader_and_what_it_returned(tmp_path, changes, words):
    with pytest.raises(PluginError, match=re.escape(words)) as caught:
        read(tmp_path, **changes)
    assert str(caught.value).startswith("dataset 'ward' (distribution acme): ")
    assert "\n" not in str(caught.value)


def test_what_the_contract_allows_passes(tmp_path):
    found = read(
        tmp_path, labels=LABELS.astype(np.float64), films=list(FILMS), patients=("P1", ""), columns={"sex": ("", "F")}
    )
    np.testing.assert_array_equal(found.labels, LABELS)
    assert (found.labels.dtype, found.films, found.patients) == (np.float32, FILMS, ("P1", ""))
    assert found.columns == {"sex": ("", "F")}


def test_an_error_that_a_reader_raises_on_purpose_passes(tmp_path):
    with pytest.raises(InputError, match=r"^line 3$"):
        read(tmp_path, read=lambda path: raises(InputError("line 3")))


@pytest.mark.parametrize(
    ("recognises", "words"),
    [(lambda columns: columns[9] == "x", "recognises raised IndexError"), (lambda columns: "yes", "returned a str")],
)
def test_a_reader_that_fails_at_a_header_is_left_out_and_named(monkeypatch, tmp_path, recognises, words):
    registry(monkeypatch, datasets=[ward(recognises)])
    table = tmp_path / "labels.csv"
    table.write_text("film,Mass\na.png,1\n")
    with pytest.warns(PluginWarning, match=rf"dataset 'ward' \(distribution acme\): .*{words}.*is skipped"):
        found, layout = lab.read_labels(table, plugins.datasets())
    assert (layout, found.films) == ("plain", ("a.png",))


def test_a_reader_of_others_comes_after_our_layouts_and_before_plain_and_is_named(monkeypatch, tmp_path):
    registry(monkeypatch, datasets=[ward(lambda columns: True, films=("a.png",), labels=LABELS[:1])])
    table = tmp_path / "labels.csv"
    table.write_text(TABLES["chexpert"])
    assert lab.read_labels(table, plugins.datasets())[1] == "chexpert"
    table.write_text("film,Mass\na.png,1\n")
    with pytest.warns(
        PluginWarning, match=r"labels.csv is read by dataset 'ward' \(distribution acme\).*CXRSCORE_PLUGINS"
    ):
        assert lab.read_labels(table, plugins.datasets())[1] == "ward"
    table.write_text("x;y\na.png;1\n")
    assert lab.read_labels(table, plugins.datasets())[1] == "ward"


@pytest.mark.parametrize("name", ["b\ud800", "b\0", "a\x1b[0m", "M" * 201, "M" * 100_000])
def test_the_name_of_a_finding_prints_and_is_short(tmp_path, name):
    with pytest.raises(
        PluginError, match=r"a finding of [\d,]+ characters, .*, expected at most 200 printable ones"
    ) as caught:
        read(tmp_path, findings=("Mass", "Edema", name))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
    own = Origin(kind="dataset", name="plain", distribution="cxrscore", own=True)
    reader = checked_dataset(ward(findings=("Mass", "Edema", name)), own)
    with pytest.raises(InputError, match="at most 200 printable ones"):
        reader.read(tmp_path / "l.csv")


@pytest.mark.parametrize("changes", [{"patients": ("\ud800", "b")}, {"columns": {"sex": ("F", "\0")}}])
def test_texts_of_a_table_can_be_written(tmp_path, changes):
    with pytest.raises(PluginError, match="texts of Unicode without NUL"):
        read(tmp_path, **changes)


def test_our_own_readers_keep_what_is_theirs(monkeypatch, tmp_path):
    registry(monkeypatch)
    table = tmp_path / "labels.csv"
    table.write_text(re.sub(r",[0.]+$", ",-1", TABLES["chexpert"], flags=re.MULTILINE))
    found, layout = lab.read_labels(table, plugins.datasets(), lab.LabelRules(uncertain="positive"))
    wanted = next(reader for reader in lab.datasets if reader.name == layout == "chexpert").read_as(table, 1.0)
    np.testing.assert_array_equal(found.labels, wanted.labels)
    assert not np.array_equal(found.labels, lab.read_labels(table, plugins.datasets())[0].labels, equal_nan=True)


def by_report(folder, table):
    scores = folder / "s.csv"
    scores.write_text("film,prob_Mass\na.png,0.5\n")
    open_named_scores(scores, table)


def by_score(folder, table):
    options = ScoreOptions(films=folder, output=folder / "o.h5", labels=table)
    _labels(options, SimpleNamespace(all_films=lambda: ("a.png",), rows=range(1)), ("Mass",))


def by_train(folder, table):
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    labelled_films(folder, table)


def by_quantize(folder, table):
    options = QuantizeOptions(model=folder, films=folder, output=folder, labels=table)
    _truth(options, SimpleNamespace(spec=SimpleNamespace(findings=("Mass",))), ["a.png"])


@pytest.mark.parametrize("command", [by_report, by_score, by_train, by_quantize])
def test_every_command_that_reads_labels_checks_them(monkeypatch, tmp_path, command):
    registry(monkeypatch, datasets=[ward(labels=LABELS * 2)])
    table = tmp_path / "l.csv"
    table.write_text("x,y\n")
    with pytest.raises(PluginError, match="the label 2 of film"):
        command(tmp_path, table)


def test_a_table_of_other_findings_is_named_with_few_of_them():
    assert lab.other_findings("l.csv", ("Mass", "Bone"), ("Mass",)) == ""
    note = lab.other_findings("l.csv", tuple("abcdef"), ("Mass", "Edema"))
    assert note.startswith(
        "the label table l.csv (a, b, c, d, ...) and the model (Mass, Edema) have no finding in common"
    )


@pytest.mark.parametrize("backend", ["torch", None])
def test_score_says_that_a_table_has_other_findings(monkeypatch, backend):
    monkeypatch.setattr(plugins, "default_note", lambda *_: "")
    job = object.__new__(RunContext)
    vars(job).update(
        options=ScoreOptions(films=Path("films"), output=Path("o.h5"), backend=backend),
        labels=SimpleNamespace(findings=("Bone",)),
        labels_file={"file": "l.csv"},
        files=(SimpleNamespace(spec=SimpleNamespace(findings=("Mass",), architecture="x")),),
        file_list=SimpleNamespace(changes=lambda paths: ("changed",)),
        found=SimpleNamespace(paths=()),
        backend="torch",
    )
    assert job.notes[0] == lab.other_findings("l.csv", ("Bone",), ("Mass",))
    assert job.notes[1:] == ("changed",)


def test_quantize_says_that_a_table_has_other_findings(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("film,Bone\na.png,1\n")
    options = QuantizeOptions(model=tmp_path / "m", films=tmp_path, output=tmp_path / "o", labels=table)
    truth, note = _truth(options, SimpleNamespace(spec=SimpleNamespace(findings=("Mass",))), ["a.png"])
    assert np.isnan(truth).all()
    assert note == (lab.other_findings("labels.csv", ("Bone",), ("Mass",)),)
