"""Compare what cxrscore makes of the test files of other projects with an independent reading of the same files.

    python tools/foreign_films.py [--download FOLDER] [--json OUT] [--page docs/dicom.md] [NAME=FOLDER ...]

It reads the test files of pydicom and pydicom-data where they are installed, and all files below the folders given.
``--download`` gets pydicom-data from PyPI into a folder if it is not installed.

The independent reading uses no code of cxrscore. DICOM: pydicom reads and decodes the file with its plugins (Pillow,
pyjpegls, pylibjpeg, GDCM: whatever is installed) and applies modality LUT, VOI and inversion with pydicom.pixels. PNG
and JPEG: Pillow. From the same facts follow the statuses that are true of a file. Two things are compared:

* the status, with and without any_modality, with the statuses that are true of the file;
* the grey values, 0 black to 1 white, of each film with the status OK.

And each file of which the other reading has pixels must be found below its folder, whatever its name.

A film that uses less than a quarter of the range that it declares, or of its window, may be stretched, and a window
that makes more than 90 % of it black or white may be passed over: the film is then compared up to a linear stretch of
the values before or after the window, and counted.

Exit codes: 0 if everything agrees or its disagreement is argued in ARGUED; 1 if not; 2 if a suite cannot be had.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import subprocess
import sys
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.pixels import apply_modality_lut, apply_presentation_lut, apply_voi, apply_windowing, get_decoder
from pydicom.uid import UID

from cxrscore.images import Film, Status, decode_film, find_films

Grey = NDArray[np.float64]

PYDICOM_DATA = "pydicom-data==1.0.0"
TOLERANCE = 1.5 / 255
"""Largest difference of two readings, of grey from 0 to 1, that counts as equal: where colours become grey of 8 bits,
two programs that round in different places differ by one level."""
NARROW = 0.25
"""A film that uses less of its declared range may be stretched."""
SATURATED = 0.9
"""A window that makes more of a film black, or white, may be passed over."""
BLANK_BELOW = 1 / 255
"""Standard deviation below which a film shows nothing."""
MIN_SIDE, MAX_PIXELS = 32, 100_000_000
BEGIN, END = "<!-- foreign suites: begin -->", "<!-- foreign suites: end -->"
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"

# The transfer syntaxes of docs/dicom.md.
SYNTAXES = frozenset(
    f"1.2.840.10008.1.2{end}"
    for end in ("", ".1", ".2", ".5", ".4.50", ".4.51", ".4.57", ".4.70", ".4.80", ".4.81", ".4.90", ".4.91")
)
DEFLATED = "1.2.840.10008.1.2.1.99"
PLUGINS = ("pydicom", "pylibjpeg", "pyjpegls", "gdcm", "pillow")
"""Decoders of pydicom, the preferred ones first."""

_SELECTION = (
    "T.81 B.2.3: the scan header of a sequential JPEG says Se = 63. This one says 0, a known fault of some encoders; "
    "libjpeg takes it as 63, and so decodes the pixels of RG2_JPLY_fixed.dcm. The other reading refuses it"
)
# Disagreements in which cxrscore is right, by file name: its status, and the paragraph of the standard.
ARGUED: dict[str, tuple[str, str]] = {
    "JPEG-lossy.dcm": ("OK", _SELECTION),
    "RG2_JPLY.dcm": ("OK", _SELECTION),
    "ExplVR_BigEndNoMeta.dcm": (
        "NOT_AN_IMAGE",
        "PS3.10 7.1: a DICOM file has a preamble and DICM. cxrscore knows data sets without them if they are "
        "little-endian; this one is big-endian, and a radiotherapy plan without pixels",
    ),
}


@dataclass
class Reading:
    """What is true of a file by the independent reading.

    reasons    the statuses other than OK that are true of the file, each with the fact
    possible   the same of a file that may be OK nevertheless: a blank film may be shown over its own range, and a
               decoder may know a rare kind of JPEG
    selection  the fact behind NOT_CHEST, which any_modality ignores; "" if there is none
    grey       [H,W] from 0 to 1; None if it was not decoded
    plain      the same without VOI window or LUT; None if it has none
    tolerance  largest difference of grey that counts as equal
    padding    where [H,W] the film has Pixel Padding Value; None if nowhere
    unknown    why nothing is known of the pixels, such as a missing decoder; ""
    """

    reasons: dict[str, str] = field(default_factory=dict)
    possible: dict[str, str] = field(default_factory=dict)
    selection: str = ""
    grey: Grey | None = None
    plain: Grey | None = None
    tolerance: float = TOLERANCE
    padding: NDArray[np.bool_] | None = None
    unknown: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One file: what cxrscore makes of it, and how it compares.

    verdict  "agrees", "stretched", "not compared", "argued" or "WRONG"
    """

    suite: str
    file: str
    status: str
    strict_status: str
    message: str
    verdict: str
    difference: float | None = None
    reason: str = ""
    facts: str = ""


