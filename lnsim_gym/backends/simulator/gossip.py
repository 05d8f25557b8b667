"""What senders know of policies that changed: LND's gossip (discovery/gossiper.go), and what failures tell them.

A policy holds from the moment it is set: the forwarder's link asks for it at once. Others hear of it later:

- The node that sets it announces it at its next tick (``networkHandler``: changes go into the batch that the trickle
  timer flushes). Of several changes of one direction between two ticks only the last goes out
  (``deDupedAnnouncements``). Its peers hear of it then.
- Every further hop takes up to a tick's period, as each node passes on what it heard at ticks of its own.
- Receivers refuse what comes too often (``handleChanUpdate``: a token bucket for each channel direction). What they
  refused they are told again a day later (``retransmitStaleAnns``), unless it changed once more until then.
- A sender that was refused by a forwarder finds that forwarder's policy in the failure, and keeps it
  (routing/payment_lifecycle.go ``handleFailureMessage``).

Between payments a network holds the policies as they are. While a sender looks for a route, those that it has not heard
of are replaced by what it knows (``show``), and put back before anything is sent (``show_all``): so the search and the
forwarders each read their own policies, and neither knows of gossip.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from lnsim_gym.backends.simulator.bounds import hops_from
from lnsim_gym.backends.simulator.layout import (
    BURST,
    COUNT,
    DONE,
    FARTHEST,
    INTERVAL,
    NEVER,
    SUB_BATCH,
    TRICKLE,
    UNHEARD,
    UNREACHABLE,
)
from lnsim_gym.compiled import fused, kernel, outlined
from lnsim_gym.traffic.random import advance, fork, uniform

__all__ = [
    "begin_gossip",
    "change_policy",
    "change_policy_now",
    "forget_unheard",
    "has_heard_all",
    "hear_by_failure",
    "note_unheard",
    "show",
    "show_all",
    "tell_all",
]

RETELL_MS: Final = 86_400_000
"""Time after which a node announces a policy once more (``RebroadcastInterval``), in ms."""
CHANGES: Final = np.uint64(0)
"""Part of an episode's stream for the delays of changes."""
TICKS: Final = np.uint64(1)
"""Part of an episode's stream for when the ticks of nodes are."""


@fused
def _write(network: Any, links: Any, direction: Any, terms: Any) -> Any:
    """Write terms into the policy of a direction."""
    policy = network.policy[direction]
    policy.fee_base_msat = terms.fee_base_msat
    policy.fee_rate_ppm = terms.fee_rate_ppm
    policy.time_lock = terms.time_lock
    policy.min_htlc_msat = terms.min_htlc_msat
    policy.max_htlc_msat = terms.max_htlc_msat
    if links is not None:
        links.inbound[direction].fee_base_msat = terms.inbound_fee_base_msat
        links.inbound[direction].fee_rate_ppm = terms.inbound_fee_rate_ppm
        links.disabled[direction] = terms.disabled


@fused
def _read(network: Any, links: Any, direction: Any, terms: Any) -> Any:
    """Read the policy of a direction into terms."""
    policy, inbound = network.policy[direction], links.inbound[direction]
    terms.fee_base_msat = policy.fee_base_msat
    terms.fee_rate_ppm = policy.fee_rate_ppm
    terms.time_lock = policy.time_lock
    terms.min_htlc_msat = policy.min_htlc_msat
    terms.max_htlc_msat = policy.max_htlc_msat
    terms.inbound_fee_base_msat = inbound.fee_base_msat
    terms.inbound_fee_rate_ppm = inbound.fee_rate_ppm
    terms.disabled = links.disabled[direction]


@fused
def _are_equal(one: Any, other: Any) -> Any:
    """Return whether two rows of terms say the same."""
    return (
        one.fee_base_msat == other.fee_base_msat
        and one.fee_rate_ppm == other.fee_rate_ppm
        and one.time_lock == other.time_lock
        and one.min_htlc_msat == other.min_htlc_msat
        and one.max_htlc_msat == other.max_htlc_msat
        and one.inbound_fee_base_msat == other.inbound_fee_base_msat
        and one.inbound_fee_rate_ppm == other.inbound_fee_rate_ppm
        and one.disabled == other.disabled
    )


@outlined
def begin_gossip(gossip: Any, key: Any) -> Any:
    """Forget all changes and draw the delays of those to come from a stream that starts at ``key``."""
    gossip.key[0] = key
    for entry in range(gossip.numbers.shape[0]):
        gossip.numbers[entry] = 0
    for direction in range(gossip.spread.shape[0]):
        spread = gossip.spread[direction]
        spread.latest = 0
        spread.settled = 0
        spread.heard_ms = 0
        spread.debt_ms = 0
        spread.debt_at_ms = 0


