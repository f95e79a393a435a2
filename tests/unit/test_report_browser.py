"""The page in a browser: axe-core finds no fault, nothing leaves it, and it fits a phone.

Skipped where Chromium or axe-core is missing; `make browser` brings axe-core and says how to bring Chromium.
"""

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from report_scores import made_scores
from test_report_compare import changed, named
from test_report_plugin_metrics import METRICS, brought

from cxrscore.reporting import optional_sections, write_report

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
AXE = Path(os.environ.get("CXRSCORE_AXE", ROOT / ".browser" / "node_modules" / "axe-core" / "axe.min.js"))
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
)
RUN = """
<script>%s</script>
<script>
axe.run(document, {resultTypes: ["violations"]}).then(found => {
  const told = found.violations.map(one => [one.impact, one.id, one.nodes.length, one.nodes[0].html.slice(0, 200)]);
  const all = {violations: told, passes: found.passes.length, width: document.documentElement.scrollWidth};
  document.body.innerHTML = "<pre id=axe>" + JSON.stringify(all).replace(/</g, "&lt;") + "</pre>";
});
</script>
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]


def dumped(page: Path, folder: Path, *flags: str) -> str:
    """What the page is once it was opened."""
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, "--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("browser")
    scores = made_scores()
    scores.provenance["models"][0]["document"]["training"]["has_leakage"] = True
    groups = folder / "groups.csv"
    groups.write_text(
        "film,sex\n" + "".join(f"{p},{'FM'[k % 2]}\n" for k, p in enumerate(scores.films.path) if k != 47)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optional_sections, "plugin_metrics", lambda: brought(*METRICS))
        others = [named(changed(made_scores(), 1.0, seed=seed), f"{seed}.h5") for seed in range(2)]
        write_report(scores, folder / "out.html", source="out.h5", others=others, groups=groups, resamples=0)
    return (folder / "out.html").read_text(encoding="utf-8")


@pytest.mark.skipif(not AXE.is_file(), reason=f"no axe-core at {AXE}: make browser")
@pytest.mark.parametrize("flags", [("--window-size=1200,900",), ("--window-size=500,900", "--force-dark-mode")])
@pytest.mark.parametrize("folded", [True, False])
def test_axe_finds_no_fault(page: str, folded: bool, flags: tuple[str, ...], tmp_path: Path) -> None:
    # The policy forbids scripts, so that axe can only run in a copy without it.
    page = page if folded else re.sub("<details[^>]*>", "<details open>", page)
    open_page, policies = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    assert policies == 1
    copy = tmp_path / "copy.html"
    copy.write_text(open_page.replace("</body>", RUN % AXE.read_text(encoding="utf-8") + "</body>"), encoding="utf-8")
    found = re.search(
        r'<pre id="axe">(.*?)</pre>', dumped(copy, tmp_path, "--virtual-time-budget=60000", *flags), re.DOTALL
    )
    assert found, "axe did not end"
    told = json.loads(html.unescape(found[1]))
    assert told["violations"] == []
    assert told["passes"] > 15
    assert told["width"] <= int(flags[0].split("=")[1].split(",")[0])


def test_a_phone_sees_one_row_of_navigation_and_nothing_beside_the_page(page: str, tmp_path: Path) -> None:
    # A window of Chromium is 500 pixels wide at least; a frame is as wide as a phone.
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    outer = tmp_path / "outer.html"
    outer.write_text(
        '<iframe id="f" src="page.html" width="390" height="800" style="border:0"></iframe><pre id="told"></pre>'
        "<script>onload = () => { const d = document.getElementById('f').contentDocument;"
        "document.getElementById('told').textContent = JSON.stringify([d.documentElement.scrollWidth,"
        "d.querySelector('nav').offsetHeight, d.querySelector('.overview img').offsetWidth]); }</script>"
    )
    found = re.search(
        r'<pre id="told">\[(\d+),(\d+),(\d+)\]', dumped(outer, tmp_path, "--allow-file-access-from-files")
    )
    assert found, "the page did not load"
    width, row, overview = map(int, found.groups())
    assert width == 390
    assert row < 60
    assert 300 < overview <= 390


def asked_by(page: Path, folder: Path) -> list[str]:
    """What a page asks the network for, from the browser's own log; what the browser asks for by itself left out."""
    log = folder / "log.json"
    assert "</" in dumped(page, folder, f"--log-net-log={log}")
    events = json.loads(log.read_text(encoding="utf-8"))["events"]
    told = [one.get("params", {}) for one in events]
    started = [one for one in told if "url" in one and one.get("initiator", "not an origin") != "not an origin"]
    return sorted({one["url"] for one in started if not one["url"].startswith("data:")})


def test_nothing_leaves_the_page(page: str, tmp_path: Path) -> None:
    copy, probe = tmp_path / "copy.html", '<img src="http://127.0.0.1:9/probe.png" alt=""></body>'
    copy.write_text(page, encoding="utf-8")
    assert asked_by(copy, tmp_path) == []
    copy.write_text(page.replace("</body>", probe), encoding="utf-8")  # the policy would stop it
    assert asked_by(copy, tmp_path) == []
    copy.write_text(f"<body>{probe}", encoding="utf-8")  # without the policy it is asked for
    assert asked_by(copy, tmp_path) == ["http://127.0.0.1:9/probe.png"]
