"""The command that lets faults strike real nodes."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer()


@app.command()
def torture(
    faults: Annotated[int, typer.Option(min=1, help="How many faults.")] = 20,
    seed: Annotated[int | None, typer.Option(min=0, help="Decides them; by default a fresh one.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="File with a line for each; an interrupted run goes on from it.")
    ] = None,
) -> None:
    """Let faults strike real nodes in mid-episode, and show what became of each.

    lnd and btcd are killed, frozen, slowed down, and lose their ports, their files or their descriptors; programs with
    nodes of their own are ended. As root, with control groups of version 1, the nodes get a disk of their own, which is
    filled and slowed down as well. The exit status is 1 when a step or a reset did not do what it should, or something
    was left behind.
    """
    from rich.table import Column, Table

    from lnsim_gym.benchmarks.torture import Fault, causes_and_outcomes, torture
    from lnsim_gym.cli.display import make_console

    chosen = secrets.randbits(32) if seed is None else seed
    typer.echo(f"seed {chosen}")

    def tell(fault: Fault) -> None:
        repaired = f"{fault.rung} in {fault.repaired_s:.1f} s" if fault.rung else "not repaired"
        typer.echo(f"{fault.number}: {fault.victim} {fault.cause}: {fault.outcome}, {repaired} {fault.wrong}".rstrip())

    done = torture(chosen, faults, out, tell)
    table = Table(
        Column("cause", no_wrap=True), "faults", "truncated", "unharmed", "noticed s", "repaired s", "wrong", box=None
    )
    for cause, *counts, noticed_s, repaired_s, wrong in causes_and_outcomes(done):
        table.add_row(cause, *map(str, counts), f"{noticed_s:.1f}", f"{repaired_s:.1f}", str(wrong))
    make_console().print(table)
    if any(fault.wrong for fault in done):
        raise typer.Exit(1)
