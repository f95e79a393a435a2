"""Plugins of other people that do everything wrong: the three lines run, and `cxrscore plugins` explains each."""

import json
import os
from textwrap import dedent

import forked
import pytest

from cxrscore.scorefile import open_scores
from cxrscore.synthetic.phantoms import make_phantoms

SMALL = ["--architecture", "tinycnn", "--weights", "none", "--size", "64", "--trainable", "all", "--epochs", "1"]

BACKEND = """
from types import SimpleNamespace
from cxrscore import hookimpl

@hookimpl
def cxrscore_backends():
    return [SimpleNamespace(
        name={name!r}, requires={requires!r}, install="pip install {name}", architectures=("tinycnn",), trains=True,
        speed={{"cpu": 1e9}}, build=None if {broken} else print,
    )]
"""


def returns(value):
    return f"""
        from types import SimpleNamespace
        from cxrscore import hookimpl

        @hookimpl
        def cxrscore_losses():
            return {value}
        """


# name of the entry point -> its module, the state it must be in, and words that its reason must have
RUBBISH = {
    "raises": ("x = 1\ny = x / 0", "broken", ["cxrscore_raises.py, line 2", "ZeroDivisionError: division by zero"]),
    "quits": ("import sys\nsys.exit('bye')", "broken", ["cxrscore_quits.py, line 2", "SystemExit: bye"]),
    "half": ("def f(:\n    pass", "broken", ["SyntaxError", "cxrscore_half.py, line 1"]),
    "early": (
        "import no_such_framework",
        "broken",
        ["cxrscore_early.py, line 1", "No module named 'no_such_framework'", "inside build()", "requires"],
    ),
    "signature": (
        "from cxrscore import hookimpl\n\n@hookimpl\ndef cxrscore_losses(config):\n    return []",
        "broken",
        ["cxrscore_losses(config) takes arguments, expected a function that takes none"],
    ),
    "misspelt": (
        "from cxrscore import hookimpl\n\n@hookimpl\ndef cxrscore_looses():\n    return []",
        "broken",
        ["no hook is called cxrscore_looses; did you mean cxrscore_losses?"],
    ),
    "unmarked": ("def cxrscore_losses():\n    return []", "broken", ["provides nothing", "@cxrscore.hookimpl"]),
    "fails": (returns("1 / 0"), "broken", ["cxrscore_fails.py, line 7", "ZeroDivisionError"]),
    "none": (returns("None"), "broken", ["cxrscore_losses returned nothing, expected a list of descriptors"]),
    "single": (returns("SimpleNamespace(name='x')"), "broken", ["returned a SimpleNamespace, expected a list"]),
    "lacking": (returns("[SimpleNamespace(name='x')]"), "broken", ["SimpleNamespace", "lacks function"]),
    "wrong": (returns("[SimpleNamespace(name=7, function=print)]"), "broken", ["name is 7, expected a text"]),
    "twice": (returns("[SimpleNamespace(name='x', function=print)] * 2"), "broken", ["more than one", "called x"]),
    "loss": (
        returns("[SimpleNamespace(name='bce', function=print)]"),
        "name conflict",
        ["loss 'bce' of cxrscore-loss is excluded: cxrscore has one of this name"],
    ),
    "rival": (
        BACKEND.format(name="keras", requires=(), broken=False),
        "name conflict",
        ["backend 'keras' of cxrscore-rival is excluded: cxrscore has one of this name"],
    ),
    "builtin": (
        returns("[]"),
        "name conflict",
        ["plugin 'builtin' of cxrscore-builtin is excluded: cxrscore has one of this name"],
    ),
    "shared": (returns("[SimpleNamespace(name='shared', function=print)]"), "ok", []),
    "shared2": (
        returns("[SimpleNamespace(name='shared', function=print)]"),
        "name conflict",
        ["two distributions provide a loss called 'shared': cxrscore-shared and cxrscore-shared2"],
    ),
    "far": (
        BACKEND.format(name="far", requires=("json", "no_such_framework"), broken=False),
        "unavailable",
        ["backend 'far' needs no_such_framework, which is not installed", "pip install far"],
    ),
    "unbuildable": (
        BACKEND.format(name="unbuildable", requires=(), broken=True),
        "broken",
        ["build is None, expected a function"],
    ),
}


def install(folder, name, source):
    """A distribution cxrscore-NAME as pip leaves it: a module, and metadata with an entry point."""
    (folder / f"cxrscore_{name}.py").write_text(dedent(source))
    metadata = folder / f"cxrscore_{name}-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: cxrscore-{name}\nVersion: 1.2\n")
    (metadata / "entry_points.txt").write_text(f"[cxrscore]\n{name} = cxrscore_{name}\n")


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """A folder to put on PYTHONPATH, with all of them installed, one whose module is gone, and one that is right."""
    folder = tmp_path_factory.mktemp("site")
    for name, (source, _, _) in RUBBISH.items():
        install(folder, name, source)
    install(folder, "gone", "")
    (folder / "cxrscore_gone.py").unlink()
    install(folder, "good", returns("[SimpleNamespace(name='good', function=print)]"))
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    make_phantoms(folder, films=40, patients=30, side=96, seed=1)
    return folder