def read_independently(data: bytes) -> Reading:
    """The facts of a file from pydicom or Pillow."""
    reading = Reading()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not data:
            reading.reasons["EMPTY"] = "no bytes"
        elif data.startswith((PNG, JPEG)):
            _read_picture(data, reading)
        else:
            _read_dicom(data, reading)
        if reading.grey is not None and reading.grey.std() < BLANK_BELOW:
            reading.possible["BLANK"] = f"standard deviation {reading.grey.std() * 255:.2f} of 255"
    return reading


def _read_picture(data: bytes, reading: Reading) -> None:
    """A PNG or a JPEG by Pillow."""
    if data.startswith(PNG):
        _check_sides(int.from_bytes(data[20:24]), int.from_bytes(data[16:20]), reading)
    else:
        _check_jpeg_kind(data, reading)
    try:
        with Image.open(io.BytesIO(data)) as image:
            _load(image, reading)
    except Image.DecompressionBombError as error:
        reading.reasons["TOO_LARGE"] = f"Pillow: {error}"
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        reading.reasons |= reading.possible
        if "UNSUPPORTED" not in reading.reasons:
            reading.reasons["DAMAGED"] = f"Pillow: {type(error).__name__}: {error}".partition(" <_io")[0]


def _load(image: Image.Image, reading: Reading) -> None:
    if image.format == "PNG" and getattr(image, "n_frames", 1) > 1:
        reading.reasons["SEVERAL_FRAMES"] = f"{image.n_frames} frames"
    _check_sides(image.height, image.width, reading)
    if "TOO_LARGE" in reading.reasons:
        return
    if image.format == "JPEG":
        image.draft("L", image.size)  # the luminance itself, not by way of clipped colours
    image.load()
    reading.grey = _grey_of(image)
    if image.mode == "CMYK":  # by way of RGB of 8 bits: two roundings more
        reading.tolerance = 2 * TOLERANCE


def _check_jpeg_kind(data: bytes, reading: Reading) -> None:
    kind = _jpeg_kind(data)
    if kind is None:
        reading.reasons |= dict.fromkeys(("DAMAGED", "UNSUPPORTED"), "JPEG without a frame header")
        return
    marker, bits, components = kind
    if marker not in (0xC0, 0xC1, 0xC2) or bits != 8 or components not in (1, 3, 4):
        reading.possible["UNSUPPORTED"] = f"JPEG of type SOF{marker & 15} with {components} components of {bits} bits"


def _jpeg_kind(data: bytes) -> tuple[int, int, int] | None:
    """Marker of the frame header, bits of a sample and number of components (T.81 B.2.2); None if there is none."""
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}:
            return marker, data[at + 4], data[at + 9]
        at += 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4])
    return None


def _grey_of(image: Image.Image) -> Grey:
    if image.mode.startswith("I"):
        return np.asarray(image, dtype=np.float64) / 65535
    if image.mode in ("L", "1"):
        return np.asarray(image.convert("L"), dtype=np.float64) / 255
    if image.mode == "LA":
        return np.asarray(image.getchannel("L"), dtype=np.float64) / 255
    # The weights of ITU-R BT.601, which JPEG has, too; Pillow's own conversion would round once more.
    return np.asarray(image.convert("RGB"), dtype=np.float64) @ (0.299, 0.587, 0.114) / 255


def _check_sides(height: int, width: int, reading: Reading) -> None:
    if min(height, width) < MIN_SIDE:
        reading.reasons["TOO_SMALL"] = f"{width} x {height} pixels"
    if height * width > MAX_PIXELS:
        reading.reasons["TOO_LARGE"] = f"{width} x {height} pixels"


