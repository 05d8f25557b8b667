"""The command that shows what a network file holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lnsim_gym.cli.options import Json
from lnsim_gym.errors import MissingDependency

if TYPE_CHECKING:
    from lnsim_gym.network.importers.channels import Report
    from lnsim_gym.network.summary import NetworkSummary

__all__ = ["app"]

app = typer.Typer()

_DISTRIBUTIONS: Final = {
    "channels of a node": "channels_per_node",
    "capacity (sat)": "channel_capacity_sat",
    "base fee (msat)": "fee_base_msat",
    "fee rate (ppm)": "fee_rate_ppm",
    "time lock (blocks)": "time_lock_delta",
}
"""Columns of the table of quantiles, and the fields they show."""


@app.command("network")
def show_network(
    file: Annotated[str, typer.Argument(help="File, folder, pipe, preset or generator call.", metavar="FILE")],
    cut: Annotated[
        list[str] | None,
        typer.Option(
            "--cut", "-c", help='Keep a part: "around(NODE, hops)", "core(k)", "largest(n)", "component", ...'
        ),
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Write the distributions as a picture.")] = None,
    json: Json = False,
) -> None:
    """Show what a network file holds, and what of it cannot be played."""
    import msgspec

    from lnsim_gym.network.load import read_network
    from lnsim_gym.network.summary import summarise
    from lnsim_gym.network.topology import unconnected_is_fine

    with unconnected_is_fine():
        topology, report = read_network(file)
        topology = topology.cut(*(cut or ()))
    summary = summarise(topology)
    if json:
        told = {**msgspec.to_builtins(summary), "format": report.format, "listed": report.listed}
        told |= {"left_out": dict(report.left_out), "changed": dict(report.changed), "remarks": report.remarks}
        typer.echo(msgspec.json.format(msgspec.json.encode(told)).decode())
    else:
        _print(summary, report)
    if plot is not None:
        try:
            from lnsim_gym.rendering.distributions import plot_network
        except ImportError:
            raise MissingDependency('pictures need matplotlib: pip install "lnsim_gym[render]"') from None
        plot_network(topology, plot, Path(file).name)
        typer.echo(f"drawn in {plot}", err=json)


def _print(summary: NetworkSummary, report: Report) -> None:
    """Print what a network holds as tables."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Column, Table

    from lnsim_gym.cli.display import make_console
    from lnsim_gym.network.summary import QUANTILES

    console = make_console()
    directions = 2 * summary.channels
    parts = f", {summary.nodes_of_largest_part:,} of them in the largest of {summary.parts:,} parts"
    rows = [
        ("format", report.format),
        ("nodes", f"{summary.nodes:,}{parts if summary.parts > 1 else ''}"),
        ("channels", f"{summary.channels:,}, {summary.parallel_channels:,} of them parallel to others"),
        ("capacity", f"{summary.capacity_sat:,} sat"),
        ("disabled", f"{summary.disabled_directions:,} of {directions:,} directions"),
        ("inbound fees", f"{summary.inbound_fee_directions:,} of {directions:,} directions"),
        ("balances given", f"{summary.given_balances:,} of {summary.channels:,} channels"),
        *(("left out", f"{count:,} channels {cause}") for cause, count in report.left_out.items()),
        *(("left out", f"{count:,} nodes without a channel") for count in [report.nodes_left_out] if count),
        *(("changed", f"{count:,} {what}") for what, count in report.changed.items() if count),
        *(("note", remark) for remark in report.remarks),
    ]
    table = Table("", "", show_header=False, box=None)
    for name, value in rows:
        table.add_row(name, value)
    console.print(table)
    shares = Table("quantile", *(Column(name, justify="right") for name in _DISTRIBUTIONS), box=SIMPLE_HEAD)
    columns = [getattr(summary, field) for field in _DISTRIBUTIONS.values()]
    for quantile, *values in zip(QUANTILES, *columns, strict=True):
        shares.add_row(f"{quantile:.0%}", *(f"{value:,.0f}" for value in values))
    console.print(shares)
