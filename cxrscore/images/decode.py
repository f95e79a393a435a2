"""Decode one film from bytes to grey pixels. An unusable film gets a status; no exception is raised."""

from __future__ import annotations

import functools
import hashlib
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, cast

import numpy as np

import cxrscore
from cxrscore.errors import RemoteError, RemoteTooLargeError
from cxrscore.images.archive import read_member, split_path
from cxrscore.images.codecs import check_jpeg_strictly, cv2
from cxrscore.images.dicom import HEADER_BYTES, dicom_modality_and_view, open_dicom
from cxrscore.images.file_signatures import (
    REST_IGNORED,
    SIGNATURE_BYTES,
    check_jpeg_end,
    detect_format,
    jpeg_components,
    jpeg_header,
    jpeg_orientation,
    jpeg_with_height,
    png_content,
    png_header,
)
from cxrscore.images.film import MAX_BYTES, Film, FilmError, Header, Pixels, Status, check_sides
from cxrscore.images.grey_range import check_content, in_used_range
from cxrscore.images.preprocess import Preprocessing, preprocess, shrink_to
from cxrscore.io.regular import open_regular
from cxrscore.remote import PathOrUrl, RemotePath, read_remote

_GREY = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
_AS_STORED = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
LARGEST_HASHED = 4 << 30
"""Largest file in bytes that is hashed: a sparse file may claim any size."""
NOT_RECEIVED = "not received"
"""Start of the message of a film that was not received from its store, and that may be received later."""
_ARITHMETIC = (0xC9, 0xCA)
_DECODED = (0xC0, 0xC1, 0xC2, *_ARITHMETIC)
"""Frame markers of the JPEG that OpenCV decodes, the arithmetic ones if its libjpeg was built with them."""


def read_film(path: PathOrUrl, *, any_modality: bool = False) -> Film:
    """The film in a file; never raises for an unusable film. See decode_film."""
    try:
        data = _read(path)
    except FilmError as error:
        large = error.status == Status.TOO_LARGE
        return Film(status=error.status, message=str(error), sha256=_file_digest(path) if large else "")
    except OSError as error:
        return Film(status=Status.UNREADABLE, message=f"cannot be read: {error.strerror}")
    return decode_film(data, any_modality=any_modality)


def read_header(path: PathOrUrl) -> Film:
    """A film without pixels and digest: its kind and, of a DICOM film, its modality and view, from its first bytes.
    Never raises for an unusable film: its status and message say why there is no more."""
    try:
        data = _first_bytes(path)
    except FilmError as error:
        return Film(status=error.status, message=str(error))
    except OSError as error:
        return Film(status=Status.UNREADABLE, message=f"cannot be read: {error.strerror}")
    film = Film(status=Status.OK, kind=detect_format(data[:SIGNATURE_BYTES]))
    if film.kind != "dicom":
        return film
    try:
        modality, view = dicom_modality_and_view(data)
    except FilmError as error:
        return replace(film, status=error.status, message=str(error))
    return replace(film, modality=modality, view=view)


def _first_bytes(path: PathOrUrl) -> bytes:
    """The first bytes of a film on disk or of a remote one; of a member of an archive all."""
    if isinstance(path, RemotePath):
        return _received(path, first=HEADER_BYTES)
    file_path, member = split_path(path)
    if member:
        return _read(path)
    with open_regular(file_path) as file:
        return file.read(HEADER_BYTES)


