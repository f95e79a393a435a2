"""How commands end that meet an error which nobody expected, a machine without resources, or a signal."""

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from made_run import made_file

from cxrscore.cli import endings, fault_log, main
from cxrscore.errors import InputError

SECRETS = ("Doe^John", "ward-7", "secret-film", "19470131")
COMMANDS = {
    "demo": ("demo.run_demo", ["secret-film"]),
    "train": ("training.train_model", ["secret-film", "--backend", "torch"]),
    "import": ("import_checkpoint.import_model", ["secret-film.png"]),
    "quantize": ("quantize.quantize_model", ["secret-film.png", ".", "-o", "ward-7"]),
    "weights": ("models.public_weights.cached_file", []),
    "score": ("scoring.score_films", ["secret-film", "-o", "ward-7"]),
    "merge": ("merge.merge_scores", ["secret-film.png", "-o", "ward-7"]),
    "report": ("reporting.open_named_scores", ["secret-film.png"]),
    "view": ("viewer.server.serve", ["secret-film.png"]),
    "queue": ("reading.make_queue", ["secret-film.png", "-n", "1", "--by", "random", "-o", "ward-7.csv"]),
    "marks": ("reading.export_marks", ["secret-film.png", "-o", "ward-7.csv"]),
    "show": ("show.describe_file", ["secret-film.png"]),
    "export": ("remote.as_local_path", ["secret-film.png", "-o", "ward-7.csv"]),
    "paper": ("paper.reproduce_paper", ["secret-film", "--backend", "torch"]),
    "watch": ("watching.read_config", ["secret-film.png"]),
    "verify": ("verify.verify_file", ["secret-film.png"]),
    "plugins": ("plugins.registry", []),
    "check": ("conformance.check_plugin", ["secret-film"]),
}
"""The function that does the work of a command, and arguments of it."""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def fails(monkeypatch, command, error):
    """The result of a command whose work raises an error."""

    def stub(*args, **named):
        patient = "Doe^John"
        raise error if isinstance(error, BaseException) else error(patient)

    function, words = COMMANDS[command]
    monkeypatch.setattr(f"cxrscore.{function}", stub)
    return CliRunner().invoke(main, [command, *words])


def logs(home):
    return sorted((home / "cache" / "logs").iterdir())


def assert_line(result, code, *words):
    assert result.exit_code == code, result.stderr
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("cxrscore: ")
    assert all(word in result.stderr for word in words), result.stderr


def test_every_command_is_tried():
    assert set(COMMANDS) == set(main.commands)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unexpected_error_is_one_line_70_and_a_log_without_values(home, monkeypatch, command):
    result = fails(monkeypatch, command, lambda patient: ValueError(f"{patient} of ward-7, secret-film.png, 19470131"))
    (log,) = logs(home)
    assert_line(result, 70, "ValueError", "report it as a bug", str(log))
    assert not [word for word in SECRETS if word in result.stderr]
    text = log.read_text()
    assert not [word for word in SECRETS if word in text]
    assert "\nValueError\n" in text
    assert "cxrscore/cli/" in text
    assert ", in stub\n" in text
    assert "numpy " in text
    assert str(Path.home()) not in text
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.parent.stat().st_mode) == 0o700


def test_what_an_error_came_from_is_in_the_log(home, monkeypatch):
    def chained(patient):
        error = KeyError("secret-film")
        error.__cause__ = ZeroDivisionError(patient)
        return error

    fails(monkeypatch, "show", chained)
    text = logs(home)[0].read_text()
    assert "\nKeyError\n" in text
    assert "\nZeroDivisionError\n" in text
    assert not [word for word in SECRETS if word in text]


def test_a_deep_recursion_makes_a_short_log(home, monkeypatch):
    def deep(patient):
        return deep(patient)

    assert_line(fails(monkeypatch, "show", deep), 70, "RecursionError")
    assert len(logs(home)[0].read_text().splitlines()) < 100


def test_an_error_before_the_command_begins_is_one_line_too(home, monkeypatch):
    def broken(name):
        raise LookupError("secret-film")

    monkeypatch.setattr("cxrscore.recipes.find_recipe", broken)
    result = CliRunner().invoke(main, ["train", "--recipe", "ward-7"])
    assert_line(result, 70, "LookupError", str(logs(home)[0]))


