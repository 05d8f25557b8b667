"""Advice is made: changes are proposed, guarded, tried side by side with doing nothing, and kept where they pay.

What pays is told by paired simulations: each change and doing nothing live through the same days, once for each draw of
what is not known of demand and of others' balances. Of the steps that are searched the best of each peer is chosen on
some draws and measured on others, so that luck in choosing does not count as gain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import numpy as np

from lnsim_gym.agents.evaluate import bootstrap
from lnsim_gym.agents.recipe import view_of
from lnsim_gym.arrays import Float64, Int64
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.network.names import printable
from lnsim_gym.own_node.advice.board import FIRST_ALIAS_BLOCK, Board, Held
from lnsim_gym.own_node.advice.changes import Change, Closing, Refill, Repricing, commands, what
from lnsim_gym.own_node.advice.guards import (
    REVERSAL_DAYS,
    announced_ns,
    beyond_gossip,
    over_budget,
    reverses,
    through_one_peer,
    too_dear,
    unproven,
)
from lnsim_gym.own_node.advice.proposals import ladder, of_agent, refills
from lnsim_gym.own_node.advice.told import LEVELS, Advice, Advised, ChannelForecast, Forecast, Gain, Left
from lnsim_gym.own_node.advice.trials import try_decisions
from lnsim_gym.own_node.books.profit import DEAD_DAYS, book
from lnsim_gym.own_node.demand.past import Past
from lnsim_gym.own_node.reading.folder import OwnNode

__all__ = ["LEVERS", "SEARCH", "Terms", "Worlds", "advise"]

SEARCH: Final = "search"
"""Stands in place of an agent for steps of each price and refills that can pay, the best of which are proposed."""
_LEAST_SAT_PER_DAY: Final = 1.0
"""Gains of less are not worth a change."""
_SCREEN_DRAWS: Final = 2
_SCREEN_DAYS: Final = 3.0
_MOST_TRIED: Final = 8
"""Changes at most that are measured after a search, the most promising ones."""
_FAR: Final = 1.5
"""How many times a fee rate that forwards have paid another one is far from it."""
_SEED: Final = 7_000_000
_BLOCKS_PER_DAY: Final = 144
LEVERS: Final = ("fees", "inbound_fees", "max_htlc", "rebalance")
"""What advice may change; see ``OperatorConfig.levers``."""


class Worlds(Protocol):
    """The environments of a node: one for each draw of what is not known."""

    def __call__(self, draw: int, **settings: Any) -> Problem:
        """Return the problem of a draw, with some settings in place of its own."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What advice has to keep to."""

    agent: str = SEARCH
    """Who proposes: name of an agent, its recipe file, or ``SEARCH``."""
    days: float = 7.0
    """Days that gains are measured and forecast over."""
    draws: int = 12
    """Draws that gains are means of."""
    budget_sat: float = 0.0
    """Most that all refills together may cost."""
    reversal_days: float = REVERSAL_DAYS
    """Days in which a change is not turned back."""
    threads: int = 1
    """Threads that share simulated networks."""

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense."""
        if not (0 < self.days <= 365 and self.draws >= 4 and self.budget_sat >= 0 and self.reversal_days >= 0):
            raise ConfigError(
                f"expected days in 0..365, at least 4 draws, and no negative budget, got days={self.days:g}, "
                f"draws={self.draws}, budget_sat={self.budget_sat:g}, reversal_days={self.reversal_days:g}"
            )


def advise(
    node: OwnNode,
    worlds: Worlds,
    terms: Terms,
    past: Sequence[tuple[int, Change]] = (),
    tell: Callable[[str, int, int], None] | None = None,
) -> Advice:
    """Say what to change of a node, what of it pays, and what is better left.

    Args:
        node: The node.
        worlds: Its environments.
        terms: What to keep to.
        past: Changes that were made before, with their times.
        tell: Called with what is done, how much of it, and of how much.

    Raises:
        ConfigError: The agent cannot act there, or the node has no history to tell it from.
    """
    return _Adviser(node, worlds, terms, past, tell or (lambda *_: None)).advice()


class _Adviser:
    """Makes one advice; see ``advise``."""

    def __init__(
        self,
        node: OwnNode,
        worlds: Worlds,
        terms: Terms,
        past: Sequence[tuple[int, Change]],
        tell: Callable[[str, int, int], None],
    ) -> None:
        self.node, self.worlds, self.terms, self.past, self.tell = node, worlds, terms, past, tell
        self.books = book(node)
        self.sold_ppm = {one.chan_id: one.earned_ppm for one in self.books.channels}
        today = self.world(0)
        self.board = Board(node, today)
        self.paid = dict(zip(self.board.places, Past(node, today.topology).paid, strict=True))
        """By short channel id, when forwards left over a channel, in ns, and which fee rates they paid, in ppm."""
        self.dead = {one.chan_id for one in self.books.channels if one.state == "dead" and self.is_old(one.chan_id)}
        self.refused: dict[int, str] = {}
        """By short channel id, what stood against a change of it."""

    def world(self, draw: int, **settings: Any) -> Problem:
        """Return the problem of a draw. Small changes count there too: it is the guards that ration them."""
        return self.worlds(draw, **{"least_change": 0.0, "levers": LEVERS, **settings})

    def is_old(self, chan_id: int) -> bool:
        """Whether a channel has had the time to be called dead, by its block and the newest one of the graph."""
        newest, block = self.board.newest_block, chan_id >> 40
        return block >= FIRST_ALIAS_BLOCK or newest - block >= DEAD_DAYS * _BLOCKS_PER_DAY

    def advice(self) -> Advice:
        """Return the advice."""
        proposed = [change for change in self.proposed() if self.is_allowed(change)]
        if self.terms.agent == SEARCH:
            proposed = self.screened(proposed)
        single = self.measured([(), *((change,) for change in proposed)], "each change alone")
        gains = [single.gain(place) for place in range(1, len(proposed) + 1)]
        kept = self.paying(proposed, gains)
        together = single
        if kept:
            together = self.measured([(), tuple(proposed[place] for place in kept)], "all that pays together")
        done = len(together.net_sat[0]) - 1 if kept else 0
        closings = list(self.closings())
        return Advice(
            name=self.node.name,
            public_key=self.node.public_key,
            time_ns=self.node.imported_ns,
            agent=self.terms.agent,
            draws=self.terms.draws,
            advised=(*(self.advised(proposed[place], gains[place], single, place + 1) for place in kept), *closings),
            left=tuple(self.left(proposed, gains, {*kept}, single)),
            together=together.gain(done) if kept else None,
            forecast=self.forecast(together, done),
            notes=tuple(self.notes(together)),
        )

    def proposed(self) -> list[Change]:
        """Return all changes that are proposed."""
        if self.terms.agent != SEARCH:
            problem = self.world(0, **view_of(self.terms.agent, "operator"))
            return of_agent(self.terms.agent, problem, self.board, _SEED)
        steps = ladder(self.board, self.board.task.actions.limits.max_fee_rate_ppm)
        alive = [change for change in steps if not self.dead.issuperset(change.chan_ids)]
        return [*alive, *(refills(self.board, self.sold_ppm) if self.terms.budget_sat else ())]

    def is_allowed(self, change: Change) -> bool:
        """Whether no guard stands against a change; what one says is kept."""
        now_ns = self.node.imported_ns
        said = [reverses(change, self.past, now_ns, self.terms.reversal_days)]
        if isinstance(change, Repricing):
            said += [beyond_gossip(announced_ns(self.past, chan_id), now_ns) for chan_id in change.chan_ids]
            said += [unproven(change, self.past, self.last_paid(change), now_ns)]
        if isinstance(change, Refill):
            said += [
                through_one_peer(change),
                too_dear(change, self.sold_ppm.get(change.chan_id)),
                over_budget(change, 0, self.terms.budget_sat),
            ]
        reasons = "; ".join(filter(None, said))
        if reasons:
            self.refused.update(dict.fromkeys((change.chan_ids[-1],), reasons))
        return not reasons

    def screened(self, proposed: list[Change]) -> list[Change]:
        """Return the best change of each peer and each kind, where it looks better than none: the best of all first.

        Draws are other ones than those that gains are measured on.
        """
        days = min(_SCREEN_DAYS, self.terms.days)
        scenarios = [(), *((change,) for change in proposed)]
        tried = self.measured(scenarios, "what may pay", self.terms.draws, _SCREEN_DRAWS, days)
        best: dict[tuple[str, int], tuple[float, Change]] = {}
        for place, change in enumerate(proposed, 1):
            gain_sat, key = tried.gain(place).sat_per_day, (type(change).__name__, change.chan_ids[-1])
            if gain_sat > max(0.0, best.get(key, (0.0, change))[0]):
                best[key] = gain_sat, change
        ranked = sorted(best.values(), key=lambda one: -one[0])
        return [change for _, change in ranked[:_MOST_TRIED]]

    def measured(
        self,
        scenarios: Sequence[tuple[Change, ...]],
        what: str,
        first: int = 0,
        draws: int | None = None,
        days: float | None = None,
    ) -> _Measured:
        """Let scenarios live through the same days, once for each draw."""
        draws, days = draws or self.terms.draws, days or self.terms.days
        decisions = np.stack([self.board.decision(changes) for changes in scenarios])
        trials = []
        for draw in range(first, first + draws):
            self.tell(what, draw - first, draws)
            trials.append(try_decisions(self.world(draw), decisions, days, _SEED + draw, self.terms.threads))
        self.tell(what, draws, draws)
        return _Measured(days, *(np.stack(column) for column in zip(*trials, strict=True)))

    def paying(self, proposed: list[Change], gains: list[Gain]) -> list[int]:
        """Return the places of changes that pay, the best first, as far as refills can be made and paid for."""
        kept, spent_sat, count = [], 0, 0
        for place in sorted(range(len(gains)), key=lambda place: -gains[place].sat_per_day):
            change, gain = proposed[place], gains[place]
            if gain.low <= 0 or gain.sat_per_day < _LEAST_SAT_PER_DAY:
                continue
            if isinstance(change, Refill):
                if count == self.board.task.actions.limits.rebalances:
                    continue
                if said := over_budget(change, spent_sat, self.terms.budget_sat):
                    self.refused[change.chan_id] = said
                    continue
                count, spent_sat = count + 1, spent_sat + change.limit_sat
            kept.append(place)
        return kept

    def advised(self, change: Change, gain: Gain, single: _Measured, place: int) -> Advised:
        """Return a change that pays with its reason, and with what happens otherwise."""
        where = self.board.places_of(change)
        told = msgspec.structs.replace(change, why=self.why(change, single, place))
        return Advised(
            change=told,
            gain=gain,
            idle=self.idle(where, single),
            commands=commands(told, self.node.implementation),
        )

    def why(self, change: Change, single: _Measured, place: int) -> str:
        """Return the reason for a change: what the simulated days say."""
        if isinstance(change, Refill):
            back = self.board.channels[self.board.places[change.chan_id]]
            return f"{back.local:.0%} is left, and it sells at {self.sold_ppm[change.chan_id] or 0:,.0f} ppm"
        where = self.board.places_of(change)
        earned, carried = (
            [column[:, which][:, where].sum(axis=1).mean() / single.days for which in (0, place)]
            for column in (single.channel_sat, single.out_sat)
        )
        words = f"{earned[1]:,.1f} sat a day, not {earned[0]:,.1f}"
        words += f"; carries {carried[1]:,.0f} sat, not {carried[0]:,.0f}"
        reason = "; ".join(filter(None, (words, self.unseen(change))))
        return reason if self.terms.agent == SEARCH else f"{self.terms.agent}: {reason}"

    def last_paid(self, change: Change) -> tuple[int, int] | None:
        """Return time in ns and fee rate in ppm of the last forward that left over a change's channels, if any did."""
        told = [self.paid[chan_id] for chan_id in change.chan_ids]
        return max(((int(time_ns[-1]), int(ppm[-1])) for time_ns, ppm in told if len(ppm)), default=None)

    def unseen(self, change: Change) -> str:
        """Say of a fee rate that it is far outside of what forwards over its channels ever paid."""
        ppm = change.to.get("fee_rate_ppm") if isinstance(change, Repricing) else None
        if ppm is None:
            return ""
        paid_ppm = np.concatenate([self.paid[chan_id][1] for chan_id in change.chan_ids])
        if not len(paid_ppm):
            return f"no forward over it tells a price, what comes at {ppm:,} ppm follows from the fees of the graph"
        low, high = int(paid_ppm.min()), int(paid_ppm.max())
        if low / _FAR <= ppm <= high * _FAR:
            return ""
        seen = f"{low:,}" if low == high else f"{low:,}..{high:,}"
        return (
            f"its forwards paid {seen} ppm, what comes at {ppm:,} is not in the data but follows from the graph's fees"
        )

    def idle(self, where: Int64, single: _Measured) -> str:
        """Say what becomes of channels if nothing is done."""
        earned = single.channel_sat[:, 0][:, where].sum(axis=1).mean() / single.days
        held = [self.board.channels[place] for place in where.tolist()]
        capacity_sat = max(sum(one.capacity_sat for one in held), 1)
        now = sum(one.local_sat for one in held) / capacity_sat
        then = single.local_sat[:, 0][:, where].sum(axis=1).mean() / capacity_sat
        return f"{earned:,.1f} sat a day, local {now:.0%} to {then:.0%}"

    def closings(self) -> Iterator[Advised]:
        """Yield the ends of channels over which nothing has gone for long."""
        known = {channel.number: channel for channel in self.node.channels}
        for one in self.books.channels:
            if one.chan_id not in self.dead:
                continue
            channel = known[one.chan_id]
            days = one.idle_days if one.idle_days is not None else self.books.days
            change = Closing(
                peer=printable(one.peer)[:32],
                chan_id=one.chan_id,
                point=channel.channel_point,
                local_sat=one.local_sat,
                why=f"no forward for {days:.0f} days; {one.local_sat:,} sat rest there",
            )
            yield Advised(
                change=change,
                gain=None,
                idle="nothing",
                commands=commands(change, self.node.implementation),
            )

    def left(self, proposed: list[Change], gains: list[Gain], kept: set[int], single: _Measured) -> Iterator[Left]:
        """Yield the peers of which nothing is changed, and why."""
        changes = [proposed[place] for place in kept]
        touched = {
            number
            for one in changes
            for number in one.chan_ids
            if number == one.chan_ids[-1] or isinstance(one, Repricing)
        }
        for group in self.board.peers.values():
            chan_ids = tuple(held.chan_id for held in group)
            if touched.isdisjoint(chan_ids) and not self.dead.issuperset(chan_ids):
                yield Left(
                    peer=group[0].peer,
                    chan_ids=chan_ids,
                    why=self.why_left(group, proposed, gains),
                    idle=self.idle(np.array([held.place for held in group], np.int64), single),
                )

    def why_left(self, group: Sequence[Held], proposed: list[Change], gains: list[Gain]) -> str:
        """Say why nothing is changed of channels."""
        chan_ids = {held.chan_id for held in group}
        for change, gain in zip(proposed, gains, strict=True):
            if change.chan_ids[-1] in chan_ids:
                return f"{what(change)} would bring {gain.sat_per_day:+,.1f} ({gain.low:+,.1f}..{gain.high:+,.1f})"
        if not all(held.is_active for held in group):
            return "the peer is offline"
        said = [self.refused[chan_id] for chan_id in chan_ids if chan_id in self.refused]
        if said:
            return said[0]
        return "no price tried earned more" if self.terms.agent == SEARCH else f"{self.terms.agent} leaves it"

    def forecast(self, together: _Measured, done: int) -> Forecast:
        """Return what is foreseen, done and left."""
        channels = [
            ChannelForecast(
                chan_id=held.chan_id,
                left_sat=_levels(together.channel_sat[:, 0, held.place]),
                done_sat=_levels(together.channel_sat[:, done, held.place]),
            )
            for held in self.board.channels
        ]
        return Forecast(
            begin_ns=self.node.imported_ns,
            days=self.terms.days,
            left_sat=_levels(together.earned_sat[:, 0]),
            done_sat=_levels(together.earned_sat[:, done]),
            channels=tuple(channels),
        )

    def notes(self, together: _Measured) -> Iterator[str]:
        """Yield what a reader must know to judge the advice."""
        days = min(self.terms.days, self.books.days)
        earned_sat = book(self.node, days).earned_msat / 1000 * together.days / days
        low, high = _levels(together.earned_sat[:, 0])[:: len(LEVELS) - 1]
        if not low <= earned_sat <= high:
            yield (
                f"The simulation earns {low:,.0f} to {high:,.0f} sat in {together.days:g} days as things are, the last "
                f"{days:g} days brought {earned_sat:,.0f}: take all of this with care, and see `lnsim node backtest`."
            )
        if self.terms.agent == SEARCH and not self.terms.budget_sat and refills(self.board, self.sold_ppm):
            yield "Refills were not considered, as nothing may be spent: allow it with --budget SAT."


class _Measured(NamedTuple):
    """What scenarios brought, the first one of which is to do nothing; draws on the first axis of all arrays."""

    days: float
    net_sat: Float64  # (draws, scenarios)
    earned_sat: Float64  # (draws, scenarios)
    channel_sat: Float64  # (draws, scenarios, channels)
    out_sat: Float64  # (draws, scenarios, channels)
    local_sat: Float64  # (draws, scenarios, channels)

    def gain(self, scenario: int) -> Gain:
        """Return what a scenario brings against doing nothing."""
        differences = (self.net_sat[:, scenario] - self.net_sat[:, 0]) / self.days
        low, high = bootstrap(differences)
        return Gain(sat_per_day=float(differences.mean()), low=low, high=high)


def _levels(values: Float64) -> tuple[float, ...]:
    """Return quantiles at ``LEVELS``."""
    return tuple(round(float(value), 3) for value in np.quantile(values, LEVELS))
