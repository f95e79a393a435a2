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
            "in the archive, it is encrypted",
        ),
        refused(
            Status.UNREADABLE,
            "changed.zip",
            "film in a damaged archive",
            stored.replace(b"IDAT", b"IDAZ", 1),
            "cannot be read (BadZipFile)",
        ),
        refused(
            Status.UNREADABLE,
            "unknown-packing.zip",
            "film in an archive with an unknown compression method",
            with_flags(stored, method=99),
            "(NotImplementedError)",
        ),
        refused(
            Status.TOO_LARGE,
            "bomb.zip",
            "archive member of more than 256 MB",
            archive({"film.png": bytes(MAX_BYTES + 2)}),
            "more than 268,435,456 bytes",
        ),
    ]


def film_path(case: Case) -> str:
    """The path of the film that a case is about, below the folder of the corpus."""
    return f"{case.name}/film.png" if case.name.endswith(".zip") else case.name


# --- the page

_MEANING = {
    Status.NOT_WRITTEN: "A row that was never written. Does not occur in a finished file.",
    Status.OK: "Scored. A message describes how the film was read.",
    Status.EMPTY: "The file is empty.",
    Status.NOT_AN_IMAGE: "The content is not PNG, JPEG or DICOM, whatever the file name.",
    Status.DAMAGED: "The film is incomplete or inconsistent.",
    Status.BLANK: "The image has no contrast.",
    Status.TOO_LARGE: "Rejected before decoding: over 100 million pixels, or over 256 MB.",
    Status.TOO_SMALL: "Rejected before decoding: a side below 32 pixels.",
    Status.SEVERAL_FRAMES: "More than one frame. Extract the right frame into its own file.",
    Status.NOT_CHEST: "DICOM of another modality or body part. `--any-modality` accepts it.",
    Status.UNSUPPORTED: "A valid format that cxrscore does not read. Convert the film.",
    Status.UNREADABLE: "The content could not be read. A rerun does not try again; use `--overwrite`.",
    Status.CRASHED: "The decoder process crashed twice, or needed over 6 GB of memory.",
    Status.TIMED_OUT: "The decoder took over 60 seconds, twice.",
    Status.MODEL_FAILED: "The backend or the model returned NaN or infinite logits. There are no heat maps.",
}
_ELSEWHERE = (
    (Status.TOO_LARGE, "file of more than 256 MB", "268,435,457 bytes, expected at most 268,435,456"),
    (Status.UNSUPPORTED, "DICOM, without the extra `dicom`", "this DICOM film needs pydicom"),
    (Status.UNREADABLE, "file is missing, or access is denied", "cannot be read: "),
    (Status.UNREADABLE, "remote film is missing, or access is denied", "cannot be read: access is denied"),
    (Status.UNREADABLE, "remote film arrives incomplete or not at all", "not received: no answer in time, 6 times"),
    (Status.CRASHED, "codec crashes", "its decoder crashed (SIGSEGV), 2 times"),
    (Status.CRASHED, "decoding needs more than 6 GB", "decoding needs too much memory"),
    (Status.TIMED_OUT, "codec takes longer than a minute", "its decoder took longer than 60 s, 2 times"),
    (Status.MODEL_FAILED, "backend overflows", "backend 'mine' returned logits that are not finite"),
)
"""What no bytes of a corpus can bring about."""

_HEAD = r"""<!-- Written by tests/corpus.py: change what it reads, not this page. -->

# Film statuses

If `score` exits with code 3, look for films without scores: `cxrscore show out.h5` counts them, and `/films/status` and
`/films/message` in the scores file give the code and the reason for each film. Only films with status 1 have scores;
all others have NaN.

`/films/sha256` holds the hash of every film, scored or not. It is empty for content that cannot be read, for files over
4 GiB, and for films over 256 MB in archives or remote stores.

## Status codes

"""

_TABLE = """
## Messages and their causes

Scored without a message: PNG of 1 to 16 bits, JPEG of 8 bits and [DICOM](dicom.md), also in zip archives. Colour
becomes grey. The content decides the format, not the file name.

A message may say more than the table shows. Causes marked *strict* are found only with the extra `strict`; without it
these films are scored.

"""

_NOTES = r"""
## Notes on scored films

`score` counts the films with notes on the screen, and the report lists the notes with an example and what to do. Notes
that say how a DICOM film is displayed (rescaled, VOI window, VOI LUT, modality LUT, inverted) and the significant bits
of a PNG are not counted there: the report has their number under Provenance.

A film that uses less than a quarter of the grey values that its file or array declares, such as 12 bits stored as 16,
is spread over the range that it uses: 0 to the largest value of the smallest bit depth that holds its values or, if it
uses less than a quarter of that as well, its smallest to its largest value. Far brighter pixels, such as burned-in
letters, do not count: half a percent of all, or 5 percent if they have one value. The film is BLANK if it has fewer
than 32 levels that vary by less than one of 255 grey levels, or if only noise is left. The range is a guess: two such
films may have been exposed differently, and look alike afterwards. The chunk sBIT of a PNG tells the range, and nothing
is guessed.

Chunks on colour (gAMA, sRGB, cHRM, iCCP, cICP) never change the grey of a PNG.
"""

_FOOT = """## Files without a row

* Listed on the screen, in the warnings of the scores file and in the report, with exit code 3: folders or archives that
  cannot be listed, names that are not UTF-8, broken links, and archive members with unsafe or duplicate paths.
* Counted as `other_files`, by kind, on the screen, in the scores file and in the report: all files that are no films
  ([Which files are films](scoring.md#which-files-are-films)).
"""


def page() -> str:
    """docs/statuses.md."""
    codes = ["| code | name | meaning |", "|---|---|---|"]
    codes += [f"| {status.value} | {status.name} | {_MEANING[status]} |" for status in Status]
    causes = ["| status | message, or part of it | causes |", "|---|---|---|"]
    for status in Status:
        causes += [f"| {status.name} | {words} | {'; '.join(found)} |" for words, found in _causes(status).items()]
    return "\n".join([f"{_HEAD}{codes[0]}", *codes[1:], f"{_TABLE}{causes[0]}", *causes[1:], _NOTES, _FOOT])


def _causes(status: Status) -> dict[str, list[str]]:
    """The causes of each message of a status, both in the order of the corpus."""
    found: dict[str, list[str]] = {}
    for cause, words in _pairs(status):
        causes = found.setdefault(words.strip(), [])
        if cause not in causes:
            causes.append(cause)
    return found


def _pairs(status: Status) -> Iterator[tuple[str, str]]:
    for case in corpus():
        if case.status == case.strict == status:
            if case.words or status != Status.OK:
                yield case.cause, case.words
        elif case.strict == status:
            yield f"{case.cause} (*strict*)", "damaged: Corrupt JPEG data"
    yield from ((cause, words) for at, cause, words in _ELSEWHERE if at == status)


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
