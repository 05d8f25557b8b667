"""A node's books: what each channel earned by both legs, what its refills cost and brought, and what the chain took.

A forward's fee is earned by the channel over which it left; the one over which it came has brought it, which is told
beside it and counts once. What a channel holds is a queue in order of time: what it held at first, what forwards
brought, and refills; what leaves is taken from its front. So a refill is matched to the forwards that it fed, and has a
price at which it was sold.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np

from lnsim_gym.errors import ConfigError
from lnsim_gym.own_node.reading.channels import Channel
from lnsim_gym.own_node.reading.folder import OwnNode
from lnsim_gym.own_node.reading.history import DAY_NS, SECOND_NS

__all__ = ["DEAD_DAYS", "Books", "ChannelBooks", "book"]

DEAD_DAYS: Final = 30.0
"""Days without a forward after which a channel is called dead."""
IDLE_DAYS: Final = 7.0
"""Days without a forward after which it is called idle."""


class ChannelBooks(msgspec.Struct, kw_only=True):
    """One channel in the time that is booked; amounts in msat."""

    chan_id: int
    """Short channel id."""
    peer: str
    """Alias of the peer, else its public key; empty when the channel is closed."""
    capacity_sat: int
    local_sat: int
    """What the node holds in it now."""
    is_open: bool
    is_active: bool
    forwards_out: int = 0
    """Forwards that left over it."""
    out_msat: int = 0
    """What they carried."""
    earned_msat: int = 0
    """Their fees."""
    forwards_in: int = 0
    """Forwards that came over it."""
    in_msat: int = 0
    """What they carried, fees included."""
    sourced_msat: int = 0
    """Their fees, which other channels earned."""
    refilled_msat: int = 0
    """What refills brought."""
    refill_fee_msat: int = 0
    """What they cost."""
    sold_msat: int = 0
    """What of refills was sold, those of earlier days included."""
    sold_fee_msat: int = 0
    """Fees of what was sold."""
    sold_cost_msat: int = 0
    """What that had cost."""
    unsold_msat: int = 0
    """What of all refills has not been sold yet."""
    chain_sat: int = 0
    """Fee of the transaction that opened it, when this node paid it in this time."""
    failed: int | None = None
    """Forwards that failed for want of its balance; None where failures were not given."""
    idle_days: float | None = None
    """Days since the last forward, either way; None when none is known."""
    state: str = ""
    """``"closed"``, ``"inactive"``, ``"dead"``, ``"idle"``, or empty."""

    @property
    def net_msat(self) -> int:
        """Fees earned, less refills and chain fees."""
        return self.earned_msat - self.refill_fee_msat - 1000 * self.chain_sat

    @property
    def earned_ppm(self) -> float | None:
        """Fees earned per million that left."""
        return _ppm(self.earned_msat, self.out_msat)

    @property
    def refill_ppm(self) -> float | None:
        """What refills cost per million."""
        return _ppm(self.refill_fee_msat, self.refilled_msat)

    @property
    def realised_ppm(self) -> float | None:
        """What refills were sold for, per million."""
        return _ppm(self.sold_fee_msat, self.sold_msat)


class Books(msgspec.Struct, kw_only=True):
    """A node in some days."""

    name: str
    public_key: str
    begin_ns: int
    """Begin of the time that is booked, in nanoseconds since 1970; what happened just then is not in it."""
    end_ns: int
    channels: list[ChannelBooks]
    """The best net first; closed channels with forwards or refills in this time are among them."""
    daily_msat: list[tuple[int, int, int]]
    """By day, the last one last: fees earned, fees of refills, fees of transactions."""
    other_chain_sat: int = 0
    """Fees of transactions that opened no channel that is still there."""
    unknown: list[str]
    """What the exports did not tell, so that its costs are not counted: ``"payments"``, ``"chain"``, ``"failures"``."""

    @property
    def days(self) -> float:
        """Length of the time that is booked."""
        return (self.end_ns - self.begin_ns) / DAY_NS

    @property
    def earned_msat(self) -> int:
        """Fees earned by all channels."""
        return sum(one.earned_msat for one in self.channels)

    @property
    def refill_fee_msat(self) -> int:
        """Fees of all refills."""
        return sum(one.refill_fee_msat for one in self.channels)

    @property
    def chain_sat(self) -> int:
        """Fees of all transactions."""
        return self.other_chain_sat + sum(one.chain_sat for one in self.channels)

    @property
    def net_msat(self) -> int:
        """What was earned, less all costs that are known."""
        return self.earned_msat - self.refill_fee_msat - 1000 * self.chain_sat

    @property
    def capital_sat(self) -> int:
        """What the node holds in its channels now."""
        return sum(one.local_sat for one in self.channels)

    @property
    def yearly(self) -> float | None:
        """Net of a year at this pace, as a share of ``capital_sat``."""
        return 365 * self.net_msat / self.days / 1000 / self.capital_sat if self.capital_sat else None


def book(node: OwnNode, days: float = 30.0) -> Books:
    """Book a node's last days, up to its import.

    Args:
        node: The node.
        days: How many; fewer when its history is shorter.

    Raises:
        ConfigError: There is not one event to book, or ``days`` is below a second.
    """
    if not days * DAY_NS >= SECOND_NS:
        raise ConfigError(f"expected days above 0, a second at least, got {days:g}")
    times = [columns.time_ns for columns in (node.forwards, node.refills) if len(columns)]
    if not times:
        raise ConfigError("the history holds not one forward: there is nothing to book")
    first_ns = int(min(column[0] for column in times))
    end_ns = max(node.imported_ns, *(int(column[-1]) for column in times))
    earliest_ns = min(first_ns - 1, end_ns - DAY_NS)
    begin_ns = end_ns - round(min(days * DAY_NS, end_ns - earliest_ns))
    ledgers = {channel.number: _Ledger(_opened(channel)) for channel in node.channels}
    events = list(_events(node))
    for number, moved_msat in _moved(events).items():
        ledger = ledgers.setdefault(number, _Ledger(_closed(number)))
        ledger.lots.append(_Lot(max(0, 1000 * ledger.books.local_sat - moved_msat)))
    daily = np.zeros((int(np.ceil((end_ns - begin_ns) / DAY_NS)), 3), np.int64)
    for event in events:
        is_booked = event.time_ns > begin_ns
        _enter(event, ledgers, is_booked)
        if is_booked:
            day = -1 - (end_ns - event.time_ns) // DAY_NS
            daily[day, 1 if event.is_refill else 0] += event.fee_msat
    other_chain_sat = _enter_chain(node, ledgers, (begin_ns, end_ns), daily)
    _enter_failures(node, ledgers, begin_ns)
    for ledger in ledgers.values():
        ledger.close(end_ns, first_ns, node.told_until_ns or end_ns)
    shown = [
        one
        for one in (ledger.books for ledger in ledgers.values())
        if one.is_open or one.forwards_in or one.forwards_out or one.refilled_msat
    ]
    return Books(
        name=node.name,
        public_key=node.public_key,
        begin_ns=begin_ns,
        end_ns=end_ns,
        channels=sorted(shown, key=lambda one: (-one.net_msat, -one.sourced_msat, one.chan_id)),
        daily_msat=[(earned, refills, chain) for earned, refills, chain in daily.tolist()],
        other_chain_sat=other_chain_sat,
        unknown=[kind for kind in ("payments", "chain", "failures") if kind not in node.told],
    )


def _ppm(part: int, whole: int) -> float | None:
    """Return a share in parts per million; None of nothing."""
    return 1e6 * part / whole if whole else None


@dataclass(slots=True)
class _Lot:
    """What came into a channel at once."""

    left_msat: int
    cost_msat: int = 0
    """What the part that is left cost, of a refill."""
    is_refill: bool = False


@dataclass(slots=True)
class _Event:
    """Something that moved money from one channel into another."""

    time_ns: int
    chan_in: int
    """Channel that was filled."""
    chan_out: int
    """Channel that was emptied."""
    in_msat: int
    out_msat: int
    fee_msat: int
    is_refill: bool


@dataclass(slots=True)
class _Ledger:
    """A channel's books and what it holds, in order of its coming."""

    books: ChannelBooks
    lots: deque[_Lot] = field(default_factory=deque)
    last_ns: int = 0

    def take(self, amount_msat: int, fee_msat: int, is_sold: bool) -> None:
        """Take what leaves from the front; what is sold of refills counts with its share of the fee."""
        whole_msat = max(amount_msat, 1)
        while amount_msat > 0 and self.lots:
            lot = self.lots[0]
            taken_msat = min(lot.left_msat, amount_msat)
            cost_msat = lot.cost_msat * taken_msat // max(lot.left_msat, 1)
            if lot.is_refill and is_sold:
                self.books.sold_msat += taken_msat
                self.books.sold_fee_msat += fee_msat * taken_msat // whole_msat
                self.books.sold_cost_msat += cost_msat
            lot.left_msat -= taken_msat
            lot.cost_msat -= cost_msat
            amount_msat -= taken_msat
            if lot.left_msat <= 0:
                self.lots.popleft()

    def close(self, end_ns: int, first_ns: int, told_until_ns: int) -> None:
        """Say how the channel stands at the end; dead only by days that the history tells of."""
        books = self.books
        books.unsold_msat = sum(lot.left_msat for lot in self.lots if lot.is_refill)
        if self.last_ns:
            books.idle_days = (end_ns - self.last_ns) / DAY_NS
        since_ns = self.last_ns or first_ns
        if not books.is_open:
            books.state = "closed"
        elif not books.is_active:
            books.state = "inactive"
        elif end_ns - since_ns >= IDLE_DAYS * DAY_NS:
            books.state = "dead" if told_until_ns - since_ns >= DEAD_DAYS * DAY_NS else "idle"


