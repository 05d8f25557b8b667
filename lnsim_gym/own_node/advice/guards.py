"""What advice may never say, however well it would pay in a simulation: each guard for itself, and no state.

A guard returns its reason in words where it stands against a change, else an empty string. The figures are those that
operators came to: most of what they lost by refills was paid above what the refilled channel sold for; prices that go
up and down in turn teach senders nothing; and gossip takes no more than a burst of four changes of a channel, then
about one a day (Core Lightning's limit, the tightest).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from lnsim_gym.own_node.advice.changes import Change, Refill, Repricing
from lnsim_gym.own_node.reading.history import DAY_NS

__all__ = [
    "BURST",
    "REALISED_SHARE",
    "REVERSAL_DAYS",
    "announced_ns",
    "beyond_gossip",
    "over_budget",
    "reverses",
    "through_one_peer",
    "too_dear",
    "unproven",
]

REALISED_SHARE: Final = 0.8
"""Most that a refill may cost, as a share of what the channel really sells for."""
REVERSAL_DAYS: Final = 7.0
"""Days in which a change is not turned back."""
_CLEARLY: Final = 1.05
"""How many times what forwards paid a price is before it counts as raised; less may be rounding."""
BURST: Final = 4
"""Changes of a channel's policy that others take in a row; after that, one a day."""


def too_dear(refill: Refill, realised_ppm: float | None) -> str:
    """Stand against a refill that may cost more than ``REALISED_SHARE`` of what its channel sells for.

    Args:
        refill: The refill.
        realised_ppm: Fees per million of what left over the channel; None where nothing did.
    """
    if realised_ppm is None:
        return "the channel has sold nothing, so nobody knows what a refill is worth"
    most_ppm = REALISED_SHARE * realised_ppm
    if refill.limit_ppm <= most_ppm:
        return ""
    return f"it may cost {refill.limit_ppm:,.0f} ppm, more than {REALISED_SHARE:.0%} of {realised_ppm:,.0f} sold at"


def through_one_peer(refill: Refill) -> str:
    """Stand against a refill that leaves and comes back through one peer: it may come back over the channel it left."""
    return "both of its ends are channels to one peer" if refill.leave_key == refill.peer_key else ""


def reverses(change: Change, past: Iterable[tuple[int, Change]], now_ns: int, days: float = REVERSAL_DAYS) -> str:
    """Stand against what turns an earlier change back.

    Args:
        change: The change.
        past: Changes that were made, each with its time in nanoseconds since 1970.
        now_ns: Time of the change.
        days: How long a change stays.
    """
    for time_ns, former in past:
        age_days = (now_ns - time_ns) / DAY_NS
        if age_days < days and (told := _turned(change, former)):
            return f"{told} {max(age_days, 0):.1f} days ago"
    return ""


def _turned(change: Change, former: Change) -> str:
    """Say what a change would turn back of a former one."""
    match change, former:
        case Repricing(), Repricing():
            for name, steps in _steps(change).items():
                for chan_id, step in steps.items():
                    if step * _steps(former).get(name, {}).get(chan_id, 0) < 0:
                        return f"its {name} was {'lowered' if step > 0 else 'raised'}"
        case Refill(), Refill() if (change.leave_chan_id, change.chan_id) == (former.chan_id, former.leave_chan_id):
            return "the same way was filled in the other direction"
    return ""


def _steps(change: Repricing) -> dict[str, dict[int, int]]:
    """Return by how much each number changes on each channel."""
    return {
        name: {one.chan_id: value - (getattr(one.policy, name) or 0) for one in change.channels}
        for name, value in change.to.items()
    }


def unproven(
    change: Repricing,
    past: Iterable[tuple[int, Change]],
    last: tuple[int, int] | None,
    now_ns: int,
    days: float = REVERSAL_DAYS,
) -> str:
    """Stand against raising further what was raised, before a forward has paid the new price.

    Args:
        change: The change.
        past: Changes that were made, each with its time in nanoseconds since 1970.
        last: Time in ns and fee rate in ppm of the last forward that left over one of the channels; None without one.
        now_ns: Time of the change.
        days: How long a raise that was recorded waits for a forward.
    """
    now_ppm = max(one.policy.fee_rate_ppm for one in change.channels)
    if change.to.get("fee_rate_ppm", 0) <= now_ppm:
        return ""
    last_ns, paid_ppm = last or (0, now_ppm)
    if _CLEARLY * paid_ppm < now_ppm:
        return f"it was raised to {now_ppm:,} ppm, and its last forward still paid {paid_ppm:,}"
    raised_ns = [time_ns for time_ns, former in past if time_ns > last_ns and _raises(former, change.chan_ids)]
    age_days = (now_ns - max(raised_ns, default=0)) / DAY_NS
    return f"it was raised {max(age_days, 0):.1f} days ago, and no forward has come since" if age_days < days else ""


def _raises(change: Change, chan_ids: Sequence[int]) -> bool:
    """Whether a change raises the fee rate of one of some channels."""
    steps = _steps(change).get("fee_rate_ppm", {}) if isinstance(change, Repricing) else {}
    return any(steps.get(chan_id, 0) > 0 for chan_id in chan_ids)


def announced_ns(made: Iterable[tuple[int, Change]], chan_id: int) -> list[int]:
    """Return when changes of a channel's policy were announced."""
    return [time_ns for time_ns, change in made if isinstance(change, Repricing) and chan_id in change.chan_ids]


def beyond_gossip(announced_ns: Sequence[int], now_ns: int, burst: int = BURST) -> str:
    """Stand against a further change of a channel's policy that others would not take.

    Args:
        announced_ns: When its former changes were announced.
        now_ns: Time of the further one.
        burst: Changes that are taken in a row; after that, one a day.
    """
    credit, last_ns = float(burst), 0
    for time_ns in sorted(announced_ns):
        credit = max(min(credit + (time_ns - last_ns) / DAY_NS, burst) - 1, 0)
        last_ns = time_ns
    credit = min(credit + (now_ns - last_ns) / DAY_NS, burst)
    return "" if credit >= 1 else f"its policy has changed {len(announced_ns)} times: others take no more for a day"


def over_budget(refill: Refill, spent_sat: float, budget_sat: float) -> str:
    """Stand against a refill that may cost more than is left of what may be spent."""
    left_sat = budget_sat - spent_sat
    return "" if refill.limit_sat <= left_sat else f"it may cost {refill.limit_sat:,} sat, {max(left_sat, 0):,.0f} left"
