"""Reading the Parquet files of a run back, one episode at a time. Needs pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.errors import LnsimError, MissingDependency, RecordError
from lnsim_gym.network import Channel, Topology

__all__ = ["RecordedEpisode", "RecordedStep", "read_episode", "recorded_episodes", "whole"]


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """A step as the files hold it."""

    step: int
    events: list[dict[str, Any]]
    """Rows of the table ``events``, rebalances first."""
    balances_after_msat: Int64  # (channels, 2)


@dataclass(frozen=True, slots=True)
class RecordedEpisode:
    """An episode as the files hold it."""

    episode: int
    seed: int
    topology: Topology
    """Nodes and channels; its policies are not in the files, and so those of LND's defaults."""
    start_balances_msat: Int64  # (channels, 2)
    steps: list[RecordedStep]


def recorded_episodes(folder: Path) -> list[int]:
    """Return the numbers of the episodes in a folder of Parquet files, in order.

    Raises:
        RecordError: There are no such files, or they are damaged.
        MissingDependency: pyarrow is not installed.
    """
    with whole(folder):
        table = _read(folder, "balances", columns=["episode"])
        numbers: list[int] = np.unique(table.column("episode").to_numpy()).tolist()
        return numbers


def read_episode(folder: Path, episode: int) -> RecordedEpisode:
    """Read an episode.

    Raises:
        RecordError: There is no such episode, or the files are damaged.
        MissingDependency: pyarrow is not installed.
    """
    with whole(folder):
        return _episode(folder, episode)


@contextmanager
def whole(folder: Path) -> Iterator[None]:
    """Take what goes wrong with rows for damage of the files that they come from.

    Raises:
        RecordError: Something did.
    """
    try:
        yield
    except LnsimError:
        raise
    except (ArithmeticError, AttributeError, LookupError, MemoryError, OSError, TypeError, ValueError) as problem:
        told = f"{type(problem).__name__}: {problem}"
        raise RecordError(f"the Parquet files in {folder} are damaged or of another kind ({told})") from None


def _episode(folder: Path, episode: int) -> RecordedEpisode:
    """Do what ``read_episode`` does, with files that are whole."""
    wanted = [("episode", "=", episode)]
    balances = _read(folder, "balances", filters=wanted).to_pylist()
    starts = [row for row in balances if row["step"] == -1]
    if not starts:
        raise RecordError(f"{folder} holds no start of an episode {episode}: choose another episode")
    events = _read(folder, "events", filters=wanted).to_pylist()
    by_step: dict[int, list[dict[str, Any]]] = {}
    for row in events:
        by_step.setdefault(row["step"], []).append(row)
    start_msat = np.array([(row["initiator_balance_msat"], row["peer_balance_msat"]) for row in starts], np.int64)
    return RecordedEpisode(
        episode=episode,
        seed=events[0]["seed"] if events else 0,
        topology=_topology(starts),
        start_balances_msat=start_msat,
        steps=list(_steps(balances, by_step, start_msat)),
    )


def _steps(
    balances: list[dict[str, Any]], events: dict[int, list[dict[str, Any]]], start_msat: Int64
) -> Iterator[RecordedStep]:
    """Yield the steps in order; channels without a row kept their balance."""
    now_msat = start_msat
    rows_by_step = {step: list(rows) for step, rows in groupby(balances, key=lambda row: int(row["step"]))}
    for step in sorted({*rows_by_step, *events} - {-1}):
        now_msat = now_msat.copy()
        for row in rows_by_step.get(step, []):
            now_msat[row["channel"]] = row["initiator_balance_msat"], row["peer_balance_msat"]
        yield RecordedStep(step, events.get(step, []), now_msat)


def _topology(rows: list[dict[str, Any]]) -> Topology:
    """Return the network of the rows of all channels."""
    names = dict.fromkeys(name for row in rows for name in (row["initiator"], row["peer"]))
    channels = tuple(
        Channel(initiator=row["initiator"], peer=row["peer"], capacity_sat=row["capacity_sat"]) for row in rows
    )
    return Topology(nodes=tuple(names), channels=channels, wumbo=True)


def _read(folder: Path, table: str, **options: Any) -> Any:
    """Read the files of one of the tables."""
    try:
        from pyarrow import ArrowException, parquet  # noqa: PLC0415 - an extra
    except ImportError:
        raise MissingDependency(
            'Parquet files need pyarrow, which is not installed: pip install "lnsim_gym[records]"'
        ) from None
    files = sorted(folder.glob(f"{table}-*.parquet"))
    if not files:
        raise RecordError(f"expected a folder with {table}-*.parquet, found none in {folder}")
    try:
        return parquet.read_table([str(file) for file in files], **options)
    except (OSError, ArrowException) as problem:
        raise RecordError(f"cannot read the Parquet files in {folder}: {problem}") from None
