"""Telling the user that something is compiled: a moving bar on a terminal, one line on stderr elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

__all__ = ["say_once", "shown"]

COMPILING: Final = "lnsim: compiling the simulator for this machine, once; this takes some seconds ..."
_said: set[str] = set()


def say_once(text: str) -> None:
    """Print a line on stderr, unless this process has said so before."""
    if text not in _said:
        _said.add(text)
        print(text, file=sys.stderr)


@contextmanager
def shown() -> Iterator[Callable[[], None]]:
    """Show that functions are being compiled; yields what to call after each of them."""
    console = Console(stderr=True)
    if not console.is_terminal:
        say_once(COMPILING)
        yield lambda: None
        return
    columns = (TextColumn(COMPILING), BarColumn(20), TextColumn("{task.completed} functions"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda: progress.advance(task)
