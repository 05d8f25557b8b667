"""Whether any route at all can lead from a sender to a receiver: a quick answer before long searches.

A sender does not know the balances of others, so it tries one route after another before it gives up, and most
payments that fail do so because nothing could have carried them. The balances show that at once. What the sender does
know, policies and failures, shows it as well where the search itself would look at all of the network in vain.

Both look from the two nodes at once, by turns from where less was looked at: mostly either the sender or the receiver
is cut off with a few nodes, or the two meet soon.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from lnsim_gym.backends.simulator.channels import can_add
from lnsim_gym.backends.simulator.estimator import probability
from lnsim_gym.backends.simulator.unified import is_disabled, pair_of
from lnsim_gym.compiled import fused, outlined

__all__ = ["MIN_PROBABILITY", "UNCOUNTED", "is_hopeless", "is_unroutable"]

MIN_PROBABILITY: Final = 0.01
"""Paths less likely than this are dropped (``DefaultMinRouteProbability``)."""
UNCOUNTED: Final = -1
"""Stands for the attempts of a payment that was found to be unroutable."""
ENDLESS_MSAT: Final = np.int64(2**62)
"""A capacity that lowers no probability."""


class Question(NamedTuple):
    """What a channel must do to count as a way."""

    amount_msat: Any  # the least that goes over it
    most_msat: Any  # the most
    least_probability: Any  # that its node passes an amount on, as the sender believes; 0 to look at its balance
    now_ms: Any


@fused
def _leads_on(network: Any, balances: Any, work: Any, sender: Any, node: Any, direction: Any, question: Any) -> Any:
    """Return whether a direction out of a node counts as a way."""
    policy = network.policy[direction]
    if question.amount_msat > policy.max_htlc_msat:
        return False
    if question.least_probability == 0.0 or node == sender:
        return can_add(network, balances, work.htlcs, direction, question.amount_msat)
    if question.most_msat < policy.min_htlc_msat or is_disabled(network.links, direction):
        return False
    if work.knowledge.first[node] == 0:
        return True
    pair = pair_of(network.links, direction)
    likely = probability(ENDLESS_MSAT, work.knowledge, node, pair, question.amount_msat, question.now_ms)
    return likely >= question.least_probability


@fused
def _are_apart(network: Any, balances: Any, work: Any, sender: Any, target: Any, question: Any) -> Any:
    """Return whether no channels that count as ways lead from a sender to a target."""
    labels, queue = work.label, work.queue
    end = np.int64(queue.size - 1)
    work.searches[0] += 2
    from_target = work.searches[0]
    from_sender = from_target - 1
    labels[sender].stamp = from_sender
    labels[target].stamp = from_target
    # Nodes reached from the sender lie in the queue from its beginning on, those from the target from its end on.
    queue[0].node = sender
    queue[np.uint64(end)].node = target
    ahead, ahead_queued, ahead_seen = np.int64(0), np.int64(1), np.int64(0)
    back, back_queued, back_seen = np.int64(0), np.int64(1), np.int64(0)
    while ahead < ahead_queued and back < back_queued:
        forwards = ahead_seen <= back_seen
        node = np.uint32(queue[np.uint64(ahead if forwards else end - back)].node)
        own, other = (from_sender, from_target) if forwards else (from_target, from_sender)
        first, last = np.int64(network.first_incoming[node]), np.int64(network.first_incoming[node + 1])
        queued = ahead_queued if forwards else back_queued
        for place in range(first, last):
            neighbour = network.neighbour[np.uint64(place)]
            stamp = labels[neighbour].stamp
            if stamp == own:
                continue
            direction = network.incoming[np.uint64(place)]
            start = neighbour
            if forwards:
                direction, start = direction ^ 1, node
            if not _leads_on(network, balances, work, sender, start, direction, question):
                continue
            if stamp == other:
                return False
            labels[neighbour].stamp = own
            queue[np.uint64(queued if forwards else end - queued)].node = neighbour
            queued += 1
        if forwards:
            ahead, ahead_queued, ahead_seen = ahead + 1, queued, ahead_seen + last - first
        else:
            back, back_queued, back_seen = back + 1, queued, back_seen + last - first
    return True


@fused
def is_unroutable(network: Any, balances: Any, work: Any, sender: Any, target: Any, amount: Any) -> Any:
    """Return whether no route from a sender to a target can carry an amount; False may be wrong, True never is.

    Looks at channel ends that can carry the amount without any fees.
    """
    question = Question(np.int64(amount), np.int64(amount), 0.0, np.int64(0))
    return _are_apart(network, balances, work, sender, target, question)


@outlined
def is_hopeless(
    network: Any, balances: Any, work: Any, sender: Any, target: Any, amount: Any, fee_limit: Any, now: Any
) -> Any:
    """Return whether a search would find no route; False may be wrong, True never is.

    Args:
        network: ``Network``, with the policies that the sender has heard of.
        balances: Balances in msat by direction.
        work: ``Workspace`` with what the sender knows and what is in flight.
        sender: The sender.
        target: The receiver.
        amount: What is to arrive, in msat.
        fee_limit: Most fees in msat.
        now: Simulated time in ms.
    """
    question = Question(np.int64(amount), np.int64(amount + fee_limit), MIN_PROBABILITY, np.int64(now))
    return _are_apart(network, balances, work, sender, target, question)
