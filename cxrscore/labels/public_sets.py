"""Public data sets of chest radiographs: their names, and which films are theirs.

A model that was trained on a public data set has seen its films, or most of them: figures on these films are not
held-out. The published weights do not list their films, so films are recognised by their names, which these data sets
make in ways of their own, or by the layout of their label table.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cxrscore.errors import InputError
from cxrscore.io.strict_json import get_nested, get_text, get_texts, unicode_text
from cxrscore.labels.columns import film_key
from cxrscore.option_values import text_list

NIH, PADCHEST, CHEXPERT, MIMIC = "NIH", "PadChest", "CheXpert", "MIMIC-CXR"
GOOGLE, RSNA, SIIM = "Google", "RSNA", "SIIM"
OPENI, VINDR, VINDR_PCXR, BRAX = "OpenI", "VinDr", "VinDr-PCXR", "BRAX"
PUBLIC_SETS = (NIH, PADCHEST, CHEXPERT, MIMIC, GOOGLE, OPENI, RSNA, SIIM, VINDR, VINDR_PCXR, BRAX)
"""Names of data sets, as `--trained-on` has them; others are kept as they are given."""
PARTS_OF_NIH = (GOOGLE, RSNA, SIIM)
"""Data sets whose films are films of NIH ChestX-ray14, under other names (RSNA, SIIM) or with other labels (Google)."""
MAX_NAMES, MAX_LENGTH = 50, 100
"""Of the data sets of a model, and of one name, as in schemas/model.schema.json."""

_ALIASES = {
    **dict.fromkeys(("nih14", "chestxray14", "chestxray8", "nihchestxray14", "nihcxr14"), NIH),
    **dict.fromkeys(("mimic", "mimiccxrjpg", "mimiccxr2"), MIMIC),
    **dict.fromkeys(("kaggle", "rsnapneumonia"), RSNA),
    **dict.fromkeys(("siimacr",), SIIM),
    **dict.fromkeys(("vindrcxr", "vinbig", "vinbigdata"), VINDR),
    **dict.fromkeys(("pedicxr", "pcxr"), VINDR_PCXR),
    **dict.fromkeys(("indiana", "iuxray", "iucxr", "indianauniversity"), OPENI),
    **dict.fromkeys(("cxrlt", "mimiccxrlt"), MIMIC),
    "chexpertplus": CHEXPERT,
    "pc": PADCHEST,
    "chex": CHEXPERT,
    **{re.sub(r"[^a-z0-9]", "", name.lower()): name for name in PUBLIC_SETS},
}
"""Canonical name by the letters and digits of a usual one; among them the words in torchxrayvision's file names."""


def public_set_names(names: str | Iterable[str]) -> tuple[str, ...]:
    """Names of data sets in one spelling, each once.

    Parameters
    ----------
    names : str or iterable of str
        As a user gives them; usual spellings of PUBLIC_SETS become theirs.

    Raises
    ------
    InputError
        If there are more than MAX_NAMES, or one is empty or has more than MAX_LENGTH characters.

    Examples
    --------
    >>> public_set_names(["nih", "MIMIC", "hospital of 2019", "NIH"])
    ('NIH', 'MIMIC-CXR', 'hospital of 2019')
    """
    given = [unicode_text(" ".join(name.split())) for name in text_list(names, "trained_on")]
    for name in given:
        if not 0 < len(name) <= MAX_LENGTH:
            raise InputError(
                f"trained_on has a name of {len(name)} characters, expected 1 to {MAX_LENGTH}, such as "
                f"{', '.join(PUBLIC_SETS)}"
            )
    found = tuple(dict.fromkeys(map(_canonical, given)))
    if len(found) > MAX_NAMES:
        raise InputError(f"trained_on has {len(found)} names, expected at most {MAX_NAMES}")
    return found


def _canonical(name: str) -> str:
    return _ALIASES.get(re.sub(r"[^a-z0-9]", "", name.lower()), name)


# --- which films are theirs

_NIH_FILM = re.compile(r"(\d{8})_\d{3}\.(?:png|jpe?g)", re.IGNORECASE)
_NIH_PATIENTS = 30_805
_CHEXPERT_FILM = re.compile(
    r"(?:.*/)?patient\d{5}/study\d{1,3}/view\d{1,2}_(?:frontal|lateral)\.(?:jpe?g|png|dcm)", re.I
)
_MIMIC_FILM = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{8}){4}\.(?:jpe?g|png|dcm)", re.IGNORECASE)
"""Five groups of eight digits, which is no usual UUID."""
_PADCHEST_FILM = re.compile(r"\d{36,46}_(?:\d{2}-\d{3}-\d{3}|[0-9a-z]{6})\.png")
_OPENI_FILM = re.compile(
    r"(?:CXR\d{1,4}(?:_\d)?_IM-\d{4}(?:-\d{4,5}){1,2}\.(?:png|dcm|jpe?g)"
    r"|\d{1,4}_IM-\d{4}(?:-\d{4,5}){1,2}\.dcm\.png)"
)
"""CXR1_1_IM-0001-3001.png of Open-i, 1_IM-0001-4001.dcm.png of Kaggle."""
_VINDR_FILM = re.compile(r"[0-9a-f]{32}\.dicom")
"""VinDr-CXR and VinDr-PCXR. Other films may also be named by an MD5 sum, but not with this suffix."""
_BRAX_FILM = re.compile(
    r"(?:.*/)?id_[0-9a-f-]+/Study_[0-9a-f.-]+/Series_[0-9a-f.-]+/image-[0-9a-f.-]+\.(?:png|dcm)", re.IGNORECASE
)
_LAYOUTS = {
    "nih": NIH,
    "nih-google": NIH,
    "padchest": PADCHEST,
    "chexpert": CHEXPERT,
    "chexpert-studies": CHEXPERT,
    "chexpert-plus": CHEXPERT,
    "mimic": MIMIC,
    "cxr-lt": MIMIC,
    "rsna": RSNA,
    "siim": SIIM,
    "vindr": VINDR,
    "vindr-pcxr": VINDR_PCXR,
    "openi": OPENI,
    "brax": BRAX,
}
"""Data set by the layout of its label table."""


