"""The network of examples/third_party_network as its users have it: installed, and put through the commands of its
README."""

import json
import re
import shlex
import sys
from pathlib import Path

import forked
import numpy as np
import pytest
from test_cli_examples import cxrscore, environment, install, run

from cxrscore.models.model_file import load_model
from cxrscore.scorefile import open_scores
from cxrscore.synthetic.phantoms import make_phantoms

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).parents[2] / "examples" / "third_party_network"
INSTALL, COMMANDS = (
    [shlex.split(line, comments=True) for line in block.replace("\\\n", " ").splitlines()]
    for block in re.findall(r"```sh\n(.*?)```", (SOURCE / "README.md").read_text(), re.DOTALL)
)
NAMES = ["train", "score", "report", "export", "check"]


def test_the_readme_has_five_commands():
    assert [words[:2] for words in INSTALL] == [["pip", "install"], ["cxrscore", "demo"]]
    assert [words[:2] for words in COMMANDS] == [["cxrscore", name] for name in NAMES]


def command(name):
    return COMMANDS[NAMES.index(name)][1:]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder to put on PYTHONPATH, with the distribution installed in it."""
    folder = tmp_path_factory.mktemp("install") / "site"
    install(SOURCE, folder)
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory, site):
    """Films as `cxrscore demo` draws them, and what the first three commands made."""
    folder = tmp_path_factory.mktemp("home")
    make_phantoms(folder / "demo", films=60, patients=None, side=256, seed=0)
    for name in ("train", "score", "report"):
        cxrscore(*command(name), site=site, folder=folder)
    return folder


def test_the_network_is_listed(site):
    found = json.loads(cxrscore("plugins", "--json", site=site, folder=site.parent).stdout)
    (plugin,) = (plugin for plugin in found if plugin["distribution"] == "cxrscore-mobilenet")
    assert (plugin["state"], plugin["provides"]) == ("ok", {"cxrscore_networks": ["mobilenetv2"]})
    table = cxrscore("plugins", site=site, folder=site.parent).stdout
    assert re.search(r"^mobilenet +cxrscore-mobilenet +1\.0\.0 +ok +networks: mobilenetv2$", table, re.MULTILINE)


def test_it_passes_the_kit_in_its_own_tests(site, tmp_path):
    tests = SOURCE / "tests"
    words = ["-p", "no:cacheprovider", "--rootdir", str(tests), "-q", str(tests)]
    done = run(sys.executable, "-m", "pytest", *words, site=site, folder=tmp_path)
    assert re.search(r"\d+ passed", done.stdout)


def test_it_passes_the_check(site, tmp_path):
    report = json.loads(cxrscore("check", "network:mobilenetv2", "--json", site=site, folder=tmp_path).stdout)
    assert {case["number"]: case["status"] for case in report["cases"]} == {
        f"N0{number}": "passed" for number in range(1, 7)
    }


def test_films_are_scored_explained_and_reported(home):
    scores = open_scores(home / "out.h5")
    assert np.isfinite(scores.prob).all()
    assert len(scores.prob) == 60
    assert scores.heat_maps.map.shape[1:] == (2, 2)
    assert scores.heat_maps.map.std() > 0
    assert "mobilenetv2" in (home / "out.html").read_text()


def test_the_model_file_has_the_graph_and_needs_no_plugin(home, tmp_path):
    spec = load_model(home / "model.safetensors").spec
    assert spec.network.shapes(224)["last_relu"] == (7, 7, 1280)
    words = ["score", "demo/films", "-o", str(tmp_path / "alone.h5")]
    alone = forked.cxrscore(*words, cwd=home, env=environment(tmp_path))  # a path that leads to no plugin
    assert alone.returncode == 0, alone.stderr
    first, second = open_scores(home / "out.h5"), open_scores(tmp_path / "alone.h5")
    np.testing.assert_array_equal(first.prob, second.prob)
    listed = forked.cxrscore("plugins", cwd=home, env=environment(tmp_path))
    assert "mobilenetv2" not in listed.stdout


def test_all_backends_agree(site, home):
    done = cxrscore(*command("check"), "--json", site=site, folder=home)
    parity = json.loads(done.stdout)
    listed = json.loads(cxrscore("plugins", "--json", site=site, folder=home).stdout)
    there = {
        name for plugin in listed if plugin["state"] == "ok" for name in plugin["provides"].get("cxrscore_backends", [])
    }
    assert {one["backend"] for one in parity["runs"]} == there
    assert parity["failures"] == []
    assert all(pair["max_prob_difference"] <= 1e-5 for pair in parity["pairs"])


def test_it_is_exported_to_onnx(site, home):
    if "onnx" not in cxrscore("export", "--help", site=site, folder=home).stdout.lower():
        pytest.skip("`cxrscore export` does not write ONNX files")
    onnx = pytest.importorskip("onnx")
    cxrscore(*command("export"), site=site, folder=home)
    onnx.checker.check_model(onnx.load(home / "model.onnx"))


def test_verify_knows_its_reference(site, home):
    cxrscore("verify", "model.safetensors", site=site, folder=home)
