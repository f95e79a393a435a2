"""The configuration of a watch: one TOML file, checked before anything is scored.

Its own keys are in schemas/watch.schema.json. The tables ``score``, ``export`` and ``report`` have the options of these
commands, under the names of the command line, and are checked against the options that this installation has.
"""

from __future__ import annotations

import datetime
import functools
import inspect
import math
import re
import tomllib
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cxrscore.errors import InputError
from cxrscore.export import ExportOptions
from cxrscore.export.options import SUFFIXES
from cxrscore.io.regular import read_regular
from cxrscore.io.strict_json import first_error, schema
from cxrscore.remote import PathOrUrl, RemotePath, is_url, parse_location
from cxrscore.scoring import ScoreOptions

LARGEST = 64 << 10
"""Largest size of the file, bytes."""
_SHOWN = 100
_WORDS = {
    "string": "a text, not empty",
    "number": "a number",
    "integer": "a whole number",
    "object": "a table",
    "array": "a list of these",
    "tables": "tables, each below a line [[export]]",
}
"""Types of the schema, in words."""
_OF_THE_WATCH = ("films", "output", "model", "partition", "overwrite", "rehash", "temp_dir", "command")
_SEVERAL_PROCESSES = ("executor", "processes", "address")
_ALIASES = {
    "score": {"finding": "findings"},
    "export": {"to": "kind", "format": "kind", "all_columns": "every_column"},
    "report": {"finding": "findings"},
}
"""Names of options on the command line that differ from those in Python."""
_DATE = re.compile(r"(?<![^?&])(\w*Date)=(today|yesterday|last(?:\+|%20| )(\d{1,4})(?:\+|%20| )days?)(?=&|$)")


@dataclass(frozen=True, kw_only=True)
class ExportTarget:
    """One export of each scores file.

    name     for messages and for the marker that it is done: it changes with the options
    folder   where the exports are written; None if the kind writes none
    suffix   of a file for each scores file; "" for a folder for each
    options  of ExportOptions, or of ``write_report`` for a report
    """

    name: str
    folder: Path | None
    suffix: str
    options: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class WatchConfig:
    """What to watch, and what to do with the films.

    films           folder or URL, as text: words such as "today" in its query become dates in each round
    model           model files, or names of public weights
    output          folder of the scores files
    interval        seconds between two rounds
    min_age         seconds since the last change after which a film counts as complete
    films_per_file  largest number of films in a scores file
    retries         how often a film that could not be read is tried again
    score           options of ScoreOptions
    """

    films: str
    model: tuple[str | Path, ...]
    output: Path
    interval: float = 60.0
    min_age: float = 30.0
    films_per_file: int = 1000
    retries: int = 5
    score: Mapping[str, Any]
    exports: tuple[ExportTarget, ...] = ()
    report: ExportTarget | None = None

    def location(self, today: datetime.date) -> PathOrUrl:
        """The films on this day."""
        return parse_location(with_dates(self.films, today) if is_url(self.films) else self.films)

    def score_options(self, output: Path, today: datetime.date) -> ScoreOptions:
        """The options of a run that writes this scores file."""
        given = {name: _dated(value, today) if name == "query" else value for name, value in self.score.items()}
        return ScoreOptions(films=self.location(today), output=output, model=self.model_files, **given)

    @property
    def model_files(self) -> tuple[Path, ...]:
        """The models as files; names of public weights must have been replaced."""
        return tuple(map(Path, self.model))

    def with_models(self, find: Callable[[Any], Any]) -> WatchConfig:
        """The same with ``find(model)`` for each model."""
        return replace(self, model=tuple(map(find, self.model)))


def with_dates(text: str, today: datetime.date) -> str:
    """A DICOMweb query in which ``StudyDate=today``, ``yesterday`` or ``last N days`` are dates as DICOM writes them;
    the last 2 days are yesterday and today.

    Examples
    --------
    >>> with_dates("StudyDate=last 2 days&Modality=DX", datetime.date(2026, 3, 1))
    'StudyDate=20260228-20260301&Modality=DX'
    >>> with_dates("StudyDate=today", datetime.date(2026, 3, 1))
    'StudyDate=20260301'
    """

    def dates(found: re.Match[str]) -> str:
        if found[3] is None:
            day = today - datetime.timedelta(days=found[2] == "yesterday")
            return f"{found[1]}={day:%Y%m%d}"
        first = today - datetime.timedelta(days=max(int(found[3]) - 1, 0))
        return f"{found[1]}={first:%Y%m%d}-{today:%Y%m%d}"

    return _DATE.sub(dates, text)