def _read_dicom(data: bytes, reading: Reading) -> None:
    try:
        ds = pydicom.dcmread(io.BytesIO(data), force=True)
        known = bool(data[128:132] == b"DICM" or "SOPClassUID" in ds or "Rows" in ds or "StudyInstanceUID" in ds)
    except Exception as error:  # noqa: BLE001 - whatever pydicom raises, it cannot read the file
        known = data[128:132] == b"DICM"
        ds = None
        if known:
            reading.reasons["DAMAGED"] = f"pydicom: {type(error).__name__}: {error}"
    if not known:
        reading.reasons["NOT_AN_IMAGE"] = "neither PNG nor JPEG nor DICOM"
    elif ds is not None:
        _judge(ds, reading)


def _judge(ds: Any, reading: Reading) -> None:
    """Facts of a data set, and its pixels if it has those of one grey frame."""
    reading.selection = _selection(ds)
    kinds = [name for name in ("FloatPixelData", "DoubleFloatPixelData") if name in ds]
    if kinds:
        reading.reasons["UNSUPPORTED"] = f"{kinds[0]}, no film"
    elif "PixelData" not in ds:
        # Nothing is lost in an object that has no pixels by its kind; a file cut off before them is damaged.
        reading.reasons |= dict.fromkeys(_without_pixels(ds), "no Pixel Data")
        if "PixelDataProviderURL" in ds:
            reading.reasons["UNSUPPORTED"] = "pixels on a server"
    if reading.reasons:
        return
    try:
        _layout(ds, reading)
    except (AttributeError, TypeError, ValueError) as error:
        reading.reasons["DAMAGED"] = f"an element that the pixels need is missing or no number: {error}"
    if not {"UNSUPPORTED", "SEVERAL_FRAMES", "TOO_LARGE", "DAMAGED"} & set(reading.reasons):
        _decode(ds, reading)


def _without_pixels(ds: Any) -> tuple[str, ...]:
    """An object of an image class lacks its Pixel Data (PS3.3 C.7.6.3); those of other classes are no films; without
    its class, which each object has (PS3.3 C.12.1), it may be either."""
    uid = ds.get("SOPClassUID") or ds.file_meta.get("MediaStorageSOPClassUID")
    if not uid:
        return ("DAMAGED", "UNSUPPORTED", "NOT_CHEST")
    return ("DAMAGED",) if "Image Storage" in UID(uid).name or "Rows" in ds else ("UNSUPPORTED", "NOT_CHEST")


def _selection(ds: Any) -> str:
    modality = str(ds.get("Modality") or "").strip().upper()
    if modality not in ("CR", "DX", "RG"):
        return f"modality {modality or 'missing'}"
    part = str(ds.get("BodyPartExamined") or "").strip().upper()
    return "" if part in ("", "CHEST", "THORAX", "LUNG", "UNKNOWN") else f"body part {part}"


def _syntax(ds: Any) -> str:
    named = ds.file_meta.get("TransferSyntaxUID")
    if named:
        return str(named)
    implicit, little = ds.original_encoding
    return "1.2.840.10008.1.2" if implicit else f"1.2.840.10008.1.2.{1 if little else 2}"


def _layout(ds: Any, reading: Reading) -> None:
    frames = int(ds.get("NumberOfFrames") or 1)
    if frames > 1:
        reading.reasons["SEVERAL_FRAMES"] = f"{frames} frames"
    photometric = str(ds.get("PhotometricInterpretation") or "").strip().upper()
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        reading.reasons["UNSUPPORTED"] = f"photometric interpretation {photometric or 'missing'}"
    syntax = _syntax(ds)
    if syntax == DEFLATED:
        reading.possible["UNSUPPORTED"] = "deflated data set"
    elif syntax not in SYNTAXES:
        reading.reasons["UNSUPPORTED"] = f"transfer syntax {UID(syntax).name}"
    allocated, stored = int(ds.BitsAllocated), int(ds.BitsStored)
    high = int(ds.get("HighBit", stored - 1))
    if "PixelData" in ds and ds["PixelData"].is_undefined_length and stored <= high < allocated:
        high = stored - 1  # the values of a code stream are numbers, whatever cells they came from
    if allocated not in (8, 16) or stored > allocated or high != stored - 1:
        reading.reasons["UNSUPPORTED"] = f"{stored} bits in {allocated}, high bit {ds.get('HighBit')}"
    _check_sides(int(ds.Rows), int(ds.Columns), reading)


