"""Commands that advise the operator of a node, once or day after day, and that may carry out what they advise."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from lnsim_gym.cli.node import Folder, node_commands
from lnsim_gym.cli.options import Json, with_options_of
from lnsim_gym.errors import BackendError, ConfigError, MissingDependency

if TYPE_CHECKING:
    from lnsim_gym.own_node import OwnNode
    from lnsim_gym.own_node.advice.advising import Terms
    from lnsim_gym.own_node.advice.told import Advice
    from lnsim_gym.own_node.following.record import Entry

__all__ = ["Wishes", "app", "hours_of"]

app = typer.Typer()

_HOURS: Final = {"h": 1.0, "d": 24.0, "w": 168.0}
_LONGEST_HOURS: Final = 24 * 365.0
_FRESH_NS: Final = 3_600 * 10**9
"""Age of an import up to which it may be acted upon."""

Agent = Annotated[
    str,
    typer.Option(
        "--agent",
        "-a",
        help="Who proposes changes: an agent, its recipe, a class of yours as file.py:Class, or search, which tries "
        "steps of each price and refills.",
    ),
]
Horizon = Annotated[str, typer.Option("--horizon", help="How far to look ahead: 7d, 36h, 2w.")]
Draws = Annotated[int, typer.Option("--draws", min=4, help="Draws of what is not known; more take longer.")]
Budget = Annotated[
    float | None, typer.Option("--budget", min=0, help="Most that all refills together may cost, in sat; 0 by default.")
]
Keep = Annotated[float, typer.Option("--keep-days", min=0, help="Days in which a change is not turned back.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of all draws.")]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Threads that share simulated networks.")]
Attach = Annotated[
    Path | None, typer.Option("--attach", help="TOML file that says where your lnd is, as for `lnsim node import`.")
]
Apply = Annotated[bool, typer.Option("--apply", help="Do what is advised, one change at a time. Needs --yes.")]
Yes = Annotated[bool, typer.Option("--yes", help="Said a second time: --apply is meant.")]
Unproven = Annotated[
    bool,
    typer.Option(
        "--unproven", help="With --apply: do it even where the simulation does not reproduce what the node earned."
    ),
]
Mainnet = Annotated[bool, typer.Option("--mainnet", help="With --apply: the node may be one where money is real.")]


@dataclass(frozen=True)
class _Acting:
    """What may be done on a node that runs."""

    file: Path
    budget_sat: float
    unproven: bool
    mainnet: bool

    def refusal(self, advice: Advice) -> str:
        """Say why advice is not carried out, nothing where it is."""
        if self.unproven or advice.reproduced:
            return ""
        unknown = "the history is too short to tell whether the simulation reproduces what the node earned"
        said = unknown if advice.reproduced is None else "the simulation does not reproduce what the node earned"
        return f"{said}: nothing is done; see `lnsim node backtest`, or say --unproven if it is meant all the same"


@dataclass(frozen=True)
class Wishes:
    """What advice has to keep to, and what may be done of it: options of every command that advises."""

    agent: Agent = "search"
    horizon: Horizon = "7d"
    draws: Draws = 39
    budget: Budget = None
    keep_days: Keep = 7.0
    seed: Seed = 0
    threads: Threads = 1
    attach: Attach = None
    apply: Apply = False
    yes: Yes = False
    unproven: Unproven = False
    mainnet: Mainnet = False

    def terms(self) -> Terms:
        """Return what advice has to keep to.

        Raises:
            ConfigError: An option makes no sense, or the agent cannot run a node.
        """
        from lnsim_gym.own_node.advice.advising import LEVERS, SEARCH, Terms
        from lnsim_gym.own_node.backtest.agents import require_operator_agent

        if self.agent != SEARCH:
            require_operator_agent(self.agent, LEVERS, [SEARCH])
        return Terms(
            agent=self.agent,
            days=hours_of(self.horizon, "--horizon") / 24,
            draws=self.draws,
            budget_sat=self.budget or 0.0,
            reversal_days=self.keep_days,
            seed=self.seed,
            threads=self.threads,
        )

    def acting(self) -> _Acting | None:
        """Return what may be done, None for nothing; money is moved only where it was asked for twice.

        Raises:
            ConfigError: It was asked for by half.
        """
        if not self.apply:
            if self.yes or self.mainnet or self.unproven:
                raise ConfigError("expected --apply beside --yes, --unproven and --mainnet: without it nothing is done")
            return None
        if not self.yes:
            raise ConfigError("--apply changes the node: say --yes too if that is meant")
        if self.attach is None or self.budget is None:
            raise ConfigError(
                "--apply needs --attach FILE, with a macaroon that may send, and --budget SAT, the most to spend on "
                "refills"
            )
        return _Acting(self.attach, self.budget, self.unproven, self.mainnet)


@node_commands.command("advise")
@with_options_of(Wishes)
def advise(
    folder: Folder,
    wishes: Wishes,
    json: Json = False,
) -> None:
    """Say what to change of a node today, why, what it should bring, and what to leave as it is.

    Nothing is sent or set unless --apply and --yes say so; the commands to do it by hand are shown. The advice is kept
    in the record of the folder. With --apply, the exit status is 1 after a surprise, which ends it.
    """
    import msgspec

    from lnsim_gym.own_node import load_node

    acting, terms = wishes.acting(), wishes.terms()
    node = load_node(folder)
    _tell_doubts(node)
    if acting is not None:
        _require_fresh(node, folder)
        _require_node(node, acting)
    advice = _advised(node, folder, terms)
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(advice)).decode())
    else:
        _print_advice(advice)
    if acting is None:
        return
    if refusal := acting.refusal(advice):
        raise ConfigError(refusal)
    if not _act(advice, folder, acting, quiet=json):
        raise typer.Exit(1)


@node_commands.command("watch")
@with_options_of(Wishes)
def watch(
    folder: Folder,
    wishes: Wishes,
    every: Annotated[str, typer.Option("--every", help="How often: 24h, 2d.")] = "24h",
    htlcs: Annotated[Path | None, typer.Option("--htlcs", help="Failed forwards, as for `lnsim node import`.")] = None,
    cut: Annotated[list[str] | None, typer.Option("--cut", "-c", help="As for `lnsim node import`.")] = None,
    rounds: Annotated[int | None, typer.Option("--rounds", min=1, help="End after so many; by default never.")] = None,
    scores: Annotated[bool, typer.Option("--scores", help="Show how good the forecasts so far were, and end.")] = False,
    plot: Annotated[Path | None, typer.Option("--plot", help="With --scores: write an SVG that shows it.")] = None,
    json: Json = False,
) -> None:
    """Import a node that runs and advise its operator, again and again; keep what was foreseen and what came of it.

    Ctrl-C ends it; nothing is lost. A node that does not answer is asked again the next time; the exit status is 1
    where it does not the last time of --rounds.
    """
    from lnsim_gym.own_node import load_node
    from lnsim_gym.own_node.following.record import read_record

    if scores:
        load_node(folder)
        _print_scores(read_record(folder), plot, json)
        return
    if wishes.attach is None:
        raise ConfigError("expected --attach FILE, which says where the node is, or --scores")
    acting, terms = wishes.acting(), wishes.terms()
    pause_s = 3600 * hours_of(every, "--every")
    done = 0
    while True:
        is_lost = False
        try:
            node = _imported(folder, wishes.attach, htlcs, cut or ())
            surprised = _round(node, folder, terms, acting)
        except BackendError as problem:
            surprised, is_lost = False, True
            typer.echo(f"{_now()}: {problem}", err=True)
        done += 1
        if surprised:
            raise typer.Exit(1)
        if done == rounds:
            raise typer.Exit(int(is_lost))
        typer.echo(f"{_now()}: again in {every}; Ctrl-C ends it", err=True)
        time.sleep(pause_s)


def hours_of(text: str, option: str) -> float:
    """Return a length of time in hours.

    Args:
        text: As in ``7d``, ``36h`` or ``2w``.
        option: Which option it is of, for errors.

    Raises:
        ConfigError: It is none, or longer than a year.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([hdw])", text.strip())
    hours = float(found[1]) * _HOURS[found[2]] if found else 0.0
    if not 0 < hours <= _LONGEST_HOURS:
        raise ConfigError(f"expected {option} as 36h, 7d or 2w, up to a year, got {text!r}")
    return hours