def _dated(value: Any, today: datetime.date) -> Any:
    """The option ``query``, a text, or several, with dates for words."""
    if isinstance(value, str):
        return with_dates(value, today)
    if isinstance(value, tuple):
        return tuple(_dated(one, today) for one in value)
    return value


def read_config(path: Path) -> WatchConfig:
    """Reads a configuration. Paths in it are relative to the folder of the file.

    Parameters
    ----------
    path : Path
        The TOML file.

    Returns
    -------
    WatchConfig

    Raises
    ------
    InputError
        For a file that cannot be read, an unknown key, a value of a wrong type, a URL with a user or password, or an
        output below the films. The message names the key and what was expected, in one line.
    """
    values = _parse(path)
    for place, number in _floats(values):  # before the schema: JSON has finite numbers only
        if not math.isfinite(number):
            raise InputError(f"{path}: {place} is {number}, expected a finite number")
    _check_schema(path, values)
    for place, text in _texts(values):
        _check_no_secret(path, place, text)
    base = path.absolute().parent
    films = values["films"] if is_url(values["films"]) else str(_resolved(f"{path}: films", base, values["films"]))
    given = values["model"] if isinstance(values["model"], list) else [values["model"]]
    config = WatchConfig(
        films=films,
        model=tuple(_model(f"{path}: model", base, one) for one in given),
        output=_resolved(f"{path}: output", base, values["output"]),
        **{name: values[name] for name in ("interval", "min_age", "films_per_file", "retries") if name in values},
        score=_score_options(path, base, values.get("score", {})),
        exports=tuple(_export(path, base, films, one, k) for k, one in enumerate(values.get("export", []), 1)),
        report=_report(path, base, values["report"]) if "report" in values else None,
    )
    _check_outputs(path, config)
    try:
        config.score_options(config.output / "scores.h5", datetime.date.today())
    except InputError as error:
        words = "; or one of today, yesterday, last+2+days" if "range of dates" in str(error) else ""
        raise InputError(f"{path}: {error}{words}") from error
    return config


def _parse(path: Path) -> dict[str, Any]:
    try:
        data = read_regular(path, LARGEST)
        if data is None:
            raise InputError(f"{path} has more than {LARGEST:,} bytes, more than a configuration can have")
        return tomllib.loads(data.decode())
    except OSError as error:
        raise InputError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from error
    except (ValueError, RecursionError):
        raise InputError(f"{path} is not a configuration: a value is too long, or nested too deep") from None


def _check_schema(path: Path, values: Any) -> None:
    """InputError that names one key and what was expected, unless the schema accepts the values."""
    own = schema("watch")
    try:
        error: Any = first_error(values, own)
    except ValueError as reason:
        raise InputError(f"{path} is not a configuration: {reason}") from None
    if error is None:
        return
    *place, keyword = error.schema_path
    part = functools.reduce(lambda tree, key: tree[key], place, own)
    if keyword == "additionalProperties":
        allowed: Mapping[str, Any] = part["properties"]
        name = next(key for key in error.instance if key not in allowed)
        raise InputError(f"{path} has the key {name!r:.{_SHOWN}}, expected one of: {', '.join(allowed)}")
    if keyword == "required":
        name = next(key for key in part["required"] if key not in error.instance)
        raise InputError(f"{path} lacks the key {name!r}, expected {own['properties'][name]['description']}")
    words = ".".join(map(str, error.instance_path))
    raise InputError(f"{path}: {words} is {_short(error.instance)}, expected {_expected(part)}")


def _expected(part: Mapping[str, Any]) -> str:
    kinds = part["type"] if isinstance(part["type"], list) else [part["type"]]
    if kinds == ["array"]:
        return _WORDS["tables"]
    low, high = part.get("minimum"), part.get("maximum")
    limits = (f" of at least {low}" if low is not None else "") + (f" and at most {high}" if high else "")
    return " or ".join(_WORDS[kind] for kind in kinds) + limits


def _short(value: Any) -> str:
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    return repr(value)[:_SHOWN]


