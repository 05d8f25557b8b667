"""The command line, called within the tests' own process, which is quicker than a process for each call."""

from __future__ import annotations

import signal
import sys

import pytest

from lnsim_gym.cli import main


@pytest.fixture
def lnsim(monkeypatch, capsys):
    """The command: called with its arguments, it gives exit status, output and messages."""

    def run(*arguments):
        before = signal.getsignal(signal.SIGTERM)
        monkeypatch.setattr(sys, "argv", ["lnsim", *map(str, arguments)])
        monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
        monkeypatch.setenv("COLUMNS", "300")
        try:
            with pytest.raises(SystemExit) as end:
                main()
        finally:
            signal.signal(signal.SIGTERM, before)
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    return run
