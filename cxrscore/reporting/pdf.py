"""A report as PDF, made by an installed browser of the Chromium family from the page itself."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from cxrscore.errors import InputError, WriteError
from cxrscore.io import atomic_write_bytes
from cxrscore.io.outputs import output_kind_with_marks
from cxrscore.subprocesses import run_program

BROWSER = "CXRSCORE_BROWSER"
"""Environment variable with the path or the name of the browser."""
BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"),
    *("microsoft-edge", "microsoft-edge-stable", "msedge"),
)
"""Names that are looked up on PATH, in this order."""
SECONDS = 120
"""Time limit for the browser, which takes some seconds for a page of 3 MB."""
TITLE = "Report of cxrscore"
"""Begin of the title of a PDF, by which it is recognised."""
PDF = output_kind_with_marks("a PDF of cxrscore", b"%PDF-", f"/Title ({TITLE}".encode())

_FLAGS = (
    *("--headless", "--disable-gpu", "--no-first-run", "--no-default-browser-check", "--disable-extensions"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"),
    # The page loads nothing; neither does the browser: no name is resolved.
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--no-pdf-header-footer", "--hide-scrollbars"),
)


def find_browser() -> str | None:
    """The path of the browser: that of CXRSCORE_BROWSER, else the first of BROWSERS on PATH; None if there is none.

    Raises
    ------
    InputError
        If CXRSCORE_BROWSER names no program.
    """
    if named := os.environ.get(BROWSER):
        if (found := shutil.which(named)) is None:
            raise InputError(f"{BROWSER} is {named!r}, expected the path of Chromium, Chrome or Edge")
        return os.path.abspath(found)
    on_path = filter(None, map(shutil.which, BROWSERS))
    return next(filter(os.path.isabs, on_path), None)  # a relative entry of PATH means the current folder


def write_pdf(html: str, target: Path, page: Path) -> None:
    """Prints a report with a browser, without network and with all sections open.

    Parameters
    ----------
    html : str
        The page.
    target : Path
        PDF to write, whole or not at all.
    page : Path
        The page as it was written, for messages.

    Raises
    ------
    InputError
        If there is no browser; the message says how to get a PDF.
    WriteError
        If the browser makes no PDF within SECONDS, or the PDF cannot be written.
    """
    if (browser := find_browser()) is None:
        raise InputError(
            f"{target} is not written: no Chromium, Chrome or Edge is on PATH. Open {page} in a browser and print it "
            f"to a file, or install Chromium, or name a browser with {BROWSER}"
        )
    try:
        with tempfile.TemporaryDirectory(prefix="cxrscore-pdf-", ignore_cleanup_errors=True) as folder:
            data = _printed(browser, _printable(html), Path(folder))
    except OSError as error:
        raise WriteError(f"{target} is not written: {browser}: {error}") from error
    except _NoPdfError as error:
        raise WriteError(
            f"{target} is not written: {browser} {error}. Open {page} in a browser and print it to a file"
        ) from error
    atomic_write_bytes(target, data)


def _printable(html: str) -> str:
    """The page with all sections open, and a title that a PDF has in ASCII."""
    title = re.search("<title>(.*?)</title>", html, re.DOTALL)
    named = f": {title[1]}" if title is not None and title[1].isascii() else ""
    opened = html.replace("<details>", "<details open>").replace(
        '<details class="more">', '<details class="more" open>'
    )
    return opened if title is None else opened.replace(title[0], f"<title>{TITLE}{named}</title>", 1)


class _NoPdfError(Exception):
    """The browser made no PDF; the message completes a sentence that begins with its name."""


def _printed(browser: str, html: str, folder: Path) -> bytes:
    """The PDF of a page, by a browser with its sandbox; root, for whom it has none, without."""
    page = folder / "page.html"
    page.write_text(html, encoding="utf-8")
    try:
        return _run(browser, page, folder)
    except _NoPdfError:
        if not hasattr(os, "geteuid") or os.geteuid() != 0:
            raise
        return _run(browser, page, folder, "--no-sandbox")


def _run(browser: str, page: Path, folder: Path, *flags: str) -> bytes:
    output = folder / "page.pdf"
    own = (f"--user-data-dir={folder / 'profile'}", f"--print-to-pdf={output}", page.as_uri())
    code = run_program((browser, *_FLAGS, *flags, *own), folder=folder, seconds=SECONDS)
    if code is None:
        raise _NoPdfError(f"made no PDF within {SECONDS} seconds")
    data = output.read_bytes() if output.is_file() else b""
    if not data.startswith(b"%PDF-") or b"%%EOF" not in data[-1024:]:
        raise _NoPdfError(f"made no PDF (exit code {code})")
    return data