def test_the_log_has_names_of_options_and_no_values(home):
    code = (
        "import sys\nimport cxrscore.scoring\nfrom cxrscore.__main__ import main\n"
        "def broken(*given):\n    raise ValueError('Doe^John')\n"
        "cxrscore.scoring.score_films = broken\n"
        "sys.argv[1:] = ['score', '.', '-oward-7', '--seed=19470131', '--shard', '1/2', '--anonymize-paths']\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 70, done.stderr
    text = logs(home)[0].read_text()
    assert "\ncommand: cxrscore score -o --seed --shard --anonymize-paths\n" in text
    assert "\nenvironment: CXRSCORE_CACHE\n" in text
    assert not [word for word in SECRETS if word in text + done.stderr]


def test_only_the_last_logs_stay(home):
    written = [fault_log.write_fault_log(ValueError(), [], frozenset()) for _ in range(fault_log.MAX_LOGS + 3)]
    assert len(set(written)) == len(written)
    assert len(logs(home)) == fault_log.MAX_LOGS
    assert written[-1] in logs(home)


def test_without_a_cache_the_log_goes_to_the_temporary_folder(home, monkeypatch, tmp_path):
    (home / "cache").write_text("no folder")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = fails(monkeypatch, "show", ValueError())
    (log,) = tmp_path.glob("cxrscore-*.log")
    assert_line(result, 70, str(log))
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_without_any_place_for_a_log_there_is_still_a_line(home, monkeypatch):
    def full(*given, **named):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "open", full)
    assert_line(fails(monkeypatch, "show", ValueError()), 70, "no log file could be written")


def test_a_plugin_that_ends_the_process_does_not_end_it_well(home, monkeypatch):
    assert_line(fails(monkeypatch, "show", SystemExit(0)), 70, "SystemExit")


class OutOfMemoryError(RuntimeError):
    """As torch has it."""


def from_memory_error(patient):
    error = ValueError(patient)
    error.__context__ = MemoryError()
    return error


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (MemoryError(), 1, "out of memory"),
        (OSError(errno.ENOMEM, "x"), 1, "out of memory"),
        (OutOfMemoryError("CUDA"), 1, "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 1, "--batch-size"),
        (ImportError("x.so: failed to map segment from shared object"), 1, "out of memory"),
        (from_memory_error, 1, "out of memory"),
        (OSError(errno.EMFILE, "x"), 1, "ulimit -n"),
        (OSError(errno.ENFILE, "x"), 1, "--workers"),
        (ImportError(f"x.so: cannot open shared object file: {os.strerror(errno.EMFILE)}"), 1, "too many open files"),
        (RuntimeError("can't start new thread"), 1, "ulimit -u"),
        (BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)), 1, "ulimit -u"),
        (OSError(errno.ENOSPC, "x"), 74, "No space left on device"),
        (OSError(errno.EROFS, "x"), 74, "Read-only file system"),
        (OSError(errno.EIO, "secret-film"), 70, "OSError (Input/output error)"),
        (InputError("as before"), 1, "as before"),
    ],
)
def test_what_the_machine_refuses_is_no_fault_of_the_program(home, monkeypatch, error, code, words):
    result = fails(monkeypatch, "show", error)
    assert_line(result, code, words)
    assert code == 70 or not (home / "cache").exists()
    assert not [word for word in SECRETS if word in result.stderr]


@pytest.mark.parametrize("limit", [6, 12, 24, 40])
@pytest.mark.parametrize("words", [["show", "out.h5"], ["report", "out.h5", "-o", "new.html"]])
def test_few_descriptors_are_enough_or_one_line(home, words, limit):
    made_file(home / "out.h5")
    limited = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (limit, limit))
    done = subprocess.run(
        [sys.executable, "-m", "cxrscore", *words], capture_output=True, text=True, timeout=120, preexec_fn=limited
    )
    if done.returncode == 0:
        return
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1
    assert "too many open files" in done.stderr.lower()


