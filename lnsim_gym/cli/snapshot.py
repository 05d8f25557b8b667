"""Commands for named snapshots of networks of real nodes."""

from __future__ import annotations

from typing import Annotated

import typer

from lnsim_gym.cli.options import Json

__all__ = ["app"]

app = typer.Typer()
snapshot = typer.Typer(
    help="Keep a network of real nodes under a name, to have it again in seconds: `lnsim up --from NAME`.",
    no_args_is_help=True,
)
app.add_typer(snapshot, name="snapshot")

SnapshotName = Annotated[str, typer.Argument(help="Name of the snapshot.")]


@snapshot.command()
def save(
    name: SnapshotName,
    network: Annotated[str, typer.Option("--name", "-n", help="Name of the network.")] = "default",
) -> None:
    """Keep a network that is up, and run as processes, with its channels, balances and policies; it goes on.

    The files hold the keys of its nodes, and are for their owner only. No two networks may have the same keys: take it
    down before you bring it up from the snapshot.
    """
    from lnsim_gym.backends.lnd import snapshots
    from lnsim_gym.cli.display import spinner

    with spinner(f"saving the network {network}"):
        saved = snapshots.save(name, network)
    typer.echo(f"{name}: {len(saved.pubkeys)} nodes, {saved.size_bytes / 2**20:.1f} MiB in {saved.folder}")


@snapshot.command("list")
def list_(json: Json = False) -> None:
    """Show the snapshots there are."""
    import time

    import msgspec
    from rich.table import Table

    from lnsim_gym.backends.lnd.snapshots import snapshots
    from lnsim_gym.cli.display import make_console

    found = snapshots()
    if json:
        rows = [
            {
                "name": one.name,
                "nodes": len(one.pubkeys),
                "channels": len(one.topology["channels"]),
                "lnd_version": one.lnd_version,
                "saved_s": one.saved_s,
                "size_bytes": one.size_bytes,
            }
            for one in found
        ]
        typer.echo(msgspec.json.format(msgspec.json.encode(rows)).decode())
        return
    table = Table("snapshot", "nodes", "channels", "lnd", "saved", "MiB", box=None)
    for one in found:
        saved = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.saved_s))
        counts = (str(len(one.pubkeys)), str(len(one.topology["channels"])))
        table.add_row(one.name, *counts, one.lnd_version, saved, f"{one.size_bytes / 2**20:.1f}")
    make_console().print(table if found else "no snapshots: `lnsim snapshot save NAME` makes one of a network")


@snapshot.command()
def remove(name: SnapshotName) -> None:
    """Remove a snapshot; networks that were brought up from it stay."""
    from lnsim_gym.backends.lnd import snapshots

    snapshots.remove(name)
    typer.echo(f"{name}: removed")
