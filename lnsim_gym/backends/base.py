"""The one interface that both backends implement: real LND nodes and the embedded simulator.

A backend holds a network with a ``Topology``, can set its balances and policies, rebalance, pay a batch, and say
what the balances are. It knows no gymnasium. Payments that fail and rebalances that are refused are results;
errors mean that the backend itself is in trouble.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from lnsim_gym.arrays import Int64
from lnsim_gym.errors import ConfigError, InvalidAction
from lnsim_gym.network import Policy, Topology
from lnsim_gym.payments import PaymentBatch, PaymentOptions, PaymentOutcomes, RebalanceResult

__all__ = ["Backend", "ResetReport", "check_ends"]


@dataclass(frozen=True, slots=True)
class ResetReport:
    """How a reset was done."""

    rung: Literal["assign", "none", "payments", "snapshot", "rebuild"]
    """``assign`` (simulator), ``none`` (balances were right), or what the live network needed."""
    seconds: float
    """Wall time; 0 in the simulator."""


class Backend(ABC):
    """A Lightning network that can be reset, rebalanced, paid over and read."""

    topology: Topology
    options: PaymentOptions

    @abstractmethod
    def open(self) -> None:
        """Bring the network up; harmless when it is up already.

        Raises:
            BringUpError: The network did not become ready. Nothing half-done stays behind.
        """

    @abstractmethod
    def reset(self, balances_msat: Int64) -> ResetReport:
        """Set every channel's balances, forget mission control, and repair whatever was lost.

        Policies are those of the topology, also where ``set_policy`` changed them.

        Args:
            balances_msat: Wanted balances in msat, shape (channels, 2), initiator first; each row adds up to the
                channel's ``owned_total_msat``.

        Raises:
            ConfigError: The balances do not fit the channels.
            BackendError: The network cannot be brought to them.
        """

    @abstractmethod
    def rebalance(self, route: tuple[int, ...], amount_msat: int) -> RebalanceResult:
        """Send an amount over a pinned route: one direction (push), or a cycle back to the first node (circular).

        Args:
            route: Direction indices in order from the paying node.
            amount_msat: Amount that is to arrive at the end.

        Raises:
            BackendLost: A node went away.
        """

    @abstractmethod
    def set_policy(self, direction: int, policy: Policy) -> None:
        """Change the routing policy that the sending node of a direction announces.

        Returns when every node knows it; simulated senders may hear of it later, by gossip. It holds until the next
        reset, which restores the topology's policies.

        Args:
            direction: Direction index.
            policy: The whole policy; by default its largest HTLC is LND's max value in flight.

        Raises:
            InvalidAction: There is no such direction.
            ConfigError: LND would refuse the policy; nothing was announced.
            BackendLost: A node went away.
        """

    def set_policies(self, policies: Mapping[int, Policy]) -> None:
        """Change the routing policies of several directions; see ``set_policy``.

        Args:
            policies: Whole policies by direction index.
        """
        for direction, policy in policies.items():
            self.set_policy(direction, policy)

    def rebalance_around(
        self,
        leave: int,  # noqa: ARG002
        back: int,  # noqa: ARG002
        amount_msat: int,  # noqa: ARG002
        fee_limit_msat: int,  # noqa: ARG002
        attempts: int,  # noqa: ARG002
    ) -> tuple[RebalanceResult, tuple[int, ...]]:
        """Send an amount out over one channel of a node and back over another; LND's pathfinding closes the cycle.

        Routes that a forwarder refuses are followed by the best after what was learned from that.

        Args:
            leave: Direction out of the node.
            back: Direction into the same node, over another channel.
            amount_msat: Amount that is to arrive.
            fee_limit_msat: Most that may be paid in fees.
            attempts: Most routes to try.

        Returns:
            What became of the last attempt, and the directions of its route, empty where none was found.

        Raises:
            ConfigError: The backend finds no routes.
            BackendLost: A node went away.
        """
        raise ConfigError(f"{type(self).__name__} finds no routes for rebalances: use pinned ones (rebalance)")

    def watch(self, node: int) -> None:  # noqa: ARG002
        """Count from now on what a node forwards, by its own account, and no other's any more.

        Args:
            node: Node index.

        Raises:
            ConfigError: The backend does not count.
            BackendLost: The node went away.
        """
        raise ConfigError(f"{type(self).__name__} does not count what a node forwards: use another backend")

    def forwards(self) -> Int64:
        """Return what the watched node forwarded since it was asked last, or since ``watch``.

        Returns:
            A fresh array of shape (channels, len(FORWARD_COUNTS)), see ``payments``; 0 in the channels of others.

        Raises:
            ConfigError: No node is watched.
            BackendLost: The node went away.
        """
        raise ConfigError("expected a node to be watched, none is: call watch() after reset()")

    def set_time(self, time_ms: int) -> None:  # noqa: B027 - it matters only where something depends on it
        """Let simulated time be as given from now on; it matters to what senders remember and have heard of.

        Args:
            time_ms: Simulated time since the reset in ms, never falling.
        """

    @abstractmethod
    def pay(
        self, batch: PaymentBatch, time_ms: Int64 | None = None, fee_limit_msat: Int64 | None = None
    ) -> PaymentOutcomes:
        """Make the payments of a batch.

        Args:
            batch: The payments.
            time_ms: Simulated time since the reset at which to make each, shape (payments,), never falling; by default
                the backend's clock goes on. It matters where senders remember.
            fee_limit_msat: Most that each may pay in fees, shape (payments,); by default what the options say.

        Raises:
            BackendLost: A node went away; what had settled before is in the ledger, nothing is retried.
        """

    @abstractmethod
    def balances_msat(self) -> Int64:
        """Return a fresh array of balances in msat, shape (channels, 2), initiator first."""

    def draw_as(self, seed: int, episode: int) -> None:  # noqa: B027 - real nodes leave it to chance
        """Draw what LND leaves to chance as an episode of an environment does, from the next reset on.

        Args:
            seed: Seed of the environment.
            episode: Index of the episode since that seed.
        """

    def network_record(self) -> list[dict[str, Any]]:
        """Return where each node is reached and with what, as plain data; empty where there are no real nodes."""
        return []

    @abstractmethod
    def close(self) -> None:
        """Release everything this backend made; harmless when closed already."""

    def __enter__(self) -> Self:
        """Open the backend for a ``with`` block."""
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the backend."""
        self.close()


def check_ends(topology: Topology, leave: int, back: int) -> None:
    """Refuse directions that do not lead out of a node and back to it over two channels.

    Raises:
        InvalidAction: They do not.
    """
    arrays = topology.arrays
    known = range(len(arrays.source))
    there = leave in known and back in known and leave // 2 != back // 2
    if not (there and arrays.source[leave] == arrays.destination[back]):
        raise InvalidAction(
            f"expected a direction out of a node and one into it, over two channels, got {leave} and {back}"
        )
