"""What a sender believes about node pairs, and what it learns: LND's a-priori estimator and mission control.

Within a payment the sender's knowledge lies in ``Scratch.knowledge``, by directed pair of nodes, for which its first
direction stands (``unified.pair_of``; "direction" below means that one). ``recall`` and ``remember`` carry it over
from payment to payment where senders remember. Formulas: LND's routing/probability_apriori.go and
routing/missioncontrol_state.go.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from lnsim_gym.backends.simulator.layout import BOOSTED, KNOWN
from lnsim_gym.compiled import fused, outlined
from lnsim_gym.compiled.elementary import compiled_exp, compiled_exp2

__all__ = [
    "HOP_PROBABILITY",
    "SUCCESS_PROBABILITY",
    "forget",
    "learn_failure",
    "learn_node_failure",
    "learn_success",
    "own_probability",
    "probability",
    "recall",
    "remember",
    "takes_second_chance",
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
SECOND_CHANCE_MS: Final = 60_000
"""How long a pair has to wait for its next second chance, in ms (``minSecondChanceInterval``)."""
FLAT_SHIFT: Final = 4
"""Amounts below the capacity shifted by this have a capacity factor of 1 to the last bit."""


@fused
def _failure_weight(age_ms: Any) -> Any:
    """Return the weight of a failure of that age: ``2 ** (-age / half-life)``."""
    return 1.0 if age_ms <= 0 else compiled_exp2(-(age_ms / HALF_LIFE_MS))


@fused
def _capacity_factor(amount: Any, capacity: Any) -> Any:
    """Return how an amount close to the capacity lowers the probability (``capacityFactor``)."""
    if amount < capacity >> FLAT_SHIFT:
        return 1.0
    if amount > capacity:
        return 0.0
    margin = (amount - CAPACITY_FRACTION * capacity) / (CAPACITY_SMEARING * capacity)
    return 1.0 - 0.5 / (1.0 + compiled_exp(-margin))


@fused
def probability(capacity: Any, knowledge: Any, node: Any, direction: Any, amount: Any, now: Any) -> Any:
    """Return the estimated probability that a forwarding node passes an amount on (``PairProbability``).

    Args:
        capacity: Capacity in msat of the channel, or of the largest in question.
        knowledge: What the sender knows.
        node: The forwarding node, not the sender itself.
        direction: Direction out of that node.
        amount: Amount in msat.
        now: Simulated time in ms.
    """
    apriori = HOP_PROBABILITY * _capacity_factor(amount, capacity)
    place = knowledge.first[node]
    if place == 0:
        return apriori
    total, weight, met = apriori, 1.0, False
    while place != 0:
        other = np.uint32(place - 1)
        met = met or other == direction
        record = knowledge.record[other]
        if amount <= record.success_msat:
            total += SUCCESS_PROBABILITY
            weight += 1.0
        elif record.failure_ms >= 0 and amount >= record.failure_msat:
            weight += _failure_weight(now - record.failure_ms)
        place = record.next
    if not met:
        return total / weight
    record = knowledge.record[direction]
    if amount <= record.success_msat:
        return SUCCESS_PROBABILITY
    if record.failure_ms < 0 or amount < record.failure_msat:
        return total / weight
    return total / weight * (1.0 - _failure_weight(now - record.failure_ms))


@fused
def own_probability(knowledge: Any, direction: Any, now: Any) -> Any:
    """Return the estimated probability that the sender's own channel carries an amount (``LocalPairProbability``).

    Only failures that blame the sender's peer lower it: its own balances it knows.
    """
    record = knowledge.record[direction]
    for place in range(knowledge.counter[KNOWN]):
        if knowledge.known[place] == direction and record.failure_ms >= 0:
            return SUCCESS_PROBABILITY * (1.0 - _failure_weight(now - record.failure_ms))
    return SUCCESS_PROBABILITY


@fused
def _know(sources: Any, knowledge: Any, direction: Any) -> Any:
    """Return the record of a direction, made blank unless there is one; each node's list keeps its order."""
    node, place = sources[direction], np.int32(direction + 1)
    following = knowledge.first[node]
    previous = np.int32(0)
    while following != 0 and following < place:
        previous = following
        following = knowledge.record[np.uint32(following - 1)].next
    record = knowledge.record[direction]
    if following == place:
        return record
    record.next = following
    if previous == 0:
        knowledge.first[node] = place
    else:
        knowledge.record[np.uint32(previous - 1)].next = place
    record.success_msat = 0
    record.failure_msat = 0
    record.failure_ms = -1
    record.slot = 0
    if knowledge.chance_ms.size > 0:
        knowledge.chance_ms[direction] = -1
    knowledge.known[knowledge.counter[KNOWN]] = direction
    knowledge.counter[KNOWN] += 1
    return record