def _texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Every text of the document with its key."""
    if isinstance(value, str):
        yield place, value
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ()):
        yield from _texts(inner, f"{place}.{key}".lstrip("."))


def _floats(value: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """Every number with a fraction of the document with its key."""
    if isinstance(value, float):
        yield place, value
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ()):
        yield from _floats(inner, f"{place}.{key}".lstrip("."))


def _check_no_secret(path: Path, place: str, text: str) -> None:
    """InputError, without the text, for a URL with a user or password."""
    if not is_url(text):
        return
    try:
        found = urlsplit(text).netloc
    except ValueError:
        found = "@"
    if "@" in found:
        raise InputError(
            f"{path}: {place} is a URL with a user or password, expected one without: credentials come from the "
            "environment or from ~/.netrc, so that this file has no secret"
        )


def _resolved(place: str, base: Path, text: str) -> Path:
    """A path on this machine; InputError, with the key, for a text that is none."""
    where = parse_location(text)
    if isinstance(where, RemotePath):
        raise InputError(f"{place} is a URL, expected a path on this machine")
    if "\0" in text:
        raise InputError(f"{place} has a zero character, which no path has")
    try:
        return base / where.expanduser()
    except RuntimeError:
        raise InputError(f"{place} begins with '~' and no user's folder, expected ~/ or a path") from None


def _model(place: str, base: Path, name: str) -> str | Path:
    """A path; the name of public weights, which no file has, stays a text."""
    from cxrscore.models.public_weights import public_weights

    own = _resolved(place, base, name)
    return name if public_weights(name) is not None and not own.exists() else own


def _score_options(path: Path, base: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    known = _fields_of(ScoreOptions)
    allowed = {name: hint for name, hint in known.items() if name not in (*_OF_THE_WATCH, *_SEVERAL_PROCESSES)}
    found = _checked(path, "score", base, given, allowed)
    # The films of a round are new: a label table that lies among the films need not have a row for any of them.
    return {"no_labels": "labels" not in found, "allow_unmatched": True, **found}


def _export(path: Path, base: Path, films: str, given: Mapping[str, Any], number: int) -> ExportTarget:
    allowed = {name: hint for name, hint in _fields_of(ExportOptions).items() if name not in ("overwrite", "inputs")}
    options = _checked(path, f"export {number}", base, given, allowed)
    folder = options.pop("output", None)
    kind = options.get("kind")
    suffixes: dict[str, str] = {}
    for suffix, one in SUFFIXES.items():
        suffixes.setdefault(one, suffix)
    if kind is None and "stow" not in options:
        raise InputError(f"{path}: export {number} lacks the key 'to', expected a format, as in to = \"csv\"")
    target = ExportTarget(
        name=f"export {number} to {kind or 'an archive'}",
        folder=folder,
        suffix=suffixes.get(kind or "", ""),
        options=options,
    )
    try:
        if kind not in suffixes and "films" not in options and (own := _with_films(target, films)):
            return own
        export_options(target, Path("scores.h5")).chosen_kind()
    except InputError as error:
        raise InputError(f"{path}: export {number}: {error}") from error
    return target


def _with_films(target: ExportTarget, films: str) -> ExportTarget | None:
    """The same export with the films that are watched, which most kinds of objects refer to; None if it takes none."""
    own = replace(target, options={**target.options, "films": parse_location(films)})
    try:
        export_options(own, Path("scores.h5")).chosen_kind()
    except InputError:
        return None
    return own


def export_options(target: ExportTarget, scores: Path) -> ExportOptions:
    """The options of an export of one scores file: a file or a folder of its name below the folder of the target."""
    own: dict[str, Any] = {**target.options, "inputs": (scores,), "overwrite": True}
    if target.folder is not None:
        own["output"] = target.folder / f"{scores.stem}{target.suffix}"
    if isinstance(films := own.get("films"), RemotePath):
        own["films"] = RemotePath(with_dates(films.url, datetime.date.today()))
    try:
        return ExportOptions(**own)
    except TypeError:
        raise InputError("the key 'output' is missing, expected the folder of the exports") from None


def _report(path: Path, base: Path, given: Mapping[str, Any]) -> ExportTarget:
    from cxrscore.reporting import write_report

    hints = typing.get_type_hints(write_report)
    keywords = [one.name for one in inspect.signature(write_report).parameters.values() if one.kind == one.KEYWORD_ONLY]
    unfit = ("source", "others", "figures", "figure_format", "pdf", "inputs", "overwrite")
    allowed = {"output": Path, **{name: hints[name] for name in keywords if name not in unfit}}
    options = _checked(path, "report", base, given, allowed)
    if "output" not in options:
        raise InputError(f"{path}: report lacks the key 'output', expected the folder of the reports")
    return ExportTarget(name="report", folder=options.pop("output"), suffix=".html", options=options)


def _fields_of(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {one.name: hints[one.name] for one in fields(kind)}


def _checked(
    path: Path, table: str, base: Path, given: Mapping[str, Any], allowed: Mapping[str, Any]
) -> dict[str, Any]:
    """The options of a table under their names in Python; InputError for one that is unknown or of a wrong type."""
    aliases = _ALIASES[table.split(" ")[0]]
    found: dict[str, Any] = {}
    for key, value in given.items():
        name = key.replace("-", "_")
        name = name if name in allowed else aliases.get(name, name)
        if name not in allowed:
            shown = [one for one in allowed if one not in aliases.values()] + [one for one in aliases if one != name]
            why = " (a watch is one process)" if name in _SEVERAL_PROCESSES else ""
            raise InputError(
                f"{path}: {table} has the key {key!r:.{_SHOWN}}{why}, expected one of: {', '.join(sorted(shown))}"
            )
        if name in found:
            raise InputError(f"{path}: {table} has the key {key!r:.{_SHOWN}}, another name of one that it has already")
        found[name] = _value(f"{path}: {table}.{key}", value, allowed[name], base)
    return found


def _value(place: str, value: Any, hint: Any, base: Path) -> Any:
    """A value of the type that an option has. A relative path is one below the folder of the configuration."""
    kinds = set(_kinds(hint))
    fits = {
        "true or false": isinstance(value, bool),
        "a whole number": isinstance(value, int) and not isinstance(value, bool),
        "a number": isinstance(value, int | float) and not isinstance(value, bool),
        "a text": isinstance(value, str),
        "a path": isinstance(value, str),
        "a list of texts": isinstance(value, list) and all(isinstance(one, str) for one in value),
        "a table of numbers": isinstance(value, dict),
    }
    if not any(fits[kind] for kind in kinds):
        raise InputError(f"{place} is {_short(value)}, expected {' or '.join(sorted(kinds))}")
    if (words := _words(hint)) and value not in words:
        raise InputError(f"{place} is {_short(value)}, expected one of: {', '.join(words)}")
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, str) and "a path" in kinds and not (is_url(value) and RemotePath in _members(hint)):
        return _resolved(place, base, value)
    return value


def _members(hint: Any) -> tuple[Any, ...]:
    """The types that a union, which may have unions in it, is made of."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return (hint,)
    return tuple(inner for one in typing.get_args(hint) for inner in _members(one))


