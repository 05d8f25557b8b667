"""What makes one doubt that exports are whole, of now, and of one node; in words for the operator who gave them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from lnsim_gym.own_node.reading.folder import OwnNode
from lnsim_gym.own_node.reading.history import DAY_NS

__all__ = ["doubts"]


def doubts(node: OwnNode) -> Iterator[str]:
    """Yield which days the history of a node covers, and what may be wrong with it."""
    forwards = node.forwards
    if not len(forwards):
        yield (
            "no forward at all: `lncli fwdinghistory` without --start_time tells of one day only; "
            "export it with --start_time -90d --max_events 50000"
        )
        return
    first_ns, last_ns = int(forwards.time_ns[0]), int(forwards.time_ns[-1])
    yield f"forwards of {(last_ns - first_ns) / DAY_NS:,.0f} days, {_date(first_ns)} to {_date(last_ns)}"
    if node.told_until_ns < node.imported_ns:
        age_days = (node.imported_ns - last_ns) / DAY_NS
        yield (
            f"the newest forward is {age_days:,.0f} days old: is this an old export? What came since is unknown, and "
            "balances are taken as those of the import"
        )
    if node.foreign_forwards:
        yield (
            f"{node.foreign_forwards:,} of {len(forwards):,} forwards are over no channel of this node: are all files "
            "of one node?"
        )


def _date(time_ns: int) -> str:
    """Return a day, UTC."""
    return datetime.fromtimestamp(time_ns / 1e9, UTC).strftime("%Y-%m-%d")
