"""A backtest in words and as rows of text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from lnsim_gym.network.names import printable
from lnsim_gym.own_node.backtest.told import WEEK_DAYS, Backtest, Played

__all__ = ["POLICY_COLUMNS", "WEEK_COLUMNS", "conclusions", "open_questions", "policy_rows", "verdict", "week_rows"]

WEEK_COLUMNS: Final[tuple[str, ...]] = (
    "week from",
    "fitted\nforwards",
    "came\nforwards",
    "earned\nsat/day",
    "foretold\nsat/day",
    "interval\nsat/day",
    "fitted\nnats",
    "pooled\nnats",
)
"""Headings of the table of weeks; amounts in sat a day, log-likelihoods in nats for a forward."""
POLICY_COLUMNS: Final[tuple[str, ...]] = (
    "policy",
    "net\nsat/day",
    "interval\nsat/day",
    "ahead\nsat/day",
    "interval\nsat/day",
    "income\nsat/day",
    "refills\nsat/day",
    "swaps\nsat/day",
    "chain\nsat/day",
)
"""Headings of the table of policies; amounts in sat a day."""
_FEW: Final = 0.1
"""Share of forwards that may stay unexplained without a word."""


def verdict(found: Backtest) -> str:
    """Return whether the simulation foretells what the node earned, in words."""
    said = f"{found.foretold_low:,.0f} to {found.foretold_high:,.0f} (mean {found.foretold:,.0f}) sat a day foretold"
    span = (
        f"{len(found.weeks)} weeks"
        if found.days == WEEK_DAYS
        else f"the first {found.days} days of {len(found.weeks)} weeks"
    )
    earned = f"{printable(found.name)} earned {found.income:,.0f} sat a day in {span}"
    if found.is_reproduced:
        return f"{earned}, {said}: the simulation reproduces it."
    return f"{earned}, {said}: the simulation does NOT reproduce it, and ranks nothing."


def week_rows(found: Backtest) -> Iterator[list[str]]:
    """Yield the rows of the weeks, as text under ``WEEK_COLUMNS``."""
    for week in found.weeks:
        yield [
            datetime.fromtimestamp(week.begin_ns / 1e9, UTC).strftime("%Y-%m-%d"),
            f"{week.fitted:,}",
            f"{week.forwards:,}",
            f"{week.income:,.0f}",
            f"{week.foretold:,.0f}",
            _span(week.foretold_low, week.foretold_high),
            *("" if nats is None else f"{nats:.2f}" for nats in (week.log_likelihood, week.log_likelihood_pooled)),
        ]


def policy_rows(found: Backtest) -> Iterator[list[str]]:
    """Yield the rows of the policies, as text under ``POLICY_COLUMNS``."""
    for place, one in enumerate(found.policies):
        yield [
            printable(one.policy),
            f"{one.net:,.0f}",
            _span(one.net_low, one.net_high),
            f"{one.ahead:+,.0f}" if place else "",
            _span(one.ahead_low, one.ahead_high) if place else "",
            *(f"{sat:,.0f}" for sat in (one.income, one.rebalance_fees, one.swap_fees, one.chain_fees)),
        ]


def conclusions(found: Backtest) -> Iterator[str]:
    """Yield what can be said of the policies, in words."""
    others = found.policies[1:]
    for word, clear in (("more", [one for one in others if one.ahead_low > 0]), ("less", _behind(others))):
        if clear:
            yield f"Clearly {word} than your own policy: {', '.join(printable(one.policy) for one in clear)}."
    unclear = [one for one in others if one.ahead_low <= 0 <= one.ahead_high]
    if unclear:
        chances = ", ".join(f"{printable(one.policy)} ({one.ahead_chance:.0%})" for one in unclear)
        yield f"Not decided by this history (chance to be ahead of your own policy): {chances}."


def _behind(policies: list[Played]) -> list[Played]:
    """Return those that are clearly behind."""
    return [one for one in policies if one.ahead_high < 0]


def open_questions(found: Backtest) -> Iterator[str]:
    """Yield what the history cannot tell, in words."""
    low, high = found.rates_ppm
    drawn = f"{found.draws} draws of what your history leaves open"
    ends = "so few that their ends are nearly the least and the greatest draw, and as uncertain as these"
    yield f"Intervals hold {found.level:.0%} of what may come, by {drawn}: {ends}."
    yield (
        f"Your forwards tell of fee rates from {low:,} to {high:,} ppm: what comes at other prices follows from the "
        "fees of the graph, not from your history."
    )
    if found.days < WEEK_DAYS:
        yield (
            f"The node is so busy that {found.days} days of each week were played, its first ones: what a policy does "
            "later is not seen."
        )
    unexplained = max(week.unexplained for week in found.weeks)
    if unexplained > _FEW:
        yield f"{unexplained:.0%} of the forwards came by ways that the fees of the graph do not explain."
    if any(
        week.log_likelihood is not None and week.log_likelihood < (week.log_likelihood_pooled or 0)
        for week in found.weeks
    ):
        yield "In some weeks the pooled law foretold better between which peers forwards came: trust no single channel."
    if "failures" in found.unknown:
        yield "Failed forwards were not imported: how often you were dry or too dear is not known."
    if "payments" in found.unknown:
        yield "Refills were not imported: your own policy is played without them."
    yield "Own payments, invoices, and channels opened or closed meanwhile are not played."


def _span(low: float, high: float) -> str:
    """Return the ends of an interval."""
    return f"{low:,.0f} .. {high:,.0f}"
