"""When each payment of a batch may start, so that all end as if they were made one after another.

A payment looks at the channels of its sender and at those of its routes, and changes the latter. So it may start while
others are under way, as long as these change nothing that it looks at, and look at nothing that it changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from lnsim_gym.backends.lnd.network.live import LiveNetwork
from lnsim_gym.payments import PaymentBatch, PaymentOutcomes

__all__ = ["NOWHERE", "Footprint", "Turns", "footprints"]


class Footprint(NamedTuple):
    """The channels that matter to a payment."""

    seen: frozenset[int]
    """Channels whose balances may decide how it ends, among them those that it changes."""
    changed: frozenset[int]
    """Channels that its HTLCs may go over."""


NOWHERE = Footprint(frozenset(), frozenset())


def footprints(network: LiveNetwork, batch: PaymentBatch, expected: PaymentOutcomes) -> list[Footprint]:
    """Return where payments go that end as expected.

    The routes that were tried before the last one are not told: a payment of several attempts may go anywhere.
    """
    everywhere = frozenset(range(len(network.channels)))
    source = network.topology.arrays.source.reshape(-1, 2)
    own = [frozenset(np.flatnonzero((source == node).any(axis=1)).tolist()) for node in range(len(network.clients))]
    found = []
    for row, sender in enumerate(batch.source.tolist()):
        route = expected.part_route[row, 0]
        changed = frozenset((route[route >= 0] // 2).tolist())
        known = expected.attempts[row] == len(expected.part_route[row, : expected.parts[row]])
        found.append(Footprint(own[sender] | changed, changed) if known else Footprint(everywhere, everywhere))
    return found


class Turns:
    """Tells the payments of a batch when their turn has come.

    Args:
        footprints: Where each payment goes, in order.
    """

    def __init__(self, footprints: Iterable[Footprint]) -> None:
        self._footprints = list(footprints)
        self._under_way = dict(enumerate(self._footprints))
        """Payments whose channels are not quiet yet, with what they keep others from."""
        self._changed = asyncio.Condition()
        self._strict = False

    async def come(self, index: int) -> None:
        """Wait until a payment may start."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._must_wait(index))

    async def end(self, index: int) -> None:
        """Take in that a payment has ended: it looks at nothing any more."""
        async with self._changed:
            changed = self._under_way[index].changed
            self._under_way[index] = Footprint(changed, changed)
            self._changed.notify_all()

    async def leave(self, index: int) -> None:
        """Take in that the channels of a payment are quiet."""
        async with self._changed:
            del self._under_way[index]
            self._changed.notify_all()

    def one_by_one(self) -> None:
        """Let every payment that has not started wait for all before it."""
        self._strict = True

    def _must_wait(self, index: int) -> bool:
        """Whether a payment before this one is in its way."""
        mine = self._footprints[index]
        before = (others for other, others in self._under_way.items() if other < index)
        return any(self._strict or mine.seen & other.changed or mine.changed & other.seen for other in before)
