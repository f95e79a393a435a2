"""No Python file of the current folder is imported, by any command, in any process."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
from made_models import made_films, made_model

import cxrscore
from cxrscore import search_path, subprocesses
from cxrscore.plot_style import default_style

ROOT = Path(cxrscore.__file__).parents[1]
SCRIPT = Path(sys.executable).with_name("cxrscore")
STARTERS = {"subprocess": {"Popen", "run", "call", "check_call", "check_output", "getoutput", "getstatusoutput"}}
STARTING_MODULES = {"multiprocessing", "concurrent.futures.process", "pty", "popen2"}
MODULES = (
    *(
        "json",
        "re",
        "typing",
        "struct",
        "csv",
        "queue",
        "signal",
        "selectors",
        "tempfile",
        "sitecustomize",
        "usercustomize",
    ),
    *("click", "numpy", "cv2", "h5py", "safetensors", "sklearn", "matplotlib", "jinja2", "pluggy", "pydicom", "psutil"),
    *(
        "torch",
        "openvino",
        "keras",
        "ray",
        "imagecodecs",
        "simplejpeg",
        "threadpoolctl",
        "platformdirs",
        "jsonschema_rs",
    ),
    *("cxrscore", "cxrscore_torch", "cxrscore_openvino", "cxrscore_ray", "cxrscore_keras"),
)
TRAP = "import os\nopen(os.environ['TRAP'], 'a').write(__file__ + '\\n')\nraise SystemExit(9)\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder as somebody may have sent it: films, a model, and modules named like those that cxrscore imports."""
    made_films(tmp_path / "films", 3)
    (tmp_path / "films" / "broken.png").unlink()
    (tmp_path / "films" / "labels.csv").write_text("film,patient_id,Mass,Edema\n000.png,a,1,0\n001.png,b,0,1\n")
    made_model(tmp_path / "model.safetensors", 1)
    for place in (tmp_path, tmp_path / "films"):
        for name in MODULES:
            (place / f"{name}.py").write_text(TRAP)
        (place / "evil-1.0.dist-info").mkdir()
        (place / "evil-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
        (place / "evil-1.0.dist-info" / "entry_points.txt").write_text("[cxrscore]\nevil = evil\n")
        (place / "evil.py").write_text(TRAP)
    return tmp_path


def run(home: Path, *command: object, **variables: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    environ |= {"TRAP": str(home / "imported"), "CXRSCORE_CACHE": str(home / "cache"), **variables}
    return subprocess.run(list(map(str, command)), cwd=home, env=environ, capture_output=True, text=True)


def nothing_imported(home: Path) -> bool:
    return not (home / "imported").exists()


SCORE = ["score", "films", "-o", "out.h5", "--backend", "openvino"]
COMMANDS = {
    "score": ["score", "films", "-o", "out.h5", "-j", "2"],
    "workers": [*SCORE, "-j", "2", "--processes", "2"],
    "ray": [*SCORE, "-j", "1", "--executor", "ray", "--processes", "1"],
    "parity": ["check", "--parity", "model.safetensors", "--backends", "torch"],
    "kit": ["check", "loss:bce"],
    "verify": ["verify", "model.safetensors"],
    "plugins": ["plugins", "--json"],
    "show": ["show", "model.safetensors"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_imports_nothing_of_the_current_folder(home: Path, name: str) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("openvino")
    if name == "ray":
        pytest.importorskip("ray")
    done = run(home, SCRIPT, *COMMANDS[name])
    assert done.returncode == 0, done.stderr
    assert nothing_imported(home)
    assert "evil" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("entry", ["", ".", "CWD"])
def test_an_entry_of_pythonpath_that_means_the_current_folder_is_left_out(home: Path, entry: str) -> None:
    """A PYTHONPATH such as ``:/opt/lib`` has an empty entry. Only what Python itself imports before cxrscore is
    out of our hands, and not tried here."""
    pytest.importorskip("torch")
    for early in ("re", "struct", "signal", "sitecustomize", "usercustomize", "cxrscore"):
        (home / f"{early}.py").unlink()
        (home / "films" / f"{early}.py").unlink()
    path = os.pathsep.join([str(home) if entry == "CWD" else entry, str(ROOT), str(ROOT / "plugins")])
    done = subprocess.run(
        [SCRIPT, "score", home / "films", "-m", home / "model.safetensors", "-o", home / "out.h5", "-j", "1"],
        cwd=home,
        env={**os.environ, "PYTHONPATH": path, "TRAP": str(home / "imported")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert nothing_imported(home)


def test_python_m_takes_nothing_but_the_program_from_the_current_folder(home: Path) -> None:
    for early in ("re", "typing", "struct", "signal", "cxrscore"):
        (home / f"{early}.py").unlink()
    done = run(home, sys.executable, "-m", "cxrscore", "show", "model.safetensors")
    assert done.returncode == 0, done.stderr
    assert nothing_imported(home)


def test_nothing_is_imported_before_the_current_folder_is_dropped() -> None:
    code = (
        "import sys, os; before = set(sys.modules)\nimport cxrscore.search_path\n"
        "print(sorted(set(sys.modules) - before - {'cxrscore', 'cxrscore.search_path'}))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_the_search_path_of_a_child_has_no_current_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    entries = [
        "",
        ".",
        "lib",
        "../here",
        str(tmp_path / "here"),
        str(tmp_path / "link"),
        f"{tmp_path / 'here'}/",
        "/opt",
    ]
    assert search_path.import_path(entries) == ["/opt"]
    monkeypatch.chdir(ROOT)
    assert search_path.import_path([str(ROOT), ""]) == [str(ROOT)]


def test_a_folder_that_is_gone_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert search_path.import_path(["", "/opt"]) == ["/opt"]


def test_a_child_and_its_own_children_have_the_safe_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    code = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', 'import json']))"
    assert subprocesses.run_python(["-c", code]).returncode == 0


def called(tree: ast.AST) -> set[str]:
    """Dotted names of what is called in a module, and of what it imports."""
    names = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
    return names


def starts_processes(path: Path) -> set[str]:
    """Of the calls and imports of a module, those that start a process."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    forbidden = {f"subprocess.{name}" for name in STARTERS["subprocess"]} | STARTING_MODULES
    forbidden |= {
        f"os.{name}" for name in dir(os) if name.startswith(("exec", "spawn", "posix_spawn", "fork", "popen", "system"))
    }
    found = {name for name in called(tree) if name in forbidden or name.partition(".")[0] in STARTING_MODULES}
    if any(isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.executable" for node in ast.walk(tree)):
        found.add("sys.executable")
    return found


def test_processes_are_started_in_one_module_only() -> None:
    sources = [*(ROOT / "cxrscore").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]
    assert len(sources) > 100
    found = {str(path.relative_to(ROOT)): names for path in sources if (names := starts_processes(path))}
    assert found == {"cxrscore/subprocesses.py": {"subprocess.Popen", "subprocess.run", "sys.executable"}}


def test_a_style_file_of_the_current_folder_does_not_change_a_figure() -> None:
    with matplotlib.rc_context({"text.usetex": True, "figure.facecolor": "red", "lines.linewidth": 9}):
        with default_style():
            drawn = dict(matplotlib.rcParams)
        assert matplotlib.rcParams["text.usetex"] is True
    for name in ("text.usetex", "figure.facecolor", "lines.linewidth"):
        assert drawn[name] == matplotlib.rcParamsDefault[name]
