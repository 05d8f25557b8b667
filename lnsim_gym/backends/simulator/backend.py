"""The embedded simulator behind the interface that real nodes implement too: one network, one payment at a time."""

from __future__ import annotations

from typing import Final

import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.backends.base import Backend, ResetReport, check_ends
from lnsim_gym.backends.simulator.engine import (
    announce_policy,
    compile_network,
    forget_changes,
    make_memory,
    make_outcomes,
    make_scratch,
    make_settings,
    pay_batch,
    payment_outcomes,
    send_found,
    send_pinned,
    with_room_for_changes,
)
from lnsim_gym.backends.simulator.prepare import write_policy
from lnsim_gym.compiled.memory import filled
from lnsim_gym.errors import ConfigError, InvalidAction
from lnsim_gym.network import Policy, Topology
from lnsim_gym.network.gossip import GossipOptions
from lnsim_gym.network.limits import channel_reserve_sat
from lnsim_gym.payments import (
    FORWARD_COUNTS,
    MAX_ROUTE_HOPS,
    SURE_ROUTE_HOPS,
    PaymentBatch,
    PaymentOptions,
    PaymentOutcomes,
    RebalanceReason,
    RebalanceResult,
)
from lnsim_gym.schema import whole_number
from lnsim_gym.traffic.random import PURPOSE_FORWARD, PURPOSE_GOSSIP, stream_start

__all__ = ["PAYMENT_MS", "SimulatorBackend"]

PAYMENT_MS: Final = 100
"""Simulated time that one payment takes, in ms: about what real nodes on one machine need."""


_NO_EARNINGS: Final = np.zeros(0, np.int64)
"""Stands for the earnings of nodes where they are not counted."""