def _opened(channel: Channel) -> ChannelBooks:
    """Return the empty books of a channel."""
    return ChannelBooks(
        chan_id=channel.number,
        peer=channel.peer_alias or channel.remote_pubkey,
        capacity_sat=channel.capacity,
        local_sat=channel.local_balance,
        is_open=True,
        is_active=channel.active,
    )


def _closed(number: int) -> ChannelBooks:
    """Return the empty books of a channel that is no longer there."""
    return ChannelBooks(chan_id=number, peer="", capacity_sat=0, local_sat=0, is_open=False, is_active=False)


def _events(node: OwnNode) -> Iterator[_Event]:
    """Yield forwards and refills in order of time."""
    found = [
        _Event(time_ns, chan_in, chan_out, in_msat, out_msat, in_msat - out_msat, is_refill=False)
        for time_ns, chan_in, chan_out, in_msat, out_msat in node.forwards.rows().tolist()
    ]
    found += [
        _Event(time_ns, chan_in, chan_out, amount_msat, amount_msat + fee_msat, fee_msat, is_refill=True)
        for time_ns, chan_out, chan_in, amount_msat, fee_msat in node.refills.rows().tolist()
    ]
    yield from sorted(found, key=lambda event: event.time_ns)


def _moved(events: list[_Event]) -> dict[int, int]:
    """Return by how much the events together changed what the node holds in each channel, in msat."""
    moved: dict[int, int] = {}
    for event in events:
        moved[event.chan_in] = moved.get(event.chan_in, 0) + event.in_msat
        moved[event.chan_out] = moved.get(event.chan_out, 0) - event.out_msat
    return moved


