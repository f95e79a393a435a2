"""Files below a folder that are no films: what each is, by its name or its first bytes, and how many of a kind.

Sources of the signatures: TIFF 6.0 section 2; Microsoft's BITMAPFILEHEADER; GIF89a; RFC 9649 (WebP); ISO/IEC 15444-1
annexes A and I; ISO/IEC 14496-12 (HEIC, AVIF); NIfTI-1 and NIfTI-2; Netpbm; RFC 1952 (gzip); POSIX ustar.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

HEAD_BYTES = 352
"""Number of first bytes that tell what a file is: the signature of NIfTI-1 ends there."""

_NON_IMAGE = """
txt csv tsv json jsonl ndjson xml xsd xsl html htm xhtml css md rst log tex bib yaml yml toml ini cfg conf rtf sql lock
py pyc pyi pyd ipynb bash bat cmd ps1 rmd java cpp hpp jar whl egg exe dll dylib msi lnk url
pdf doc docx docm dot dotx odt ods odp odg xls xlsx xlsm xlsb xltx ppt pptx pptm epub pages
h5 hdf5 hdf npy npz safetensors pt pth ckpt onnx keras tflite pkl pickle joblib parquet feather arrow avro
mat rda rds sav dta sas7bdat sqlite sqlite3 tfrecord tfrecords lmdb mdb accdb
gz tgz tar bz2 tbz2 xz txz zst 7z rar lz4 iso md5 sha1 sha256 sha512
mp4 m4v avi mov mkv wmv wav mp3 m4a svg
"""
NON_IMAGE_SUFFIXES = frozenset(f".{word}" for word in _NON_IMAGE.split())
"""Suffixes of files that lie beside films and are never opened. Files of every other suffix are told by their bytes."""
_OTHER_SUFFIXES = "other suffixes"
_WITHOUT_SUFFIX = "without suffix"
_OPENED = "dat bin raw img tif tiff bmp gif webp jp2 j2k nii hdr pgm ppm heic db tmp bak part"
_USUAL = NON_IMAGE_SUFFIXES | {f".{word}" for word in _OPENED.split()}
"""Suffixes that are shown even where no names may be."""
_PLAIN = re.compile(r"\.(?=[0-9]*[a-z])[a-z0-9]{1,5}")
"""Other suffixes are not shown: behind the last dot of a UID or of a name anything may stand, a patient's name, too."""
_SYSTEM = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", ".ds_store", ".localized", "autorun.inf"})

GROUPS = {"not_opened": "not opened", "no_film": "opened, no film", "not_supported": "not supported"}
"""The fields of OtherFiles, in words."""
MOST_KINDS = 20
"""Largest number of kinds in a group."""
_LONGEST = 60
"""Largest number of characters of a kind."""
_SHOWN = 4
"""Number of kinds of a group that a sentence names."""


@dataclass(frozen=True, kw_only=True)
class OtherFiles:
    """How many files of which kind are no films, the most frequent first; a kind is a suffix, or words.

    not_opened     by their names: suffixes of other things, DICOMDIR, files of the system, archives in archives
    no_film        opened, and their first bytes are not those of a film, by suffix
    not_supported  opened, and their first bytes are those of another image format, or of another archive
    """

    not_opened: Mapping[str, int] = field(default_factory=dict)
    no_film: Mapping[str, int] = field(default_factory=dict)
    not_supported: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def from_record(cls, record: Any) -> OtherFiles:
        """From as_dict, as a scores file has it; whatever has another form is left out."""
        groups = record if isinstance(record, Mapping) else {}
        return cls(**{name: _counts(groups.get(name)) for name in GROUPS})

    @property
    def total(self) -> int:
        """Number of files."""
        return sum(sum(kinds.values()) for kinds in self._groups().values())

    def as_dict(self) -> dict[str, dict[str, int]]:
        """JSON-ready: the groups that are not empty."""
        return {name: dict(kinds) for name, kinds in self._groups().items() if kinds}

    def without_unusual_suffixes(self) -> OtherFiles:
        """The same, where a suffix is named only if it is a usual one: any other may be part of a patient's name."""
        return OtherFiles(
            not_opened=self.not_opened, no_film=_most(self.no_film, _is_usual), not_supported=self.not_supported
        )

    def sentence(self) -> str:
        """Such as "3 other files: 2 .csv, 1 .txt (not opened)"; "" if there are none."""
        parts = [f"{_listed(kinds)} ({GROUPS[name]})" for name, kinds in self._groups().items() if kinds]
        files = "other file" if self.total == 1 else "other files"
        return f"{self.total:,} {files}: {'; '.join(parts)}" if parts else ""

    def _groups(self) -> dict[str, Mapping[str, int]]:
        return {name: getattr(self, name) for name in GROUPS}


class OtherFilesCounter:
    """Counts files, each with its kind."""

    def __init__(self) -> None:
        self._counted = {name: Counter[str]() for name in GROUPS}

    def add(self, group: str, kind: str) -> None:
        """Count one file; group: a field of OtherFiles."""
        self._counted[group][kind] += 1

    def add_head(self, name: str, head: bytes) -> None:
        """Count a file whose first bytes, HEAD_BYTES of them, are no film's."""
        kind = foreign_format(head)
        if kind:
            self.add("not_supported", kind)
        elif not head:
            self.add("no_film", "empty file")
        else:
            self.add("no_film", "hidden file" if name.startswith(".") else shown_suffix(name))

    def result(self) -> OtherFiles:
        """What was counted; of each group at most MOST_KINDS kinds, the others together."""
        return OtherFiles(**{name: _most(counted) for name, counted in self._counted.items()})


