"""How commands show things on a terminal: progress on stderr, tables on stdout. No commands live here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

if TYPE_CHECKING:
    from lnsim_gym.backends.lnd.nodes import Progress as ProgressReport
    from lnsim_gym.backends.lnd.status import NetworkStatus

__all__ = ["print_status", "shown_progress", "spinner"]


@contextmanager
def spinner(what: str) -> Iterator[None]:
    """Show that something is going on."""
    with Console(file=sys.stderr).status(what):
        yield


@contextmanager
def shown_progress() -> Iterator[ProgressReport]:
    """Show a progress bar for a job that reports what it does, how much is done, and of how much."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr)) as bar:
        task = bar.add_task("", total=None)

        def report(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total or None)

        yield report


def print_status(status: NetworkStatus) -> None:
    """Print the nodes and the channels of a network as tables."""
    console = Console()
    chain = "running" if status.chain_running else "stopped"
    console.print(f"{status.name}: {status.launcher}, btcd {chain}, in {status.folder}", soft_wrap=True)
    console.print(_nodes_table(status))
    console.print(_channels_table(status))


def _nodes_table(status: NetworkStatus) -> Table:
    """Lay out one row per node."""
    columns = (
        Column(name, no_wrap=True) for name in ("node", "state", "address", "height", "channels", "balance (sat)")
    )
    table = Table(*columns, Column("public key", overflow="ellipsis"))
    for node in status.nodes:
        table.add_row(
            node.name,
            node.state,
            f"{node.host}:{node.port}",
            str(node.block_height),
            str(node.spendable_channels),
            f"{node.local_balance_sat:,}",
            node.pubkey,
        )
    return table


def _channels_table(status: NetworkStatus) -> Table:
    """Lay out one row per channel."""
    table = Table("initiator", "peer", "capacity (sat)", "initiator has", "peer has", "active", "pending HTLCs")
    for channel in status.channels:
        table.add_row(
            channel.initiator,
            channel.peer,
            f"{channel.capacity_sat:,}",
            f"{channel.initiator_balance_sat:,}",
            f"{channel.peer_balance_sat:,}",
            "yes" if channel.active else "no",
            str(channel.pending_htlcs),
        )
    return table