def _decode(ds: Any, reading: Reading) -> None:
    syntax = _syntax(ds)
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    decoder = get_decoder(syntax)
    if not decoder.is_available:
        reading.unknown = f"no decoder for {UID(syntax).name}"
        return
    stored, failures = _stored(ds, decoder)
    if stored is None:
        text = "; ".join(f"{plugin}: {failure}" for plugin, failure in failures.items())
        # Pillow does not know all that a syntax allows, and others say so.
        if any(plugin != "pillow" and "support" not in failure for plugin, failure in failures.items()):
            reading.reasons["DAMAGED"] = text
        else:
            reading.unknown = text
        return
    try:
        ds = _without_empty(_with_functional_groups(ds))
        reading.grey = _shown(stored, ds)
        if "VOILUTSequence" in ds or "WindowCenter" in ds:
            for name in ("VOILUTSequence", "WindowCenter", "WindowWidth"):
                ds.pop(name, None)
            reading.plain = _shown(stored, ds)
    except Exception as error:  # noqa: BLE001
        reading.reasons["DAMAGED"] = f"display chain: {type(error).__name__}: {error}"
        return
    padding = ds.get("PixelPaddingValue")
    if padding is not None:
        limit = ds.get("PixelPaddingRangeLimit", padding)
        reading.padding = (stored >= min(padding, limit)) & (stored <= max(padding, limit))


def _stored(ds: Any, decoder: Any) -> tuple[NDArray[Any] | None, dict[str, str]]:
    """Stored values by the first plugin that decodes them; None, and what each plugin says, if none does."""
    plugins = [name for name in PLUGINS if name in decoder.available_plugins] if decoder.is_encapsulated else [""]
    failures = {}
    for plugin in plugins:
        try:
            return np.asarray(decoder.as_array(ds, raw=True, decoding_plugin=plugin)[0]), {}
        except Exception as error:  # noqa: BLE001 - plugins raise what they like
            text = str(error).partition("plugins:")[2] or str(error)
            failures[plugin or "pydicom"] = f"{type(error).__name__}: {' '.join(text.split())[:100]}"
    return None, failures


def _with_functional_groups(ds: Any) -> Any:
    """The data set with window and rescale of its one frame where an enhanced object has them (PS3.3 C.7.6.16)."""
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in (ds.get(groups) or [])[:1]:
            for macro in ("FrameVOILUTSequence", "PixelValueTransformationSequence"):
                for item in (group.get(macro) or [])[:1]:
                    ds.update(item)
    return ds


def _without_empty(ds: Any) -> Any:
    """The data set without elements of the display chain that are there, but empty: they say nothing."""
    for name in ("ModalityLUTSequence", "VOILUTSequence"):
        item = (ds.get(name) or [{}])[0]
        if item.get("LUTDescriptor") is None or item.get("LUTData") is None:
            ds.pop(name, None)
    for name in ("RescaleSlope", "RescaleIntercept"):
        if ds.get(name) is None:
            ds.pop(name, None)
    return ds


def _shown(stored: NDArray[Any], ds: Any) -> Grey:
    """Grey 0..1 by pydicom's functions; the two ends of the range go through the chain beside the pixels."""
    bits, signed = int(ds.BitsStored), int(ds.get("PixelRepresentation") or 0)
    ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    values = apply_modality_lut(np.append(stored.ravel().astype(np.int64), ends), ds)
    values = np.asarray(values, dtype=np.float64)
    if ds.get("VOILUTSequence"):
        top = 2 ** int(ds.VOILUTSequence[0].LUTDescriptor[2]) - 1
        shown = np.append(np.asarray(apply_voi(np.rint(values).astype(np.int64), ds), dtype=np.float64)[:-2], (0, top))
    else:
        shown = _windowed(values, ds)
    if str(ds.PhotometricInterpretation).strip().upper() == "MONOCHROME1":
        ds.PresentationLUTShape = "INVERSE"
        shown = apply_presentation_lut(shown, ds)
    low, high = sorted(shown[-2:])
    return np.asarray((shown[:-2] - low) / (high - low)).reshape(stored.shape)


