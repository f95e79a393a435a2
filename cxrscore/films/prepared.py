"""One film from a file to the square of a network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from cxrscore.films.decode import read_film
from cxrscore.films.film import Film, Pixels
from cxrscore.films.preprocess import Preprocessing, preprocess


@dataclass(frozen=True, kw_only=True)
class PreparedFilm:
    """What is known of a film (without its own pixels) and its square [S,S], None unless its status is OK."""

    film: Film
    pixels: Pixels | None


def prepare(path: Path, preprocessing: Preprocessing, *, any_modality: bool = False) -> PreparedFilm:
    """One film read and preprocessed; never raises for a bad film."""
    film = read_film(path, any_modality=any_modality)
    square = None if film.pixels is None else preprocess(film.pixels, preprocessing)
    return PreparedFilm(film=replace(film, pixels=None), pixels=square)
