"""Commands for a node of one's own: import what it exports, book what it earned and paid, test policies on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lnsim_gym.cli.options import Json
from lnsim_gym.errors import ConfigError, MissingDependency

if TYPE_CHECKING:
    from lnsim_gym.own_node import Backtest, Books, OwnNode

__all__ = ["Folder", "app", "node_commands"]

app = typer.Typer()
node_commands = typer.Typer(help="A node of your own: import its exports, see its books.", no_args_is_help=True)
app.add_typer(node_commands, name="node")

Folder = Annotated[Path, typer.Argument(help="Folder that `lnsim node import` made.", metavar="FOLDER")]


@node_commands.command("import")
def import_exports(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to make, which only you can read.")],
    graph: Annotated[Path | None, typer.Argument(help="`lncli describegraph`.", metavar="GRAPH")] = None,
    channels: Annotated[Path | None, typer.Argument(help="`lncli listchannels`.", metavar="CHANNELS")] = None,
    history: Annotated[
        list[Path] | None,
        typer.Argument(
            help="`lncli fwdinghistory --max_events 50000`, or CSV; several files if it takes them.",
            metavar="HISTORY...",
        ),
    ] = None,
    attach: Annotated[
        Path | None,
        typer.Option(
            "--attach", help="In place of files: a TOML file that says where your lnd is; a readonly macaroon will do."
        ),
    ] = None,
    payments: Annotated[
        list[Path] | None, typer.Option("--payments", help="`lncli listpayments`, which knows the refills.")
    ] = None,
    chain: Annotated[
        list[Path] | None, typer.Option("--chain", help="`lncli listchaintxns`, which knows the fees of transactions.")
    ] = None,
    htlcs: Annotated[
        Path | None,
        typer.Option(
            "--htlcs",
            help="Failed forwards: a database of LNDg, ln-operator or circuitbreaker, or CLN's `listforwards`.",
        ),
    ] = None,
    cut: Annotated[
        list[str] | None,
        typer.Option("--cut", "-c", help='Keep a part of the network: "around(NODE, hops)", "largest(n)", ...'),
    ] = None,
) -> None:
    """Read what a node exports into a folder. Nothing is sent, and nothing leaves this machine."""
    from lnsim_gym.own_node import import_attached, import_node

    if attach is not None:
        if graph or payments or chain:
            raise ConfigError("expected either files or --attach, got both: a node that runs tells all of it")
        node = import_attached(attach, out, failures=htlcs, cuts=cut or ())
    elif graph is None or channels is None or not history:
        raise ConfigError("expected GRAPH, CHANNELS and HISTORY, or --attach FILE: see `lnsim node import --help`")
    else:
        node = import_node(
            graph, channels, history, out, payments=payments or (), chain=chain or (), failures=htlcs, cuts=cut or ()
        )
    _print_import(node, out)


def _print_import(node: OwnNode, out: Path) -> None:
    """Print what was taken and what was not."""
    from lnsim_gym.cli.display import make_console
    from lnsim_gym.network.names import printable
    from lnsim_gym.own_node.reading.doubts import doubts

    console = make_console(soft_wrap=True)
    counts = f"{len(node.channels):,} channels, {len(node.forwards):,} forwards"
    more = [f"{len(node.refills):,} refills"] if "payments" in node.told else []
    more += [f"{len(node.failures):,} failed forwards"] if "failures" in node.told else []
    console.print(f"{printable(node.name)}: {', '.join([counts, *more])}, in {out}")
    for cause, count in node.left_out.items():
        console.print(f"left out: {count:,} {cause}")
    for line in doubts(node):
        console.print(line)
    console.print(f"What it earned: lnsim node report {out}")
    console.print(f"What to change: lnsim node advise {out}")


@node_commands.command("report")
def report(
    folder: Folder,
    days: Annotated[float, typer.Option("--days", help="How many days before the import to book.")] = 30.0,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with pictures, too.")] = None,
    json: Json = False,
) -> None:
    """Show what a node earned and paid, channel by channel: both legs of forwards, refills and what they fed."""
    import msgspec

    from lnsim_gym.own_node import book, load_node
    from lnsim_gym.own_node.following.record import read_record
    from lnsim_gym.own_node.following.scores import score

    books = book(load_node(folder), days)
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(books)).decode())
    else:
        _print_books(books)
        for kind, one in score(read_record(folder)).items():
            typer.echo(
                f"{one.inside_90:.0%} of {one.forecasts} forecasts of {kind} held, of those meant to hold in 90 %."
            )
    if html is not None:
        _write_page(books, html)
        typer.echo(f"written to {html}", err=json)


def _print_books(books: Books) -> None:
    """Print some books as a table, and what matters most in words."""
    from lnsim_gym.cli.display import make_console, print_whole
    from lnsim_gym.own_node.books.text import sentences, table_of

    console = make_console()
    headings, rows = table_of(books)
    print_whole(headings, rows, words=(*headings[:2], "state"))
    for line in sentences(books):
        console.print(line)


def _write_page(books: Books, path: Path) -> None:
    """Write the page, for its owner only."""
    from lnsim_gym.paths import write_private

    try:
        from lnsim_gym.own_node.books.page import make_page
    except ImportError:
        raise MissingDependency('pictures need matplotlib: pip install "lnsim_gym[render]"') from None
    write_private(path, make_page(books).encode())


_POLICIES = ("noop", "charge_lnd", "feelancer", "lndg_fees", "operator_lndg", "ln_operator", "feeadjuster", "swap_out")
"""Policies that are tested unless others are named."""


@node_commands.command("backtest")
def backtest(
    folder: Folder,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy", "-p", help="An agent, a recipe file, or a class of yours as file.py:Class; as often as wanted."
        ),
    ] = None,
    weeks: Annotated[int, typer.Option("--weeks", min=1, help="How many weeks before the import to play.")] = 4,
    half_life: Annotated[float, typer.Option("--half-life", help="Days after which a forward counts half.")] = 14.0,
    draws: Annotated[int, typer.Option("--draws", min=10, help="Draws of what the history leaves open.")] = 40,
    nodes: Annotated[int, typer.Option("--nodes", min=2, help="Nodes of the network to keep, the largest.")] = 1_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of all draws.")] = 0,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads that share simulated networks.")] = 2,
    json: Json = False,
) -> None:
    """Foretell the last weeks from those before, and play policies in them; nothing is sent.

    First the node's own policy, as far as its history tells it. Where the simulation does not reproduce what it
    earned, nothing is ranked, and the command exits with 1. Then every other policy on the same draws of what the
    history leaves open: net a day, its interval, and by how much it is ahead of the own policy.
    """
    import msgspec

    from lnsim_gym.cli.display import progress_bar
    from lnsim_gym.own_node import backtest_node, load_node
    from lnsim_gym.own_node.reading.folder import load_network

    node, topology = load_node(folder), load_network(folder)
    with progress_bar() as tell:
        found = backtest_node(
            node,
            topology,
            policy or _POLICIES,
            weeks=weeks,
            half_life_days=half_life,
            draws=draws,
            nodes=nodes,
            seed=seed,
            threads=threads,
            tell=tell,
        )
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        _print_backtest(found)
    if not found.is_reproduced:
        raise typer.Exit(1)


def _print_backtest(found: Backtest) -> None:
    """Print a backtest: the verdict, weeks, policies, and what it cannot tell."""
    from lnsim_gym.cli.display import make_console, print_whole
    from lnsim_gym.own_node.backtest import text

    console = make_console()
    console.print(text.verdict(found))
    tables = [(text.WEEK_COLUMNS, text.week_rows(found))]
    if found.is_reproduced:
        tables.append((text.POLICY_COLUMNS, text.policy_rows(found)))
    for columns, rows in tables:
        print_whole(columns, rows, words=columns[:1])
    for line in (*text.conclusions(found), *text.open_questions(found)):
        console.print(line)
