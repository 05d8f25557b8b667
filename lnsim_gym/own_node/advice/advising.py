"""Advice is made: changes are proposed, guarded, tried side by side with doing nothing, and kept where they pay.

What pays is told by paired simulations: each change and doing nothing live through the same days, once for each draw of
what is not known of demand and of others' balances. Of the steps that are searched the best of each peer is chosen on
some draws and measured on others, so that luck in choosing does not count as gain. What pays on average but in too few
of the draws is left. Forecasts are as wide as the draws, and wider where past weeks lay further off than these tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import msgspec
import numpy as np

from lnsim_gym.agents.recipe import view_of
from lnsim_gym.arrays import Float64
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.network.names import printable
from lnsim_gym.own_node.advice.board import FIRST_ALIAS_BLOCK, Board
from lnsim_gym.own_node.advice.changes import Change, Closing, Refill, Repricing, commands
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
from lnsim_gym.own_node.advice.measured import Measured, measure
from lnsim_gym.own_node.advice.proposals import ladder, of_agent, refills
from lnsim_gym.own_node.advice.reasons import Reasons
from lnsim_gym.own_node.advice.told import LEVELS, Advice, Advised, ChannelForecast, Forecast, Gain, Left
from lnsim_gym.own_node.backtest.calibration import foretold_levels, widening
from lnsim_gym.own_node.backtest.text import verdict
from lnsim_gym.own_node.backtest.told import Backtest
from lnsim_gym.own_node.books.profit import DEAD_DAYS, book
from lnsim_gym.own_node.demand.past import Past
from lnsim_gym.own_node.reading.folder import OwnNode

__all__ = ["LEAST_AHEAD", "LEVERS", "SCREEN_DRAWS", "SEARCH", "Terms", "Worlds", "advise"]

SEARCH: Final = "search"
"""Stands in place of an agent for steps of each price and refills that can pay, the best of which are proposed."""
_LEAST_SAT_PER_DAY: Final = 1.0
"""Gains of less are not worth a change."""
SCREEN_DRAWS: Final = 4
"""Draws on which the best change of each peer is chosen, beyond those that gains are measured on."""
_SCREEN_DAYS: Final = 3.0
_MOST_TRIED: Final = 8
"""Changes at most that are measured after a search, the most promising ones."""
LEAST_AHEAD: Final = 0.6
"""Share of the draws in which a change must bring more than none, of those in which it makes a difference."""
_SEED: Final = 7_000_000
_SEEDS_APART: Final = 1_000
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
    draws: int = 39
    """Draws that gains are means of; 39 are the least of which the extremes are an interval of 95 %."""
    budget_sat: float = 0.0
    """Most that all refills together may cost."""
    reversal_days: float = REVERSAL_DAYS
    """Days in which a change is not turned back."""
    seed: int = 0
    """Seed of what is drawn."""
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
    checked: Backtest | None = None,
) -> Advice:
    """Say what to change of a node, what of it pays, and what is better left.

    Args:
        node: The node.
        worlds: Its environments.
        terms: What to keep to.
        past: Changes that were made before, with their times.
        tell: Called with what is done, how much of it, and of how much.
        checked: A backtest of the node's own policy, by which the advice is doubted and forecasts are widened.

    Raises:
        ConfigError: The agent cannot act there, or the node has no history to tell it from.
    """
    return _Adviser(node, worlds, terms, past, tell or (lambda *_: None), checked).advice()


class _Adviser:
    """Makes one advice; see ``advise``."""

    def __init__(
        self,
        node: OwnNode,
        worlds: Worlds,
        terms: Terms,
        past: Sequence[tuple[int, Change]],
        tell: Callable[[str, int, int], None],
        checked: Backtest | None,
    ) -> None:
        self.node, self.worlds, self.terms, self.past, self.tell = node, worlds, terms, past, tell
        self.checked = checked
        self.seed = _SEED + _SEEDS_APART * terms.seed
        self.books = book(node)
        self.sold_ppm = {one.chan_id: one.earned_ppm for one in self.books.channels}
        today = self.world(0)
        self.board = Board(node, today)
        paid = dict(zip(self.board.places, Past(node, today.topology).paid, strict=True))
        self.reasons = Reasons(self.board, paid, self.sold_ppm)
        self.dead = {one.chan_id for one in self.books.channels if one.state == "dead" and self.is_old(one.chan_id)}
        self.refill_pays = False
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
        together = single.only(kept[0] + 1) if len(kept) == 1 else single
        if len(kept) > 1:
            together = self.measured([(), tuple(proposed[place] for place in kept)], "all that pays together")
        done = int(bool(kept))
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
            reproduced=None if self.checked is None else self.checked.is_reproduced,
        )

    def proposed(self) -> list[Change]:
        """Return all changes that are proposed."""
        if self.terms.agent != SEARCH:
            problem = self.world(0, **view_of(self.terms.agent, "operator"))
            return of_agent(self.terms.agent, problem, self.board, self.seed)
        steps = ladder(self.board, self.board.task.actions.limits.max_fee_rate_ppm)
        alive = [change for change in steps if not self.dead.issuperset(change.chan_ids)]
        return [*alive, *(refills(self.board, self.sold_ppm) if self.terms.budget_sat else ())]

    def is_allowed(self, change: Change) -> bool:
        """Whether no guard stands against a change; what one says is kept."""
        now_ns = self.node.imported_ns
        said = [reverses(change, self.past, now_ns, self.terms.reversal_days)]
        if isinstance(change, Repricing):
            said += [beyond_gossip(announced_ns(self.past, chan_id), now_ns) for chan_id in change.chan_ids]
            said += [unproven(change, self.past, self.reasons.last_paid(change), now_ns)]
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
        draws = range(self.terms.draws, self.terms.draws + SCREEN_DRAWS)
        tried = self.measured(scenarios, "what may pay", draws, days)
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
        draws: range | None = None,
        days: float | None = None,
    ) -> Measured:
        """Let scenarios live through the same days, once for each draw; by default those that gains are means of."""
        return measure(
            self.world,
            np.stack([self.board.decision(changes) for changes in scenarios]),
            draws or range(self.terms.draws),
            days or self.terms.days,
            self.seed,
            self.terms.threads,
            partial(self.tell, what),
        )

    def paying(self, proposed: list[Change], gains: list[Gain]) -> list[int]:
        """Return the places of changes that pay, the best first, as far as refills can be made and paid for."""
        kept, spent_sat, count = [], 0, 0
        for place in sorted(range(len(gains)), key=lambda place: -gains[place].sat_per_day):
            change, gain = proposed[place], gains[place]
            if gain.low <= 0 or gain.sat_per_day < _LEAST_SAT_PER_DAY or gain.ahead_share < LEAST_AHEAD:
                continue
            if isinstance(change, Refill):
                if count == self.board.task.actions.limits.rebalances:
                    continue
                if said := over_budget(change, spent_sat, self.terms.budget_sat):
                    self.refused[change.chan_id] = said
                    continue
                count, spent_sat, self.refill_pays = count + 1, spent_sat + change.limit_sat, True
            kept.append(place)
        return kept

    def advised(self, change: Change, gain: Gain, single: Measured, place: int) -> Advised:
        """Return a change that pays with its reason, and with what happens otherwise."""
        reason = self.reasons.why(change, single, place)
        if self.terms.agent != SEARCH and not isinstance(change, Refill):
            reason = f"{self.terms.agent}: {reason}"
        told = msgspec.structs.replace(change, why=reason)
        return Advised(
            change=told,
            gain=gain,
            idle=self.reasons.idle(self.board.places_of(change), single),
            commands=commands(told, self.node.implementation),
        )

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

    def left(self, proposed: list[Change], gains: list[Gain], kept: set[int], single: Measured) -> Iterator[Left]:
        """Yield the peers of which nothing is changed, and why."""
        changes = [proposed[place] for place in kept]
        touched = {
            number
            for one in changes
            for number in one.chan_ids
            if number == one.chan_ids[-1] or isinstance(one, Repricing)
        }
        tried = list(zip(proposed, gains, strict=True))
        is_search = self.terms.agent == SEARCH
        otherwise = "no price tried earned more" if is_search else f"{self.terms.agent} leaves it"
        for group in self.board.peers.values():
            chan_ids = tuple(held.chan_id for held in group)
            if touched.isdisjoint(chan_ids) and not self.dead.issuperset(chan_ids):
                yield Left(
                    peer=group[0].peer,
                    chan_ids=chan_ids,
                    why=self.reasons.why_left(group, tried, self.refused, self.terms.draws, otherwise),
                    idle=self.reasons.idle(np.array([held.place for held in group], np.int64), single),
                )

    def forecast(self, together: Measured, done: int) -> Forecast:
        """Return what is foreseen, done and left."""
        wider = widening([]) if self.checked is None else self.checked.widening

        def levels(earned_sat: Float64) -> tuple[float, ...]:
            """Return quantiles at ``LEVELS``."""
            return tuple(round(each, 3) for each in foretold_levels(earned_sat, LEVELS, wider))

        channels = [
            ChannelForecast(
                chan_id=held.chan_id,
                left_sat=levels(together.channel_sat[:, 0, held.place]),
                done_sat=levels(together.channel_sat[:, done, held.place]),
            )
            for held in self.board.channels
        ]
        return Forecast(
            begin_ns=self.node.imported_ns,
            days=self.terms.days,
            left_sat=levels(together.earned_sat[:, 0]),
            done_sat=levels(together.earned_sat[:, done]),
            channels=tuple(channels),
        )

    def notes(self, together: Measured) -> Iterator[str]:
        """Yield what a reader must know to judge the advice."""
        if self.checked is None:
            days = min(self.terms.days, self.books.days)
            earned_sat = book(self.node, days).earned_msat / 1000 * together.days / days
            low, high = foretold_levels(together.earned_sat[:, 0], LEVELS)[:: len(LEVELS) - 1]
            yield (
                "The history is too short to hold the simulation to weeks of the past: forecasts are wider for that."
            )
            if not low <= earned_sat <= high:
                yield (
                    f"The simulation earns {low:,.0f} to {high:,.0f} sat in {together.days:g} days as things are, the "
                    f"last {days:g} days brought {earned_sat:,.0f}: take all of this with care."
                )
        elif not self.checked.is_reproduced:
            yield (
                f"{verdict(self.checked)} Take all of this with care, and see `lnsim node backtest`; --apply does "
                "nothing."
            )
        if self.terms.agent == SEARCH:
            yield from self.notes_on_refills()

    def notes_on_refills(self) -> Iterator[str]:
        """Yield why there is no refill, where one might be looked for."""
        ways = refills(self.board, self.sold_ppm)
        if self.terms.budget_sat and not ways:
            yield (
                f"No refill is worth trying: none of your channels is both nearly empty and sells at a price that "
                f"pays for one within {self.terms.budget_sat:,.0f} sat."
            )
        elif self.terms.budget_sat and not self.refill_pays:
            yield f"Of {len(ways)} refills that were looked at none surely pays: nothing of --budget is spent."
        elif ways and not self.terms.budget_sat:
            yield "Refills were not considered, as nothing may be spent: allow it with --budget SAT."
