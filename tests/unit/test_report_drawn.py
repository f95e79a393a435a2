"""Figures and tables that a reader can save from the page."""

import base64
import math

from matplotlib.figure import Figure

from cxrscore.reporting.drawn import csv_uri, drawn, file_name
from cxrscore.reporting.page import environment


def plot() -> Figure:
    figure = Figure(figsize=(1, 1))
    figure.add_axes((0.1, 0.1, 0.8, 0.8)).plot([0, 1], [0, 1])
    return figure


def content(uri: str) -> bytes:
    return base64.b64decode(uri.partition(";base64,")[2])


def test_a_figure_is_shown_as_png_and_saved_as_svg() -> None:
    found = drawn("roc-<Mass>/x", plot(), "a line")
    assert found.png.startswith("data:image/png;base64,")
    assert content(found.png).startswith(b"\x89PNG")
    assert found.svg.startswith("data:image/svg+xml;base64,")
    assert b"<svg" in content(found.svg)
    assert (found.name, found.alt) == ("roc-Mass-x", "a line")
    assert drawn("roc-<Mass>/x", plot(), "a line") == found


def test_names_of_saved_files_are_plain() -> None:
    assert file_name("../a b\u202e.svg") == "a-b-svg"
    assert file_name("Ärztin 胸") == "Ärztin-胸"
    assert file_name("\udcff/") == "udcff"
    assert file_name("...") == "figure"
    assert len(file_name("x" * 500)) == 60


def test_cells_of_a_table_are_text() -> None:
    found = csv_uri([("finding", "auc", "note"), ("=1+1", 0.1 + 0.2, None), ("a,b", math.nan, 3)])
    assert found.startswith("data:text/csv;charset=utf-8;base64,")
    assert content(found).decode() == 'finding,auc,note\n\'=1+1,0.30000000000000004,\n"a,b",,3\n'


def test_the_links_need_no_script_and_escape_what_they_show() -> None:
    source = '{% from "macros.html.j2" import figure, table_links %}{{ figure(one) }}{{ table_links("roc", "data:x") }}'
    html = environment().from_string(source).render(one=drawn("roc", plot(), '"><script>x</script>\u202e'))
    assert "<script" not in html
    assert "[U+202E]" in html
    assert html.count("download=") == 2
    assert 'download="roc.svg"' in html
    assert '<a href="data:x" download="roc.csv"' in html
