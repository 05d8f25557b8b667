"""How commands show things on a terminal: progress on stderr, tables on stdout. No commands live here."""

from __future__ import annotations

import heapq
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

if TYPE_CHECKING:
    from lnsim_gym.agents.evaluate import Score
    from lnsim_gym.backends.lnd.network.status import NetworkStatus
    from lnsim_gym.backends.lnd.nodes.programs import Progress as ProgressReport
    from lnsim_gym.benchmarks.parity.run import Compared, Lost
    from lnsim_gym.benchmarks.soak.run import Soak, SoakFigures
    from lnsim_gym.benchmarks.soak.trend import Trend
    from lnsim_gym.records.statistics import NodeStatistics, Statistics

__all__ = [
    "amount_progress",
    "make_console",
    "print_scores",
    "print_statistics",
    "print_status",
    "score_cells",
    "print_soak",
    "trend_text",
    "frame_display",
    "parity_progress",
    "progress_bar",
    "soak_progress",
    "step_progress",
    "spinner",
]

WIDEST: Final = 1_000
"""Columns of the widest table of scores."""
MANY_NODES: Final = 30
"""Nodes beyond which a table shows their distribution and the extremes in place of each of them."""
SHOWN_NODES: Final = 5
"""Nodes shown at each extreme."""
_NODE_FIELDS: Final = ("sent_msat", "received_msat", "net_flow_msat")
_QUANTILES: Final = {"least": 0.0, "10 %": 0.1, "median": 0.5, "90 %": 0.9, "most": 1.0}
_EXTREMES: Final = (
    ("largest net inflow", "net_flow_msat", 1),
    ("largest net outflow", "net_flow_msat", -1),
    ("most sent", "sent_msat", 1),
    ("most received", "received_msat", 1),
)


def make_console(**settings: Any) -> Console:
    """Return a console that shows text as it is: names are those of strangers, and may look like markup."""
    return Console(markup=False, emoji=False, **settings)


@contextmanager
def spinner(what: str) -> Iterator[None]:
    """Show that something is going on."""
    with make_console(file=sys.stderr).status(Text(what)):
        yield


@contextmanager
def progress_bar() -> Iterator[ProgressReport]:
    """Show a progress bar for a job that reports what it does, how much is done, and of how much."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=make_console(file=sys.stderr)) as bar:
        task = bar.add_task("", total=None)

        def report(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total or None)

        yield report


@contextmanager
def step_progress(what: str, steps: int | None) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Show steps as they are made, with the success rate so far: a bar on a terminal, a line for each tenth elsewhere.

    Steps without an end (None) get a line for each hundred.

    Yields:
        A function to call with the info of each step.
    """
    console = make_console(file=sys.stderr)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        "{task.fields[rate]}",
        TimeElapsedColumn(),
    )
    done = 0
    payments = 0
    succeeded = 0
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=steps, rate="")

        def report(info: Mapping[str, Any]) -> None:
            nonlocal done, payments, succeeded
            done += 1
            payments += info["payments"]
            succeeded += info["succeeded"]
            rate = f"{succeeded / payments:.1%} of payments succeed"
            bar.update(task, completed=done, rate=rate)
            lines, per = (1, 100) if steps is None else (10, steps)
            if not console.is_terminal and done * lines // per != (done - 1) * lines // per:
                of = "" if steps is None else f" of {steps}"
                console.print(f"{what}: step {done}{of}, {rate}", soft_wrap=True)
            if info["backend_error"]:
                console.print(f"step {done} lost the network: {info['backend_error']}", soft_wrap=True)

        yield report


