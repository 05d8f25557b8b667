"""Random networks of real nodes, plain ones and such as the public one: what becomes of each deed is by the oracle."""

import os
from collections import Counter

import pytest

from lnsim_gym.backends.lnd import LndBackend, LndSettings
from lnsim_gym.benchmarks.parity.deeds import record
from lnsim_gym.benchmarks.parity.drawing import public_network
from lnsim_gym.payments import PaymentOptions
from tests.parity.deeds import assert_adds_up, assert_legal, possible_outcomes
from tests.parity.drawing import fresh_seed, random_network
from tests.parity.forwarding import assert_equal_chances

pytestmark = [pytest.mark.lnd, pytest.mark.timeout(580)]

DEEDS = int(os.environ.get("LNSIM_PARITY_PAYMENTS", "240")) // 2


@pytest.mark.parametrize("draw", [random_network, public_network])
def test_real_nodes_do_what_the_oracle_says_they_may(live_launcher, draw):
    rng = fresh_seed()
    topology = draw(rng)
    options = PaymentOptions(fee_limit_ppm=rng.choice([5_000, 50_000, 500_000]))
    drawn = Counter()
    reasons = Counter()
    left_to_chance = 0
    with LndBackend(topology, options, LndSettings(launcher=live_launcher)) as live:
        for deed in record(rng, live, DEEDS):
            assert_adds_up(deed)
            assert_legal(deed, drawn)
            reasons["rebalance" if deed.route else "payment", deed.seen.reason] += 1
            possible = possible_outcomes(deed, options)
            assert possible is None or deed.seen in possible, (deed, possible)
            left_to_chance += possible is None
        start = topology.start_balances_msat()
        live.reset(start)
        assert (live.balances_msat() == start).all()
    print(f"{len(topology.nodes)} nodes, {len(topology.channels)} channels; {dict(reasons)}")
    assert_equal_chances(drawn)
    assert left_to_chance <= DEEDS // 10
    assert reasons["payment", "NONE"] > 0