@outlined
def learn_success(sources: Any, knowledge: Any, direction: Any, amount: Any) -> Any:
    """Record that an amount passed a direction (``setLastPairResult``)."""
    record = _know(sources, knowledge, direction)
    knowledge.counter[BOOSTED] = 1
    known_msat = record.success_msat
    record.success_msat = amount if amount > known_msat else known_msat
    if record.failure_ms >= 0 and amount >= record.failure_msat:
        record.failure_msat = amount + 1


@fused
def learn_failure(sources: Any, knowledge: Any, direction: Any, amount: Any, now: Any) -> Any:
    """Record that an amount, or any (0), failed at a direction (``setLastPairResult``)."""
    record = _know(sources, knowledge, direction)
    then = record.failure_ms
    if then >= 0 and amount > record.failure_msat and now - then < RELAX_MS:
        return
    record.failure_ms = now
    record.failure_msat = amount
    if amount <= record.success_msat:
        record.success_msat = amount - 1 if amount > 0 else 0


@outlined
def learn_node_failure(sources: Any, destinations: Any, knowledge: Any, node: Any, now: Any) -> Any:
    """Record that all known pairs of a node failed at any amount (``setAllFail``)."""
    for place in range(knowledge.counter[KNOWN]):
        direction = knowledge.known[place]
        record = knowledge.record[direction]
        tried = record.success_msat > 0 or record.failure_ms >= 0
        if tried and (sources[direction] == node or destinations[direction] == node):
            record.success_msat = 0
            record.failure_msat = 0
            record.failure_ms = now


@outlined
def takes_second_chance(sources: Any, knowledge: Any, direction: Any, now: Any) -> Any:
    """Return whether a pair may send a new policy unpunished, which uses its chance up (``requestSecondChance``)."""
    _know(sources, knowledge, direction)
    last = knowledge.chance_ms[direction]
    if last >= 0 and now - last <= SECOND_CHANCE_MS:
        return False
    knowledge.chance_ms[direction] = now
    return True


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
        index = np.uint32(place - 1)
        record = _know(sources, knowledge, np.uint32(memory.direction[index]))
        record.success_msat = memory.success[index]
        record.failure_msat = memory.failure[index]
        record.failure_ms = memory.failure_ms[index]
        record.slot = place
        if memory.chance_ms.size > 0:
            knowledge.chance_ms[memory.direction[index]] = memory.chance_ms[index]
        if memory.success[index] > 0:
            knowledge.counter[BOOSTED] = 1
        place = memory.next[index]


@outlined
def remember(knowledge: Any, memory: Any, sender: Any) -> Any:
    """Store what a sender knows, as far as there is room; only for networks whose senders remember."""
    for index in range(knowledge.counter[KNOWN]):
        direction = knowledge.known[index]
        record = knowledge.record[direction]
        place = record.slot
        if place == 0:
            if memory.used[0] == memory.next.size:
                continue
            memory.used[0] += 1
            place = memory.used[0]
            memory.direction[place - 1] = direction
            memory.next[place - 1] = memory.first[sender]
            memory.first[sender] = place
        memory.success[place - 1] = record.success_msat
        memory.failure[place - 1] = record.failure_msat
        memory.failure_ms[place - 1] = record.failure_ms
        if memory.chance_ms.size > 0:
            memory.chance_ms[place - 1] = knowledge.chance_ms[direction]