def cxrscore(*words, site, folder, expect=0, **environment):
    done = forked.cxrscore(
        *words,
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "CXRSCORE_OFFLINE": "1",
            **environment,
        },
    )
    assert done.returncode == expect, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def listed(crowd):
    """The plugins as `cxrscore plugins --json` gives them, by distribution."""
    found = json.loads(cxrscore("plugins", "--json", site=crowd, folder=crowd.parent).stdout)
    assert all(plugin.keys() >= {"name", "distribution", "version", "hooks", "state", "reason"} for plugin in found)
    return {(plugin["distribution"], plugin["name"]): plugin for plugin in found}


@pytest.mark.parametrize("name", RUBBISH)
def test_each_is_listed_with_its_reason(listed, name):
    _, state, words = RUBBISH[name]
    plugin = listed[f"cxrscore-{name}", name]
    assert plugin["version"] == "1.2"
    assert plugin["state"] == state
    for word in words:
        assert word in plugin["reason"]
    assert "\n" not in plugin["reason"]


def test_one_whose_module_is_gone_is_told_so(listed):
    assert listed["cxrscore-gone", "gone"]["reason"] == "there is no module cxrscore_gone; install cxrscore-gone again"


def test_those_that_are_right_are_ok(listed):
    assert listed["cxrscore-good", "good"]["provides"] == {"cxrscore_losses": ["good"]}
    assert {plugin["state"] for (owner, _), plugin in listed.items() if owner == "cxrscore"} <= {"ok", "unavailable"}


def test_what_broke_brings_nothing(listed):
    assert not any(plugin["provides"] for plugin in listed.values() if plugin["state"] == "broken")


def test_the_table_says_the_same(crowd, listed):
    lines = cxrscore("plugins", site=crowd, folder=crowd.parent).stdout.splitlines()
    assert lines[0].split() == ["name", "distribution", "version", "state", "brings"]
    for (owner, name), plugin in listed.items():
        row = next(number for number, line in enumerate(lines) if line.split()[:2] == [name, owner])
        assert plugin["state"] in lines[row]
        assert any(plugin["reason"] in line for line in lines[row : row + 6])


def test_the_three_lines_run_among_them(crowd, home):
    """With no backend named, all is as without them: none of theirs is chosen, however fast it says it is."""
    cxrscore("train", *SMALL, site=crowd, folder=home)
    cxrscore("score", "films", "-o", "out.h5", site=crowd, folder=home)
    cxrscore("report", "out.h5", site=crowd, folder=home)
    assert open_scores(home / "out.h5").provenance["backend"]["name"] in ("openvino", "torch", "keras")
    assert (home / "out.html").exists()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--backend", "far"], 6, "pip install far"),
        (["--backend", "raises"], 6, "division by zero"),
        (["--loss", "shared"], 1, "cxrscore-shared and cxrscore-shared2"),
        (["--loss", "nope"], 1, "available: weighted-bce"),
    ],
)
def test_one_that_is_asked_for_says_what_is_wrong(crowd, home, tmp_path, words, code, told):
    done = cxrscore("train", home / "films", *SMALL, *words, site=crowd, folder=tmp_path, expect=code)
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_name_of_our_own_that_another_claims_stays_ours(crowd, home, tmp_path):
    output = tmp_path / "m.safetensors"
    cxrscore("train", "films", "-o", output, *SMALL, "--loss", "bce", site=crowd, folder=home)
    assert output.exists()


@pytest.mark.parametrize("chosen", ["good", "cxrscore-good, torch"])
def test_a_list_leaves_the_others_out(crowd, chosen):
    found = cxrscore("plugins", "--json", site=crowd, folder=crowd.parent, CXRSCORE_PLUGINS=chosen).stdout
    states = {(plugin["distribution"], plugin["name"]): plugin["state"] for plugin in json.loads(found)}
    assert states["cxrscore-good", "good"] == "ok"
    assert states["cxrscore", "builtin"] == "ok"
    assert states["cxrscore-raises", "raises"] == "excluded"
    assert (states["cxrscore", "torch"] == "excluded") == ("torch" not in chosen)


def test_naming_our_own_distribution_settles_a_taken_name(crowd):
    found = json.loads(
        cxrscore("plugins", "--json", site=crowd, folder=crowd.parent, CXRSCORE_PLUGINS="cxrscore").stdout
    )
    assert {plugin["state"] for plugin in found if plugin["distribution"] != "cxrscore"} == {"excluded"}
    assert not any(plugin["state"] == "name conflict" for plugin in found)
