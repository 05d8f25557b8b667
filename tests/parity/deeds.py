"""What is done to a network of real nodes and what becomes of it, deed by deed, for comparison with a model.

``record`` pays, rebalances and changes policies at random. Each deed says all that a model needs to make it again by
itself: the network with the policies of that moment, and the balances before.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lnsim_gym.network import Topology
from lnsim_gym.network.routes import hop_amounts_msat, settled_hops
from lnsim_gym.payments import FailureReason, PaymentBatch, PaymentOptions
from tests.oracle.network import OracleNetwork
from tests.oracle.scenarios import random_amount, random_policy, random_route
from tests.parity.drawing import fee_limit_msat, public_policy
from tests.parity.forwarding import assert_legal_route


class Outcome(NamedTuple):
    """What became of a payment or a rebalance."""

    reason: str
    """Name of a ``FailureReason`` or ``RebalanceReason``."""
    attempts: int
    """HTLCs sent out; not counted of rebalances."""
    fee_msat: int
    parts: tuple[tuple[int, tuple[int, ...]], ...]
    """Of each settled part of a payment what it delivered, and the directions that carried it."""
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
    carried: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = ()
    """Of each settled part the directions that carried it, and the HTLC amount in msat on each of them."""

    @property
    def batch(self):
        return PaymentBatch(*np.array([[self.source, self.destination, self.amount_msat, 0]], np.int64).T)


def do(deed: Deed, live: Any) -> Deed:
    """Do a deed on real nodes, whose balances and policies are the deed's, and return it with what they made of it."""
    if deed.route:
        result = live.rebalance(deed.route, deed.amount_msat)
        sent_msat = hop_amounts_msat(deed.topology, deed.route, result.applied_msat)
        carried = ((result.carried_by or deed.route, tuple(sent_msat)),) if result.applied_msat else ()
        seen = Outcome(result.reason.name, 0, result.fee_msat, (), _pairs(live.balances_msat()))
        return dataclasses.replace(deed, seen=seen, carried=carried)
    outcomes = live.pay(deed.batch)
    carried = tuple((route, tuple(sent_msat)) for route, sent_msat in settled_hops(deed.topology, outcomes, 0))
    seen = Outcome(
        FailureReason(outcomes.failure_reason[0]).name,
        int(outcomes.attempts[0]),
        int(outcomes.fee_msat[0]),
        tuple(sorted((sent_msat[-1], route) for route, sent_msat in carried)),
        _pairs(live.balances_msat()),
    )
    return dataclasses.replace(deed, seen=seen, carried=carried)


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
        yield do(deed, live)


def assert_adds_up(deed: Deed) -> None:
    """Hold the balances after a deed to its routes, as records rebuild them."""
    after = deed.before_msat.copy().reshape(-1)
    for route, sent_msat in deed.carried:
        for direction, amount_msat in zip(route, sent_msat, strict=True):
            after[direction] -= amount_msat
            after[direction ^ 1] += amount_msat
    assert _pairs(after.reshape(-1, 2)) == deed.seen.after_msat
    assert deed.seen.fee_msat == sum(sent_msat[0] - sent_msat[-1] for _, sent_msat in deed.carried)


def assert_legal(deed: Deed, drawn=None) -> None:
    """Hold what every forwarder did to what LND allows; of payments in one part, whose balances are known."""
    if len(deed.carried) == 1:
        ((route, sent_msat),) = deed.carried
        assert_legal_route(deed.topology, deed.before_msat, route, sent_msat, drawn)


class Script:
    """Chooses among parallel channels by place, as written down, and the first where nothing is written."""

    def __init__(self, places=()):
        self.places = list(places)
        self.made = []
        """Place taken and number of channels at each choice."""

    def begin(self):
        """A payment begins."""

    def __call__(self, willing):
        place = self.places[len(self.made)] if len(self.made) < len(self.places) else 0
        self.made.append((place, len(willing)))
        return willing[place]

    def others(self):
        """Return the scripts of the choices that were left open."""
        taken = [place for place, _ in self.made]
        for at in range(len(self.places), len(self.made)):
            for place in range(1, self.made[at][1]):
                yield Script([*taken[:at], place])


MOST_SCRIPTS = 500


def possible_outcomes(deed: Deed, options: PaymentOptions) -> set[Outcome] | None:
    """Return all that may become of a deed by the oracle, whatever forwarders choose.

    None when that is not known: when LND meets two equally good ways, of which it takes one at random, or when there
    is too much to choose.
    """
    found = set()
    open_scripts = [Script()]
    for _ in range(MOST_SCRIPTS):
        if not open_scripts:
            return found
        script = open_scripts.pop()
        oracle = OracleNetwork(deed.topology, deed.before_msat, max_parts=options.max_parts, choose=script)
        found.add(_by_oracle(deed, oracle, options))
        if oracle.ties:
            return None
        open_scripts += script.others()
    return None


def _by_oracle(deed: Deed, oracle: OracleNetwork, options: PaymentOptions) -> Outcome:
    if deed.route:
        reason, fee_msat, _ = oracle.send_over(list(deed.route), deed.amount_msat)
        return Outcome(reason.name, 0, fee_msat, (), _pairs(oracle.balances_msat()))
    limit_msat = fee_limit_msat(options, deed.amount_msat)
    payment = oracle.pay(deed.source, deed.destination, deed.amount_msat, limit_msat)
    parts = tuple(sorted((amount, tuple(route)) for amount, route in payment.parts))
    return Outcome(payment.reason.name, payment.attempts, payment.fee_msat, parts, _pairs(oracle.balances_msat()))


def _pairs(balances_msat):
    """Return balances in a form that can be compared."""
    return tuple((int(initiator), int(peer)) for initiator, peer in balances_msat)