def _windowed(values: Grey, ds: Any) -> Grey:
    """Values by the first window that there may be (PS3.3 C.11.2.1.2), then its darkest and brightest value."""
    centers = ds.get("WindowCenter")
    if centers is None or ds.get("WindowWidth") is None:
        return values
    count = len(centers) if hasattr(centers, "__len__") and not isinstance(centers, str) else 1
    far = np.append(values[:-2], (-1e12, 1e12))
    for index in range(count):
        try:
            return np.asarray(apply_windowing(far, ds, index))
        except ValueError:
            continue
    return values


def compare(film: Film, strict: Film, reading: Reading) -> tuple[str, float | None, str]:
    """Verdict, largest difference of grey, and the reason of a disagreement."""
    fault = _wrong_status(film, reading.reasons, reading)
    selected = reading.reasons | ({"NOT_CHEST": reading.selection} if reading.selection else {})
    fault = fault or _wrong_status(strict, selected, reading)
    if fault or film.pixels is None or reading.grey is None:
        return ("WRONG", None, fault) if fault else ("not compared", None, reading.unknown)
    if film.pixels.shape != reading.grey.shape:
        return "WRONG", None, f"{film.pixels.shape} pixels, the other reading has {reading.grey.shape}"
    grey = film.pixels / float(np.iinfo(film.pixels.dtype).max)
    ours, theirs, plain = grey, reading.grey, reading.plain
    if reading.padding is not None and reading.padding.any():
        if grey[reading.padding].max() > reading.tolerance:
            return "WRONG", None, f"padding is shown as grey {grey[reading.padding].max():.3f}, not black"
        ours, theirs = grey[~reading.padding], theirs[~reading.padding]
        plain = None if plain is None else plain[~reading.padding]
    return _compare_grey(ours, theirs, plain, reading.tolerance)


def _wrong_status(film: Film, reasons: dict[str, str], reading: Reading) -> str:
    """What is wrong with a status; "" if nothing is known to be."""
    status, true = film.status.name, reasons | reading.possible
    if status in true or (status == "OK" and not reasons):
        return ""
    if reading.unknown and status in ("OK", "DAMAGED", "BLANK"):
        return ""
    expected = ", ".join(f"{name} ({fact})" for name, fact in true.items())
    return f"{status} ({film.message}), expected {expected or 'OK'}"


def _compare_grey(ours: Grey, theirs: Grey, plain: Grey | None, tolerance: float) -> tuple[str, float | None, str]:
    difference = float(np.abs(ours - theirs).max(initial=0))
    if difference <= tolerance:
        return "agrees", difference, ""
    low, high = np.quantile(theirs, (0.005, 0.995))
    at_one_end = max(np.mean(theirs == end) for end in (0, 1))
    if high - low < NARROW or at_one_end > SATURATED:
        for name, base in (("", theirs), (", without its window", plain)):
            slope, stretched = _stretch(ours, base) if base is not None else (0.0, 1.0)
            if slope > 0 and stretched <= 2 * tolerance:
                return "stretched", stretched, f"by {slope:.1f}{name}"
    far = np.abs(ours - theirs) > tolerance
    return "WRONG", difference, f"grey differs by up to {difference:.3f}, in {far.mean():.2%} of the pixels"


def _stretch(ours: Grey, base: Grey) -> tuple[float, float]:
    """The slope of the straight line that leads from the one reading to the other, and the largest distance from it."""
    inside = (ours > 0) & (ours < 1)
    if not inside.any() or np.ptp(base[inside]) == 0:
        inside[...] = True
    if np.ptp(base[inside]) == 0:
        return 0.0, 1.0
    slope, start = np.polyfit(base[inside], ours[inside], 1)
    return float(slope), float(np.abs(ours - np.clip(slope * base + start, 0, 1)).max())


def check_file(suite: str, name: str, data: bytes, *, found: bool = True) -> Row:
    """Both readings of one file; found is whether find_films finds it."""
    film, strict = decode_film(data, any_modality=True), decode_film(data)
    reading = read_independently(data)
    verdict, difference, reason = compare(film, strict, reading)
    if verdict != "WRONG" and not found and reading.grey is not None:
        verdict, reason = "WRONG", "passed over: find_films does not find it"
    status, argument = ARGUED.get(Path(name).name, ("", ""))
    if verdict == "WRONG" and status in (film.status.name, strict.status.name):
        verdict, reason = "argued", f"{reason}. {argument}"
    return Row(
        suite=suite,
        file=name,
        status=film.status.name,
        strict_status=strict.status.name,
        message=film.message,
        verdict=verdict,
        difference=difference,
        reason=reason,
        facts="; ".join(f"{name}: {fact}" for name, fact in (reading.reasons | reading.possible).items()),
    )


