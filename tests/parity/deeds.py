"""What is done to a network of real nodes and what becomes of it, deed by deed, for comparison with a model.

``record`` pays, rebalances and changes policies at random. Each deed says all that a model needs to make it again by
itself: the network with the policies of that moment, and the balances before.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lnsim_gym.backends.simulator import SimulatorBackend
from lnsim_gym.network import Topology
from lnsim_gym.network.routes import hop_amounts_msat, settled_hops
from lnsim_gym.payments import FailureReason, PaymentBatch, PaymentOptions
from tests.oracle.scenarios import random_amount, random_policy, random_route
from tests.parity.drawing import public_policy, ties_met
from tests.parity.forwarding import assert_legal_route


class Outcome(NamedTuple):
    """What became of a payment or a rebalance."""

    reason: str
    """Name of a ``FailureReason`` or ``RebalanceReason``."""
    attempts: int
    """HTLCs sent out; of a rebalance 1 or 0."""
    fee_msat: int
    routes: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    """Of each settled part the directions that carried it, and the HTLC amount in msat on each of them."""
    after_msat: tuple[tuple[int, int], ...]
    """Balances after it."""


@dataclass(frozen=True)
class Deed:
    """A payment, or a rebalance where ``route`` is given."""

    topology: Topology
    """With the policies of that moment."""
    before_msat: np.ndarray
    """Balances before it, shape (channels, 2)."""
    amount_msat: int
    source: int = -1
    destination: int = -1
    route: tuple[int, ...] = ()
    seen: Outcome | None = None
    """What real nodes made of it."""

    @property
    def batch(self):
        return PaymentBatch(*np.array([[self.source, self.destination, self.amount_msat, 0]], np.int64).T)


def do(deed: Deed, backend: Any) -> Outcome:
    """Do a deed on a backend, whose balances and policies are the deed's."""
    if deed.route:
        result = backend.rebalance(deed.route, deed.amount_msat)
        carried_by = result.carried_by or deed.route
        sent_msat = hop_amounts_msat(deed.topology, deed.route, result.applied_msat) if result.applied_msat else ()
        routes = ((carried_by, tuple(sent_msat)),) if sent_msat else ()
        was_sent = bool(sent_msat) or result.failure_source_index > 0
        return Outcome(result.reason.name, int(was_sent), result.fee_msat, routes, _pairs(backend.balances_msat()))
    outcomes = backend.pay(deed.batch)
    return Outcome(
        FailureReason(outcomes.failure_reason[0]).name,
        int(outcomes.attempts[0]),
        int(outcomes.fee_msat[0]),
        tuple(sorted((route, tuple(sent_msat)) for route, sent_msat in settled_hops(deed.topology, outcomes, 0))),
        _pairs(backend.balances_msat()),
    )


def record(rng, live, count, *, change_every=10, rebalance_every=5, most_msat=900_000_000):
    """Yield deeds done to an open network of real nodes, with what they saw; balances are held to LND's after each.

    Args:
        rng: Draws everything.
        live: An open ``LndBackend`` whose policies are its topology's.
        count: Number of deeds.
        change_every: Deeds from one change of two policies to the next.
        rebalance_every: Payments from one rebalance to the next.
        most_msat: Largest amount.
    """
    topology = live.topology
    plain = topology.is_plain
    for number in range(count):
        if number % change_every == change_every - 1:
            for direction in rng.sample(range(2 * len(topology.channels)), 2):
                capacity_sat = topology.channels[direction // 2].capacity_sat
                policy = random_policy(rng, capacity_sat, True) if plain else public_policy(rng, capacity_sat)
                live.set_policy(direction, policy)
                topology = topology.with_policy(direction, policy)
        deed = Deed(topology, live.balances_msat(), random_amount(rng, most_msat))
        if number % rebalance_every == rebalance_every - 1:
            deed = dataclasses.replace(deed, route=tuple(random_route(rng, topology)))
        else:
            source, destination = rng.sample(range(len(topology.nodes)), 2)
            deed = dataclasses.replace(deed, source=source, destination=destination)
        yield dataclasses.replace(deed, seen=do(deed, live))


def assert_adds_up(deed: Deed) -> None:
    """Hold the balances after a deed to its routes, as records rebuild them."""
    after = deed.before_msat.copy().reshape(-1)
    for route, sent_msat in deed.seen.routes:
        for direction, amount_msat in zip(route, sent_msat, strict=True):
            after[direction] -= amount_msat
            after[direction ^ 1] += amount_msat
    assert _pairs(after.reshape(-1, 2)) == deed.seen.after_msat
    assert deed.seen.fee_msat == sum(sent_msat[0] - sent_msat[-1] for _, sent_msat in deed.seen.routes)


def assert_legal(deed: Deed, drawn=None) -> None:
    """Hold what every forwarder did to what LND allows; of payments in one part, whose balances are known."""
    if len(deed.seen.routes) == 1:
        ((route, sent_msat),) = deed.seen.routes
        assert_legal_route(deed.topology, deed.before_msat, route, sent_msat, drawn)


class Simulated:
    """Makes deeds again in the simulator.

    Args:
        options: How the real nodes paid.
        tries: How often a deed is made again where forwarders draw among parallel channels.
    """

    def __init__(self, options: PaymentOptions, tries: int = 1) -> None:
        self._options = options
        self._tries = tries
        self._backend: SimulatorBackend | None = None

    def outcomes(self, deed: Deed) -> set[Outcome]:
        """Return what may become of a deed."""
        if self._backend is None or self._backend.topology != deed.topology:
            self._backend = SimulatorBackend(deed.topology, self._options)
        found = set()
        for _ in range(self._tries if deed.topology.has_parallel_channels else 1):
            self._backend.reset(deed.before_msat)
            found.add(do(deed, self._backend))
        return found

    def leaves_to_chance(self, deed: Deed) -> bool:
        """Whether LND meets two equally good ways in a payment, of which it takes one at random."""
        return not deed.route and bool(ties_met(deed.topology, self._options, deed.before_msat, deed.batch))


def _pairs(balances_msat):
    return tuple((initiator, peer) for initiator, peer in balances_msat.tolist())
