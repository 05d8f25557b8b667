"""The live backend: opening, resetting, paying and closing a network of real lnd nodes."""

from __future__ import annotations

import os
import secrets
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from filelock import FileLock, Timeout

from lnsim_gym.arrays import Int64
from lnsim_gym.backends.base import Backend, ResetReport, check_ends
from lnsim_gym.backends.lnd.network.around import Way
from lnsim_gym.backends.lnd.network.bringup import check_fee_rates
from lnsim_gym.backends.lnd.network.open_network import OpenNetwork
from lnsim_gym.backends.lnd.network.rebalance import check_route
from lnsim_gym.backends.lnd.nodes.flags import attempt_cost_flags
from lnsim_gym.backends.lnd.nodes.folders import find_record
from lnsim_gym.backends.lnd.nodes.launchers.base import Launcher
from lnsim_gym.backends.lnd.nodes.launchers.choose import choose_launcher, connect_launcher
from lnsim_gym.backends.lnd.rpc.endpoint import NodeEndpoint
from lnsim_gym.backends.lnd.settings import LndSettings
from lnsim_gym.errors import BackendError, BackendLost, BringUpError, ConfigError, LnsimError
from lnsim_gym.network import Policy, Topology
from lnsim_gym.network.limits import spendable_msat
from lnsim_gym.payments import PaymentBatch, PaymentOptions, PaymentOutcomes, RebalanceResult

__all__ = ["LndBackend"]


