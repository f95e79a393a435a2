"""The report as PDF: by the browser that is found, whole or not at all, and a line that helps where there is none."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from report_scores import made_scores

from cxrscore.cli.report import report
from cxrscore.errors import InputError, WriteError
from cxrscore.reporting import pdf, write_report

CHROMIUM = next(filter(None, map(shutil.which, pdf.BROWSERS)), None)
PAGE = "<!DOCTYPE html><title>x</title><details><summary>folded</summary><p>inside</p></details>"


def browser(folder: Path, body: str) -> Path:
    """A program in the place of a browser; its arguments are in ``told``, one a line."""
    path = folder / "browser"
    path.write_text(
        f"#!{sys.executable}\nimport pathlib, sys\n"
        "output = next(one.partition('=')[2] for one in sys.argv if one.startswith('--print-to-pdf='))\n"
        f"with open({str(folder / 'told')!r}, 'a') as told: print(*sys.argv[1:], sep='\\n', file=told)\n{body}\n"
    )
    path.chmod(0o755)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(pdf.BROWSER, raising=False)
    return tmp_path


def test_without_a_browser_a_line_says_how(folder: Path) -> None:
    assert pdf.find_browser() is None
    with pytest.raises(
        InputError, match=r"out\.pdf is not written: no Chromium.*print it to a file, or install"
    ) as found:
        pdf.write_pdf(PAGE, folder / "out.pdf", folder / "out.html")
    assert "\n" not in str(found.value)
    assert not (folder / "out.pdf").exists()


def test_the_variable_names_the_browser_and_must_name_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(pdf.BROWSER, str(folder / "missing"))
    with pytest.raises(InputError, match=r"CXRSCORE_BROWSER is '.*missing', expected the path of Chromium"):
        pdf.find_browser()
    monkeypatch.setenv(pdf.BROWSER, str(browser(folder, "")))
    assert pdf.find_browser() == str(folder / "browser")
    monkeypatch.delenv(pdf.BROWSER)
    shutil.copy(folder / "browser", folder / "google-chrome")
    assert pdf.find_browser() == str(folder / "google-chrome")


def test_a_pdf_is_written_with_all_sections_open(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = (
        "page = pathlib.Path(sys.argv[-1].removeprefix('file://')).read_text()\n"
        "pathlib.Path(output).write_text('%PDF-1.4 ' + page + ' %%EOF')"
    )
    monkeypatch.setenv(pdf.BROWSER, str(browser(folder, body)))
    pdf.write_pdf(PAGE, folder / "out.pdf", folder / "out.html")
    written = (folder / "out.pdf").read_text()
    assert written.startswith("%PDF-")
    assert "<details open><summary>" in written
    assert "<title>Report of cxrscore: x</title>" in written
    pdf.write_pdf(PAGE.replace("<title>x", "<title>胸"), folder / "out.pdf", folder / "out.html")
    assert "<title>Report of cxrscore</title>" in (folder / "out.pdf").read_text()
    told = (folder / "told").read_text().splitlines()
    assert told[0] == "--headless"
    assert "--no-sandbox" not in told
    assert any(one.startswith("--host-resolver-rules=MAP * ~NOTFOUND") for one in told)


@pytest.mark.parametrize("body", ["", "pathlib.Path(output).write_text('%PDF-1.4 cut')", "sys.exit(3)"])
@pytest.mark.parametrize("root", [True, False])
def test_half_a_pdf_is_none(folder: Path, body: str, root: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    monkeypatch.setenv(pdf.BROWSER, str(browser(folder, body)))
    (folder / "out.pdf").write_text("earlier")
    with pytest.raises(WriteError, match=r"out\.pdf is not written: .*browser made no PDF \(exit code [03]\)"):
        pdf.write_pdf(PAGE, folder / "out.pdf", folder / "out.html")
    assert (folder / "out.pdf").read_text() == "earlier"
    told = (folder / "told").read_text().splitlines()
    # Root has no sandbox: the second try is without, for root only.
    assert (told.count("--headless"), told.count("--no-sandbox")) == ((2, 1) if root else (1, 0))


def test_a_browser_that_does_not_end_is_stopped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "SECONDS", 0)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv(pdf.BROWSER, str(browser(folder, "sys.stdout.flush(); import signal; signal.pause()")))
    with pytest.raises(WriteError, match="made no PDF within 0 seconds"):
        pdf.write_pdf(PAGE, folder / "out.pdf", folder / "out.html")


def test_the_option_takes_a_name_or_none() -> None:
    for given, expected in (([], None), (["--pdf"], True), (["--pdf=x.pdf"], Path("x.pdf"))):
        context = report.make_context("report", ["out.csv", *given])
        assert context.params["pdf"] == expected


@pytest.mark.slow
def test_the_page_is_written_though_no_pdf_can_be(folder: Path) -> None:
    with pytest.raises(InputError, match=r"Open .*out\.html in a browser"):
        write_report(made_scores(), folder / "out.html", source="x", pdf=True, resamples=0)
    assert (folder / "out.html").exists()
    (folder / "mine.pdf").write_text("%PDF-1.4 notes")
    with pytest.raises(InputError, match=r"mine\.pdf"):
        write_report(made_scores(), folder / "out.html", source="x", pdf=folder / "mine.pdf", resamples=0)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
def test_chromium_makes_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(pdf.BROWSER, str(CHROMIUM))
    pdf.write_pdf(PAGE, tmp_path / "out.pdf", tmp_path / "out.html")
    assert pdf.PDF.recognises(tmp_path / "out.pdf")