def _require_fresh(node: OwnNode, folder: Path) -> None:
    """Refuse to act on what was so long ago."""
    if time.time_ns() - node.imported_ns > _FRESH_NS:
        raise ConfigError(f"{folder} was imported more than an hour ago: import it again before anything is done")


def _require_node(node: OwnNode, acting: _Acting) -> None:
    """Look at a node that is to be changed before the work begins."""
    from lnsim_gym.own_node.following.applying import require_node
    from lnsim_gym.own_node.reading.attached import read_node_file

    require_node(read_node_file(acting.file), node.public_key, acting.mainnet)


def _imported(folder: Path, attach: Path, htlcs: Path | None, cuts: Sequence[str]) -> OwnNode:
    """Import a node that runs."""
    from lnsim_gym.cli.display import spinner
    from lnsim_gym.own_node import import_attached

    with spinner("importing the node"):
        return import_attached(attach, folder, failures=htlcs, cuts=cuts)


def _round(node: OwnNode, folder: Path, terms: Terms, acting: _Acting | None) -> bool:
    """Score what is over, advise, and do it if that is wanted; return whether there was a surprise."""
    from lnsim_gym.own_node.following.record import append, read_record
    from lnsim_gym.own_node.following.scores import new_outcomes

    append(folder, *new_outcomes(node, read_record(folder)))
    _tell_doubts(node)
    if acting is not None:
        _require_node(node, acting)
    advice = _advised(node, folder, terms)
    typer.echo(_now())
    _print_advice(advice)
    if acting is None:
        return False
    if refusal := acting.refusal(advice):
        typer.echo(refusal, err=True)
        return False
    return not _act(advice, folder, acting, quiet=False)


