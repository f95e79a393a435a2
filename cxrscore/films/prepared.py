"""One film from a file to the square of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cxrscore.films.decode import read_film
from cxrscore.films.film import Film, Pixels
from cxrscore.films.preprocess import Preprocessing, preprocess
from cxrscore.remote import Place


@dataclass(frozen=True, kw_only=True)
class PreparedFilm:
    """What is known of a film (without its own pixels) and its square [S,S], None unless its status is OK.

    more  its squares by further preprocessings that were asked for, in their order; none unless its status is OK
    """

    film: Film
    pixels: Pixels | None
    more: tuple[Pixels, ...] = ()


def prepare(
    path: Place, preprocessing: Preprocessing, *, also: Sequence[Preprocessing] = (), any_modality: bool = False
) -> PreparedFilm:
    """One film read once and preprocessed, by the further ones of ``also``, too; never raises for a bad film."""
    film = read_film(path, any_modality=any_modality)
    known = replace(film, pixels=None)
    if film.pixels is None:
        return PreparedFilm(film=known, pixels=None)
    square, *more = (preprocess(film.pixels, one) for one in (preprocessing, *also))
    return PreparedFilm(film=known, pixels=square, more=tuple(more))
