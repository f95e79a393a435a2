"""Describes a scores file, a model file or an ensemble file: in a few lines, as JSON, or as a model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeAlias

from cxrscore.errors import FileFormatError, InputError
from cxrscore.io.regular import HDF5, read_first_bytes
from cxrscore.models.ensemble_file import is_ensemble, load_ensemble
from cxrscore.models.model_file import load_model
from cxrscore.remote import Location, as_local_path, parse_location
from cxrscore.scorefile import open_scores, read_file_provenance
from cxrscore.show.card import model_card
from cxrscore.show.chai_card import chai_model_card
from cxrscore.show.describe import describe_ensemble, describe_model, describe_scores
from cxrscore.show.text import as_text

__all__ = [
    "as_text",
    "chai_model_card",
    "describe_file",
    "describe_model",
    "describe_scores",
    "model_card",
    "read_model_card",
]

CardFormat: TypeAlias = Literal["markdown", "chai-xml"]


def describe_file(path: Location) -> dict[str, Any]:
    """Describes a scores file, a model file or an ensemble file, as ``cxrscore show --json`` does.

    Parameters
    ----------
    path : path or URL
        The file.

    Returns
    -------
    dict
        The description, ready for JSON; its "file_type" is "scores", "model" or "ensemble".

    Raises
    ------
    InputError
        If there is no file.
    FileFormatError
        If the file is neither a scores file nor a model file, or is damaged.

    Examples
    --------
    >>> cxrscore.describe_file("model.safetensors")["file_type"]  # doctest: +SKIP
    'model'
    """
    with as_local_path(path) as file:
        if _is_scores(file):
            return describe_scores(
                open_scores(file), read_file_provenance(file).fingerprint, name=parse_location(path).name
            )
        return describe_ensemble(load_ensemble(file)) if is_ensemble(file) else describe_model(load_model(file))


def read_model_card(path: Location, card_format: CardFormat = "markdown") -> str:
    """The card of a model file or an ensemble file: Markdown, or XML as the CHAI Applied Model Card; errors as
    describe_file, and InputError for a scores file."""
    card = chai_model_card if card_format == "chai-xml" else model_card
    with as_local_path(path) as file:
        if _is_scores(file):
            raise InputError(f"{file} is a scores file; a card describes a model, such as model.safetensors")
        return card(load_ensemble(file) if is_ensemble(file) else load_model(file))


def _is_scores(path: Path) -> bool:
    """Whether the file is HDF5; FileFormatError if it is neither HDF5 nor safetensors."""
    head = read_first_bytes(path, len(HDF5) + 1)
    if not head.startswith(HDF5) and head[len(HDF5) :] != b"{":
        raise FileFormatError(
            f"{path} is neither a scores file (HDF5, of `cxrscore score`) nor a model (safetensors, of `cxrscore "
            "train`)"
        )
    return head.startswith(HDF5)