def _enter(event: _Event, ledgers: dict[int, _Ledger], is_booked: bool) -> None:
    """Move what an event moved, and book it when it lies in the time that is booked."""
    filled, emptied = ledgers[event.chan_in], ledgers[event.chan_out]
    sold_before = emptied.books.sold_msat, emptied.books.sold_fee_msat, emptied.books.sold_cost_msat
    emptied.take(event.out_msat, event.fee_msat, is_sold=not event.is_refill)
    filled.lots.append(_Lot(event.in_msat, event.fee_msat if event.is_refill else 0, event.is_refill))
    if not event.is_refill:
        filled.last_ns = emptied.last_ns = event.time_ns
    if not is_booked:
        emptied.books.sold_msat, emptied.books.sold_fee_msat, emptied.books.sold_cost_msat = sold_before
    elif event.is_refill:
        filled.books.refilled_msat += event.in_msat
        filled.books.refill_fee_msat += event.fee_msat
    else:
        emptied.books.forwards_out += 1
        emptied.books.out_msat += event.out_msat
        emptied.books.earned_msat += event.fee_msat
        filled.books.forwards_in += 1
        filled.books.in_msat += event.in_msat
        filled.books.sourced_msat += event.fee_msat


def _enter_chain(
    node: OwnNode,
    ledgers: dict[int, _Ledger],
    span_ns: tuple[int, int],
    daily: np.ndarray[tuple[int, int], np.dtype[np.int64]],
) -> int:
    """Book the fees of transactions, and return those that belong to no channel, in sat."""
    begin_ns, end_ns = span_ns
    openings = {
        channel.channel_point.partition(":")[0]: channel.number for channel in node.channels if channel.initiator
    }
    other_sat = 0
    for transaction, (time_ns, fee_sat) in node.chain_fees.items():
        if not begin_ns < time_ns <= end_ns:
            continue
        daily[-1 - (end_ns - time_ns) // DAY_NS, 2] += 1000 * fee_sat
        if transaction in openings:
            ledgers[openings[transaction]].books.chain_sat += fee_sat
        else:
            other_sat += fee_sat
    return other_sat


def _enter_failures(node: OwnNode, ledgers: dict[int, _Ledger], begin_ns: int) -> None:
    """Count the forwards that a channel's balance could not carry."""
    if "failures" not in node.told:
        return
    failures = node.failures
    which = (failures.time_ns > begin_ns) & (failures.is_dry == 1)
    numbers, counts = np.unique(failures.chan_out[which], return_counts=True)
    failed = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
    for number, ledger in ledgers.items():
        ledger.books.failed = failed.get(number, 0)
