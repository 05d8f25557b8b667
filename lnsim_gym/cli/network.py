"""Commands for networks of real nodes: build the programs, bring a named network up, look at it, take it down."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lnsim_gym.cli.options import Json, LauncherChoice
from lnsim_gym.errors import ConfigError

if TYPE_CHECKING:
    from lnsim_gym.backends.lnd.nodes.record import NetworkRecord

__all__ = ["app"]

app = typer.Typer()
nodes = typer.Typer(help="Build lnd, lncli and btcd, or a Docker image of them.", no_args_is_help=True)
app.add_typer(nodes, name="nodes")


Name = Annotated[str, typer.Option("--name", "-n", help="Name of the network.")]


@app.command()
def up(
    name: Name = "default",
    topology: Annotated[
        str | None,
        typer.Option(
            "--topology", "-t", help="Preset, generator call or file; by default the topology of LightningNet-v0."
        ),
    ] = None,
    launcher: Annotated[
        LauncherChoice, typer.Option("--launcher", "-l", help="auto: Docker if it is ready, else processes.")
    ] = LauncherChoice.auto,
    snapshot: Annotated[
        str | None, typer.Option("--from", help="Snapshot that the new network is to be as; see `lnsim snapshot`.")
    ] = None,
) -> None:
    """Bring a network of real lnd nodes up, and leave it running.

    It is ready when the command ends: chain synced, channels active, every policy known to every node. Running the
    command again repairs what has stopped and changes nothing else. With Docker, the network called "default" has
    the containers lnd-alice, lnd-bob, ... with gRPC on 127.0.0.1:10001, 10002, ... and REST on 8001, 8002, ...;
    every other network gets free ports. `lnsim status` shows how to connect.
    """
    from lnsim_gym.backends.lnd import LndSettings, named
    from lnsim_gym.backends.lnd.nodes.folders import find_named
    from lnsim_gym.cli.display import spinner
    from lnsim_gym.network.load import load_topology

    if snapshot is not None:
        from lnsim_gym.backends.lnd.snapshots import up_from

        if topology is not None or launcher is LauncherChoice.docker:
            raise ConfigError(
                "expected --from alone, got --topology or --launcher docker, too: a snapshot says what its network is, "
                "and is run as processes"
            )
        with spinner(f"bringing the network {name} up from the snapshot {snapshot}"):
            _tell_up(name, up_from(snapshot, name, LndSettings()))
        return
    wanted = None if topology is None else load_topology(topology)
    if wanted is None and find_named(name) is None:
        wanted = load_topology("default")
    with spinner(f"bringing the network {name} up"):
        record = named.up(name, wanted, launcher.value, LndSettings())
    _tell_up(name, record)


def _tell_up(name: str, record: NetworkRecord) -> None:
    """Say what is up."""
    count = len(record.topology["channels"])
    typer.echo(f"{name}: {len(record.nodes)} nodes and {count} channels are up ({record.launcher}), in {record.folder}")


@app.command()
def down(
    name: Name = "default",
    keep: Annotated[bool, typer.Option("--keep", help="Keep the state; `lnsim up` continues with it.")] = False,
    backup: Annotated[
        Path | None,
        typer.Option("--backup", help="First copy topology, status, logs and recordings into a folder below this one."),
    ] = None,
    recordings: Annotated[
        Path, typer.Option("--recordings", help="Folder of recorded episodes that --backup copies as well.")
    ] = Path("records"),
) -> None:
    """Stop a network and remove all that `lnsim up` made: processes, containers, volumes, ports and files.

    Harmless when there is no such network. A built Docker image and built programs stay.
    """
    from lnsim_gym.backends.lnd import named
    from lnsim_gym.backends.lnd.nodes.folders import find_named
    from lnsim_gym.cli.display import spinner

    record = find_named(name)
    if record is not None and backup is not None:
        typer.echo(f"{name}: copied to {named.back_up(record, backup, recordings)}")
    with spinner(f"taking the network {name} down"):
        existed = named.take_down(name, keep=keep)
    said = "stopped, its state is kept" if keep else "stopped and removed"
    typer.echo(f"{name}: {said if existed else 'there is no such network'}")


@app.command()
def status(name: Name = "default", json: Json = False) -> None:
    """Show the nodes, channels and balances of a network, and how any LND client connects to it.

    With --json: host, port, TLS certificate, macaroon and public key of each node. Exit status 1 when something of
    the network is not up.
    """
    record = _record(name)

    import msgspec

    from lnsim_gym.backends.lnd.network.status import network_status

    found = network_status(record)
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        from lnsim_gym.cli.display import print_status

        print_status(found)
    if not found.is_up:
        raise typer.Exit(1)


@app.command()
def reset(name: Name = "default") -> None:
    """Set every channel of a network back to the balances it was opened with, and forget mission control.

    By payments where they can reach that, else from the snapshot taken at bring-up, else by a new network. A node
    that hangs or has stopped is repaired.
    """
    from lnsim_gym.backends.lnd import named
    from lnsim_gym.cli.display import spinner

    _record(name)
    with spinner(f"resetting the network {name}"):
        report = named.reset(name)
    typer.echo(f"{name}: reset ({report.rung}, {report.seconds:.1f} s)")


@app.command()
def logs(
    node: Annotated[str, typer.Argument(help="Node of the topology, or btcd.")],
    name: Name = "default",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", help="How many lines to begin with.", min=1)] = 100,
) -> None:
    """Show the end of a node's log."""
    from lnsim_gym.backends.lnd.passthrough import log_lines

    for line in log_lines(_record(name), node, lines, follow=follow):
        typer.echo(line)


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def cli(
    node: Annotated[str, typer.Argument(help="Node of the topology.")],
    arguments: Annotated[list[str] | None, typer.Argument(help="What to pass to lncli.")] = None,
    name: Name = "default",
) -> None:
    """Run lncli on a node: `lnsim cli alice walletbalance`. Options of lnsim itself come before the node."""
    from lnsim_gym.backends.lnd.passthrough import run_lncli

    raise typer.Exit(run_lncli(_record(name), node, arguments or []))


