"""A folder to arrays: films found, decoded, made square, streamed or stored, and varied for training."""

from cxrscore.films.augment import Augmentation, augment
from cxrscore.films.decode import decode_film, decoder_versions, film_digest, read_bytes, read_film
from cxrscore.films.decoders import Decoders
from cxrscore.films.digests import FilmStates, film_digests, film_states, remember_digests
from cxrscore.films.film import Film, Pixels, Status
from cxrscore.films.find import FoundFilms, film_that_is, find_films, require_films
from cxrscore.films.prepared import PreparedFilm
from cxrscore.films.preprocess import Preprocessing, preprocess, resize_maps, thumbnail, to_unit
from cxrscore.films.store import FilmStore
from cxrscore.films.stream import stream_films

__all__ = [
    "Augmentation",
    "Decoders",
    "Film",
    "FilmStates",
    "FilmStore",
    "FoundFilms",
    "Pixels",
    "PreparedFilm",
    "Preprocessing",
    "Status",
    "augment",
    "decode_film",
    "decoder_versions",
    "film_digest",
    "film_digests",
    "film_states",
    "film_that_is",
    "find_films",
    "preprocess",
    "read_bytes",
    "read_film",
    "remember_digests",
    "require_films",
    "resize_maps",
    "stream_films",
    "thumbnail",
    "to_unit",
]
