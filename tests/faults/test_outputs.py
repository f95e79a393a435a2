"""An output never replaces an input or a special file, nor a file of another kind without --overwrite."""

import os
import shutil
import socket
from pathlib import Path

import cv2
import forked
import numpy as np
import pytest
from made_models import made_films, made_model
from made_run import made_run, merge, score

from cxrscore.errors import InputError, WriteError
from cxrscore.io.atomic import atomic_write_bytes
from cxrscore.io.lock import file_lock
from cxrscore.io.outputs import OutputKind, check_output, mark_folder, output_kind_with_marks

LETTER = output_kind_with_marks("a letter", b"Dear")
NOTHING = OutputKind(name="nothing", recognises=lambda path: False)


# --- the rule


def test_a_new_file_may_be_written(tmp_path):
    for path in (tmp_path / "new", tmp_path / "no folder" / "new"):
        assert check_output(path, NOTHING) is None
        assert not path.exists()


def test_an_earlier_output_is_replaced_and_another_file_only_with_overwrite(tmp_path):
    (tmp_path / "mine").write_text("Dear reader")
    (tmp_path / "other").write_text("a thesis")
    check_output(tmp_path / "mine", LETTER)
    with pytest.raises(InputError, match=r"other exists and is not a letter.*--overwrite"):
        check_output(tmp_path / "other", LETTER)
    check_output(tmp_path / "other", LETTER, overwrite=True)


def test_a_kind_that_cannot_be_told_is_not_ours(tmp_path):
    def fails(path):
        raise InputError("damaged")

    (tmp_path / "odd").write_text("x")
    with pytest.raises(InputError, match="exists and is not a thing"):
        check_output(tmp_path / "odd", OutputKind(name="a thing", recognises=fails))


@pytest.mark.parametrize("spelling", ["same", "dots", "link", "hard link", "link to the output", "relative"])
def test_an_input_is_never_replaced(tmp_path, monkeypatch, spelling):
    monkeypatch.chdir(tmp_path)
    target = tmp_path / "letter"
    target.write_text("Dear reader")
    (tmp_path / "folder").mkdir()
    given = {
        "same": target,
        "dots": tmp_path / "folder" / ".." / "letter",
        "link": tmp_path / "link",
        "hard link": tmp_path / "hard",
        "link to the output": target,
        "relative": Path("letter"),
    }[spelling]
    output = target
    if spelling == "link":
        given.symlink_to(target)
    if spelling == "hard link":
        given.hardlink_to(target)
    if spelling == "link to the output":
        output = tmp_path / "output"
        output.symlink_to(target)
    with pytest.raises(InputError, match="is an input of this command"):
        check_output(output, LETTER, inputs=[None, tmp_path / "gone", given], overwrite=True)


def test_only_a_regular_file_is_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loose").symlink_to(tmp_path / "nowhere")
    (tmp_path / "null").symlink_to("/dev/null")
    (tmp_path / "file").write_text("Dear reader")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with socket.socket(socket.AF_UNIX) as own:
        own.bind(str(tmp_path / "socket"))
        for name, words in (
            ("folder", "is a folder"),
            ("pipe", "is a pipe"),
            ("loose", "is a broken link"),
            ("null", "is a device"),
            ("link", r"is a link, which would be replaced.*/file"),
            ("socket", "is a socket"),
        ):
            with pytest.raises(InputError, match=words):
                check_output(tmp_path / name, LETTER, overwrite=True)
    with pytest.raises(InputError, match="is a device"):
        check_output(Path("/dev/null"), LETTER, overwrite=True)


