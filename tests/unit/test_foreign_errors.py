"""An exception of foreign code is one line, whatever its class does; none but the user's Ctrl-C stops other plugins."""

import signal
import sys
from types import ModuleType

import numpy as np
import pytest
from foreign_plugins import entry_point

from cxrscore import interrupts
from cxrscore.cli.endings import EXIT_FAULT, end
from cxrscore.cli.signals import take_signals
from cxrscore.contract import Metric, hookimpl
from cxrscore.errors import CxrscoreError, InputError, PluginError
from cxrscore.escape_control_chars import error_words
from cxrscore.executors import TaskRunner
from cxrscore.metrics import plugin_metrics
from cxrscore.plugin_values import Origin
from cxrscore.registry import Registry, plugin_table

ORIGIN = Origin(kind="backend", name="mine", distribution="acme")


class Nameless(type):
    @property
    def __name__(cls):
        raise SystemExit(0)


class OwnBase(BaseException):
    pass


class OddError(Exception):
    def __str__(self):
        raise OwnBase


class OddNamedError(OddError, metaclass=Nameless):
    @property
    def __cause__(self):
        raise ZeroDivisionError

    @property
    def errno(self):
        raise ZeroDivisionError


class OddInputError(InputError):
    def __str__(self):
        raise ValueError("no text")


class Text(str):
    def split(self, *_):
        raise OSError


class OddTextError(Exception):
    def __str__(self):
        return Text("a text")


ODD = (OddError(), OddNamedError(), OddTextError(), Exception("long " * 100_000), Exception("a\x00\x1b\ud800\nb"))
STOPPING = (GeneratorExit(), OwnBase(), SystemExit(0), KeyboardInterrupt(), *ODD)


@pytest.fixture
def watched(monkeypatch):
    monkeypatch.setattr(interrupts, "_watched", True)
    monkeypatch.setattr(interrupts, "_came", False)


def raises(error):
    raise error


def name(error):
    return type.__dict__["__name__"].__get__(type(error))


@pytest.mark.parametrize("error", ODD, ids=name)
def test_a_foreign_exception_is_one_short_printable_line(error):
    words = error_words(error)
    assert words.startswith(name(error))
    assert words.isprintable()
    assert len(words) < 400


@pytest.mark.parametrize("error", [*ODD, OddInputError()], ids=name)
def test_the_last_handler_has_a_line_for_every_exception(error, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path))
    known = isinstance(error, CxrscoreError)
    assert end(error) == (InputError.exit_code if known else EXIT_FAULT)
    said = capsys.readouterr().err
    assert known or (name(error) in said and said.count("\n") == 1)


@pytest.mark.parametrize("error", STOPPING, ids=name)
def test_whatever_a_plugin_raises_in_a_call_is_its_fault(watched, error):
    with pytest.raises(PluginError, match=f"mine.*predict raised {name(error)}"), ORIGIN.calling("predict"):
        raise error


@pytest.mark.parametrize("error", STOPPING, ids=name)
@pytest.mark.parametrize("where", ["import", "hook"])
def test_whatever_a_plugin_raises_when_it_is_loaded_breaks_it_alone(watched, monkeypatch, error, where):
    module = ModuleType("plugin_that_raises")
    vars(module)["cxrscore_losses"] = hookimpl(lambda: raises(error))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    found = entry_point("odd", module.__name__, "acme")
    if where == "import":
        monkeypatch.setattr(type(found.point), "load", lambda self: raises(error))
    registry = Registry([found])
    assert registry.plugins[0].state == "broken"
    assert name(error) in plugin_table(registry.plugins)


@pytest.mark.parametrize("error", STOPPING, ids=name)
def test_whatever_a_metric_raises_is_its_reason(watched, error):
    metric = Metric(name="odd", summary="x", function=lambda truth, score: raises(error))
    value, why = plugin_metrics.call_metric(metric, np.zeros(2), np.zeros(2))
    assert np.isnan(value)
    assert why.startswith(f"raised {name(error)}")


def test_a_worker_answers_with_an_error_whose_text_cannot_be_had(monkeypatch):
    monkeypatch.setitem(sys.modules, "odd_work", module := ModuleType("odd_work"))
    vars(module)["opened"] = lambda **_: lambda item: raises(OddError())
    assert "OddError" in TaskRunner("odd_work:opened", {}).answer(1)["message"]


def test_ctrl_c_of_the_user_ends_a_call_of_a_plugin(watched):
    before = [signal.signal(signal.SIGINT, signal.default_int_handler)]
    before += [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    try:
        take_signals()
        with pytest.raises(KeyboardInterrupt), ORIGIN.calling("predict"):
            signal.raise_signal(signal.SIGINT)
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), before, strict=True):
            signal.signal(number, handler)


def test_in_a_program_that_watches_no_signals_every_interrupt_is_of_the_user(monkeypatch):
    monkeypatch.setattr(interrupts, "_watched", False)
    with pytest.raises(KeyboardInterrupt), ORIGIN.calling("predict"):
        raise KeyboardInterrupt