@fused
def change_policy(network: Any, links: Any, direction: Any, terms: Any, now: Any) -> Any:
    """Set the policy of a direction, of which other nodes hear by gossip where there is some.

    Args:
        network: ``Network`` with policies of its own.
        links: Its links.
        direction: Direction index.
        terms: ``Terms``; inbound fee and disabled bit are lost where there are no links.
        now: Simulated time in ms, never falling from change to change or payment of one network.
    """
    if links is not None and links.gossip.change.shape[0] > 0:
        _announce(network, direction, terms, now)
        return
    _write(network, links, direction, terms)


@fused
def tell_all(links: Any, direction: Any) -> Any:
    """Let everybody have heard of all changes of a direction's policy, as the chain tells that its channel is gone."""
    if links is not None and links.gossip.change.shape[0] > 0:
        spread = links.gossip.spread[direction]
        spread.settled = spread.latest


@kernel
def change_policy_now(network: Any, direction: int, terms: Any, now: int) -> None:
    """Do what ``change_policy`` does, for calls from Python."""
    change_policy(network, network.links, direction, terms, now)


@outlined
def _announce(network: Any, direction: Any, terms: Any, now: Any) -> Any:
    """Set the policy of a direction and note when who hears of it."""
    gossip, spread = network.links.gossip, network.links.gossip.spread[direction]
    rows, number = gossip.change.shape[0], gossip.numbers[COUNT] + 1
    row = number % rows
    if number - gossip.numbers[DONE] > rows:  # there is no room for more: take the oldest as heard of
        gossip.numbers[DONE] += 1
        oldest = gossip.spread[gossip.change[row].direction]
        oldest.settled = max(oldest.settled, gossip.numbers[DONE])
    before, after = gossip.before[row], gossip.after[row]
    _read(network, network.links, direction, before)
    _write(network, network.links, direction, terms)
    _read(network, network.links, direction, after)
    if _are_equal(before, after):  # receivers ignore it (IsKeepAliveUpdate)
        return
    _take_from_bucket(gossip, spread, now)
    change = gossip.change[row]
    change.direction = direction
    change.key = fork(fork(gossip.key[0], CHANGES), number)
    change.heard_ms = _heard_ms(gossip, spread, network.source[direction], now)
    spread.latest = number
    spread.heard_ms = change.heard_ms
    gossip.numbers[COUNT] = number
    for place in range(gossip.told.shape[1]):
        gossip.told[row, place] = 0


@fused
def _debt_ms(spread: Any, at: Any) -> Any:
    """Return how far the token bucket of a direction is from full, as time that it takes to fill, in ms."""
    return max(spread.debt_ms - (at - spread.debt_at_ms), np.int64(0))


@fused
def _take_from_bucket(gossip: Any, spread: Any, now: Any) -> Any:
    """Settle what became of the last change of a direction: it took a token of receivers, or never went out."""
    if spread.latest == 0:
        return
    tick = spread.heard_ms - gossip.delays[SUB_BATCH]
    if tick > now:  # the next change takes its place
        if spread.latest > gossip.numbers[DONE]:
            gossip.change[spread.latest % gossip.change.shape[0]].heard_ms = NEVER
        return
    spread.debt_ms = _debt_ms(spread, tick) + gossip.delays[INTERVAL]
    spread.debt_at_ms = tick


@fused
def _heard_ms(gossip: Any, spread: Any, node: Any, now: Any) -> Any:
    """Return when the peers of a node hear of a change that it makes now, and take it."""
    trickle, interval = gossip.delays[TRICKLE], gossip.delays[INTERVAL]
    phase = np.int64(uniform(fork(fork(gossip.key[0], TICKS), node)) * trickle)
    tick = now + (phase - now) % trickle
    lacking = _debt_ms(spread, tick) + interval - gossip.delays[BURST]
    if lacking > 0:
        tick += (lacking + RETELL_MS - 1) // RETELL_MS * RETELL_MS
    return tick + gossip.delays[SUB_BATCH]


@fused
def _has_heard(gossip: Any, row: Any, sender: Any, hops: Any, now: Any) -> Any:
    """Return whether a sender has heard of a change.

    Args:
        gossip: ``Gossip``.
        row: Row of the change.
        sender: Node index.
        hops: Hops from it to the node that made the change.
        now: Simulated time in ms.
    """
    if hops == 0:
        return True
    if (gossip.told[row, sender >> 6] >> np.uint64(sender & 63)) & np.uint64(1) != 0:
        return True
    age, trickle = now - gossip.change[row].heard_ms, gossip.delays[TRICKLE]
    if age < 0 or hops == UNREACHABLE:
        return False
    if age >= (hops - 1) * trickle:
        return True
    state, delay = fork(gossip.change[row].key, sender), np.int64(0)
    for _ in range(hops - 1):
        state = advance(state)
        delay += np.int64(uniform(state) * trickle)
    return delay <= age