def test_nor_by_what_writes_it(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WriteError, match="is not a regular file"):
        atomic_write_bytes(tmp_path / "pipe", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_folder_of_many_files_is_new_or_marked(tmp_path):
    folder = tmp_path / "demo"
    mark_folder(folder, "demo")
    (folder / "films").mkdir()
    mark_folder(folder, "demo")
    with pytest.raises(InputError, match="not empty and does not contain an earlier paper"):
        mark_folder(folder, "paper")
    (tmp_path / "data" / "films").mkdir(parents=True)
    (tmp_path / "data" / "films" / "bboxes.csv").write_text("Image Index\n")
    with pytest.raises(InputError, match="does not contain an earlier demo"):
        mark_folder(tmp_path / "data", "demo")


def test_a_file_of_somebody_else_is_no_lock(tmp_path):
    (tmp_path / "poetry.lock").write_text("[[package]]\nname = 'x'")
    with pytest.raises(InputError, match="is held by"), file_lock(tmp_path / "poetry.lock"):
        pass
    assert (tmp_path / "poetry.lock").read_text() == "[[package]]\nname = 'x'"


def test_a_pipe_is_no_lock(tmp_path):
    os.mkfifo(tmp_path / "out.lock")
    with (
        pytest.raises(InputError, match="is not a regular file, so it cannot be a lock"),
        file_lock(tmp_path / "out.lock"),
    ):
        pass


def test_a_folder_of_parts_that_holds_other_files_is_not_removed(tmp_path):
    run = made_run(tmp_path / "out.h5", 5)
    (tmp_path / "out.h5.parts" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"contains 'notes\.txt', which does not belong to a run"):
        made_run(tmp_path / "out.h5", 6, overwrite=True)
    (tmp_path / "out.h5.parts" / "notes.txt").unlink()
    score(made_run(tmp_path / "out.h5", 5))
    assert merge(run).exists()


# --- every command


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Everything that commands read, made once; each test works on a copy."""
    folder = tmp_path_factory.mktemp("outputs")
    made_films(folder / "films", 4)
    (folder / "films" / "broken.png").unlink()
    rows = "".join(f"00{i}.png,p{i},{i % 2},{(i // 2) % 2}\n" for i in range(4))
    (folder / "films" / "labels.csv").write_text(f"film,patient_id,Mass,Edema\n{rows}")
    (folder / "table.csv").write_text(f"film,patient_id,Mass,Edema\n{rows}")
    splits = ("train", "train", "valid", "test")
    (folder / "split.csv").write_text("film,split\n" + "".join(f"00{i}.png,{s}\n" for i, s in enumerate(splits)))
    (folder / "sexes.csv").write_text("film,sex\n" + "".join(f"00{i}.png,F\n" for i in range(4)))
    (folder / "recipe.toml").write_text("epochs = 1\n")
    (folder / "notes.txt").write_text("mine")
    (folder / "films" / "zzz.dcm").write_text("no film, but counted as one")
    made_model(folder / "model.safetensors", 1)
    run = made_run(folder / "out.h5", 5)
    score(run)
    merge(run)
    return folder


@pytest.fixture
def work(home, tmp_path):
    return shutil.copytree(home, tmp_path / "work", symlinks=True)


def cxrscore(folder, *words):
    environ = {**os.environ, "CXRSCORE_CACHE": str(folder / "cache")}
    return forked.cxrscore(*words, cwd=folder, env=environ)


TINY = [
    *("--backend", "torch", "--architecture", "tinycnn", "--weights", "none", "--size", "32", "--trainable", "all"),
    *("--epochs", "1", "-j", "1"),
]
SCORE = ["score", "films", "-j", "1", "--backend", "torch", "-m", "model.safetensors"]
INPUTS = {
    "report its scores": ["report", "out.h5", "-o", "out.h5"],
    "report its labels": ["report", "out.h5", "--labels", "table.csv", "--allow-unmatched", "-o", "table.csv"],
    "report its groups": ["report", "out.h5", "--groups", "sexes.csv", "-o", "sexes.csv"],
    "report its boxes": ["report", "out.h5", "--bounding-boxes", "table.csv", "-o", "table.csv"],
    "report scores of others": ["report", "out.h5", "out.h5", "-o", "films/../out.h5"],
    "score its model": [*SCORE, "-o", "model.safetensors"],
    "score its labels": [*SCORE, "--labels", "table.csv", "-o", "table.csv"],
    "score the labels that it finds": [*SCORE, "-o", "films/labels.csv"],
    "score its model by a URL": [*SCORE, "-o", "file://WORK/model.safetensors"],
    "score a film by a URL": [*SCORE, "-o", "local://WORK/films/001.png"],
    "score a damaged film": [*SCORE, "-o", "films/zzz.dcm"],
    "merge a part by a URL": ["merge", "out.h5", "-o", "file://WORK/out.h5"],
    "score a film": [*SCORE, "-o", "films/001.png"],
    "merge a part": ["merge", "out.h5", "-o", "out.h5"],
    "export its scores": ["export", "out.h5", "-o", "out.h5", "--format", "csv"],
    "quantize its model": ["quantize", "model.safetensors", "films", "-o", "model.safetensors"],
    "quantize a film": ["quantize", "model.safetensors", "films", "-o", "films/000.png"],
    "import its file": ["import", "model.safetensors", "-o", "model.safetensors"],
    "train its weights": ["train", "films", *TINY, "--weights", "model.safetensors", "-o", "model.safetensors"],
    "train its labels": ["train", "films", *TINY, "--labels", "table.csv", "-o", "table.csv"],
    "train its split": ["train", "films", *TINY, "--split", "split.csv", "-o", "split.csv"],
    "train its recipe": ["train", "films", *TINY, "--recipe", "recipe.toml", "-o", "recipe.toml"],
    "train a film": ["train", "films", *TINY, "-o", "films/002.png"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", INPUTS)
def test_a_command_does_not_replace_its_input_even_with_overwrite(work, name):
    pytest.importorskip("torch")
    before = {path: path.read_bytes() for path in work.rglob("*") if path.is_file()}
    done = cxrscore(work, *(word.replace("WORK", str(work)) for word in INPUTS[name]), "--overwrite")
    assert done.returncode == 1, done.stderr
    assert "is an input of this command" in done.stderr
    assert "Traceback" not in done.stderr
    after = {path: path.read_bytes() for path in work.rglob("*") if path.is_file() and "cache" not in path.parts}
    assert after == before


@pytest.mark.parametrize("name", ["recipe.toml", "split.csv"])
def test_training_does_not_replace_what_it_reads_in_the_folder_beside_the_model(work, name):
    pytest.importorskip("torch")
    (work / "m.run").mkdir()
    (work / name).rename(work / "m.run" / name)
    option = {"recipe.toml": "--recipe", "split.csv": "--split"}[name]
    done = cxrscore(work, "train", "films", *TINY, option, f"m.run/{name}", "-o", "m.safetensors", "--overwrite")
    assert (done.returncode, "is an input of this command" in done.stderr) == (1, True)


OTHERS = {
    "report": ["report", "out.h5", "-o", "notes.txt"],
    "score": [*SCORE, "-o", "notes.txt"],
    "export": ["export", "out.h5", "-o", "notes.txt", "--format", "csv"],
    "train": ["train", "films", *TINY, "--split", "split.csv", "-o", "notes.txt"],
    "merge": ["merge", "out.h5", "-o", "notes.txt"],
    "quantize": ["quantize", "model.safetensors", "films", "-o", "notes.txt"],
    "import": ["import", "out.h5", "-o", "notes.txt"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_a_file_of_another_kind_stays(work, name):
    pytest.importorskip("torch")
    done = cxrscore(work, *OTHERS[name])
    assert done.returncode == 1
    if name != "merge":  # which looks at the parts first, and these are none
        assert "exists and is not" in done.stderr
        assert "--overwrite" in done.stderr
    assert (work / "notes.txt").read_text() == "mine"


@pytest.mark.slow
def test_each_command_replaces_its_own_earlier_output(work):
    pytest.importorskip("torch")
    train = ["train", "films", *TINY, "--split", "split.csv", "-o", "m.safetensors"]
    for line in (
        train,
        ["report", "out.h5", "-o", "page.html", "--figures", "figures"],
        ["report", "out.h5", "-o", "page.html", "--figures", "figures", "--figure-format", "svg"],
        ["export", "out.h5", "-o", "out.csv"],
        ["export", "out.h5", "-o", "out.json"],
        ["export", "out.h5", "-o", "out.parquet"],
        [*SCORE, "-o", "scores.h5"],
    ):
        for _ in range(2):
            done = cxrscore(work, *line)
            assert done.returncode == (3 if line[0] == "score" else 0), (line, done.stderr)


@pytest.mark.slow
def test_a_run_folder_and_figures_that_are_not_ours_stay(work):
    pytest.importorskip("torch")
    (work / "m.run").mkdir()
    (work / "m.run" / "split.csv").write_text("mine")
    done = cxrscore(work, "train", "films", *TINY, "-o", "m.safetensors")
    assert (done.returncode, "m.run/split.csv exists and is not" in done.stderr) == (1, True)
    (work / "figures").mkdir()
    cv2.imwrite(str(work / "figures" / "distributions.png"), np.zeros((8, 8), np.uint8))
    before = (work / "figures" / "distributions.png").read_bytes()
    done = cxrscore(work, "report", "out.h5", "-o", "page.html", "--figures", "figures")
    assert (done.returncode, "distributions.png exists and is not a figure" in done.stderr) == (1, True)
    assert not (work / "page.html").exists()
    assert (work / "figures" / "distributions.png").read_bytes() == before


def test_two_outputs_of_one_report_are_not_one_file(work):
    (work / "figures").mkdir()
    done = cxrscore(work, "report", "out.h5", "-o", "figures/distributions.png", "--figures", "figures", "--overwrite")
    assert (done.returncode, "two outputs of this command have the same path" in done.stderr) == (1, True)
    assert not list((work / "figures").iterdir())


def test_the_rule_stands_in_the_help_of_each_command_that_has_it():
    import click

    from cxrscore.cli import main
    from cxrscore.io.outputs import RULE

    for name in ("report", "train", "export", "quantize", "import"):
        command = main.commands[name]
        (option,) = [one for one in command.params if isinstance(one, click.Option) and one.name == "overwrite"]
        assert RULE in (option.help or "")
