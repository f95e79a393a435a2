"""What a run would score: films by kind, modality and view, without a model, and without writing anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import TypeAlias

from cxrscore.images import DecoderPool, FoundFilms, OtherFiles, Preprocessing, find_films
from cxrscore.progress import Progress, no_progress
from cxrscore.remote import Location, RemotePath, location
from cxrscore.remote.dicomweb_query import search_filters, with_query
from cxrscore.scoring.finalize import other_files, unreadable_messages
from cxrscore.system_resources import bounded_map, default_workers

UNKNOWN = "unknown"
_Group: TypeAlias = tuple[str, str, str]


@dataclass(frozen=True, kw_only=True)
class FilmCount:
    """A number of films that have this in common.

    Parameters
    ----------
    kind : str
        "dicom", "png" or "jpeg"; "unknown" for a file that is named like a film and is none, or cannot be read.
    modality, view : str
        Modality and View Position of DICOM films; "unknown" if they are missing, or no usual terms. "" for others.
    films : int
        Their number.
    """

    kind: str
    modality: str
    view: str
    films: int


@dataclass(frozen=True, kw_only=True)
class FilmCounts:
    """What a run would score.

    Parameters
    ----------
    n_films : int
        Number of films. Some of them may get a status instead of scores: no pixels are read.
    counts : tuple of FilmCount
        The films by kind, modality and view, the most frequent first.
    other_files : mapping of str to mapping of str to int
        Number of files that are no films, by kind, as ScoreResult.other_files.
    unreadable_paths : tuple of str
        Files and folders that could not be read: films may be missing there.
    """

    n_films: int
    counts: tuple[FilmCount, ...]
    other_files: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    unreadable_paths: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """A table for people: a line of heads, a line for each of ``counts``, and one with the sum."""
        rows = [("kind", "modality", "view", "films")]
        rows += [(one.kind, one.modality, one.view, f"{one.films:,}") for one in self.counts]
        rows.append(("all", "", "", f"{self.n_films:,}"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return ["  ".join([*map(str.ljust, row[:3], widths), row[3].rjust(widths[3])]) for row in rows]


def count_films(
    films: Location,
    *,
    query: str | Sequence[str] = (),
    any_modality: bool = False,
    anonymize_paths: bool = False,
    workers: int | None = None,
    progress: Progress = no_progress,
) -> FilmCounts:
    """Counts the films that ``score_films`` would score, by kind, modality and view.

    Parameters
    ----------
    films : path or URL
        Folder of films, or a PACS.
    query : str or sequence of str
        Conditions that choose the films of a PACS, as in ScoreOptions.
    any_modality : bool
        Also count images of a PACS of modalities other than CR, DX and RG. In folders they are counted in any case.
    anonymize_paths : bool
        Name no file that could not be read, and no unusual suffix.
    workers : int, optional
        Processes that read the headers of files; None: one for each core, at most 32.
    progress : callable
        Called as progress("reading headers", done, total).

    Returns
    -------
    FilmCounts
        Of a PACS, modality and view are those that it states in its answer to the query, and no film is received. Of a
        folder they are in the headers of the files, which decoder processes read.

    Raises
    ------
    InputError
        If films or query cannot be used.
    """
    where = location(films, "films")
    if query:
        where = with_query(where, query)
    if isinstance(where, RemotePath) and where.dicomweb:
        search_filters(where)
    found = find_films(where, any_modality=any_modality)
    groups = Counter(_stated(found) if found.stated else _in_headers(where, found, workers, progress))
    ordered = sorted(groups.items(), key=lambda item: (-item[1], item[0]))
    return FilmCounts(
        n_films=len(found.paths),
        counts=tuple(FilmCount(kind=kind, modality=mod, view=view, films=n) for (kind, mod, view), n in ordered),
        other_files=other_files(found, anonymize_paths=anonymize_paths).as_dict(),
        unreadable_paths=tuple(unreadable_messages(found, anonymize_paths=anonymize_paths)),
    )


def other_files_sentence(counts: FilmCounts) -> str:
    """Such as "3 other files: 2 .csv, 1 .txt (not opened)"; "" if there are none."""
    return OtherFiles.from_record(counts.other_files).sentence()


def _stated(found: FoundFilms) -> Iterator[_Group]:
    """The films of a PACS, as it states them."""
    return (("dicom", modality or UNKNOWN, view or UNKNOWN) for modality, view in found.stated.values())


def _in_headers(where: Location, found: FoundFilms, workers: int | None, progress: Progress) -> Iterator[_Group]:
    """The films of a folder, by their headers."""
    folder, total = location(where), len(found.paths)
    number = min(workers or default_workers(), max(total, 1))
    with (
        closing(DecoderPool(number, Preprocessing(size=32))) as decoders,
        ThreadPoolExecutor(number, thread_name_prefix="headers") as threads,
    ):
        headers = bounded_map(threads, lambda path: decoders.read_header(folder / path), found.paths)
        for done, film in enumerate(headers, 1):
            progress("reading headers", done, total)
            if film.kind == "dicom":
                yield film.kind, film.modality or UNKNOWN, film.view or UNKNOWN
            else:
                yield film.kind or UNKNOWN, "", ""