@fused
def _has_changes(gossip: Any) -> Any:
    """Return whether there are changes that somebody may not have heard of."""
    return gossip.numbers.shape[0] > 0 and gossip.numbers[DONE] != gossip.numbers[COUNT]


@fused
def note_unheard(network: Any, links: Any, work: Any, sender: Any, now: Any) -> Any:
    """Note which policies the sender of the next payment has not heard of."""
    if links is not None and _has_changes(links.gossip):
        _note_unheard(network, work, np.int64(sender), now)


@outlined
def _note_unheard(network: Any, work: Any, sender: Any, now: Any) -> Any:
    """Do what ``note_unheard`` does where there are changes."""
    gossip, knowledge = network.links.gossip, work.knowledge
    hops_to, rows = hops_from(network, work, sender), gossip.change.shape[0]
    noted = np.int64(0)
    for number in range(gossip.numbers[DONE] + 1, gossip.numbers[COUNT] + 1):
        row = number % rows
        change = gossip.change[row]
        direction = change.direction
        spread = gossip.spread[direction]
        if number <= spread.settled:
            continue
        if now - change.heard_ms >= gossip.delays[FARTHEST]:
            spread.settled = number
            knowledge.shown[direction] = 0
        elif _has_heard(gossip, row, sender, np.int64(hops_to[network.source[direction]]), now):
            knowledge.shown[direction] = 0
        elif knowledge.shown[direction] == 0:
            knowledge.shown[direction] = row + 1
            knowledge.unheard[noted] = direction
            noted += 1
    knowledge.counter[UNHEARD] = noted
    while gossip.numbers[DONE] < gossip.numbers[COUNT]:
        following = gossip.numbers[DONE] + 1
        if following > gossip.spread[gossip.change[following % rows].direction].settled:
            break
        gossip.numbers[DONE] = following


@fused
def has_heard_all(links: Any, knowledge: Any) -> Any:
    """Return whether the sender knows all policies as they are."""
    if links is not None:
        return knowledge.counter[UNHEARD] == 0
    return True


@fused
def show(network: Any, links: Any, knowledge: Any) -> Any:
    """Let the network have the policies that the sender knows, until ``show_all``."""
    if links is not None and knowledge.counter[UNHEARD] != 0:
        _show(network, knowledge)


@outlined
def _show(network: Any, knowledge: Any) -> Any:
    """Do what ``show`` does where the sender has not heard of all policies."""
    for place in range(knowledge.counter[UNHEARD]):
        direction = knowledge.unheard[place]
        if knowledge.shown[direction] != 0:
            _write(network, network.links, direction, network.links.gossip.before[knowledge.shown[direction] - 1])


@fused
def show_all(network: Any, links: Any, knowledge: Any) -> Any:
    """Let the network have its policies as they are again."""
    if links is not None and knowledge.counter[UNHEARD] != 0:
        _show_all(network, knowledge)


@outlined
def _show_all(network: Any, knowledge: Any) -> Any:
    """Do what ``show_all`` does where the sender has not heard of all policies."""
    gossip = network.links.gossip
    for place in range(knowledge.counter[UNHEARD]):
        direction = knowledge.unheard[place]
        if knowledge.shown[direction] != 0:
            row = gossip.spread[direction].latest % gossip.change.shape[0]
            _write(network, network.links, direction, gossip.after[row])


@fused
def hear_by_failure(links: Any, knowledge: Any, direction: Any, sender: Any) -> Any:
    """Let the sender keep the policy of a direction that a failure told it; -1 for none."""
    if links is not None and direction >= 0 and knowledge.counter[UNHEARD] != 0:
        _hear_by_failure(links.gossip, knowledge, np.int64(direction), np.int64(sender))


@outlined
def _hear_by_failure(gossip: Any, knowledge: Any, direction: Any, sender: Any) -> Any:
    """Do what ``hear_by_failure`` does where the sender has not heard of all policies."""
    if knowledge.shown[direction] != 0:
        knowledge.shown[direction] = 0
        row = gossip.spread[direction].latest % gossip.change.shape[0]
        gossip.told[row, sender >> 6] |= np.uint64(1) << np.uint64(sender & 63)


@fused
def forget_unheard(links: Any, knowledge: Any) -> Any:
    """Forget what ``note_unheard`` noted, at the end of a payment."""
    if links is not None:
        for place in range(knowledge.counter[UNHEARD]):
            knowledge.shown[knowledge.unheard[place]] = 0
        knowledge.counter[UNHEARD] = 0
