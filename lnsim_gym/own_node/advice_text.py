"""Advice in words and as rows of text that a person reads in a minute, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lnsim_gym.network.names import printable
from lnsim_gym.own_node.advice import Advice, Advised, Gain
from lnsim_gym.own_node.changes import Closing, Refill, Repricing, numbers, what
from lnsim_gym.own_node.record import Taken

__all__ = ["COLUMNS", "advice_rows", "advice_sentences", "command_lines", "taken_sentence"]

COLUMNS: Final = ("", "peer", "what", "from", "to", "sat a day", "95 %", "why", "if nothing is done")
"""Headings of the table of advice."""
_LONGEST_NAME: Final = 24


def advice_rows(advice: Advice) -> list[list[str]]:
    """Return the rows under ``COLUMNS``: what to change, with a number for its command, then what is left."""
    rows = [
        [str(number), _name(one.change.peer), *_told(one), *_gain(one.gain), one.change.why, one.idle]
        for number, one in enumerate(advice.advised, 1)
    ]
    return rows + [["", _name(one.peer), "leave it", "", "", "", "", one.why, one.idle] for one in advice.left]


def _name(peer: str) -> str:
    """Return what a peer calls itself as far as it can be shown."""
    return printable(peer)[:_LONGEST_NAME]


def _told(one: Advised) -> list[str]:
    """Return what is changed, from what, and to what."""
    change = one.change
    match change:
        case Repricing():
            short = numbers(change.to)
            before = [
                numbers({name: getattr(held.policy, name) or 0 for name in change.to}) for held in change.channels
            ]
            from_ = [" / ".join(sorted({f"{each[name]:,}" for each in before})) for name in short]
            return [", ".join(short), ", ".join(from_), ", ".join(f"{value:,}" for value in short.values())]
        case Refill():
            after_sat = change.local_sat + change.amount_sat
            return [f"refill, {change.limit_sat:,} sat at most", f"{change.local_sat:,}", f"{after_sat:,}"]
        case Closing():
            return ["close it", "", ""]


def _gain(gain: Gain | None) -> list[str]:
    """Return a gain and its interval."""
    return ["", ""] if gain is None else [f"{gain.sat_per_day:+,.1f}", f"{gain.low:+,.1f}..{gain.high:+,.1f}"]


def command_lines(advice: Advice) -> Iterator[str]:
    """Yield the commands that make what is advised, each with the number of its row."""
    for number, one in enumerate(advice.advised, 1):
        if not one.commands:
            yield f"{number}: no command of this node does this alone, or its exports do not name the channel"
        for command in one.commands:
            yield f"{number}: {command}"


def advice_sentences(advice: Advice) -> list[str]:
    """Return what matters most, in words."""
    foreseen, days = advice.forecast, advice.forecast.days
    changed = sum(one.gain is not None for one in advice.advised)
    lines = [
        f"{changed} of {changed + len(advice.left)} things to change, {len(advice.left)} to leave as they are "
        f"({advice.draws} draws of what is not known, {days:g} days)."
    ]
    if advice.together is not None:
        gain = advice.together
        lines.append(f"All of it together: {gain.sat_per_day:+,.1f} sat a day ({gain.low:+,.1f}..{gain.high:+,.1f}).")
    low, _, middle, _, high = foreseen.left_sat
    lines.append(f"If nothing is done: {middle:,.0f} sat of fees in {days:g} days (90 % {low:,.0f}..{high:,.0f}).")
    if changed:
        low, _, middle, _, high = foreseen.done_sat
        lines.append(f"If all of it is done: {middle:,.0f} sat (90 % {low:,.0f}..{high:,.0f}).")
    return [*lines, *advice.notes]


def taken_sentence(taken: Taken) -> str:
    """Return what became of a change, in words."""
    cost = f", paid {taken.fee_msat / 1000:,.3f} sat" if taken.fee_msat else ""
    said = f": {printable(taken.said)}" if taken.said else ""
    return f"{taken.result}: {_name(taken.change.peer)}, {what(taken.change)}{cost}{said}"