@contextmanager
def parity_progress(
    wanted: Mapping[str, int], before: Mapping[str, int]
) -> Iterator[Callable[[Compared | Lost], None]]:
    """Show comparisons with real nodes as they are made: a bar a kind on a terminal, a line for each tenth elsewhere.

    Args:
        wanted: How many of each kind.
        before: How many of each were made before.

    Yields:
        A function to call with each comparison, and each network that was lost; differences are told at once.
    """
    from lnsim_gym.benchmarks.parity.run import Lost

    console = make_console(file=sys.stderr)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    done = {kind: before.get(kind, 0) for kind in wanted}
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        tasks = {kind: bar.add_task(kind, completed=done[kind], total=count) for kind, count in wanted.items()}

        def tell(each: Compared | Lost) -> None:
            if isinstance(each, Lost):
                console.print(f"network {each.network} was lost: {each.why}", soft_wrap=True)
                return
            if each.told:
                console.print(f"network {each.network}, deed {each.deed} differs: {each.told}", soft_wrap=True)
            if done.get(each.kind, 0) < wanted.get(each.kind, 0):
                done[each.kind] += 1
                bar.advance(tasks[each.kind])
                tenths, count = 10 * done[each.kind], wanted[each.kind]
                if not console.is_terminal and tenths // count != (tenths - 10) // count:
                    console.print(f"{done[each.kind]:,} of {count:,} {each.kind}", soft_wrap=True)

        yield tell


@contextmanager
def amount_progress(what: str, before: int, wanted: int) -> Iterator[Callable[[int], None]]:
    """Show how much is done: a bar on a terminal, a line for each tenth elsewhere.

    Args:
        what: What is counted.
        before: How much was done before.
        wanted: How much there is to do.

    Yields:
        A function to call with how much is done by now.
    """
    console = make_console(file=sys.stderr)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:.1f} %"))
    tenths = 10 * before // wanted
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=wanted, completed=before)

        def show(done: int) -> None:
            nonlocal tenths
            bar.update(task, completed=done, description=f"{done:,} {what}")
            if not console.is_terminal and 10 * done // wanted > tenths:
                tenths = 10 * done // wanted
                console.print(f"{done:,} of {wanted:,} {what}", soft_wrap=True)

        yield show


@contextmanager
def soak_progress(run: Soak) -> Iterator[Callable[[dict[str, float]], None]]:
    """Show how far a long run is: a bar on a terminal, a line for each tenth elsewhere.

    Yields:
        A function to call with each sample.
    """
    console = make_console(file=sys.stderr)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:.1f} %"))
    tenths = 0
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1.0)

        def show(figures: dict[str, float]) -> None:
            nonlocal tenths
            said = f"{run.steps:,} steps, {figures['steps_per_s']:,.0f}/s, {figures['own_memory_mib']:,.1f} MiB"
            bar.update(task, description=said, completed=run.share_done)
            if not console.is_terminal and int(10 * run.share_done) > tenths:
                tenths = int(10 * run.share_done)
                console.print(f"{run.share_done:.0%}: {said}", soft_wrap=True)

        yield show


def trend_text(trend: Trend) -> str:
    """Say where a series goes."""
    if trend.low_per_hour is None:
        return trend.verdict
    return (
        f"{trend.verdict}, {trend.per_hour:+,.3g} an hour ({trend.low_per_hour:+,.3g} .. {trend.high_per_hour:+,.3g})"
    )


def print_soak(found: SoakFigures, json: bool) -> None:
    """Print what a long run found, as JSON or as a table."""
    import msgspec

    if json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
        return
    columns = (Column(name, justify="right", no_wrap=True) for name in ("mean", "an hour", "99 % interval"))
    table = Table(Column(found.subject, no_wrap=True), *columns, Column("slope", no_wrap=True), box=SIMPLE_HEAD)
    for name, trend in found.trends.items():
        low, high = trend.low_per_hour, trend.high_per_hour
        interval = "" if low is None or high is None else f"{low:+,.3g} .. {high:+,.3g}"
        table.add_row(name, f"{trend.mean:,.4g}", f"{trend.per_hour:+,.3g}", interval, trend.verdict)
    console = make_console()
    console.width = max(console.width, make_console(width=WIDEST).measure(table).maximum)
    ended = "" if found.complete else ", ended early"
    console.print(f"{found.steps:,} steps in {found.seconds:,.1f} s{ended}, lost {found.lost:,}", soft_wrap=True)
    console.print(table)


