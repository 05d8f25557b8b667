"""The infos of one environment: what its resets and steps tell, always under the same keys and of the same types."""

from __future__ import annotations

from typing import Any

from lnsim_gym.arrays import Int8
from lnsim_gym.tasks.base import Task
from lnsim_gym.tasks.columns import LEDGER

__all__ = ["add_place", "payments_info", "reset_info", "without_text"]


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


def without_text(info: dict[str, Any]) -> dict[str, Any]:
    """Return an info without its texts, those inside its tables included."""
    return {
        key: without_text(value) if isinstance(value, dict) else value
        for key, value in info.items()
        if not isinstance(value, str)
    }
