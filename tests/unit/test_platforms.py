"""Where cxrscore does not run, it says so."""

import sys

import pytest

from cxrscore.__main__ import main


def test_windows_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == "cxrscore: Windows is not supported. Use Linux, macOS, or Linux inside Windows (WSL 2)."
