"""Books that are held to payments: what is right passes, and every kind of fault is told."""

from random import Random

import numpy as np
import pytest

from lnsim_gym.backends.simulator.backend import SimulatorBackend
from lnsim_gym.benchmarks.conservation.books import faults_of_balances, faults_of_payments
from lnsim_gym.benchmarks.conservation.trials import KINDS, trial
from lnsim_gym.benchmarks.parity.drawing import public_network
from lnsim_gym.payments import PaymentBatch, PaymentOptions


@pytest.fixture(scope="module")
def paid():
    """Payments on a network such as the public one: all that the books are held to."""
    topology, options = public_network(Random(3)), PaymentOptions()
    backend = SimulatorBackend(topology, options)
    before_msat = backend.balances_msat()
    draws = np.random.default_rng(0)
    source = draws.integers(0, len(topology.nodes), 200)
    destination = (source + draws.integers(1, len(topology.nodes), 200)) % len(topology.nodes)
    batch = PaymentBatch(source, destination, draws.integers(1, 10**8, 200), np.zeros(200, np.int64))
    outcomes = backend.pay(batch)
    assert outcomes.succeeded.sum() > 20
    return topology, options, batch, outcomes, before_msat, backend.balances_msat()


@pytest.mark.slow
def test_what_the_simulator_does_is_in_order(paid):
    assert list(faults_of_payments(*paid)) == []


def test_a_millisatoshi_that_appears_is_told(paid):
    *rest, after_msat = paid
    wrong = after_msat.copy()
    wrong[2, 1] += 1
    told = list(faults_of_payments(*rest, wrong))
    assert told == [
        "channels [2] have gained or lost money",
        "balances of channels [2] do not follow from the payments that settled",
    ]


def test_a_millisatoshi_that_moves_by_itself_is_told(paid):
    *rest, after_msat = paid
    wrong = after_msat.copy()
    wrong[2] += -1, 1
    assert list(faults_of_payments(*rest, wrong)) == [
        "balances of channels [2] do not follow from the payments that settled"
    ]


@pytest.mark.parametrize(
    ("column", "by", "said"),
    [
        ("fee_msat", 1, "the sender did not pay the amount and the fee"),
        ("part_amount_msat", 1, "parts do not make up the amount"),
        ("parts", 1, "a number of parts that it has not"),
        ("failure_reason", 1, "a settled payment has a reason"),
        ("fee_msat", 10**12, "a fee exceeds its limit"),
    ],
)
def test_an_outcome_that_does_not_fit_the_rest_is_told(paid, column, by, said):
    outcomes = paid[3]
    kept = getattr(outcomes, column).copy()
    try:
        getattr(outcomes, column)[np.flatnonzero(outcomes.succeeded)[0]] += by
        assert any(said in fault for fault in faults_of_payments(*paid))
    finally:
        getattr(outcomes, column)[:] = kept


def test_a_route_that_leads_elsewhere_is_told(paid):
    topology, options, batch, *rest = paid
    other = batch._replace(source=batch.destination, destination=batch.source)
    told = list(faults_of_payments(topology, options, other, *rest))
    assert [fault.partition(": ")[2] for fault in told] == [
        "a route does not lead from the sender",
        "a route does not lead to the receiver",
    ]


def test_an_end_with_less_than_nothing_is_told(paid):
    topology, after_msat = paid[0], paid[-1]
    wrong = after_msat.copy()
    wrong[1] = wrong[1].sum() + 5, -5
    assert list(faults_of_balances(topology, wrong)) == ["channels [1] have an end with less than nothing"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", dict.fromkeys(KINDS))
def test_networks_of_every_kind_are_in_order(kind):
    first = KINDS.index(kind)
    for number in range(first, first + 8 * len(KINDS), len(KINDS)):  # of operators, one in six meets parallel channels
        done = trial(3_835_767_543, number)
        assert done.wrong == ""
        assert done.payments > done.settled > 0
