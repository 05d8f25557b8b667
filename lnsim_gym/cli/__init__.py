"""The ``lnsim`` command. Every module of this folder adds commands of its own.

A module offers a Typer ``app`` whose commands appear at the top level; ``display`` and ``options`` help the others. It
imports what its commands need inside them, so that ``lnsim --help`` stays quick. Errors of the package end a command
with one message and no traceback.
"""

from __future__ import annotations

import importlib
import pkgutil
import signal
import sys
import threading
import warnings
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer
from typer.main import get_command_name

from lnsim_gym.errors import ConfigError, LnsimError, MissingDependency

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

__all__ = ["main", "make_app"]

ASK_AGAIN_S: Final = 0.1
"""After how long an end is asked for again that a finaliser swallowed."""

_SHARED = ("display", "options")
_HELP = """Reinforcement learning over a Lightning network, on real LND nodes or a faithful simulator."""


def make_app(wanted: str | None = None) -> typer.Typer:
    """Return the command with the commands of every module in this folder.

    Args:
        wanted: Name of a command that is to be run. Where there is one of this name, only its module's are made, as
            making them all takes longer than most of them run.
    """
    app = typer.Typer(
        help=_HELP,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        rich_markup_mode="markdown",
    )
    app.callback()(_take_options)
    modules = sorted(found.name for found in pkgutil.iter_modules(__path__) if found.name not in _SHARED)
    parts = [importlib.import_module(f"{__name__}.{module}").app for module in modules]
    for part in [part for part in parts if wanted in _names(part)] or parts:
        app.add_typer(part)
    return app


def _names(part: typer.Typer) -> set[str | None]:
    """Return the names of the commands and groups of a module."""
    commands = {
        info.name or (info.callback and get_command_name(info.callback.__name__)) for info in part.registered_commands
    }
    return {*commands, *(info.name for info in part.registered_groups)} - {None}


def _show_version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        from lnsim_gym import __version__

        typer.echo(f"lnsim {__version__}")
        raise typer.Exit


def _take_options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Take the options of ``lnsim`` itself; eager ones have run by now."""
    del version


def main() -> None:
    """Run ``lnsim``.

    Exit status: 0, or 1 when something went wrong, 2 when the request itself is at fault, 130 after Ctrl-C, 143
    after a request to terminate; whatever was being made is removed before.
    """
    signal.signal(signal.SIGTERM, _terminated)
    sys.unraisablehook = _ask_again
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            make_app(*sys.argv[1:2])(prog_name="lnsim")
    except LnsimError as problem:
        typer.echo(f"error: {problem}", err=True)
        sys.exit(2 if isinstance(problem, (ConfigError, MissingDependency)) else 1)
    except MemoryError:
        typer.echo(
            "error: there is not enough memory: ask for less at once, or free some; what was written is whole", err=True
        )
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Show a warning as errors are shown, without the source line that it came from."""
    typer.echo(f"warning: {message}", err=True)


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    """End as an exception does, so that cleanups run."""
    del frame
    sys.exit(128 + number)


def _ask_again(lost: UnraisableHookArgs) -> None:
    """Ask for the end once more where it was lost; say what else was lost as Python does.

    A signal's exception rises wherever the program happens to be. In a finaliser, or a callback of C code, it cannot
    go further, and the program would play on.
    """
    ends = {KeyboardInterrupt: signal.SIGINT, SystemExit: signal.SIGTERM}
    if lost.exc_type not in ends:
        sys.__unraisablehook__(lost)
        return
    main_thread = threading.main_thread().ident
    again = threading.Timer(ASK_AGAIN_S, signal.pthread_kill, [main_thread, ends[lost.exc_type]])
    again.daemon = True
    again.start()