def kind_by_name(name: str) -> str:
    """The kind of a file that is not opened, by its name without folders; "" if its bytes are to tell."""
    if name.startswith("._"):
        return "macOS ._ file"
    if name.upper() == "DICOMDIR":
        return "DICOMDIR"
    if name.lower() in _SYSTEM:
        return "system file"
    suffix = suffix_of(name)
    return suffix if suffix in NON_IMAGE_SUFFIXES else ""


def suffix_of(name: str) -> str:
    """The suffix of a file name with its dot in lower case, as pathlib splits it, in a fraction of the time."""
    place = name.rfind(".")
    return name[place:].lower() if 0 < place < len(name) - 1 else ""


def shown_suffix(name: str) -> str:
    """The suffix in lower case if it is short and plain, else in words what it is."""
    suffix = suffix_of(name)
    if _PLAIN.fullmatch(suffix):
        return suffix
    return _OTHER_SUFFIXES if suffix else _WITHOUT_SUFFIX


def foreign_format(head: bytes) -> str:
    """The image or archive format that begins so and that is not read; "" if it is none that is known."""
    for place, magic, kind in _SIGNATURES:
        if head.startswith(magic, place):
            return kind
    if _is_bmp(head):
        return "BMP image"
    return "Netpbm image" if re.match(rb"P[1-7][ \t\r\n]", head) else ""


def is_other_container(members: Iterable[str]) -> bool:
    """Whether a zip archive of these members is a document, program or model that only uses the format."""
    names = list(members)
    parts = {name.rpartition("/")[2] for name in names}
    arrays = bool(names) and all(name.endswith(".npy") for name in names)
    return arrays or not _CONTAINER_NAMES.isdisjoint(names) or "data.pkl" in parts or {*_KERAS} <= set(names)


_CONTAINER_NAMES = frozenset({"[Content_Types].xml", "mimetype", "META-INF/MANIFEST.MF", "AndroidManifest.xml"})
_KERAS = ("config.json", "metadata.json")
_SIGNATURES = (
    *((0, magic, "TIFF image") for magic in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    (0, b"GIF8", "GIF image"),
    (8, b"WEBP", "WebP image"),
    *((0, magic, "JPEG 2000 image") for magic in (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")),
    *((0, magic, "JPEG XL image") for magic in (b"\0\0\0\x0cJXL ", b"\xff\x0a")),
    *((4, b"ftyp" + brand, "HEIC image") for brand in (b"heic", b"heix", b"hevc", b"mif1", b"msf1")),
    *((4, b"ftypavi" + letter, "AVIF image") for letter in (b"f", b"s")),
    *((344, magic, "NIfTI image") for magic in (b"n+1\0", b"ni1\0")),
    *((4, magic, "NIfTI image") for magic in (b"n+2\0", b"ni2\0")),
    *((0, magic, "Analyze or NIfTI header") for magic in (b"\x5c\x01\0\0", b"\0\0\x01\x5c")),
    (0, b"NRRD000", "NRRD image"),
    *((0, magic, "MetaImage") for magic in (b"ObjectType = Image", b"NDims = ")),
    (0, b"8BPS", "Photoshop image"),
    (0, b"PK\3\4", "zip archive"),
    (0, b"\x1f\x8b\x08", "gzip archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z archive"),
    (0, b"Rar!\x1a\x07", "rar archive"),
    (0, b"BZh", "bzip2 archive"),
    (0, b"\xfd7zXZ\0", "xz archive"),
    (0, b"\x28\xb5\x2f\xfd", "zstd archive"),
    (257, b"ustar", "tar archive"),
    (0, b"%PDF-", "PDF document"),
)


def _is_bmp(head: bytes) -> bool:
    """Whether the two letters are followed by reserved zeros and by a size of the second header that exists."""
    return head.startswith(b"BM") and head[6:10] == bytes(4) and head[14:18] in _BMP_HEADERS


_BMP_HEADERS = frozenset(size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124))


def _is_usual(kind: str) -> bool:
    return not kind.startswith(".") or kind in _USUAL


def _most(counted: Mapping[str, int], may_show: Any = None) -> dict[str, int]:
    """At most MOST_KINDS of the kinds that may be shown, the most frequent first; the others together."""
    shown: Counter[str] = Counter()
    for kind, number in counted.items():
        shown[kind if may_show is None or may_show(kind) else _OTHER_SUFFIXES] += number
    if len(shown) > MOST_KINDS:
        kept = _sorted({kind: number for kind, number in shown.items() if kind != _OTHER_SUFFIXES})[: MOST_KINDS - 1]
        shown = Counter({**dict(kept), _OTHER_SUFFIXES: shown.total() - sum(number for _, number in kept)})
    return dict(_sorted(shown))


def _sorted(counted: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counted.items(), key=lambda item: (-item[1], item[0]))


def _listed(kinds: Mapping[str, int]) -> str:
    ordered = _sorted(kinds)
    named = [f"{number:,} {_words(kind, number)}" for kind, number in ordered[:_SHOWN]]
    more = sum(number for _, number in ordered[_SHOWN:])
    return ", ".join([*named, *([f"{more:,} of other kinds"] if more else [])])


def _words(kind: str, number: int) -> str:
    if kind == _OTHER_SUFFIXES:
        return f"with {kind}"
    return f"{kind}s" if number > 1 and kind.endswith(_COUNTABLE) else kind


_COUNTABLE = (
    "file",
    "image",
    "archive",
    "header",
    "document",
    "link",
    "MetaImage",
    "object",
    "result",
    "map",
    "segmentation",
)


def _counts(kinds: Any) -> dict[str, int]:
    """The kinds of a usual length that have a number above 0."""
    found = kinds.items() if isinstance(kinds, Mapping) else ()
    return {kind: number for kind, number in found if len(kind) <= _LONGEST and type(number) is int and number > 0}