def _words(hint: Any) -> tuple[str, ...]:
    """The words that an option may be, if it is one of few."""
    return tuple(
        word for one in _members(hint) if typing.get_origin(one) is typing.Literal for word in typing.get_args(one)
    )


def _kinds(hint: Any) -> Iterator[str]:
    """What a value of this type may be, in words."""
    origin = typing.get_origin(hint)
    if len(members := _members(hint)) > 1:
        for one in members:
            yield from _kinds(one)
    elif hint in (Path, RemotePath):
        yield "a path"
    elif hint in (bool, int, float, str):
        yield {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[hint]
    elif origin is typing.Literal:
        yield "a text"
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        yield "a table of numbers"
    elif origin is not None:
        yield from ("a list of texts", "a text")
    elif hint is not type(None):  # TargetPrevalence
        yield from ("a path", "a table of numbers")


def _check_outputs(path: Path, config: WatchConfig) -> None:
    """InputError for exports into the same files, and for an output below the films: exports that are images would be
    scored as films."""
    written: dict[tuple[Path, str], str] = {}
    for one in (*config.exports, *([config.report] if config.report else [])):
        if one.folder is None:
            continue
        if other := written.get((one.folder.resolve(), one.suffix)):
            raise InputError(
                f"{path}: {one.name} writes the files of {other}, expected another folder than {one.folder}"
            )
        written[one.folder.resolve(), one.suffix] = one.name
    if is_url(config.films):
        return
    films = Path(config.films).resolve()
    targets = {"output": config.output, **{one.name: one.folder for one in config.exports}}
    targets |= {"report": config.report.folder} if config.report else {}
    for name, folder in targets.items():
        if folder is not None and folder.resolve().is_relative_to(films):
            raise InputError(f"{path}: the folder of {name} is below the films, expected one elsewhere: {folder}")