def set_of_film(path: str) -> str:
    """The data set whose films have such names, "" if there is none.

    Parameters
    ----------
    path : str
        Path of a film below its folder; \\ counts as /.

    Examples
    --------
    >>> set_of_film("images_001/00000013_005.png"), set_of_film("20250101_001.png")
    ('NIH', '')
    """
    path = film_key(path)
    name = path.rpartition("/")[2]
    if (found := _NIH_FILM.fullmatch(name)) and 1 <= int(found[1]) <= _NIH_PATIENTS:
        return NIH
    if _CHEXPERT_FILM.fullmatch(path):
        return CHEXPERT
    if _MIMIC_FILM.fullmatch(name):
        return MIMIC
    if _BRAX_FILM.fullmatch(path):
        return BRAX
    by_name = {PADCHEST: _PADCHEST_FILM, OPENI: _OPENI_FILM, VINDR: _VINDR_FILM}
    return next((found for found, pattern in by_name.items() if pattern.fullmatch(name)), "")


def films_not_held_out(
    paths: Sequence[str], trained_on: Iterable[str], layout: str = "", listed: Sequence[bool] = ()
) -> list[dict[str, Any]]:
    """The films of data sets that a model was trained on, as provenance records them.

    Parameters
    ----------
    paths : sequence of str
        The N films.
    trained_on : iterable of str
        Names of data sets.
    layout : str
        Layout of the label table, "" if there is none.
    listed : sequence of bool
        N, whether the table has a row for a film.

    Returns
    -------
    list of dict
        For each data set and each way of recognising its films: "set", "films" (their number), "recognised_by" ("name"
        or "table"), "trained_on" (the data sets of the model that have them) and "overlap": "same" if one of these
        holds all films of the set, "part" if they share films that are not known one by one.
    """
    by_table = _LAYOUTS.get(layout, "")
    known = tuple(dict.fromkeys(map(_canonical, trained_on)))
    names = [set_of_film(path) for path in paths]
    nameless = sum(row and not name for name, row in zip(names, listed, strict=True)) if by_table and listed else 0
    found = []
    for recognised_by, counts in (("name", Counter(filter(None, names))), ("table", {by_table: nameless})):
        for name, films in sorted(counts.items()):
            overlap, theirs = _overlap(name, known)
            if films and theirs:
                record = {"set": name, "films": films, "recognised_by": recognised_by}
                found.append({**record, "trained_on": list(theirs), "overlap": overlap})
    return found


def _overlap(name: str, trained_on: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """How films of a data set overlap with those of others, and with which of them."""
    holders = (name, NIH) if name in PARTS_OF_NIH else (name,)
    if same := tuple(one for one in trained_on if one in holders):
        return "same", same
    related = (NIH, *PARTS_OF_NIH) if name in (NIH, *PARTS_OF_NIH) else ()
    return "part", tuple(one for one in trained_on if one in related)


def describe_not_held_out(record: Any, total: int, model: str = "the model") -> str:
    """One sentence on films that are not held-out.

    Parameters
    ----------
    record : mapping
        One of films_not_held_out, or of the provenance of a file, in which any value may be missing.
    total : int
        Number of films of the run.
    model : str
        What was trained on the data sets, as a word of the sentence.
    """
    name, sets = get_text(record, "set"), " and ".join(get_texts(record, "trained_on"))
    films = f"{get_text(record, 'films')} of {total} films"
    is_part, by_table = get_text(record, "overlap") != "same", get_text(record, "recognised_by") == "table"
    how = (
        f"{films} have a row in a label table of the layout of {name}"
        if by_table
        else f"{films} have names of {name} films"
    )
    verb = "have" if " and " in sets else "has"
    shared = f", which {verb} films in common with {name}" if is_part else ""
    maybe = "may not be" if is_part or by_table else "are not"
    return f"Figures {maybe} held-out: {model} was trained on {sets}{shared}, and {how}."


def merged_not_held_out(provenances: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The records of partial files as those of all their films: numbers of films are added up."""
    sums: dict[tuple[Any, ...], dict[str, Any]] = {}
    for provenance in provenances:
        records = get_nested(provenance, "not_held_out")
        for record in records if isinstance(records, list) else ():
            sets = get_texts(record, "trained_on")
            key = tuple(get_text(record, word) for word in ("set", "recognised_by", "overlap"))
            films = get_nested(record, "films")
            own = sums.setdefault((*key, *sets), {**record, "films": 0})
            own["films"] += films if isinstance(films, int) else 0
    return list(sums.values())
