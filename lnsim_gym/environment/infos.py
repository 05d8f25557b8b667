"""The infos of one environment: what its resets and steps tell, always under the same keys and of the same types."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

from lnsim_gym.arrays import Int8
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks.base import Task
from lnsim_gym.tasks.columns import LEDGER

__all__ = ["InfoKind", "add_place", "check_kind", "payments_info", "reset_info", "shown"]

InfoKind = Literal["all", "numbers", "flat"]
"""Everything; all but texts; or that in one table, with keys such as ``rewards.success_rate``."""


def payments_info(counts: list[int], payments: int) -> dict[str, Any]:
    """Return what is said of the payments of a step; written out, as every step of an environment comes here.

    Args:
        counts: In the order of ``COUNTS``.
        payments: Payments that were due.
    """
    (
        succeeded,
        volume_msat,
        fees_msat,
        _no_failure,
        timeout,
        no_route,
        error,
        incorrect_payment_details,
        insufficient_balance,
        canceled,
    ) = counts
    return {
        "payments": payments,
        "succeeded": succeeded,
        "volume_sat": volume_msat // 1000,
        "fees_msat": fees_msat,
        "failures": {
            "TIMEOUT": timeout,
            "NO_ROUTE": no_route,
            "ERROR": error,
            "INCORRECT_PAYMENT_DETAILS": incorrect_payment_details,
            "INSUFFICIENT_BALANCE": insufficient_balance,
            "CANCELED": canceled,
        },
    }


def add_place(
    info: dict[str, Any],
    reset_rung: str,
    reset_seconds: float,
    seed: int | None,
    episode_number: int,
    step: int,
    action_mask: Int8,
    backend_error: str,
) -> None:
    """Add to an info where in its episodes the environment stands, and what it may do next."""
    info["reset_rung"] = reset_rung
    info["reset_seconds"] = reset_seconds
    info["seed"] = seed
    info["episode_number"] = episode_number
    info["step"] = step
    info["action_mask"] = action_mask
    info["backend_error"] = backend_error


def reset_info(task: Task) -> dict[str, Any]:
    """Return what is said of a step where none was made yet: nothing was paid, nothing done."""
    info = payments_info([0] * LEDGER, 0)
    task.add_info(info, [0] * len(task.ledger), [0.0] * len(task.terms))
    return info


def check_kind(info: str) -> InfoKind:
    """Return the kind of info of that name.

    Raises:
        ConfigError: There is none.
    """
    if info not in get_args(InfoKind):
        raise ConfigError(f"info must be one of {', '.join(map(repr, get_args(InfoKind)))}, got {info!r}")
    return info  # type: ignore[return-value]


def shown(info: dict[str, Any], kind: InfoKind) -> dict[str, Any]:
    """Return an info, of one environment or of many, as a kind of info shows it."""
    if kind == "all":
        return info
    entries: dict[str, Any] = {}
    for key, value in info.items():
        if not isinstance(value, dict):
            if not _is_text(value):
                entries[key] = value
        elif kind == "flat":
            entries |= {f"{key}.{name}": entry for name, entry in shown(value, kind).items()}
        else:
            entries[key] = shown(value, kind)
    return entries


def _is_text(value: Any) -> bool:
    """Return whether an entry is a text, or an array of texts."""
    return isinstance(value, str) or (isinstance(value, np.ndarray) and value.dtype == np.object_)