def _tell_doubts(node: OwnNode) -> None:
    """Say what may be wrong with what is known of a node, beside the output."""
    from lnsim_gym.own_node.reading.doubts import doubts

    for line in doubts(node):
        typer.echo(line, err=True)


def _advised(node: OwnNode, folder: Path, terms: Terms) -> Advice:
    """Make advice and keep it in the record; what was done by hand since the last one is noticed first."""
    from lnsim_gym.cli.display import progress_bar
    from lnsim_gym.own_node.advice.advising import SCREEN_DRAWS
    from lnsim_gym.own_node.advice.advising import advise as make
    from lnsim_gym.own_node.advice.board import Board
    from lnsim_gym.own_node.advice.worlds import worlds_of
    from lnsim_gym.own_node.backtest.weeks import check_node
    from lnsim_gym.own_node.following.noticing import found_done
    from lnsim_gym.own_node.following.record import Given, append, changes_made, read_record
    from lnsim_gym.own_node.reading.folder import load_network

    entries = read_record(folder)
    shared: Any = {"seed": terms.seed, "threads": terms.threads}
    with progress_bar() as report:
        topology, draws = load_network(folder), terms.draws + SCREEN_DRAWS
        worlds = worlds_of(node, topology, draws=draws, tell=partial(report, "what others pay"), **shared)
        found = found_done(node, Board(node, worlds(0)), entries)
        checked = check_node(node, topology, tell=lambda _, *done: report("weeks of the past", *done), **shared)
        advice = make(node, worlds, terms, changes_made([*entries, *found]), report, checked)
    append(folder, *found, Given(advice=advice))
    return advice


def _act(advice: Advice, folder: Path, acting: _Acting, quiet: bool) -> bool:
    """Carry out advice; return whether there was no surprise."""
    from lnsim_gym.own_node.following.applying import apply_advice
    from lnsim_gym.own_node.following.text import taken_sentence
    from lnsim_gym.own_node.reading.attached import read_node_file

    done = apply_advice(
        read_node_file(acting.file),
        advice,
        folder,
        budget_sat=acting.budget_sat,
        mainnet=acting.mainnet,
        tell=lambda taken: typer.echo(taken_sentence(taken), err=quiet),
    )
    return not any(one.result == "surprise" for one in done)


def _print_advice(advice: Advice) -> None:
    """Print a table that is read in a minute, what matters most in words, and the commands."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Column, Table

    from lnsim_gym.cli.display import make_console
    from lnsim_gym.own_node.advice import text

    console = make_console()
    tables = (text.CHANGE_COLUMNS, text.change_rows(advice)), (text.LEFT_COLUMNS, text.left_rows(advice))
    for columns, rows in tables:
        table = Table(*(Column(name, no_wrap=name in text.WHOLE) for name in columns), box=SIMPLE_HEAD)
        for row in rows:
            table.add_row(*row)
        if rows:
            console.print(table)
    for line in text.advice_sentences(advice):
        console.print(line)
    for line in text.command_lines(advice):
        console.print(line, soft_wrap=True)


def _print_scores(entries: Sequence[Entry], plot: Path | None, json: bool) -> None:
    """Print how good forecasts were."""
    import msgspec

    from lnsim_gym.own_node.advice.told import LEVELS
    from lnsim_gym.own_node.following.scores import score

    found = score(entries)
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    elif not found:
        typer.echo("no forecast is over yet, or none was followed as a whole or not at all")
    for kind, one in {} if json else found.items():
        told = ", ".join(f"{share:.0%} below {level:.0%}" for level, share in zip(LEVELS, one.below, strict=True))
        typer.echo(
            f"{kind}: {one.forecasts} forecasts; {one.inside_50:.0%} inside the intervals of 50 %, {one.inside_90:.0%} "
            f"inside those of 90 %; {told}"
        )
    if plot is not None:
        _write_plot({kind: one.below for kind, one in found.items()}, plot)


def _write_plot(below: dict[str, tuple[float, ...]], path: Path) -> None:
    """Write the picture, for its owner only."""
    from lnsim_gym.own_node.advice.told import LEVELS
    from lnsim_gym.paths import write_private

    try:
        from lnsim_gym.rendering.calibration import draw_calibration
    except ImportError:
        raise MissingDependency('pictures need matplotlib: pip install "lnsim_gym[render]"') from None
    write_private(path, draw_calibration(LEVELS, below).encode())


def _now() -> str:
    """Return the time of day, for lines of a log."""
    return time.strftime("%Y-%m-%d %H:%M:%S")
