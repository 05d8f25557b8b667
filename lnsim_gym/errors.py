"""Every error the package raises on purpose, as one small tree.

Each class is also a builtin, so that callers may catch either. A failed payment or a refused rebalance is a
result, never an error. The text of an error says what was expected, what came, and what to do.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable
from typing import Any, Final

__all__ = [
    "BackendError",
    "BackendLost",
    "BackendTimeout",
    "BringUpError",
    "ConfigError",
    "InvalidAction",
    "LedgerMismatch",
    "LnsimError",
    "MissingDependency",
    "RecordError",
    "TopologyError",
    "UnknownSetting",
    "did_you_mean",
    "warn",
]

_WARNED: Final[dict[Any, Any]] = {}


class LnsimError(Exception):
    """Base of all errors of this package."""


class ConfigError(LnsimError, ValueError):
    """A setting is unknown, of the wrong type, or out of range."""


class TopologyError(ConfigError):
    """A topology names an unknown node, repeats a channel, or asks for impossible balances or policies."""


class UnknownSetting(ConfigError, TypeError):
    """A keyword of an environment is no setting; worded as Python words it, since some libraries try keywords out."""


class InvalidAction(LnsimError, ValueError):
    """An action outside the action space was passed to ``step``."""


class RecordError(LnsimError, ValueError):
    """A trace or record file is malformed or of another schema version."""


class MissingDependency(LnsimError, RuntimeError):
    """A program or optional package that the request needs is not installed."""


class BackendError(LnsimError, RuntimeError):
    """A backend could not do what was asked of it."""


class BringUpError(BackendError):
    """A live network did not become ready; the message carries the last log lines of the node at fault."""


class LedgerMismatch(BackendError):
    """Balances reported by LND differ from the ledger kept from the routes of settled payments."""


class BackendLost(BackendError, ConnectionError):
    """A node, or the chain backend behind it, is gone or no longer answers."""


class BackendTimeout(BackendLost, TimeoutError):
    """A node did not answer within the deadline of the call."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the closest known name, or an empty string when none is close.

    Args:
        name: What the user wrote.
        known: The names that would have been accepted.

    Returns:
        A sentence with a leading space, or ``""``.
    """
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def warn(text: str) -> None:
    """Warn the user of something that no line of code is to blame for: a text alone, once."""
    warnings.warn_explicit(text, UserWarning, "lnsim_gym", 0, registry=_WARNED)
