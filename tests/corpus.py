"""Broken, odd and hostile films, each with the status and the words that it must end with.

python tests/corpus.py            writes docs/statuses.md
python tests/corpus.py FOLDER     writes the films themselves, to look at or to try on another program
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from pathlib import Path

from corpus_bytes import archive, chest, png, with_flags
from corpus_case import Case, fine, refused
from corpus_dicom import dicom_cases
from corpus_jpeg import jpeg_cases
from corpus_png import png_cases

from cxrscore.images import Status
from cxrscore.images.film import MAX_BYTES

PAGE = Path(__file__).parents[1] / "docs" / "statuses.md"


@functools.cache
def corpus() -> tuple[Case, ...]:
    """All of them; their names are all different."""
    return (*png_cases(), *jpeg_cases(), *dicom_cases(), *_archives())


def _archives() -> list[Case]:
    """Archives of one member, film.png; what is said is of this member."""
    film = png(chest())
    stored = archive({"film.png": film}, packed=False)
    return [
        fine("sound.zip", "film in a zip archive", archive({"film.png": film})),
        refused(
            Status.UNREADABLE,
            "encrypted.zip",
            "film in an encrypted archive",
            with_flags(stored, encrypted=True),
            "in its archive it is encrypted",
        ),
        refused(
            Status.UNREADABLE,
            "changed.zip",
            "film whose archive is damaged",
            stored.replace(b"IDAT", b"IDAZ", 1),
            "cannot be read (BadZipFile)",
        ),
        refused(
            Status.UNREADABLE,
            "unknown-packing.zip",
            "film in an archive packed in an unknown way",
            with_flags(stored, method=99),
            "(NotImplementedError)",
        ),
        refused(
            Status.TOO_LARGE,
            "bomb.zip",
            "zip bomb: a member of more than 256 MB",
            archive({"film.png": bytes(MAX_BYTES + 2)}),
            "more than 268,435,456 bytes",
        ),
    ]


def film_path(case: Case) -> str:
    """The path of the film that a case is about, below the folder of the corpus."""
    return f"{case.name}/film.png" if case.name.endswith(".zip") else case.name


# --- the page

_MEANING = {
    Status.NOT_WRITTEN: "No row of a finished file has it: it is what a row reads as that was never written.",
    Status.OK: "Scored. A message, where there is one, is a note on how the film was read.",
    Status.EMPTY: "There is nothing in the file.",
    Status.NOT_AN_IMAGE: "The bytes are those of no film, whatever the name says.",
    Status.DAMAGED: "It is a film, but not a whole one, or it contradicts itself.",
    Status.BLANK: "It decodes, and shows nothing.",
    Status.TOO_LARGE: "Refused before it is decoded.",
    Status.TOO_SMALL: "Refused before it is decoded.",
    Status.SEVERAL_FRAMES: "Which of them would be the film is not for a program to guess.",
    Status.NOT_CHEST: "DICOM only. `--any-modality` lets these through.",
    Status.UNSUPPORTED: "Sound perhaps, but not read by this program.",
    Status.UNREADABLE: "The bytes could not be had. The same line does not try again: use `--overwrite`.",
    Status.CRASHED: "The process that decodes ended before it had answered, twice; or its memory was full.",
    Status.TIMED_OUT: "The process that decodes gave no answer, twice.",
    Status.MODEL_FAILED: "It was decoded, and a model returned logits for it, or for a view of it, that are NaN or "
    "infinite: a fault of the backend or of the model. It has no score and no heat map.",
}
_ELSEWHERE = (
    (Status.TOO_LARGE, "file of more than 256 MB", "268,435,457 bytes, wanted at most 268,435,456"),
    (Status.UNSUPPORTED, "DICOM, where the extra dicom is not installed", "this DICOM film needs pydicom"),
    (Status.UNREADABLE, "file that is gone, or may not be read", "cannot be read: "),
    (Status.UNREADABLE, "film elsewhere that is not there, or may not be read", "cannot be read: access is denied"),
    (
        Status.UNREADABLE,
        "film elsewhere that its store does not give, or not to its end",
        "not received: no answer in time, 6 times",
    ),
    (Status.CRASHED, "codec that crashes", "its decoder crashed (SIGSEGV), 2 times"),
    (Status.CRASHED, "film that needs more than 6 GB to decode", "decoding needs too much memory"),
    (Status.TIMED_OUT, "codec that takes longer than a minute", "its decoder took longer than 60 s, 2 times"),
    (Status.MODEL_FAILED, "film at which a backend overflows", "backend 'mine' returned logits that are not finite"),
)
"""What no bytes of a corpus can bring about."""

_HEAD = r"""<!-- Written by tests/corpus.py: change what it reads, not this page. -->

# What becomes of a film

Every film that is found has a row in the scores file: `/films/status` holds one of these numbers, `/films/message` the
reason in words. Only films of status 1 have scores; the others have NaN. If there are others, the exit code is 3.

The bytes of every film are hashed, whatever becomes of it: also of one that crashes its decoder or is too large.
`/films/sha256` is empty only where they cannot be read, and for a file of over 4 GiB, and in an archive or elsewhere
than on disk of over 256 MB.

Each line below is a film that `tests/faults/test_corpus.py` makes and scores, but for those marked \*, which other
tests bring about.

"""

_FOOT = """## What has no row

* A folder or an archive that cannot be listed, a file whose name is not UTF-8, a link that leads nowhere, and a member
  of an archive that leads out of it or shares its name with another: named on the screen and in the warnings of the
  scores file and of its report. The exit code is 3, as films may be missing.
* A file of another name, such as `labels.csv`; a pipe; a folder behind a link, so that loops end; an archive within an
  archive; `DICOMDIR`; what macOS leaves as `._name`: counted, as `other_files`.
"""


def page() -> str:
    """docs/statuses.md."""
    return _HEAD + "\n".join(f"{_section(status)}\n" for status in Status) + "\n" + _FOOT


def _section(status: Status) -> str:
    lines = list(dict.fromkeys(_lines(status)))
    table = ["| film | message, or part of it |", "|---|---|", *lines] if lines else []
    return "\n".join([f"## {status.value} {status.name}\n", _MEANING[status], *([""] * bool(table)), *table])


def _lines(status: Status) -> Iterator[str]:
    for case in corpus():
        if case.status == case.strict == status:
            yield _line(case.cause, case.words)
        elif case.status == status:
            yield _line(f"{case.cause}, without the extra strict", "")
        elif case.strict == status:
            yield _line(f"{case.cause}, with the extra strict", "damaged: Corrupt JPEG data")
    yield from (_line(f"{cause} \\*", words) for at, cause, words in _ELSEWHERE if at == status)


def _line(cause: str, words: str) -> str:
    return f"| {cause} | {words.strip()} |"


def main() -> None:
    if len(sys.argv) == 1:
        PAGE.write_text(page(), encoding="utf-8")
        return
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for case in corpus():
        (folder / case.name).write_bytes(case.data)


if __name__ == "__main__":
    main()