@functools.cache
def decoder_versions() -> dict[str, str]:
    """Versions of everything that decides the pixels of a film besides its bytes; "" for what is not installed."""
    import importlib.metadata  # here, as each decoder process would import it, and its parts, without a need

    found = {"cxrscore": cxrscore.__version__, "opencv": cv2.__version__}
    for name in ("pydicom", "imagecodecs", "simplejpeg"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = ""
    return found


def read_bytes(path: PathOrUrl) -> bytes | None:
    """The bytes of a film's file, from which its SHA-256 is computed; None if they cannot be read."""
    try:
        return _read(path)
    except (FilmError, OSError):
        return None


def film_digest(path: PathOrUrl) -> str:
    """SHA-256 of a film's bytes in hex, whether or not it can be decoded. "" if they cannot be read, if the file has
    over 4 GiB, or over 256 MB in a remote store or an archive, where its size is not known beforehand."""
    try:
        if isinstance(path, RemotePath) or split_path(path)[1]:
            data = read_bytes(path)
            return "" if data is None else hashlib.sha256(data).hexdigest()
    except (OSError, MemoryError):
        return ""
    return _file_digest(path)


def _file_digest(path: PathOrUrl) -> str:
    """SHA-256 of a file on disk, read in pieces; "" for remote files and for members of archives."""
    if isinstance(path, RemotePath):
        return ""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST_HASHED:
            return ""
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _read(path: PathOrUrl) -> bytes:
    if isinstance(path, RemotePath):
        return _received(path)
    file_path, member = split_path(path)
    if member:
        data = read_member(file_path, member)
        if len(data) > MAX_BYTES:
            raise FilmError(Status.TOO_LARGE, f"more than {MAX_BYTES:,} bytes")
        return data
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):  # opening a pipe would block forever
        raise FilmError(Status.UNREADABLE, "not a regular file")
    with open_regular(path) as file:
        data = _read_whole(file, found.st_size) if found.st_size <= MAX_BYTES else b""
    if max(found.st_size, len(data)) > MAX_BYTES:
        raise FilmError(Status.TOO_LARGE, f"{found.st_size:,} bytes, expected at most {MAX_BYTES:,}")
    return data


def _read_whole(file: BinaryIO, size: int) -> bytes:
    """The bytes of a file of this size, at most MAX_BYTES + 1. Memory is allocated for its size, not for the limit: the
    kernel would have to clear it."""
    data = file.read(size + 1)
    return data if len(data) <= size else data + file.read(MAX_BYTES - size)  # it has grown since


def _received(path: RemotePath, first: int | None = None) -> bytes:
    try:
        return read_remote(path, MAX_BYTES, first=first)
    except RemoteTooLargeError as error:
        raise FilmError(Status.TOO_LARGE, error.reason) from None
    except RemoteError as error:
        reason = NOT_RECEIVED if error.passing else "cannot be read"
        raise FilmError(Status.UNREADABLE, f"{reason}: {error.reason}") from None


def decode_film(data: bytes, *, any_modality: bool = False) -> Film:
    """Decode these bytes: a PNG, a JPEG or a DICOM file, recognised by content.

    Colour is turned into grey; 8-bit films become uint8 [H,W], deeper ones uint16 [H,W]; the orientation tag
    of a JPEG is not followed. DICOM pixels are transformed by modality LUT, VOI window and
    MONOCHROME1 inversion, so that black is 0. A DICOM of another modality than CR, DX or RG, or of another body part,
    is NOT_CHEST unless any_modality. The status and message of a film say what is wrong with it.
    """
    kind = detect_format(data[:SIGNATURE_BYTES])
    known: dict[str, Any] = {"sha256": hashlib.sha256(data).hexdigest(), "kind": kind}
    try:
        header, decode = _open(data, kind, any_modality=any_modality)
        known.update(width=header.width, height=header.height, modality=header.modality, view=header.view)
        pixels, note = decode()
        check_content(pixels)
    except FilmError as error:
        return Film(status=error.status, message=str(error), **known)
    return Film(status=Status.OK, message=note, pixels=pixels, **known)


def _open(data: bytes, kind: str, *, any_modality: bool) -> tuple[Header, Callable[[], tuple[Pixels, str]]]:
    """Header and decoder of a film; the decoder checks the header before it decodes."""
    if not data:
        raise FilmError(Status.EMPTY, "file of zero bytes")
    if len(data) > MAX_BYTES:
        raise FilmError(Status.TOO_LARGE, f"{len(data):,} bytes, expected at most {MAX_BYTES:,}")
    if kind == "png":
        header, transparent = png_header(data)
        return header, lambda: _decode_png(data, header, transparent=transparent)
    if kind == "jpeg":
        header, marker, bits = jpeg_header(data)
        return header, lambda: _decode_jpeg(data, header, marker, bits)
    if kind == "dicom":
        return open_dicom(data, any_modality=any_modality)
    raise FilmError(Status.NOT_AN_IMAGE, "neither PNG nor JPEG nor DICOM")


