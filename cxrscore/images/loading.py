"""One film from a file to the square of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cxrscore.images.decode import read_film
from cxrscore.images.film import Film, Pixels
from cxrscore.images.preprocess import Preprocessing, preprocess
from cxrscore.remote import PathOrUrl


@dataclass(frozen=True, kw_only=True)
class LoadedFilm:
    """What is known of a film (without its own pixels) and its square [S,S], None unless its status is OK.

    more  its squares by further preprocessings that were asked for, in their order; none unless its status is OK
    """

    film: Film
    pixels: Pixels | None
    more: tuple[Pixels, ...] = ()


def load_film(
    path: PathOrUrl, preprocessing: Preprocessing, *, also: Sequence[Preprocessing] = (), any_modality: bool = False
) -> LoadedFilm:
    """One film read once and preprocessed, by the further ones of ``also``, too; never raises for a bad film."""
    film = read_film(path, any_modality=any_modality)
    known = replace(film, pixels=None)
    if film.pixels is None:
        return LoadedFilm(film=known, pixels=None)
    square, *more = (preprocess(film.pixels, one) for one in (preprocessing, *also))
    return LoadedFilm(film=known, pixels=square, more=tuple(more))