class SimulatorBackend(Backend):
    """A simulated Lightning network with LND's own outcomes, to the satoshi.

    Time is simulated: ``payment_ms`` for each payment, from 0 at every reset; a rebalance takes none, ``wait`` lets
    more pass. It matters to what senders remember (``mission_control = "per_episode"``) and have heard of by gossip.
    ``concurrency`` has no effect: payments go one by one.

    Args:
        topology: The network.
        options: How payments are sent.
        payment_ms: Simulated time of one payment in ms.
        gossip: How changes of policies spread; by default senders know them at once.
    """

    def __init__(
        self,
        topology: Topology,
        options: PaymentOptions | None = None,
        *,
        payment_ms: int = PAYMENT_MS,
        gossip: GossipOptions | None = None,
    ) -> None:
        self.topology = topology
        self.options = options or PaymentOptions()
        self._payment_ms = payment_ms
        self._spreads = gossip is not None
        self._network = with_room_for_changes(compile_network(topology, gossip=gossip))
        self._scratch = make_scratch(self._network, self.options)
        self._memory = make_memory(self._network, self.options)
        self._settings = make_settings(self.options)
        self._balances = topology.start_balances_msat().ravel()
        self._now_ms = 0
        self._keys = (0, 0)
        """Where the streams of forwarders and of gossip start."""
        self._counted: Int64 | None = None
        """What the watched node forwarded, by its channels; None where none is watched."""
        self._watched = 0
        self._replaced: dict[int, Policy] = {}
        """The topology's policies of the directions whose policies were changed."""

    def open(self) -> None:
        """Do nothing: the simulator is always up."""

    def reset(self, balances_msat: Int64) -> ResetReport:
        """Set every channel's balances, restore changed policies, forget what senders remember, start time at 0.

        Args:
            balances_msat: Wanted balances in msat, shape (channels, 2), initiator first; each row adds up to the
                channel's ``owned_total_msat``, the initiator has at least its reserve, no end less than 0.

        Raises:
            ConfigError: The balances are none that the channels could have.
        """
        self._balances = self._checked(balances_msat).ravel()
        for direction, policy in self._replaced.items():
            write_policy(self._network, direction, policy)
        self._replaced.clear()
        self._memory = make_memory(self._network, self.options)
        self._memory.draws[0], gossip_key = self._keys
        forget_changes(self._network, gossip_key)
        self._now_ms = 0
        return ResetReport(rung="assign", seconds=0.0)

    def rebalance(self, route: tuple[int, ...], amount_msat: int) -> RebalanceResult:
        """Send an amount over a pinned route: one direction (push), or a cycle back to the first node (circular).

        Raises:
            InvalidAction: The directions do not follow each other, or the route visits a node twice.
        """
        self._require_route(route)
        directions = np.array(route, np.int64)
        reason, fee_msat, position = send_pinned(
            self._network,
            self._balances,
            self._scratch,
            self._memory,
            directions,
            amount_msat,
            self._now_ms,
            _NO_EARNINGS,
        )
        applied_msat = amount_msat if reason == RebalanceReason.NONE else 0
        taken = tuple(self._scratch.work.route[: len(route)].tolist()) if applied_msat else tuple(route)
        sent_msat = self._scratch.work.sent[: len(route)].tolist() if applied_msat and self._spreads else ()
        return RebalanceResult(
            applied_msat,
            int(fee_msat),
            RebalanceReason(reason),
            int(position),
            carried_by=() if taken == tuple(route) else taken,
            hop_msat=tuple(sent_msat),
        )

    def rebalance_around(
        self, leave: int, back: int, amount_msat: int, fee_limit_msat: int, attempts: int
    ) -> tuple[RebalanceResult, tuple[int, ...]]:
        """See ``Backend.rebalance_around``.

        Raises:
            InvalidAction: The directions are none of two channels of one node.
        """
        check_ends(self.topology, leave, back)
        found, sent_msat = np.empty((2, MAX_ROUTE_HOPS), np.int64)
        state = self._network, self._balances, self._scratch, self._memory
        amounts_msat = int(amount_msat), int(fee_limit_msat)
        ends = int(leave), int(back)
        reason, fee_msat, position = send_found(
            *state, ends, amounts_msat, int(attempts), self._now_ms, _NO_EARNINGS, found, sent_msat
        )
        applied_msat = amount_msat if reason == RebalanceReason.NONE else 0
        route = tuple(direction for direction in found.tolist() if direction >= 0)
        hop_msat = tuple(sent_msat[: len(route)].tolist()) if applied_msat else ()
        result = RebalanceResult(applied_msat, int(fee_msat), RebalanceReason(reason), int(position), hop_msat=hop_msat)
        return result, route

    def watch(self, node: int) -> None:
        """See ``Backend.watch``."""
        self._watched = node
        own = int((self.topology.arrays.source == node).sum())
        self._counted = np.zeros((own, len(FORWARD_COUNTS)), np.int64)

    def forwards(self) -> Int64:
        """See ``Backend.forwards``."""
        if self._counted is None:
            return super().forwards()
        first, last = self._network.first_incoming[self._watched : self._watched + 2].tolist()
        counts = np.zeros((len(self.topology.channels), len(FORWARD_COUNTS)), np.int64)
        counts[self._network.incoming[first:last] // 2] = self._counted
        self._counted[:] = 0
        return counts

    def set_time(self, time_ms: int) -> None:
        """See ``Backend.set_time``."""
        self._now_ms = time_ms

    def set_policy(self, direction: int, policy: Policy) -> None:
        """Change the policy of a direction, now; senders hear of it by gossip, if any. See ``Backend.set_policy``."""
        checked = self.topology.checked_policy(direction, policy)
        if self._network.links is None and not checked.is_plain:
            self._add_links()
        self._replaced.setdefault(direction, self._policy_of(direction))
        announce_policy(self._network, direction, checked, self._now_ms)

    def draw_as(self, seed: int, episode: int) -> None:
        """See ``Backend.draw_as``."""
        place = np.uint64(seed % 2**64), np.int64(episode), np.int64(0)
        self._keys = stream_start(*place, PURPOSE_FORWARD), stream_start(*place, PURPOSE_GOSSIP)

    def wait(self, duration_ms: int) -> None:
        """Let simulated time pass.

        Args:
            duration_ms: How much, in ms, at least 0.

        Raises:
            ConfigError: It is none, or negative.
        """
        self._now_ms += whole_number("duration_ms", duration_ms, at_least=0)

    def _policy_of(self, direction: int) -> Policy:
        """Return the topology's own policy of a direction."""
        both = self.topology.policies[direction // 2]
        return self.topology.checked_policy(direction, (both.initiator, both.peer)[direction % 2])

    def _add_links(self) -> None:
        """Lay the network out anew so that inbound fees and disabled directions have a place, policies as they are."""
        policy = self._network.policy
        self._network = compile_network(self.topology, linked=True)
        self._network.policy[:] = policy
        self._scratch = make_scratch(self._network, self.options)
        self._memory = self._memory._replace(chance_ms=filled(self._memory.next.shape, -1, np.int64))

    def pay(
        self, batch: PaymentBatch, time_ms: Int64 | None = None, fee_limit_msat: Int64 | None = None
    ) -> PaymentOutcomes:
        """Make the payments of a batch, one after another; see ``Backend.pay``."""
        payments = len(batch.source)
        outcomes = make_outcomes(payments, self.options.max_parts, linked=self._network.links is not None)
        if self._counted is not None:
            outcomes = outcomes._replace(forwards=self._counted, watched=self._watched)
        own_ms = self._now_ms + self._payment_ms * np.arange(payments)
        now_ms = own_ms if time_ms is None else np.ascontiguousarray(time_ms, np.int64)
        source, destination, amount_msat = (np.ascontiguousarray(column, np.int64) for column in batch[:3])
        limit_msat = self.options.fee_limit_msat(amount_msat) if fee_limit_msat is None else fee_limit_msat
        made = (source, destination, amount_msat, limit_msat, now_ms)
        pay_batch(self._network, self._balances, self._scratch, self._memory, self._settings, made, outcomes)
        if payments:
            self._now_ms = int(now_ms[-1]) + self._payment_ms
        remember = self.options.mission_control == "per_episode"
        return payment_outcomes(outcomes, now_ms if remember else None)

    def balances_msat(self) -> Int64:
        """Return a fresh array of balances in msat, shape (channels, 2), initiator first."""
        return self._balances.reshape(-1, 2).copy()

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def _checked(self, balances_msat: Int64) -> Int64:
        """Return a copy of balances that the channels could have.

        Raises:
            ConfigError: They could not.
        """
        balances = self.topology.check_balances_msat(balances_msat)
        reserves_msat = 1000 * channel_reserve_sat(self.topology.arrays.capacity_sat)
        bad = balances[:, 0] < reserves_msat
        if bad.any():
            channel = int(bad.argmax())
            raise ConfigError(
                f"balances of channels[{channel}] must leave the initiator its reserve of "
                f"{reserves_msat[channel]:,} msat, got {balances[channel].tolist()}"
            )
        return balances

    def _require_route(self, route: tuple[int, ...]) -> None:
        """Refuse what is neither a push nor a simple cycle.

        Raises:
            InvalidAction: It is neither.
        """
        arrays = self.topology.arrays
        known = len(arrays.source)
        if not 1 <= len(route) <= SURE_ROUTE_HOPS or not all(0 <= direction < known for direction in route):
            raise InvalidAction(
                f"a route has 1..{SURE_ROUTE_HOPS} directions out of 0..{known - 1}, got {tuple(route)}"
            )
        nodes = self.topology.nodes_of(route)
        follows = arrays.source[list(route)].tolist() == nodes[:-1]
        closed = len(route) == 1 or nodes[0] == nodes[-1]
        if not (follows and closed and len(set(nodes[1:])) == len(route)):
            raise InvalidAction(
                f"a route is one direction, or a cycle back to its first node without visiting another node twice, "
                f"got {tuple(route)}: read Topology.direction for the numbers"
            )
