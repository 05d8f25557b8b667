"""What a sender learns from an attempt: LND's routing/result_interpretation.go, and policies that failures tell."""

from __future__ import annotations

from typing import Any

import numpy as np

from lnsim_gym.backends.simulator.estimator import (
    learn_failure,
    learn_node_failure,
    learn_success,
    takes_second_chance,
)
from lnsim_gym.backends.simulator.forwarding import TEMPORARY_CHANNEL_FAILURE
from lnsim_gym.backends.simulator.gossip import hear_by_failure
from lnsim_gym.backends.simulator.unified import pair_of
from lnsim_gym.compiled import fused, outlined

__all__ = ["learn_carried", "learn_refusal"]


@outlined
def learn_carried(sources: Any, links: Any, knowledge: Any, route: Any, sent: Any, hops: Any) -> Any:
    """Record that the first hops of a route carried its amounts (``successPairRange``).

    The sender's own channel is left out: no estimate depends on it.
    """
    for hop in range(1, hops):
        learn_success(sources, knowledge, pair_of(links, route[hop]), sent[hop])


@fused
def learn_refusal(network: Any, links: Any, knowledge: Any, route: Any, sent: Any, refusal: Any, now: Any) -> Any:
    """Record what a refusal teaches.

    Args:
        network: ``Network``.
        links: Its links.
        knowledge: ``Knowledge`` of the sender.
        route: Directions in order.
        sent: Amounts in msat over each.
        refusal: Position of the forwarder that refused; why, see ``forwarding``, in plain networks always
            ``TEMPORARY_CHANNEL_FAILURE``; direction whose policy the failure tells, or -1.
        now: Simulated time in ms.
    """
    refused, failure, told = refusal
    hear_by_failure(links, knowledge, told, network.source[route[0]])
    if links is not None and failure != TEMPORARY_CHANNEL_FAILURE:
        _learn_policy_failure(network, knowledge, route, sent, refused, now)
        return
    if refused > 1:
        learn_carried(network.source, network.links, knowledge, route, sent, refused)
    learn_failure(network.source, knowledge, pair_of(links, route[refused]), sent[refused], now)


@outlined
def _learn_policy_failure(network: Any, knowledge: Any, route: Any, sent: Any, refused: Any, now: Any) -> Any:
    """Record a failure that names a policy: nothing the first time, then it is held against the pair before."""
    if takes_second_chance(network.source, knowledge, _pair(network, route, refused), now):
        return
    if refused > 1:
        _fail_both_ways(network, knowledge, route, refused - 1, now)
        learn_carried(network.source, network.links, knowledge, route, sent, refused - 1)
        return
    learn_node_failure(network.source, network.destination, knowledge, network.source[route[refused]], now)
    _fail_both_ways(network, knowledge, route, refused - 1, now)
    _fail_both_ways(network, knowledge, route, refused, now)


@outlined
def _fail_both_ways(network: Any, knowledge: Any, route: Any, hop: Any, now: Any) -> Any:
    """Record that the pair of a hop failed at any amount, in both directions (``failPair``)."""
    learn_failure(network.source, knowledge, _pair(network, route, hop), np.int64(0), now)
    learn_failure(network.source, knowledge, network.links.pair[route[hop] ^ 1], np.int64(0), now)


@fused
def _pair(network: Any, route: Any, hop: Any) -> Any:
    """Return the direction that stands for the pair of a hop."""
    return network.links.pair[route[hop]]
