"""Read films into arrays: find, decode, preprocess, cache, prefetch and augment them."""

from cxrscore.images.arrays import FilmSource, as_films, load_array
from cxrscore.images.augment import Augmentation, augment
from cxrscore.images.decode import LoadedFilm, decode_film, decoder_versions, film_digest, read_bytes, read_film
from cxrscore.images.decoder_pool import DecoderPool
from cxrscore.images.dicom import dicom_display
from cxrscore.images.dicom_display import Display, Lut, Window
from cxrscore.images.digests import FilmStates, digest_column, film_states, remember_digests
from cxrscore.images.film import Film, Pixels, Status
from cxrscore.images.film_notes import FilmNotes, count_notes, describe_notes, note_kinds
from cxrscore.images.find import FoundFilms, find_films, find_same_file, require_films
from cxrscore.images.image_cache import ImageCache
from cxrscore.images.other_files import OtherFiles
from cxrscore.images.prefetch import load_ahead, stream_films
from cxrscore.images.preprocess import Preprocessing, film_in_square, preprocess, resize_maps, thumbnail, to_unit

__all__ = [
    "Augmentation",
    "DecoderPool",
    "Display",
    "Film",
    "FilmNotes",
    "FilmSource",
    "FilmStates",
    "FoundFilms",
    "ImageCache",
    "LoadedFilm",
    "Lut",
    "OtherFiles",
    "Pixels",
    "Preprocessing",
    "Status",
    "Window",
    "as_films",
    "augment",
    "count_notes",
    "decode_film",
    "decoder_versions",
    "describe_notes",
    "dicom_display",
    "digest_column",
    "film_digest",
    "film_in_square",
    "film_states",
    "find_films",
    "find_same_file",
    "load_ahead",
    "load_array",
    "note_kinds",
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