@app.command()
def compose(
    topology: Annotated[str, typer.Argument(help="Preset, generator call or file.")] = "default",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it here, with fresh credentials and a .env file.")
    ] = None,
) -> None:
    """Print a compose file for any topology, or write all that `docker compose up` needs into a folder."""
    from lnsim_gym.backends.lnd.nodes.compose import compose_text, write_network
    from lnsim_gym.network.load import load_topology

    wanted = load_topology(topology)
    if output is None:
        typer.echo(compose_text(wanted), nl=False)
        return
    write_network(output, wanted)
    typer.echo(f"written to {output}: run `docker compose up` there")


@nodes.command()
def build() -> None:
    """Build lnd, lncli and btcd from the pinned Go module into the cache: about five minutes, once.

    Needs Go. May be interrupted and run again.
    """
    from lnsim_gym.backends.lnd.nodes.programs import build_binaries
    from lnsim_gym.cli.display import progress_bar

    with progress_bar() as progress:
        binaries = build_binaries(progress)
    typer.echo(f"lnd, lncli and btcd are in {binaries.lnd.parent}")


@nodes.command()
def image() -> None:
    """Pack the programs into a local Docker image, which networks then use instead of the official ones."""
    from lnsim_gym.backends.lnd.nodes.images import build_image
    from lnsim_gym.cli.display import progress_bar

    with progress_bar() as progress:
        name = build_image(progress)
    typer.echo(f"built {name}")


def _record(name: str) -> NetworkRecord:
    """Return the record of a named network.

    Raises:
        ConfigError: There is none of that name.
    """
    from lnsim_gym.backends.lnd.nodes.folders import find_named, find_record

    return find_named(name) or find_record(name)
