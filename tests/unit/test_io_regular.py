"""The files that a user names are regular ones: nothing else is opened, and nobody is waited for."""

import os
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner
from made_run import made_file

from cxrscore.cli import main
from cxrscore.errors import InputError
from cxrscore.io import regular, sha256_file
from cxrscore.io.regular import open_regular, read_first_bytes, read_regular
from cxrscore.labels import datasets, read_boxes, read_labels, read_split
from cxrscore.models.imagenet import read_weights, read_weights_info
from cxrscore.models.model_file import load_model
from cxrscore.models.torch_file import read_torch
from cxrscore.recipes import read_recipe
from cxrscore.reporting import open_named_scores
from cxrscore.scorefile import open_scores
from cxrscore.scorefile.manifest import read_head


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def listening(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
    return path


def link_to(target: str, path: Path) -> Path:
    path.symlink_to(target)
    return path


ODD = {
    "a pipe": lambda path: pipe(path),
    "a socket": lambda path: listening(path),
    "a device without end": lambda path: link_to("/dev/zero", path),
    "a device of nothing": lambda path: link_to("/dev/null", path),
    "a link to a pipe": lambda path: link_to(str(pipe(path.with_name("other"))), path),
}
WORDS = r"it is a (pipe|socket|device), wanted a file: save its content to a file first"


@pytest.mark.parametrize("name", ODD)
def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path, name: str) -> None:
    path = ODD[name](tmp_path / "x")
    with pytest.raises(OSError, match=WORDS):
        open_regular(path)
    with pytest.raises(OSError, match=WORDS):
        sha256_file(path)


def test_a_folder_and_nothing_are_told_as_ever(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="it is a folder, wanted a file"):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "absent")
    with pytest.raises(OSError, match="zero character"):
        open_regular(tmp_path / "a\0b")


@pytest.mark.parametrize("path", ["/proc/self/environ", "/proc/kmsg", "/sys/kernel/mm/transparent_hugepage/enabled"])
def test_files_of_the_kernel_are_refused(path: str) -> None:
    if not os.path.exists(path):
        pytest.skip(f"there is no {path}")
    with pytest.raises(OSError, match=r"a file of the kernel|Permission|it is a device"):
        open_regular(Path(path))


def test_a_pipe_that_takes_the_place_of_the_file_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pipe(tmp_path / "x")
    (tmp_path / "file").write_bytes(b"")
    before = (tmp_path / "file").stat()
    monkeypatch.setattr(regular.os, "stat", lambda place: before)
    with pytest.raises(OSError, match="it is a pipe"):
        open_regular(path)


def test_what_is_opened_is_the_file_and_is_closed_by_the_block(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"words")
    with open_regular(link_to(str(path), tmp_path / "link")) as file:
        assert file.read() == b"words"
        assert not os.get_inheritable(file.fileno())
    assert read_regular(path, 5) == b"words"
    assert read_regular(path, 4) is None


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    path.touch()
    os.truncate(path, 1 << 40)
    assert read_regular(path, 1 << 30) is None


READERS = {
    "a label table": lambda path: read_labels(path, datasets),
    "a table of boxes": read_boxes,
    "a split": lambda path: read_split(path, ["a.png"]),
    "a table of scores": lambda path: open_named_scores(path.rename(path.with_suffix(".csv"))),
    "a scores file": open_scores,
    "first bytes": lambda path: read_first_bytes(path, 8),
    "a model": load_model,
    "a checkpoint": read_torch,
    "a recipe": read_recipe,
    "weights": lambda path: read_weights(path, licence=""),
    "weights of Keras": lambda path: read_weights(path.rename(path.with_suffix(".h5")), licence=""),
    "weights named": lambda path: read_weights_info(str(path)),
    "weights of Keras named": lambda path: read_weights_info(str(path.rename(path.with_suffix(".h5")))),
    "a manifest": read_head,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["a pipe", "a device without end"])
def test_each_reader_refuses_it_in_words(tmp_path: Path, reader: str, name: str) -> None:
    with pytest.raises(InputError, match=WORDS):
        READERS[reader](ODD[name](tmp_path / "given"))


@pytest.mark.parametrize(
    "words",
    [
        "score films -m X -o out.h5",
        "show X",
        "verify X",
        "export X -o out.csv",
        "merge X -o all.h5",
        "report X",
        "report out.h5 --labels X",
        "report out.h5 --groups X",
        "report out.h5 --bounding-boxes X",
        "import X -o m.safetensors",
        "quantize X films -o q.safetensors",
        "train films --recipe X",
        "train films --weights X",
        "train films --labels X --weights none",
        "train films --labels labels.csv --weights none --split X",
        "check dataset:plain --table X",
        "check --parity X",
    ],
)
def test_each_command_refuses_a_pipe_with_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.chdir(tmp_path)
    made_file(tmp_path / "out.h5")
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.png").write_bytes(b"x")
    (tmp_path / "labels.csv").write_text("film,Mass\na.png,1\n")
    pipe(tmp_path / "given.toml")
    result = CliRunner().invoke(main, [word.replace("X", "given.toml") for word in words.split()])
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 1, result.output
    assert result.stderr.count("\n") == 1
    assert "given.toml" in result.stderr
    assert "it is a pipe, wanted a file" in result.stderr
