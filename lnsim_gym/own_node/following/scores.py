"""How good forecasts were: what forwards really earned, held to the quantiles that were told before.

A forecast has two versions: if nothing is done, and if all that was advised is. The one that came true is scored, when
its time is over; where only a part was done, or other changes were made in that time, neither did, and none is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import numpy as np

from lnsim_gym.arrays import Float64
from lnsim_gym.own_node.advice.changes import Closing
from lnsim_gym.own_node.advice.told import LEVELS, Advice
from lnsim_gym.own_node.following.record import Entry, Given, Outcome, Taken
from lnsim_gym.own_node.reading.folder import OwnNode
from lnsim_gym.own_node.reading.history import DAY_NS

__all__ = ["Score", "new_outcomes", "score"]

_PROMPT_NS: Final = DAY_NS
"""Time within which what was advised must be done for its forecast to hold."""


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """Forecasts of one kind against what came true."""

    forecasts: int
    inside_50: float
    """Share of outcomes inside the interval that should hold half of them."""
    inside_90: float
    """Share of outcomes inside the interval that should hold 90 % of them."""
    below: tuple[float, ...]
    """Share of outcomes below each quantile of ``LEVELS``; those equal to it count half."""


def new_outcomes(node: OwnNode, entries: Sequence[Entry]) -> list[Outcome]:
    """Return what came of forecasts whose time is over and which have no outcome yet.

    Args:
        node: The node, as it was imported last.
        entries: All of its record.
    """
    known = {one.advice_ns for one in entries if isinstance(one, Outcome)}
    given = {one.advice.time_ns: one.advice for one in entries if isinstance(one, Given)}
    taken = [one for one in entries if isinstance(one, Taken) and one.result != "refused"]
    found = []
    for time_ns, advice in given.items():
        is_over = _end_ns(advice) <= node.imported_ns
        if time_ns not in known and is_over and (done := _was_done(advice, taken)) is not None:
            found.append(_outcome(node, advice, done))
    return found


def _end_ns(advice: Advice) -> int:
    """Return when the time of a forecast is over."""
    return advice.forecast.begin_ns + round(advice.forecast.days * DAY_NS)


def _was_done(advice: Advice, taken: Iterable[Taken]) -> bool | None:
    """Return whether all or nothing was done that was advised; None when neither version of the forecast came true."""
    begin_ns, end_ns = advice.forecast.begin_ns, _end_ns(advice)
    during = [one for one in taken if begin_ns <= one.time_ns < end_ns]
    if not during:
        return False
    advised = [one.change for one in advice.advised if not isinstance(one.change, Closing)]
    prompt = [
        one.change
        for one in during
        if one.advice_ns == advice.time_ns and one.time_ns < begin_ns + _PROMPT_NS and one.result != "surprise"
    ]
    return True if len(during) == len(prompt) == len(advised) else None


def _outcome(node: OwnNode, advice: Advice, done: bool) -> Outcome:
    """Return what the forwards of a forecast's time earned."""
    forwards, foreseen = node.forwards, advice.forecast
    during = (forwards.time_ns > foreseen.begin_ns) & (forwards.time_ns <= _end_ns(advice))
    earned_sat = (forwards.in_msat[during] - forwards.out_msat[during]).astype(np.float64) / 1000
    left_over = forwards.chan_out[during]
    return Outcome(
        advice_ns=advice.time_ns,
        was_done=done,
        levels=foreseen.done_sat if done else foreseen.left_sat,
        earned_sat=float(earned_sat.sum()),
        channels=tuple(
            (
                one.chan_id,
                one.done_sat if done else one.left_sat,
                float(earned_sat[left_over == np.uint64(one.chan_id)].sum()),
            )
            for one in foreseen.channels
        ),
    )


def score(entries: Iterable[Entry]) -> dict[str, Score]:
    """Return how good the forecasts of a record were, of the node and of its channels; none where none is over."""
    outcomes = [one for one in entries if isinstance(one, Outcome)]
    pairs = {
        "node": [(one.levels, one.earned_sat) for one in outcomes],
        "channels": [(levels, earned_sat) for one in outcomes for _, levels, earned_sat in one.channels],
    }
    return {kind: _score(*map(np.array, zip(*some, strict=True))) for kind, some in pairs.items() if some}


def _score(levels: Float64, earned_sat: Float64) -> Score:
    """Return the score of forecasts, shape (forecasts, len(LEVELS)), against what was earned, shape (forecasts,)."""

    def inside(low: int, high: int) -> float:
        return float(((earned_sat >= levels[:, low]) & (earned_sat <= levels[:, high])).mean())

    against = earned_sat[:, None] - levels
    below = (against < 0).mean(axis=0) + (against == 0).mean(axis=0) / 2
    last = len(LEVELS) - 1
    return Score(
        forecasts=len(earned_sat),
        inside_50=inside(1, last - 1),
        inside_90=inside(0, last),
        below=tuple(below.tolist()),
    )