def check_suite(suite: str, folder: Path) -> Iterator[Row]:
    """One row for each file below a folder, apart from programs."""
    found = frozenset(find_films(folder).paths)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix not in (".py", ".pyc"):
            name = path.relative_to(folder).as_posix()
            yield check_file(suite, name, path.read_bytes(), found=name in found)


def installed_suites() -> dict[str, Path]:
    """Folders with the test files of pydicom and, if installed, of pydicom-data."""
    found = {"pydicom": Path(pydicom.__file__).parent / "data" / "test_files"}
    spec = importlib.util.find_spec("data_store")
    if spec and spec.origin:
        found["pydicom-data"] = Path(spec.origin).parent / "data"
    return {name: folder for name, folder in found.items() if folder.is_dir()}


def download(folder: Path) -> Path:
    """The test files of pydicom-data, from PyPI; the wheel stays in the folder and is not loaded twice."""
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob("pydicom_data-*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder), PYDICOM_DATA]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip() or "no message").splitlines()[-1]
            sys.stderr.write(f"{PYDICOM_DATA} cannot be had: {last}\n")
            sys.exit(2)
    (wheel,) = folder.glob("pydicom_data-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "pydicom_data")
    return folder / "pydicom_data" / "data_store" / "data"


def table(rows: list[Row]) -> str:
    """Markdown, a line for each suite."""
    lines = [
        "| suite | files | scored | other statuses | compared | stretched | largest difference | argued | wrong |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for suite in dict.fromkeys(row.suite for row in rows):
        of = [row for row in rows if row.suite == suite]
        statuses = Counter(row.status for row in of)
        verdicts = Counter(row.verdict for row in of)
        others = ", ".join(f"{count} {name}" for name, count in sorted(statuses.items()) if name != "OK")
        compared = [row.difference for row in of if row.difference is not None and row.verdict != "WRONG"]
        largest = f"{max(compared):.5f}" if compared else ""
        cells = [suite, len(of), statuses[Status.OK.name], others, len(compared), verdicts["stretched"], largest]
        lines.append("| " + " | ".join(str(cell) for cell in (*cells, verdicts["argued"], verdicts["WRONG"])) + " |")
    return "\n".join(lines)


def report(rows: list[Row]) -> str:
    """The table and a line for each file that disagrees, is stretched, or could not be compared."""
    lines = [table(rows), ""]
    for row in rows:
        if row.verdict in ("WRONG", "argued", "stretched") or (row.verdict == "not compared" and row.reason):
            lines.append(f"{row.verdict}: {row.suite}/{row.file}: {row.reason}")
    return "\n".join(lines) + "\n"


def put_table(page: Path, rows: list[Row]) -> None:
    """Put the table between the marks of a page, in place of the one there."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        sys.exit(f"{page} has no line {BEGIN} with {END} below it")
    page.write_text(f"{before}{begin}\n\n{table(rows)}\n\n{end}{after}", encoding="utf-8")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--download", type=Path, metavar="FOLDER", help="get pydicom-data if it is not installed")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write a row for each file")
    parser.add_argument("--page", type=Path, metavar="PAGE", help="put the table between the marks of this page")
    parser.add_argument("folders", nargs="*", metavar="NAME=FOLDER", help="further suites")
    options = parser.parse_args(arguments)
    suites = installed_suites()
    if options.download and "pydicom-data" not in suites:
        suites["pydicom-data"] = download(options.download)
    for text in options.folders:
        name, equals, folder = text.partition("=")
        suites[name if equals else Path(text).name] = Path(folder if equals else text)
    missing = [str(folder) for folder in suites.values() if not folder.is_dir()]
    if missing:
        sys.stderr.write(f"no folder: {', '.join(missing)}\n")
        return 2
    rows = [row for name, folder in suites.items() for row in check_suite(name, folder)]
    sys.stdout.write(report(rows))
    if options.json:
        options.json.write_text(json.dumps([vars(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    if options.page:
        put_table(options.page, rows)
    return 1 if any(row.verdict == "WRONG" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