@contextmanager
def frame_display(render: Callable[[], str], fps: float) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Show the network after each step: one frame in place of the other on a terminal, one after the other elsewhere.

    Yields:
        A function to call with the info of each step.
    """
    console = make_console()
    if not console.is_terminal:
        yield lambda _: print(render(), end="\n\n")
        return
    with Live(console=console, auto_refresh=False) as live:

        def report(info: Mapping[str, Any]) -> None:
            del info
            live.update(Text(render()), refresh=True)
            time.sleep(1 / fps)

        yield report


def print_statistics(statistics: Statistics, reward: float | None = None, *, own_node: bool = False) -> None:
    """Print the sums of a run as tables.

    Args:
        statistics: The sums.
        reward: Sum of rewards; shown unless it is None.
        own_node: Whether the reward is the profit of an own node; else the profit is that of all nodes together.
    """
    console = make_console()
    table = Table("", Column("", justify="right"), title="run", show_header=False)
    failures = ", ".join(f"{count} {reason}" for reason, count in statistics.failures.items()) or "none"
    rows = {
        "episodes, steps": f"{statistics.episodes:,}, {statistics.steps:,}",
        "payments": f"{statistics.payments:,}",
        "succeeded": f"{statistics.succeeded:,} ({statistics.success_rate:.1%})",
        "failures": failures,
        "volume (sat)": f"{statistics.volume_msat / 1000:,.0f}",
        "routing fees (sat)": f"{statistics.fees_msat / 1000:,.3f}",
        "rebalances applied": f"{statistics.rebalances_applied:,} of {statistics.rebalances:,}",
        "rebalanced (sat)": f"{statistics.rebalance_volume_msat / 1000:,.0f}",
        "rebalance fees (sat)": f"{statistics.rebalance_fees_msat / 1000:,.3f}",
        "lost networks": f"{statistics.backend_errors:,}",
        "runtime": f"{statistics.runtime_s:.2f} s ({statistics.payments_per_minute / 60:,.0f} payments/second)",
    }
    if reward is not None and own_node:
        rows["profit of the own node (sat)"] = f"{reward:,.3f}"
    elif reward is not None:
        profit_msat = statistics.fees_msat - statistics.rebalance_fees_msat
        rows |= {"reward": f"{reward:,.3f}", "profit (sat)": f"{profit_msat / 1000:,.3f}"}
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)
    for nodes in _node_tables(statistics.nodes):
        console.print(nodes)


def _node_tables(nodes: Mapping[str, NodeStatistics]) -> Iterator[Table]:
    """Lay out what nodes sent and received: a row for each, or of very many the distribution and the extremes."""
    if len(nodes) <= MANY_NODES:
        table = _amounts_table("node")
        for name, node in nodes.items():
            table.add_row(Text(name), *_amounts(node.sent_msat, node.received_msat, node.net_flow_msat))
        yield table
        return
    columns = [[getattr(node, field) for node in nodes.values()] for field in _NODE_FIELDS]
    quantiles = _amounts_table(f"{len(nodes):,} nodes")
    for name, share in _QUANTILES.items():
        quantiles.add_row(name, *_amounts(*(np.quantile(column, share).item() for column in columns)))
    yield quantiles
    extremes = _amounts_table("node")
    for title, field, sign in _EXTREMES:
        extremes.add_section()
        extremes.add_row(Text(title, style="bold"))
        ranked = heapq.nlargest(SHOWN_NODES, nodes.items(), key=lambda item: sign * getattr(item[1], field))
        for name, node in ranked:
            if sign * getattr(node, field) > 0:
                extremes.add_row(Text(f"  {name}"), *_amounts(node.sent_msat, node.received_msat, node.net_flow_msat))
    yield extremes


def _amounts_table(title: str) -> Table:
    """Return a table of amounts that nodes sent and received."""
    names = ("sent (sat)", "received (sat)", "net flow (sat)")
    first = Column(title, overflow="ellipsis", no_wrap=True)
    return Table(first, *(Column(name, justify="right", no_wrap=True) for name in names))


def _amounts(*amounts_msat: float) -> Iterator[str]:
    """Yield amounts in sat as text."""
    return (f"{amount_msat / 1000:,.0f}" for amount_msat in amounts_msat)


def score_cells(scores: Sequence[Score], paid: bool = False) -> list[list[str]]:
    """Return a table of scores on the same seeds as text, header first.

    Args:
        scores: The scores.
        paid: Whether to show the reward of an episode and the profit too.
    """
    from lnsim_gym.agents.evaluate import behind

    best = max(scores, key=lambda score: score.objective)
    if all(score.node is not None for score in scores):
        return _node_cells(scores, best)
    header = [
        "agent",
        "success rate",
        "95 % interval",
        "behind the best, paired",
        "volume (sat)",
        "routing fees (sat)",
        "rebalanced (sat)",
        "their fees (sat)",
        "refused",
        *(("reward", "profit (sat)") if paid else ()),
    ]
    return [header] + [
        [
            score.agent,
            f"{score.success_rate:.4f}",
            f"{score.success_rate_low:.4f} .. {score.success_rate_high:.4f}",
            "" if score is best else "{:.4f} ({:.4f} .. {:.4f})".format(*behind(score, best)),
            f"{score.volume_sat:,.0f}",
            f"{score.routing_fees_sat:,.0f}",
            f"{score.rebalanced_sat:,.0f}",
            f"{score.rebalance_fees_sat:,.0f}",
            f"{score.refused:.1%}",
            *((f"{score.reward:,.2f}", f"{score.profit_sat:,.0f}") if paid else ()),
        ]
        for score in scores
    ]


def _node_cells(scores: Sequence[Score], best: Score) -> list[list[str]]:
    """Return a table of what operators' own nodes gained, as ``score_cells`` does."""
    from lnsim_gym.agents.evaluate import behind

    header = [
        "agent",
        "net (sat/day)",
        "95 % interval",
        "behind the best, paired",
        "per 100 M sat",
        "income (sat/day)",
        "rebalances (sat/day)",
        "swaps (sat/day)",
        "chain (sat/day)",
        "refused",
    ]
    rows = []
    for score in scores:
        node = score.node
        assert node is not None
        rows.append(
            [
                score.agent,
                f"{node.net_sat_per_day:,.1f}",
                f"{node.net_sat_per_day_low:,.1f} .. {node.net_sat_per_day_high:,.1f}",
                "" if score is best else "{:,.1f} ({:,.1f} .. {:,.1f})".format(*behind(score, best)),
                f"{node.net_sat_per_day_per_100m_sat:,.1f}",
                f"{node.income_sat_per_day:,.1f}",
                f"{node.rebalance_fees_sat_per_day:,.1f}",
                f"{node.swap_fees_sat_per_day:,.1f}",
                f"{node.chain_fees_sat_per_day:,.1f}",
                f"{score.refused:.1%}",
            ]
        )
    return [header, *rows]


def print_scores(scores: Sequence[Score], paid: bool = False) -> None:
    """Print scores as a table that is never cut, however narrow the terminal; amounts are means over episodes."""
    header, *rows = score_cells(scores, paid)
    there = f" at {scores[0].places} places" if scores[0].places > 1 else ""
    print_whole(header, rows, words=header[:1], caption=f"{scores[0].episodes} episodes{there}")


def print_whole(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, words: Sequence[str], caption: str | None = None
) -> None:
    """Print a table that is never cut, however narrow the terminal.

    Args:
        header: Headings.
        rows: Cells under them.
        words: Headings of columns of words; all others hold numbers, and stand to the right.
        caption: What to say below.
    """
    heads = (Column(name, justify="left" if name in words else "right", no_wrap=True) for name in header)
    table = Table(*heads, caption=caption, box=SIMPLE_HEAD)
    for row in rows:
        table.add_row(*row)
    console = make_console()
    console.width = max(console.width, make_console(width=WIDEST).measure(table).maximum)
    console.print(table)


def print_status(status: NetworkStatus) -> None:
    """Print the nodes and the channels of a network as tables."""
    console = make_console()
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
            str(node.active_channels),
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
