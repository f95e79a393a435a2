"""Bytes of a table, plain or gzipped, as text: what is no table of text is refused by its name, and the encoding is
found."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from cxrscore.errors import InputError
from cxrscore.io.regular import open_regular

MAX_BYTES = 1024**3
"""Of a table when unpacked; the largest public one is a tenth of this."""
MAX_RATIO = 200
"""Largest ratio of unpacked to packed bytes of a gzipped table or of a workbook. Public tables reach 20; a
decompression bomb reaches 1,000."""
UNQUESTIONED = 64 * 1024**2
"""Bytes that may be unpacked in any case: small tables with repeated wide rows compress well."""
_BLOCK = 1024**2

_UTF16 = "UTF-16"
_AS_CSV = "save it as CSV in UTF-8"
_EXPORT = "open it in the program that wrote it, and save it as CSV in UTF-8"

_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel file (.xls) or one with a password", "save it as .xlsx or CSV"),
    (b"%PDF-", "a PDF file", "ask for the table as CSV"),
    (b"{\\rtf", "an RTF document", "save its table as CSV"),
    (b"$FL2", "an SPSS file (.sav)", _EXPORT),
    (b"$FL3", "an SPSS file (.sav)", _EXPORT),
    (b"<stata_dta>", "a Stata file (.dta)", "write it as CSV (in Stata: export delimited)"),
    (b"PAR1", "a Parquet file", "write it as CSV (pandas.read_parquet(...).to_csv(..., index=False))"),
    (b"ARROW1", "a Feather (Arrow) file", "write it as CSV (pandas.read_feather(...).to_csv(..., index=False))"),
    (b"FEA1", "a Feather file", "write it as CSV (pandas.read_feather(...).to_csv(..., index=False))"),
    (b"ORC", "an ORC file", "write it as CSV"),
    (b"\0" * 12 + b"\xc2\xea\x81\x60\xb3\x14\x11\xcf", "a SAS file (.sas7bdat)", "write it as CSV (proc export)"),
    (b"HEADER RECORD*******", "a SAS transport file (.xpt)", "write it as CSV (proc export)"),
    (b"RDX", "an R data file", "write it as CSV (write.csv(..., row.names = FALSE))"),
    (b"X\n\0\0", "an R data file (.rds)", "write it as CSV (write.csv(..., row.names = FALSE))"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "expected a CSV file"),
    (b"SQLite format 3\0", "an SQLite database", "export its table as CSV"),
    (b"\0\1\0\0Standard ", "an Access database", "export its table as CSV"),
    (b"MATLAB 5.0 MAT", "a MATLAB file", "write it as CSV (writetable)"),
    (b"\x93NUMPY", "a NumPy file", "write it as CSV"),
    (b"BZh", "packed with bzip2", "unpack it, or pack it with gzip"),
    (b"\xfd7zXZ\0", "packed with xz", "unpack it, or pack it with gzip"),
    (b"\x28\xb5\x2f\xfd", "packed with Zstandard", "unpack it, or pack it with gzip"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"),
    (b"Rar!\x1a\x07", "a RAR archive", "unpack it"),
    (b"\x89PNG", "a PNG picture", "expected a CSV file"),
    (b"\xff\xd8\xff", "a JPEG picture", "expected a CSV file"),
    (b"version https://git-lfs.github.com", "a Git LFS pointer in place of the table", "fetch it with git lfs pull"),
)
"""First bytes, what the file is, and what to do."""
_BINARY = re.compile(rb"[\x00-\x08]")
_STATA = re.compile(rb"[\x68-\x73][\x01\x02]\x01\x00")
"""The first bytes of Stata files before version 13."""
_TEXTS: tuple[tuple[re.Pattern[bytes], str, str], ...] = (
    (
        re.compile(rb"<\?xml(?s:.){0,400}?urn:schemas-microsoft-com:office:spreadsheet"),
        "an Excel 2003 XML file",
        "open it in Excel, and save it as .xlsx or CSV",
    ),
    (
        re.compile(rb"(?:<\?xml[^>]*>\s*)?<(?:!doctype html|html|head|body|table|meta|style)[\s>]", re.IGNORECASE),
        "a web page (HTML), as some programs save under .xls",
        "open it in Excel, and save it as .xlsx or CSV",
    ),
    (re.compile(rb"<\?xml\s"), "an XML file", "save its table as CSV"),
    (re.compile(rb'\{\s*(?:"|\}\s*$)|\[\s*[\[{]|\[\s*"[^"]*"\s*[,\]]'), "a JSON file", "write it as CSV"),
)
"""How a text that is no table begins, what the file is, and what to do."""
_ZIPPED: tuple[tuple[str, str, str], ...] = (
    ("xl/workbook.bin", "an Excel binary file (.xlsb)", "save it as .xlsx or CSV"),
    ("Index/Document.iwa", "a Numbers file", "export it as CSV"),
    ("word/document.xml", "a Word document", "save its table as CSV"),
    ("content.xml", "an OpenDocument file (.ods)", "save it as .xlsx or CSV"),
)
"""A member of a ZIP archive, what the file is, and what to do."""
_WORKBOOK = "xl/workbook.xml"

_HIGH = re.compile(rb"[\x80-\xff]+")
_NO_CP1252 = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x81\x8d\x8f\x90\x9d]")
"""Bytes that no text in Windows-1252 has: control characters and bytes without a meaning."""
_UTF8_PAIR = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_WINDOW = 64 * 1024
"""Bytes from which an encoding is guessed."""


def _refuse(path: Path, what: str, do: str) -> NoReturn:
    raise InputError(f"{path} is {what}: {do}" if not do.startswith("expected") else f"{path} is {what}; {do}")


def read_bytes(path: Path, *, any_text: bool = False) -> io.BytesIO:
    """The bytes of a table, unpacked if they are gzipped; InputError if they are too many, or no table. any_text: texts
    such as JSON may be meant."""
    data = io.BytesIO()
    try:
        with open_regular(path) as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            for block in _blocks(path, gzip.GzipFile(fileobj=file) if packed else file, any_text):
                data.write(block)
                if packed and data.tell() > max(UNQUESTIONED, MAX_RATIO * file.tell()):
                    raise InputError(f"{path} unpacks to over {MAX_RATIO} times its bytes; expected a label table")
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    data.seek(0)
    return data


def _blocks(path: Path, file: io.BufferedReader | gzip.GzipFile, any_text: bool) -> Iterator[bytes]:
    """The bytes of a file, piece by piece: a single read would reserve the largest allowed size. The first piece says
    what the file is."""
    count = 0
    may_have_zeros = False
    while block := file.read(_BLOCK):
        if not count:
            _check_kind(path, block)
            if not any_text:
                _check_text(path, block)
            may_have_zeros = block.startswith(b"PK\x03\x04") or _utf16(block) is not None
        if not may_have_zeros and (zero := block.find(b"\0")) >= 0:
            raise InputError(f"{path} is not a text file: byte {count + zero} is zero; {_AS_CSV}")
        count += len(block)
        if count > MAX_BYTES:
            raise InputError(f"{path} has more than {MAX_BYTES:,} bytes; expected a label table")
        yield block


def _check_kind(path: Path, block: bytes) -> None:
    """InputError if the first bytes are those of something else than a table of text or a ZIP archive."""
    for begin, what, do in _SIGNATURES:
        # Letters alone may also begin the name of a column, such as ORCID.
        if block.startswith(begin) and (not begin.isalnum() or _BINARY.search(block[:1024])):
            _refuse(path, what, do)
    if _STATA.match(block):
        _refuse(path, "a Stata file (.dta)", "write it as CSV (in Stata: export delimited)")
    if block[128:132] == b"DICM":
        _refuse(path, "a DICOM file", "expected a CSV file")
    if block.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        _refuse(path, "a text in UTF-32", _AS_CSV)


def _check_text(path: Path, block: bytes) -> None:
    """InputError if a text begins as one that is no table."""
    start = block[:_WINDOW]
    if encoding := _utf16(start):
        start = start.decode(encoding, "replace").encode()
    start = start.replace(codecs.BOM_UTF8, b"").lstrip()
    for pattern, what, do in _TEXTS:
        if pattern.match(start):
            _refuse(path, what, do)


def is_workbook(path: Path, data: io.BytesIO) -> bool:
    """Whether the bytes are an Excel workbook (.xlsx, .xlsm); InputError for any other ZIP archive."""
    if bytes(data.getbuffer()[:4]) != b"PK\x03\x04":
        return False
    try:
        with zipfile.ZipFile(data) as archive:
            members = {member.filename: member.file_size for member in archive.infolist()}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InputError(f"{path} begins like a ZIP archive or an Excel file, but is damaged: {error}") from error
    if _WORKBOOK not in members:
        for member, what, do in _ZIPPED:
            if member in members:
                _refuse(path, what, do)
        _refuse(path, "a ZIP archive", "unpack it, and give the table in it")
    if sum(members.values()) > min(MAX_BYTES, max(UNQUESTIONED, MAX_RATIO * len(data.getbuffer()))):
        raise InputError(f"{path} unpacks to over {MAX_RATIO} times its bytes; expected a label table")
    data.seek(0)
    return True


def _utf16(start: bytes) -> str | None:
    """The kind of UTF-16 of a text; None if it is none, or if that is not certain."""
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return None
    if start.startswith(codecs.BOM_UTF16_LE):
        return "utf-16-le"
    if start.startswith(codecs.BOM_UTF16_BE):
        return "utf-16-be"
    window = start[: min(len(start), _WINDOW) & ~1]
    even, odd = window[::2], window[1::2]
    for encoding, zeros, letters in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        # Names of columns and numbers are ASCII, so nearly every other byte is zero, and none of the others.
        if 2 * zeros.count(0) > len(zeros) > 3 and 0 not in letters:
            return encoding
    return None


def open_text(path: Path, data: io.BytesIO) -> tuple[io.TextIOWrapper, str]:
    """The text of a table, and the name of its encoding, "" for UTF-8; InputError if it cannot be told."""
    start = bytes(data.getbuffer()[:_BLOCK])
    encoding = _utf16(start)
    note = "" if encoding is None else _UTF16
    if encoding is None:
        try:
            str(data.getbuffer(), "utf-8")  # only to find the byte of an error; lines are decoded later
        except UnicodeDecodeError as error:
            encoding, note = _western(path, data, error.start), "Windows-1252 (accents may be wrong)"
    if encoding is not None:
        data = _as_utf8(path, data, encoding)
    return io.TextIOWrapper(data, "utf-8-sig", newline=""), note


def _western(path: Path, data: io.BytesIO, first: int) -> str:
    """cp1252, if the text may be that; InputError naming the first byte that is no UTF-8 if it is not.

    Letters with accents stand mostly alone between others of ASCII. Where they stand in runs, the text is in another
    script; where they form characters of UTF-8, it is UTF-8 with damage.
    """
    view = data.getbuffer()
    window = bytes(view[max(0, first - _WINDOW) : first + _WINDOW])
    runs = [len(run) for run in _HIGH.findall(window)]
    if _UTF8_PAIR.search(window):
        raise InputError(f"{path} is not UTF-8 at byte {first}, though elsewhere it is: it is damaged; {_AS_CSV}")
    if _NO_CP1252.search(view) or 2 * sum(run for run in runs if run > 2) > sum(runs):
        raise InputError(f"{path} is not UTF-8 at byte {first}, and not a Western European text; {_AS_CSV}")
    return "cp1252"


def _as_utf8(path: Path, data: io.BytesIO, encoding: str) -> io.BytesIO:
    """The bytes in UTF-8; InputError if they are not of this encoding, or hold a NUL character."""
    decoder = codecs.getincrementaldecoder(encoding)()
    found, count = io.BytesIO(), 0
    data.seek(0)
    try:
        while block := data.read(_BLOCK):
            text = decoder.decode(block)
            if "\0" in text:
                raise InputError(f"{path} is not a text file: it has a NUL character; {_AS_CSV}")
            found.write(text.encode())
            count += len(block)
        decoder.decode(b"", final=True)
    except UnicodeError as error:
        raise InputError(f"{path} is not {encoding.upper()} near byte {count}; {_AS_CSV}") from error
    found.seek(0)
    return found
