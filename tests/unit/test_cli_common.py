"""What every command shares: how it ends, and lines that do not run into the bar."""

import sys

import pytest
from click.testing import CliRunner

from cxrscore.cli import main
from cxrscore.cli.common import Bar, _clock, handle_errors
from cxrscore.errors import LeakError, OtherProcessError


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (KeyboardInterrupt(), 130, "\ncxrscore: stopped\n"),
        (KeyboardInterrupt("stopped; 3 epochs are saved"), 130, "\ncxrscore: stopped; 3 epochs are saved\n"),
        (LeakError("one patient"), 4, "cxrscore: one patient\n"),
        (OtherProcessError("another one ended"), 1, "cxrscore: another one ended\n"),
        (OtherProcessError(exit_code=4), 4, ""),
    ],
)
def test_an_error_is_a_line_and_an_exit_code(capsys, monkeypatch, error, code, told):
    monkeypatch.setattr("time.sleep", lambda seconds: None)

    @handle_errors
    def command():
        raise error

    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == code
    assert capsys.readouterr().err == told


def test_a_line_takes_the_place_of_the_bar_and_stays(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    bar = Bar(quiet=False)
    bar("epoch 1: loss 0.5", 1, 3)
    bar.line("epoch   1: best so far")
    bar.close()
    shown = capsys.readouterr().err.split("\r")
    assert shown[1].startswith("epoch 1: loss 0.5")
    assert shown[2].isspace()
    assert shown[3] == "epoch   1: best so far\n"


def test_elsewhere_than_on_a_terminal_only_lines_are_shown_and_nothing_if_quiet(capsys):
    for quiet, told in ((False, "a line\n"), (True, "")):
        bar = Bar(quiet)
        bar("epoch 1", 1, 3)
        bar.line("a line")
        bar.close()
        assert capsys.readouterr().err == told


def test_time_that_is_left_is_told_as_a_clock_does(capsys, monkeypatch):
    assert [_clock(seconds) for seconds in (0.4, 59.6, 3599, 36061)] == ["0:00", "1:00", "59:59", "10:01:01"]
    now = iter([0.0, 0.0, 10.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    bar = Bar(quiet=False)
    bar("scoring", 64, 1000)
    bar("scoring", 164, 1000)
    assert capsys.readouterr().err.rstrip().endswith("164/1000  10.0/s  about 1:24 left")


def test_the_help_of_train_lists_options_only():
    lines = CliRunner().invoke(main, ["train", "--help"]).stdout.splitlines()
    assert lines[lines.index("Options:") + 1].split() == ["-h,", "--help", "Show", "this", "message", "and", "exit."]
