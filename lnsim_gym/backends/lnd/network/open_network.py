"""One network while it is up: its launcher, its clients, its ledger, and all that is done over them.

It knows how to pay, push, read, change policies, and put its snapshot back. When to do which is decided by the backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import msgspec
import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.backends.lnd.network.around import Way, rebalance_around
from lnsim_gym.backends.lnd.network.bringup import bring_up, wait_ready
from lnsim_gym.backends.lnd.network.connections import connect_again
from lnsim_gym.backends.lnd.network.forwards import Forwards
from lnsim_gym.backends.lnd.network.fractions import find_fractions, read_exact
from lnsim_gym.backends.lnd.network.ledger import Ledger
from lnsim_gym.backends.lnd.network.memory import SendersMemory
from lnsim_gym.backends.lnd.network.payments import Payer
from lnsim_gym.backends.lnd.network.policies import change_policies
from lnsim_gym.backends.lnd.network.pushes import Push, plan_pushes
from lnsim_gym.backends.lnd.network.rebalance import Rebalancer
from lnsim_gym.backends.lnd.network.settings import NetworkSettings
from lnsim_gym.backends.lnd.network.watch import NodeWatch
from lnsim_gym.backends.lnd.nodes.chain import ChainClient
from lnsim_gym.backends.lnd.nodes.launchers.base import Launcher
from lnsim_gym.backends.lnd.nodes.record import CHAIN
from lnsim_gym.backends.lnd.rpc import calls as rpc
from lnsim_gym.backends.lnd.rpc.endpoint import NodeEndpoint
from lnsim_gym.backends.lnd.rpc.thread import gather, run
from lnsim_gym.errors import BackendError, BackendLost, ConfigError
from lnsim_gym.network import Policy, Topology
from lnsim_gym.payments import PaymentBatch, PaymentOptions, PaymentOutcomes, RebalanceReason, RebalanceResult

__all__ = ["OpenNetwork"]

_CHAIN_PROBE_S: Final = 4.0


class OpenNetwork:
    """A network that is up.

    Args:
        launcher: Starts it, or is connected to it already.
        topology: What it is, or is to become.
        options: How payments are sent.
        settings: Deadlines.
        payment_ms: Simulated time of a payment in ms, see ``SendersMemory``.

    Raises:
        BringUpError: It did not become ready.
    """

    def __init__(
        self,
        launcher: Launcher,
        topology: Topology,
        options: PaymentOptions,
        settings: NetworkSettings,
        payment_ms: int | None = None,
    ) -> None:
        self.launcher = launcher
        self.topology = topology
        self._options = options
        self._settings = settings
        remember = options.mission_control == "per_episode" and options.concurrency == 1
        self._memory = SendersMemory(payment_ms if remember else None)
        self._network = bring_up(launcher, topology, settings)
        self._start_msat = topology.start_balances_msat()
        run(self._take_ledger())

    def reachable_from_start(self, wanted_msat: Int64) -> bool:
        """Whether payments lead from the balances of the snapshot to some others."""
        return plan_pushes(self.topology, self._start_msat, wanted_msat) is not None

    @property
    def endpoints(self) -> dict[str, NodeEndpoint]:
        """Endpoint of every node by name, public keys filled in."""
        return {client.name: client.endpoint for client in self._network.clients}

    def check_alive(self) -> None:
        """Look at every process, and ask btcd for its height.

        Raises:
            BackendLost: One of them is gone, stopped or silent.
        """
        if not self.launcher.managed:
            return
        dead = [name for name, alive in self.launcher.alive().items() if not alive]
        if dead:
            raise BackendLost(
                f"expected {', '.join(dead)} to be running, found it gone or stopped: reset repairs the network"
            )
        self._chain().height()

    def connect_again(self) -> None:
        """Connect the ends of inactive channels again; see ``connections.connect_again``."""
        run(connect_again(self._network, self._settings.quiet_timeout_s))

    def read(self) -> Int64:
        """Wait until the network is quiet, hold the ledger to LND's balances, return them in msat.

        Raises:
            LedgerMismatch: They differ.
            BackendLost: A node is gone or hangs.
        """
        ends = run(self._network.quiet(self._settings.quiet_timeout_s))
        self.ledger.check(self._network.balances_sat(ends))
        return self.ledger.balances_msat

    def pay(
        self, batch: PaymentBatch, time_ms: Int64 | None = None, fee_limit_msat: Int64 | None = None
    ) -> PaymentOutcomes:
        """Make the payments of a batch; see ``Payer.pay``."""
        outcomes = run(self._payer.pay(batch, time_ms, fee_limit_msat))
        self.check_alive()
        return outcomes

    def payments_spent_s(self) -> dict[str, float]:
        """Return what payments spent their time on since this was called last, in seconds; see ``Stopwatch``."""
        return self._payer.stopwatch.take()

    def rebalance(self, route: tuple[int, ...], amount_msat: int) -> RebalanceResult:
        """Send an amount over a pinned route; see ``Rebalancer.send``."""
        return run(self._rebalance(route, amount_msat))

    def rebalance_around(self, way: Way, attempts: int) -> tuple[RebalanceResult, tuple[int, ...]]:
        """Send an amount around over a route that is found; see ``around``."""
        return run(self._rebalance_around(way, attempts))

    def watch(self, node: int) -> None:
        """Count from now on what a node forwards; see ``NodeWatch``."""
        run(self._watch(node))

    def forwards(self) -> Int64:
        """Return what the watched node forwarded; see ``NodeWatch.take``.

        Raises:
            ConfigError: None is watched.
        """
        if self._payer.watch is None:
            raise ConfigError("expected a node to be watched, none is since the last reset: call watch() after it")
        return run(self._payer.watch.take(self._settings.quiet_timeout_s))

    def set_time(self, time_ms: int) -> None:
        """Let simulated time be as given from now on."""
        self._memory.set_time(time_ms)

    def set_policies(self, policies: Mapping[int, Policy]) -> None:
        """Announce other policies of some directions, and return when every node knows them.

        Raises:
            BackendLost: A node is gone, hangs, or did not hear of it in time.
            BackendError: LND refused.
        """
        run(self._announce(self._network.topology.with_policies(dict(policies)), list(policies)))

    def restore_policies(self) -> None:
        """Announce the topology's own policies wherever ``set_policies`` announced others; raises as it does."""
        changed = self._network.other_policies(self.topology)
        if changed:
            run(self._announce(self.topology, changed))

    def push_to(self, wanted_msat: Int64) -> bool:
        """Reach balances by payments over each channel.

        Returns:
            False when payments cannot reach them; then nothing was sent.

        Raises:
            BackendError: A push that should have settled was refused.
        """
        plans = plan_pushes(self.topology, self.ledger.balances_msat, wanted_msat)
        if plans is None:
            return False
        run(self._push_all(plans))
        return True

    def push_small_to(self, wanted_msat: Int64) -> bool:
        """As ``push_to``, with HTLCs that are as small as need be: meanwhile directions take them from 1 msat on."""
        own = enumerate(policy for ends in self.topology.policies for policy in (ends.initiator, ends.peer))
        small = self.topology.with_policies(
            {direction: msgspec.structs.replace(policy, min_htlc_msat=1) for direction, policy in own}
        )
        plans = plan_pushes(small, self.ledger.balances_msat, wanted_msat)
        if plans is None:
            return False
        directions = sorted({direction for plan in plans for direction, _ in plan})
        run(self._announce(small, directions))
        run(self._push_all(plans))
        self.restore_policies()
        return True

    def lnd_version(self) -> str:
        """Version that the first node reports."""
        return run(self._network.clients[0].call(rpc.GET_INFO)).version

    def forget(self) -> None:
        """Reset mission control of every node; the time of what senders remember begins anew."""
        run(self._network.forget())
        self._memory.restart()

    def can_restore(self) -> bool:
        """Whether there is a snapshot, and the chain it belongs to still answers."""
        if not (self.launcher.managed and self.launcher.has_snapshot() and self.launcher.alive().get(CHAIN)):
            return False
        with suppress(BackendError):
            self._chain().height()
            return True
        return False

    def restore(self) -> None:
        """Put the snapshot back.

        Raises:
            BringUpError: The network did not come back.
        """
        # An lnd that starts waits for a tip younger than two hours.
        self._chain().generate(1)
        self.launcher.restore()
        self.find_again()
        if not np.array_equal(self.ledger.balances_msat, self._start_msat):
            raise BackendError("expected the snapshot to bring the balances of the topology back, it brought others")

    def find_again(self) -> None:
        """Reconnect, wait until the network is ready, and start the ledger from what LND reports.

        Raises:
            BringUpError: The network does not become ready.
        """
        run(self._close())
        self._network = wait_ready(self.launcher, self.topology, self._settings)
        run(self._take_ledger())

    def close(self) -> None:
        """Drop the connections; the launcher is left alone."""
        with suppress(BackendError):
            run(self._close())

    async def _rebalance(self, route: tuple[int, ...], amount_msat: int) -> RebalanceResult:
        """Send an amount over a pinned route; the sender learns from it too."""
        sender = self._network.clients[int(self.topology.arrays.source[route[0]])]
        await self._memory.recall(sender)
        result = await self._rebalancer.send(route, amount_msat)
        await self._memory.note(sender)
        return result

    async def _rebalance_around(self, way: Way, attempts: int) -> tuple[RebalanceResult, tuple[int, ...]]:
        """Send an amount around; the sender begins with what it remembers, as with a payment."""
        node = int(self.topology.arrays.source[way.leave])
        sender = self._network.clients[node]
        if self._options.mission_control == "per_episode":
            await self._memory.recall(sender)
        else:
            await self._network.forget([node])
        done = await rebalance_around(self._network, self.ledger, self._rebalancer, way, attempts)
        await self._memory.note(sender)
        return done

    async def _watch(self, node: int) -> None:
        """Watch a node, and no other any more."""
        await self._end_watch()
        watch = NodeWatch(self._network, node)
        try:
            await watch.begin(self._settings.rpc_timeout_s)
        except BaseException:
            await watch.close()
            raise
        self._payer.watch = watch

    async def _end_watch(self) -> None:
        """Watch no node."""
        watch, self._payer.watch = self._payer.watch, None
        if watch is not None:
            await watch.close()

    async def _close(self) -> None:
        """Drop all connections."""
        await self._end_watch()
        await self._network.close()

    async def _announce(self, topology: Topology, directions: list[int]) -> None:
        """Give some directions the policies that a topology has for them; fees follow it from now on."""
        await change_policies(self._network, topology, directions, self._settings.bring_up_timeout_s)

    async def _take_ledger(self) -> None:
        """Start a ledger from what LND reports; on a network that was used before, find what it does not report."""
        ends = await self._network.quiet(self._settings.quiet_timeout_s)
        balances_msat, guessed = read_exact(self._network, self._network.balances_sat(ends))
        self.ledger = Ledger(self.topology, balances_msat)
        forwards = Forwards(self._network)
        await forwards.skip_past()
        # Others may pay over attached nodes, whose lnds may be set up otherwise.
        side_by_side = self._settings.side_by_side and self.launcher.managed
        self._payer = Payer(
            self._network,
            self.ledger,
            forwards,
            self._options,
            self._settings,
            self._memory,
            side_by_side=side_by_side,
        )
        self._rebalancer = Rebalancer(self._network, self.ledger, forwards, self._options, self._settings)
        await find_fractions(self._network, self.ledger, self._rebalancer, guessed)

    async def _push_all(self, plans: list[list[Push]]) -> None:
        """Make the pushes of all channels side by side, those of one channel in order."""

        async def push(plan: list[Push]) -> None:
            for direction, amount_msat in plan:
                result = await self._rebalancer.send((direction,), amount_msat)
                if result.reason is not RebalanceReason.NONE:
                    raise BackendError(
                        f"expected to push {amount_msat:,} msat over {self._network.describe(direction // 2)}, "
                        f"LND refused: {result.reason.name} {result.detail}; a snapshot or a new network will do"
                    )

        await gather(push(plan) for plan in plans)

    def _chain(self) -> ChainClient:
        endpoint = self.launcher.record().chain
        if endpoint is None:
            raise BackendError(f"expected the network {self.launcher.name!r} to have a {CHAIN}, it has none of its own")
        return ChainClient(endpoint, _CHAIN_PROBE_S)
