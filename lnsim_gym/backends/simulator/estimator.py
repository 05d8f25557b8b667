"""What a sender believes about node pairs, and what it learns: LND's a-priori estimator and mission control.

Within a payment the sender's knowledge lies in ``Scratch.knowledge``, by direction (at most one channel joins two
nodes, so a direction is a directed node pair). ``recall`` and ``remember`` carry it over from payment to payment where
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
    "learn_carried",
    "learn_failure",
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
def probability(network: Any, knowledge: Any, node: Any, direction: Any, amount: Any, now: Any) -> Any:
    """Return the estimated probability that a forwarding node passes an amount on (``PairProbability``).

    Args:
        network: The network.
        knowledge: What the sender knows.
        node: The forwarding node, not the sender itself.
        direction: Direction out of that node.
        amount: Amount in msat.
        now: Simulated time in ms.
    """
    apriori = HOP_PROBABILITY * _capacity_factor(amount, network.policy[direction, CAPACITY])
    place = knowledge.first[node]
    if place == 0:
        return apriori
    total, weight, met = apriori, 1.0, False
    while place != 0:
        other = place - 1
        met = met or other == direction
        if amount <= knowledge.success[other]:
            total += SUCCESS_PROBABILITY
            weight += 1.0
        elif knowledge.failure_ms[other] >= 0 and amount >= knowledge.failure[other]:
            weight += _failure_weight(now - knowledge.failure_ms[other])
        place = knowledge.next[other]
    if met and amount <= knowledge.success[direction]:
        return SUCCESS_PROBABILITY
    if not met or knowledge.failure_ms[direction] < 0 or amount < knowledge.failure[direction]:
        return total / weight
    return total / weight * (1.0 - _failure_weight(now - knowledge.failure_ms[direction]))


@outlined
def _know(sources: Any, knowledge: Any, direction: Any) -> Any:
    """Make a blank record of a direction unless there is one, keeping each node's list in order."""
    node, place = sources[direction], direction + 1
    following = knowledge.first[node]
    previous = 0
    while following != 0 and following < place:
        previous = following
        following = knowledge.next[following - 1]
    if following == place:
        return
    knowledge.next[direction] = following
    if previous == 0:
        knowledge.first[node] = place
    else:
        knowledge.next[previous - 1] = place
    knowledge.success[direction] = 0
    knowledge.failure[direction] = 0
    knowledge.failure_ms[direction] = -1
    knowledge.slot[direction] = 0
    knowledge.known[knowledge.counter[KNOWN]] = direction
    knowledge.counter[KNOWN] += 1


@outlined
def _learn_success(sources: Any, knowledge: Any, direction: Any, amount: Any) -> Any:
    """Record that an amount passed a direction (``setLastPairResult``)."""
    _know(sources, knowledge, direction)
    knowledge.counter[BOOSTED] = 1
    knowledge.success[direction] = max(knowledge.success[direction], amount)
    if knowledge.failure_ms[direction] >= 0 and amount >= knowledge.failure[direction]:
        knowledge.failure[direction] = amount + 1


@outlined
def learn_carried(sources: Any, knowledge: Any, route: Any, sent: Any, hops: Any) -> Any:
    """Record that the first hops of a route carried its amounts.

    The sender's own channel is left out: no estimate depends on it.
    """
    for hop in range(1, hops):
        _learn_success(sources, knowledge, route[hop], sent[hop])


@outlined
def learn_failure(sources: Any, knowledge: Any, direction: Any, amount: Any, now: Any) -> Any:
    """Record that an amount failed at a direction for want of balance (``setLastPairResult``)."""
    _know(sources, knowledge, direction)
    then = knowledge.failure_ms[direction]
    if then >= 0 and amount > knowledge.failure[direction] and now - then < RELAX_MS:
        return
    knowledge.failure_ms[direction] = now
    knowledge.failure[direction] = amount
    if amount <= knowledge.success[direction]:
        knowledge.success[direction] = amount - 1


@fused
def forget(sources: Any, knowledge: Any) -> Any:
    """Empty the sender's knowledge."""
    for place in range(knowledge.counter[KNOWN]):
        knowledge.first[sources[knowledge.known[place]]] = 0
    knowledge.counter[KNOWN] = 0
    knowledge.counter[BOOSTED] = 0


@outlined
def recall(sources: Any, knowledge: Any, memory: Any, sender: Any) -> Any:
    """Load what a sender remembers; only for networks whose senders do."""
    place = memory.first[sender]
    while place != 0:
        record = place - 1
        direction = memory.direction[record]
        _know(sources, knowledge, direction)
        knowledge.success[direction] = memory.success[record]
        knowledge.failure[direction] = memory.failure[record]
        knowledge.failure_ms[direction] = memory.failure_ms[record]
        knowledge.slot[direction] = place
        if memory.success[record] > 0:
            knowledge.counter[BOOSTED] = 1
        place = memory.next[record]


@outlined
def remember(knowledge: Any, memory: Any, sender: Any) -> Any:
    """Store what a sender knows, as far as there is room; only for networks whose senders remember."""
    for index in range(knowledge.counter[KNOWN]):
        direction = knowledge.known[index]
        place = knowledge.slot[direction]
        if place == 0:
            if memory.used[0] == memory.next.size:
                continue
            memory.used[0] += 1
            place = memory.used[0]
            memory.direction[place - 1] = direction
            memory.next[place - 1] = memory.first[sender]
            memory.first[sender] = place
        memory.success[place - 1] = knowledge.success[direction]
        memory.failure[place - 1] = knowledge.failure[direction]
        memory.failure_ms[place - 1] = knowledge.failure_ms[direction]
