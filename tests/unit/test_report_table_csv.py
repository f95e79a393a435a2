"""Tables of the page, saved as they are shown."""

import base64
import csv
import io
import re

from cxrscore.reporting.table_csv import add_table_links, table_rows

TABLE = """<div class="scroll" role="region" aria-label="Metrics &lt;b&gt;" tabindex="0">
<table><thead><tr><th scope="col">Finding</th><th scope="col" class="n">Corrected<br>p</th><th>Gap</th></tr></thead>
<tbody><tr><th scope="row">Mass &amp; more<small class="mark">prevalence only</small></th>
<td class="n">–</td><td class="n">−0.05<small>−0.10 to +0.01</small></td></tr>
<tr><th>=1+1</th><td>1,024</td><td>0.25<small>no interval</small></td></tr></tbody></table>
</div>"""


def rows(html: str) -> list[list[str]]:
    (uri,) = re.findall(r'href="data:text/csv;charset=utf-8;base64,([^"]*)"', html)
    return list(csv.reader(io.StringIO(base64.b64decode(uri).decode())))


def test_a_table_gets_a_link_with_what_it_shows() -> None:
    html = add_table_links(f"<p>before</p>{TABLE}<p>after</p>")
    assert rows(html) == [
        ["Finding", "Corrected p", "Gap", "Gap low", "Gap high"],
        ["Mass & more (prevalence only)", "", "-0.05", "-0.10", "+0.01"],
        ["'=1+1", "1,024", "0.25", "", ""],
    ]
    assert 'download="Metrics-b.csv" aria-label="Save as CSV: Metrics &lt;b&gt;"' in html
    assert html.startswith("<p>before</p>")
    assert html.endswith("<p>after</p>")


def test_a_number_without_interval_stays_a_number() -> None:
    html = "<tr><th>AUC</th></tr><tr><td>0.70<small>no interval</small></td></tr><tr><td>–<small>no interval</small>"
    assert table_rows(f"{html}</td></tr>") == [["AUC"], ["0.70"], [""]]


def test_a_table_with_a_link_of_its_own_keeps_it() -> None:
    own = f'{TABLE}\n<p class="save"><a href="data:x">Save as CSV</a></p>'
    assert add_table_links(own) == own


def test_short_rows_and_lists() -> None:
    assert table_rows("<tr><th>A</th><th>B</th></tr><tr><td><ol><li>1</li>\n<li>2</li></ol></td></tr>") == [
        ["A", "B"],
        ["1 2", ""],
    ]
