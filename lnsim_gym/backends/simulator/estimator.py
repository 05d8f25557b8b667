"""What a sender believes about node pairs, and what it learns: LND's a-priori estimator and mission control.

Within a payment the sender's knowledge lies in ``Scratch``, by direction (at most one channel joins two nodes, so
a direction is a directed node pair). ``recall`` and ``remember`` carry it over from payment to payment where
senders remember. Formulas: LND's routing/probability_apriori.go and routing/missioncontrol_state.go.
"""

from __future__ import annotations

import math
from typing import Any, Final

from lnsim_gym.backends.simulator.layout import BOOSTED, CAPACITY, KNOWN
from lnsim_gym.compiled import fused, outlined

__all__ = [
    "HOP_PROBABILITY",
    "SUCCESS_PROBABILITY",
    "forget",
    "learn_failure",
    "learn_success",
    "probability",
    "recall",
    "remember",
]

HOP_PROBABILITY: Final = 0.6
"""Success probability of an untried hop (``DefaultAprioriHopProbability``)."""
SUCCESS_PROBABILITY: Final = 0.95
"""Success probability of a pair that carried the amount before, and of the sender's own channels."""
CAPACITY_FRACTION: Final = 0.9999
CAPACITY_SMEARING: Final = 0.025
HALF_LIFE_MS: Final = 3_600_000.0
"""Age in ms at which a failure counts half (``DefaultPenaltyHalfLife``, one hour)."""
RELAX_MS: Final = 60_000
"""A failure at a higher amount is ignored this soon after one at a lower amount, in ms."""
FLAT_BELOW: Final = 0.07
"""Share of the capacity below which the capacity factor is 1 to the last bit."""


@fused
def _failure_weight(age_ms: Any) -> Any:
    """Return the weight of a failure of that age: ``2 ** (-age / half-life)``."""
    return 1.0 if age_ms <= 0 else math.pow(2.0, -(age_ms / HALF_LIFE_MS))


@fused
def _capacity_factor(amount: Any, capacity: Any) -> Any:
    """Return how an amount close to the capacity lowers the probability (``capacityFactor``)."""
    if amount < FLAT_BELOW * capacity:
        return 1.0
    if amount > capacity:
        return 0.0
    margin = (amount - CAPACITY_FRACTION * capacity) / (CAPACITY_SMEARING * capacity)
    return 1.0 - 0.5 / (1.0 + math.exp(-margin))


@fused
def probability(network: Any, scratch: Any, node: Any, direction: Any, amount: Any, now: Any) -> Any:
    """Return the estimated probability that a forwarding node passes an amount on (``PairProbability``).

    Args:
        network: The network.
        scratch: Holds what the sender knows.
        node: The forwarding node, not the sender itself.
        direction: Direction out of that node.
        amount: Amount in msat.
        now: Simulated time in ms.
    """
    apriori = HOP_PROBABILITY * _capacity_factor(amount, network.policy[direction, CAPACITY])
    place = scratch.first_known[node]
    if place == 0:
        return apriori
    total, weight, met = apriori, 1.0, False
    while place != 0:
        other = place - 1
        met = met or other == direction
        if amount <= scratch.success[other]:
            total += SUCCESS_PROBABILITY
            weight += 1.0
        elif scratch.failure_ms[other] >= 0 and amount >= scratch.failure[other]:
            weight += _failure_weight(now - scratch.failure_ms[other])
        place = scratch.next_known[other]
    if met and amount <= scratch.success[direction]:
        return SUCCESS_PROBABILITY
    if not met or scratch.failure_ms[direction] < 0 or amount < scratch.failure[direction]:
        return total / weight
    return total / weight * (1.0 - _failure_weight(now - scratch.failure_ms[direction]))


@outlined
def _know(network: Any, scratch: Any, direction: Any) -> Any:
    """Make a blank record of a direction unless there is one, keeping each node's list in order."""
    node, place = network.source[direction], direction + 1
    following = scratch.first_known[node]
    previous = 0
    while following != 0 and following < place:
        previous = following
        following = scratch.next_known[following - 1]
    if following == place:
        return
    scratch.next_known[direction] = following
    if previous == 0:
        scratch.first_known[node] = place
    else:
        scratch.next_known[previous - 1] = place
    scratch.success[direction] = 0
    scratch.failure[direction] = 0
    scratch.failure_ms[direction] = -1
    scratch.slot[direction] = 0
    scratch.known[scratch.counter[KNOWN]] = direction
    scratch.counter[KNOWN] += 1


@outlined
def learn_success(network: Any, scratch: Any, direction: Any, amount: Any) -> Any:
    """Record that an amount passed a direction (``setLastPairResult``)."""
    _know(network, scratch, direction)
    scratch.counter[BOOSTED] = 1
    scratch.success[direction] = max(scratch.success[direction], amount)
    if scratch.failure_ms[direction] >= 0 and amount >= scratch.failure[direction]:
        scratch.failure[direction] = amount + 1


@outlined
def learn_failure(network: Any, scratch: Any, direction: Any, amount: Any, now: Any) -> Any:
    """Record that an amount failed at a direction for want of balance (``setLastPairResult``)."""
    _know(network, scratch, direction)
    then = scratch.failure_ms[direction]
    if then >= 0 and amount > scratch.failure[direction] and now - then < RELAX_MS:
        return
    scratch.failure_ms[direction] = now
    scratch.failure[direction] = amount
    if amount <= scratch.success[direction]:
        scratch.success[direction] = amount - 1


@fused
def forget(network: Any, scratch: Any) -> Any:
    """Empty the sender's knowledge."""
    for place in range(scratch.counter[KNOWN]):
        scratch.first_known[network.source[scratch.known[place]]] = 0
    scratch.counter[KNOWN] = 0
    scratch.counter[BOOSTED] = 0


@outlined
def recall(network: Any, scratch: Any, memory: Any, sender: Any) -> Any:
    """Load what a sender remembers, if senders remember at all."""
    if memory.first.size == 0:
        return
    place = memory.first[sender]
    while place != 0:
        record = place - 1
        direction = memory.direction[record]
        _know(network, scratch, direction)
        scratch.success[direction] = memory.success[record]
        scratch.failure[direction] = memory.failure[record]
        scratch.failure_ms[direction] = memory.failure_ms[record]
        scratch.slot[direction] = place
        if memory.success[record] > 0:
            scratch.counter[BOOSTED] = 1
        place = memory.next[record]


@outlined
def remember(scratch: Any, memory: Any, sender: Any) -> Any:
    """Store what a sender knows, if senders remember at all and as far as there is room."""
    if memory.first.size == 0:
        return
    for index in range(scratch.counter[KNOWN]):
        direction = scratch.known[index]
        place = scratch.slot[direction]
        if place == 0:
            if memory.used[0] == memory.next.size:
                continue
            memory.used[0] += 1
            place = memory.used[0]
            memory.direction[place - 1] = direction
            memory.next[place - 1] = memory.first[sender]
            memory.first[sender] = place
        memory.success[place - 1] = scratch.success[direction]
        memory.failure[place - 1] = scratch.failure[direction]
        memory.failure_ms[place - 1] = scratch.failure_ms[direction]