def _decode_png(data: bytes, header: Header, *, transparent: bool) -> tuple[Pixels, str]:
    check_sides(header)
    content = png_content(data)
    pixels = _decode(content.film, header, _GREY)
    notes = ["transparency ignored"] * (transparent and _shows_through(_decode(content.film, header, _AS_STORED)))
    declared, bits = None, content.significant_bits
    if 0 < bits < 8 * pixels.itemsize and pixels.max() < 2**bits:  # else the samples are scaled up
        declared = 2**bits - 1
        notes.append(f"{bits} significant bits (sBIT)")
    return _shown(pixels, notes, content.orientation, content.rest, declared)


def _shown(pixels: Pixels, notes: list[str], tag: int, rest: bytes, declared: int | None = None) -> tuple[Pixels, str]:
    """The film over the range that it uses, with all notes. Zero bytes after its end are padding and need no note."""
    pixels, spread = in_used_range(pixels, declared)
    notes += [f"orientation tag {tag} ignored"] * (tag > 1)
    notes += [REST_IGNORED] * bool(rest.strip(b"\0"))
    return pixels, ", ".join([*notes, *filter(None, [spread])])


def _shows_through(stored: Pixels) -> bool:
    """Whether a film with transparency has a pixel that is not opaque; OpenCV shows this for all but plain grey."""
    return stored.ndim == 2 or bool(stored[..., -1].min() < np.iinfo(stored.dtype).max)


def _decode_jpeg(data: bytes, header: Header, marker: int, bits: int) -> tuple[Pixels, str]:
    check_sides(header)
    if marker not in _DECODED or bits != 8:
        raise FilmError(Status.UNSUPPORTED, f"JPEG of type SOF{marker & 15} with {bits} bits, expected 8-bit lossy")
    if (components := jpeg_components(data)) not in (1, 3, 4):
        raise FilmError(Status.UNSUPPORTED, f"JPEG of {components} colour components, expected 1, 3 or 4")
    rest = check_jpeg_end(data)
    data = jpeg_with_height(data)
    check_jpeg_strictly(data)
    try:
        pixels = _decode(data, header, _GREY)
    except FilmError:
        if marker not in _ARITHMETIC:
            raise
        raise FilmError(Status.UNSUPPORTED, "JPEG with arithmetic coding that OpenCV does not decode") from None
    return _shown(pixels, [], jpeg_orientation(data), rest)


def _decode(data: bytes, header: Header, flags: int) -> Pixels:
    """Pixels by OpenCV. imdecode, not imread: only imdecode distinguishes a truncated JPEG from a complete one."""
    try:
        pixels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise FilmError(Status.DAMAGED, "damaged: it cannot be decoded")
    if pixels.shape[:2] != (header.height, header.width):
        raise FilmError(Status.DAMAGED, "damaged: its decoded size differs from its header")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise FilmError(Status.UNSUPPORTED, f"pixels of {pixels.dtype}, expected 8 or 16 bits")
    return cast(Pixels, pixels)


@dataclass(frozen=True, kw_only=True)
class LoadedFilm:
    """Metadata of a film (without its own pixels) and its square [S,S], None unless its status is OK; of
    load_whole_film the film [H,W] itself.

    more: squares for the further preprocessings, in their order; empty unless the status is OK.
    """

    film: Film
    pixels: Pixels | None
    more: tuple[Pixels, ...] = ()


def load_film(
    path: PathOrUrl, preprocessing: Preprocessing, *, also: Sequence[Preprocessing] = (), any_modality: bool = False
) -> LoadedFilm:
    """Read one film once and preprocess it, also for ``also``; never raises for an unusable film."""
    film = read_film(path, any_modality=any_modality)
    known = replace(film, pixels=None)
    if film.pixels is None:
        return LoadedFilm(film=known, pixels=None)
    square, *more = (preprocess(film.pixels, one) for one in (preprocessing, *also))
    return LoadedFilm(film=known, pixels=square, more=tuple(more))


def load_whole_film(path: PathOrUrl, longest: int, *, any_modality: bool = False) -> LoadedFilm:
    """Read one film to look at it: [H,W] in its own proportions, its longer side reduced to ``longest`` pixels if it
    has more; never raises for an unusable film."""
    film = read_film(path, any_modality=any_modality)
    known = replace(film, pixels=None)
    return LoadedFilm(film=known, pixels=None if film.pixels is None else shrink_to(film.pixels, longest))
