"""Advice in words and as rows of text that a person reads in a minute, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from lnsim_gym.own_node.advice.changes import Closing, Refill, Repricing, numbers
from lnsim_gym.own_node.advice.reasons import held_in
from lnsim_gym.own_node.advice.told import Advice, Advised, Gain
from lnsim_gym.own_node.naming import peer_called, short_channel_id

__all__ = [
    "CHANGE_COLUMNS",
    "LEFT_COLUMNS",
    "LONGEST_NAME",
    "WHOLE",
    "advice_sentences",
    "change_rows",
    "command_lines",
    "left_rows",
]

CHANGE_COLUMNS: Final = ("", "peer", "channel", "change", "sat a day", "95 % of the mean", "why", "if nothing is done")
"""Headings of the table of what to change; gains in sat a day, mean and interval."""
LEFT_COLUMNS: Final = ("leave it", "channel", "as it is", "why")
"""Headings of the table of what is left."""
WHOLE: Final = (*CHANGE_COLUMNS[:3], *CHANGE_COLUMNS[4:6])
"""Headings of columns that are not broken into lines."""
_ENOUGH_DRAWS: Final = 19
"""Draws of which the extremes are an interval of 90 %."""
LONGEST_NAME: Final = 24
"""Characters of a peer's name."""


def change_rows(advice: Advice) -> list[list[str]]:
    """Return the rows under ``CHANGE_COLUMNS``, each with the number of its command."""
    return [
        [
            str(number),
            _name(one.change.peer),
            _ids(one.change.chan_ids),
            _told(one),
            *_gain(one.gain, advice.draws),
            one.change.why,
            one.idle,
        ]
        for number, one in enumerate(advice.advised, 1)
    ]


def left_rows(advice: Advice) -> list[list[str]]:
    """Return the rows under ``LEFT_COLUMNS``."""
    return [[_name(one.peer), _ids(one.chan_ids), one.idle, one.why] for one in advice.left]


def _name(peer: str) -> str:
    """Return what a peer calls itself as far as it can be shown."""
    return peer_called(peer, LONGEST_NAME)


def _ids(chan_ids: Iterable[int]) -> str:
    """Return short channel ids, one in a line."""
    return "\n".join(map(short_channel_id, chan_ids))


def _told(one: Advised) -> str:
    """Return what is changed, from what, and to what."""
    change = one.change
    match change:
        case Repricing():
            before = [
                numbers({name: getattr(held.policy, name) or 0 for name in change.to}) for held in change.channels
            ]
            from_ = {name: " / ".join(sorted({f"{each[name]:,}" for each in before})) for name in before[0]}
            return ", ".join(f"{name} {from_[name]} to {value:,}" for name, value in numbers(change.to).items())
        case Refill():
            after_sat = change.local_sat + change.amount_sat
            return f"refill {change.local_sat:,} to {after_sat:,} sat, for {change.limit_sat:,} at most"
        case Closing():
            return "close it?"


def _gain(gain: Gain | None, draws: int) -> tuple[str, str]:
    """Return a gain, and below its interval in how many of the draws it is one."""
    if gain is None:
        return "", ""
    interval = f"{gain.low:+,.1f}..{gain.high:+,.1f}"
    return f"{gain.sat_per_day:+,.1f}", "\n".join(filter(None, (interval, held_in(gain, draws))))


def _count(number: int, noun: str) -> str:
    """Return a number of things."""
    return f"{number} {noun}{'s' * (number != 1)}"


def command_lines(advice: Advice) -> Iterator[str]:
    """Yield lines to paste: the commands that make what is advised, each below the number of its row.

    What cannot be taken back stands last, and is commented out.
    """
    numbered = list(enumerate(advice.advised, 1))
    for number, one in numbered:
        if not isinstance(one.change, Closing):
            yield f"# {number}"
            yield from one.commands or (
                "# no command of this node does this alone, or its exports do not name the channel",
            )
    closings = [(number, one) for number, one in numbered if isinstance(one.change, Closing)]
    if closings:
        yield "# closing cannot be taken back, and costs a transaction: choose its price with --sat_per_vbyte"
    for number, one in closings:
        yield from (f"# {number}: {command}" for command in one.commands)


def advice_sentences(advice: Advice) -> list[str]:
    """Return what matters most, in words."""
    foreseen, days = advice.forecast, advice.forecast.days
    changed = sum(one.gain is not None for one in advice.advised)
    lines = [
        f"{_count(changed, 'change')} that would pay, {_count(len(advice.left), 'peer')} to leave alone "
        f"({advice.draws} draws of what is not known, {days:g} days)."
    ]
    if advice.together is not None:
        gain = advice.together
        lines.append(f"All of it together: {gain.sat_per_day:+,.1f} sat a day ({gain.low:+,.1f}..{gain.high:+,.1f}).")
    if advice.draws < _ENOUGH_DRAWS:
        held = (advice.draws - 1) / (advice.draws + 1)
        lines.append(f"So few draws make intervals of 90 % that hold {held:.0%}: {_ENOUGH_DRAWS} or more are enough.")
    low, _, middle, _, high = foreseen.left_sat
    lines.append(
        f"If nothing is done: {middle:,.0f} sat of fees in {days:g} days in half of the draws or less "
        f"(90 % {low:,.0f}..{high:,.0f})."
    )
    if changed:
        low, _, middle, _, high = foreseen.done_sat
        lines.append(f"If all of it is done: {middle:,.0f} sat (90 % {low:,.0f}..{high:,.0f}).")
    return [*lines, *advice.notes]