@pytest.mark.parametrize("megabytes", [250, 300])
def test_little_memory_is_one_line(home, megabytes):
    made_file(home / "out.h5")
    limited = partial(resource.setrlimit, resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
    line = [sys.executable, "-m", "cxrscore", "report", "out.h5"]
    done = subprocess.run(
        line, capture_output=True, text=True, timeout=120, preexec_fn=limited, env={**os.environ, **SINGLE}
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1
    assert "out of memory" in done.stderr


SINGLE = {"OPENBLAS_NUM_THREADS": "1"}
"""Each thread of OpenBLAS takes its own memory, before any of ours is asked for."""
STUB = """
import atexit, os, signal, sys, tempfile
import cxrscore.show
from cxrscore.__main__ import main
def work(path):
{}
cxrscore.show.describe_file = work
sys.argv[1:] = ["show", "x.h5", "--json"]
main()
"""
"""A program whose command runs these lines."""


def stubbed(*lines):
    (Path.cwd() / "x.h5").touch()
    code = STUB.format("\n".join(f"    {line}" for line in lines))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (signal.SIGINT, 130, "cxrscore: stopped\n"),
        (signal.SIGTERM, 143, "cxrscore: stopped by SIGTERM\n"),
        (signal.SIGHUP, 129, "cxrscore: stopped by SIGHUP\n"),
    ],
)
def test_a_signal_removes_temporary_files_and_has_its_exit_code(home, number, code, words):
    done = stubbed(
        "with tempfile.TemporaryDirectory(dir='.', prefix='left-'):",
        f"    os.kill(os.getpid(), {int(number)})",
        "    signal.pause()",
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "", f"\n{words}")
    assert not list(home.glob("left-*"))


def test_a_second_signal_ends_the_process_at_once(home):
    done = stubbed(
        "try:",
        "    os.kill(os.getpid(), signal.SIGTERM)",
        "    signal.pause()",
        "finally:",
        "    os.kill(os.getpid(), signal.SIGTERM)",
    )
    assert done.returncode == -signal.SIGTERM


def test_a_signal_that_is_ignored_stays_so(home):
    (home / "x.h5").touch()
    code = STUB.format("    os.kill(os.getpid(), signal.SIGHUP)\n    return {}")
    ignore = partial(signal.signal, signal.SIGHUP, signal.SIG_IGN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120, preexec_fn=ignore)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "lines",
    [
        (
            "import cxrscore.cli.endings as e",
            "e.escape_control_characters = lambda text: os.kill(os.getpid(), 2)",
            "open('none')",
        ),
        (
            "import cxrscore.cli.endings as e",
            "e.escape_control_characters = lambda text: os.kill(os.getpid(), 2)",
            "os.kill(os.getpid(), 2)",
        ),
        ("atexit.register(os.kill, os.getpid(), 2)", "return {}"),
    ],
    ids=["while an error is told", "while a stop is told", "after the result"],
)
def test_ctrl_c_is_130_without_a_traceback_at_any_moment(home, lines):
    done = stubbed(*lines)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_during_the_first_imports_is_130(home):
    code = (
        "import os, sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *more):\n"
        "        if name == 'cxrscore.cli':\n"
        "            os.kill(os.getpid(), 2)\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "from cxrscore.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (130, "")


def test_a_thread_that_nobody_waits_for_ends_in_one_line(home):
    done = stubbed(
        "import threading",
        "thread = threading.Thread(target=int, args=['Doe^John'])",
        "thread.start()",
        "thread.join()",
        "return {}",
    )
    assert (done.returncode, done.stdout) == (0, "{}\n")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("cxrscore: unexpected error ValueError")
    assert "Doe^John" not in done.stderr + logs(home)[0].read_text()


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("stopped; run it again", "stopped by SIGTERM; run it again"),
        ("run it again", "run it again (stopped by SIGTERM)"),
    ],
)
def test_the_signal_stands_before_the_advice(monkeypatch, capsys, message, shown):
    monkeypatch.setattr("cxrscore.cli.endings.received", lambda: signal.SIGTERM)
    monkeypatch.setattr("cxrscore.cli.endings.ignore_late_interrupts", lambda: None)
    assert endings._end_stopped(KeyboardInterrupt(message)) == 143
    assert capsys.readouterr().err == f"\ncxrscore: {shown}\n"