class LndBackend(Backend):
    """A network of real lnd nodes.

    Pickling gives a backend with the same settings that is not open. A forked child cannot use its parent's.

    Args:
        topology: The network to bring up, to join or to attach to.
        options: How payments are sent.
        settings: How it is started, and deadlines.
        payment_ms: Simulated time of one payment in ms, for senders that remember (``mission_control =
            "per_episode"``): what they remember fades by that clock, from 0 at every reset. By default, and with
            ``concurrency`` above 1, it fades with wall clock time.

    Raises:
        ConfigError: The topology or the options ask for what real nodes cannot do.
    """

    def __init__(
        self,
        topology: Topology,
        options: PaymentOptions | None = None,
        settings: LndSettings | None = None,
        *,
        payment_ms: int | None = None,
    ) -> None:
        self.topology = topology
        self.options = options or PaymentOptions()
        self.settings = settings or LndSettings()
        self._payment_ms = payment_ms
        check_fee_rates(topology)
        _check_attempt_cost(self.options, self.settings)
        self._network: OpenNetwork | None = None
        self._lost = False
        self._finalizer: weakref.finalize[[int, Callable[[], None]], LndBackend] | None = None
        self._pid = os.getpid()

    def __reduce__(self) -> tuple[Callable[..., LndBackend], tuple[Topology, PaymentOptions, LndSettings]]:
        """Pickle what it takes to make another one, not the open network."""
        made = partial(LndBackend, payment_ms=self._payment_ms)
        return made, (self.topology, self.options, self.settings)

    def open(self) -> None:
        """See ``Backend.open``."""
        self._refuse_other_process()
        if self._network is None:
            self._network = self._start(self.topology)
            self._lost = False

    def reset(self, balances_msat: Int64) -> ResetReport:
        """Set balances by the cheapest reset method that works: none, payments, snapshot, or a new network.

        Raises:
            ConfigError: The balances do not fit the channels.
            BackendError: Balances that only a network of our own could have were asked of attached nodes.
            BringUpError: A new network did not become ready.
        """
        started = time.perf_counter()
        self.topology.check_balances_msat(balances_msat)
        self.open()
        rung = self._reset_balances(balances_msat)
        self._opened().forget()
        self._lost = False
        return ResetReport(rung, time.perf_counter() - started)

    def rebalance(self, route: tuple[int, ...], amount_msat: int) -> RebalanceResult:
        """See ``Backend.rebalance``."""
        network = self._whole()
        check_route(self.topology, route)
        with self._watched():
            return network.rebalance(route, amount_msat)

    def set_policy(self, direction: int, policy: Policy) -> None:
        """See ``Backend.set_policy``."""
        self.set_policies({direction: policy})

    def set_policies(self, policies: Mapping[int, Policy]) -> None:
        """Change policies side by side; see ``Backend.set_policies``."""
        network = self._whole()
        checked = {direction: self.topology.checked_policy(direction, policy) for direction, policy in policies.items()}
        with self._watched():
            network.set_policies(checked)

    def rebalance_around(
        self, leave: int, back: int, amount_msat: int, fee_limit_msat: int, attempts: int
    ) -> tuple[RebalanceResult, tuple[int, ...]]:
        """See ``Backend.rebalance_around``.

        Raises:
            InvalidAction: The directions are none of two channels of one node.
        """
        network = self._whole()
        check_ends(self.topology, leave, back)
        with self._watched():
            return network.rebalance_around(Way(leave, back, amount_msat, fee_limit_msat), attempts)

    def watch(self, node: int) -> None:
        """See ``Backend.watch``; lasts until the next reset."""
        network = self._whole()
        with self._watched():
            network.watch(node)

    def forwards(self) -> Int64:
        """See ``Backend.forwards``."""
        network = self._whole()
        with self._watched():
            return network.forwards()

    def set_time(self, time_ms: int) -> None:
        """See ``Backend.set_time``."""
        self._whole().set_time(time_ms)

    def pay(
        self, batch: PaymentBatch, time_ms: Int64 | None = None, fee_limit_msat: Int64 | None = None
    ) -> PaymentOutcomes:
        """See ``Backend.pay``."""
        network = self._whole()
        with self._watched():
            return network.pay(batch, time_ms, fee_limit_msat)

    def balances_msat(self) -> Int64:
        """Return balances in msat, shape (channels, 2), held to what LND reports.

        Raises:
            LedgerMismatch: LND reports others.
            BackendLost: A node is gone or hangs.
        """
        network = self._whole()
        with self._watched():
            return network.read()

    def endpoints(self) -> dict[str, NodeEndpoint]:
        """Host, port, TLS certificate, macaroon and public key of every node by name, for any LND client."""
        return self._opened().endpoints

    def lnd_version(self) -> str:
        """Version that the first node reports."""
        return self._opened().lnd_version()

    def payments_spent_s(self) -> dict[str, float]:
        """Seconds that payments spent since the last call or repair, by what they spent them on.

        ``invoice``, ``turn`` (waiting until nothing is in the way), ``mission_control`` (resetting that of the sender),
        ``payment`` (``SendPaymentV2`` until it ends) and ``quiet`` (waiting until no HTLC is pending). Those of
        payments that run side by side are added up.
        """
        return self._opened().payments_spent_s()

    def network_record(self) -> list[dict[str, Any]]:
        """Return ``endpoints`` as plain data."""
        record: list[dict[str, Any]] = msgspec.to_builtins(list(self.endpoints().values()))
        return record

    def close(self) -> None:
        """See ``Backend.close``."""
        # In a fork even closing the parent's connections would wait for threads that are not there.
        if self._network is None or self._pid != os.getpid():
            return
        network = self._network
        self._network = None
        network.close()
        self._release()

    def _start(self, topology: Topology, launcher: Launcher | None = None) -> OpenNetwork:
        """Start a network, or join one; whatever happens, nothing half-done stays behind.

        Raises:
            BringUpError: It did not become ready, or its files cannot be written.
        """
        if launcher is None:
            launcher, release = self._join() if self.settings.network is not None else self._choose()
            # Runs on close, when the backend is forgotten, and when the interpreter ends.
            self._finalizer = weakref.finalize(self, _in_process, os.getpid(), release)
        try:
            return OpenNetwork(launcher, topology, self.options, self.settings, self._payment_ms)
        except OSError as problem:
            self._release()
            raise BringUpError(
                f"expected to start a network, got {problem}: where there is no room for its files, make some on "
                "the disk of lnd.state_folder, or name a folder elsewhere"
            ) from problem
        except BaseException:
            self._release()
            raise

    def _choose(self) -> tuple[Launcher, Callable[[], None]]:
        """Return a launcher for a network of our own, and what ends it."""
        launcher = choose_launcher(
            self.settings.launcher,
            f"env-{os.getpid()}-{secrets.token_hex(4)}",
            attach_file=self.settings.attach_file,
            state_folder=self.settings.state_folder,
            lnd_flags=attempt_cost_flags(self.options),
        )
        return launcher, launcher.stop

    def _join(self) -> tuple[Launcher, Callable[[], None]]:
        """Return the launcher of a network that is up already, and what leaves it.

        Raises:
            ConfigError: There is none of that name, it is another network, has another attempt cost, or is in use.
        """
        record = find_record(str(self.settings.network), self.settings.state_folder)
        if Topology.from_dict(record.topology).to_dict() != self.topology.to_dict():
            raise ConfigError(
                f"expected the network {record.name!r} to have this environment's topology, it has another: "
                "pass its topology, or `lnsim down` it and bring it up with yours"
            )
        if record.lnd_flags != attempt_cost_flags(self.options):
            raise ConfigError(
                f"expected the network {record.name!r} to have the attempt cost of this environment, its nodes were "
                f"started with {' '.join(record.lnd_flags) or 'that of lnd itself'}: leave out "
                "payment.attempt_cost_sat and payment.attempt_cost_ppm, or let a network of its own be started"
            )
        lock = FileLock(f"{record.folder}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise ConfigError(
                f"expected the network {record.name!r} to be free, another environment uses it: close that first"
            ) from None
        launcher = connect_launcher(record)

        def release() -> None:
            launcher.detach()
            Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()

        return launcher, release

    def _release(self) -> None:
        """End or leave the network; harmless when done already."""
        if self._finalizer is not None:
            self._finalizer()

    def _reset_balances(self, wanted_msat: Int64) -> Literal["none", "payments", "snapshot", "rebuild"]:
        """Try the reset methods, cheapest first, and return the one that worked."""
        network = self._opened()
        if not network.launcher.managed:
            return self._reset_attached(network, wanted_msat)
        if not self._lost:
            with suppress(BackendError):
                network.check_alive()
                network.connect_again()
                network.restore_policies()
                if np.array_equal(network.read(), wanted_msat):
                    return "none"
                if network.push_to(wanted_msat):
                    return "payments"
        self._lost = True
        if self._restored(network, wanted_msat):
            return "snapshot"
        self._rebuild(wanted_msat)
        return "rebuild"

    def _reset_attached(self, network: OpenNetwork, wanted_msat: Int64) -> Literal["none", "payments"]:
        """Try the reset methods that attached nodes allow: after a loss, wait for them and retry."""
        with self._watched():
            if self._lost:
                network.find_again()
            network.connect_again()
            network.restore_policies()
            if np.array_equal(network.read(), wanted_msat):
                return "none"
            if network.push_to(wanted_msat):
                return "payments"
        raise BackendError(
            "expected balances that payments can reach, or nodes of our own: "
            "use the docker or process launcher, or ask for balances above the reserves"
        )

    def _restored(self, network: OpenNetwork, wanted_msat: Int64) -> bool:
        """Put the snapshot back and pay from there to the wanted balances, if that can lead there."""
        if not network.reachable_from_start(wanted_msat) or not network.can_restore():
            return False
        try:
            network.restore()
            return network.push_to(wanted_msat)
        except (BackendError, OSError):  # the latter where there is no room for the snapshot's files
            return False

    def _rebuild(self, wanted_msat: Int64) -> None:
        """Make a new network, its channels opened with the wanted balances where payments could not reach them."""
        old = self._opened()
        topology = self.topology if old.reachable_from_start(wanted_msat) else _opened_with(self.topology, wanted_msat)
        old.close()
        old.launcher.stop()
        self._network = None
        self._network = self._start(topology, old.launcher)
        if not (self._network.push_to(wanted_msat) or self._network.push_small_to(wanted_msat)):
            raise BackendError(f"expected balances that a channel can have, got {wanted_msat.tolist()}")

    def _opened(self) -> OpenNetwork:
        """Return the network.

        Raises:
            BackendError: There is none here.
        """
        self._refuse_other_process()
        if self._network is None:
            raise BackendError("expected an open network, it is closed: call open() or reset() first")
        return self._network

    def _whole(self) -> OpenNetwork:
        """Return the network unless something was lost.

        Raises:
            BackendLost: It was, and no reset has repaired it yet.
        """
        network = self._opened()
        if self._lost:
            raise BackendLost("expected a reset after the network was lost, got another call: reset() repairs it")
        return network

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Remember that the state of the network is in doubt after any error, Ctrl-C included."""
        try:
            yield
        except BaseException:
            self._lost = True
            raise

    def _refuse_other_process(self) -> None:
        if self._network is not None and self._pid != os.getpid():
            raise BackendError(
                f"expected to be in process {self._pid}, which opened this network, but this is {os.getpid()}: "
                "make an environment in each process"
            )
        self._pid = os.getpid()


def _opened_with(topology: Topology, wanted_msat: Int64) -> Topology:
    """Return the topology with the wanted balances, in whole sat, as those at channel open.

    They are rounded to where the initiator pushes the rest over, or its peer, if the initiator is too near its reserve.

    Raises:
        BackendError: No channel can be opened like that.
    """
    arrays = topology.arrays
    least_sat = wanted_msat[:, 0] // 1000
    most_sat = -(-wanted_msat[:, 0] // 1000)
    opened_msat = np.stack([1000 * most_sat, wanted_msat.sum(axis=1) - 1000 * most_sat], axis=1)
    free_msat = spendable_msat(opened_msat, arrays.capacity_sat, arrays.fee_per_kw)[:, 0]
    initiator_sat = np.where(free_msat >= opened_msat[:, 0] - wanted_msat[:, 0], most_sat, least_sat)
    try:
        channels = tuple(
            msgspec.structs.replace(channel, initiator_balance_sat=sat, policies=policies)
            for channel, policies, sat in zip(topology.channels, topology.policies, initiator_sat.tolist(), strict=True)
        )
        return msgspec.structs.replace(topology, channels=channels)
    except LnsimError as problem:
        raise BackendError(f"expected balances that payments or a new channel can have, but {problem}") from None


def _in_process(pid: int, release: Callable[[], None]) -> None:
    """Release a network, but never from a fork of the process that opened it."""
    if pid == os.getpid():
        release()


def _check_attempt_cost(options: PaymentOptions, settings: LndSettings) -> None:
    """Refuse attempt costs of nodes that others started, which have their own.

    Raises:
        ConfigError: They are not LND's own.
    """
    if settings.launcher != "attach":
        return
    usual = PaymentOptions()
    asked = options.attempt_cost_sat, options.attempt_cost_ppm
    own = usual.attempt_cost_sat, usual.attempt_cost_ppm
    if asked != own:
        raise ConfigError(
            f"attached nodes are taken to have lnd's own attempt cost: expected payment.attempt_cost_sat={own[0]} and "
            f"payment.attempt_cost_ppm={own[1]}, got {asked[0]} and {asked[1]}"
        )
