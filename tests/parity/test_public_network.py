"""Random networks of real nodes: plain ones equal the simulator, those like the public one keep LND's rules."""

import os
from collections import Counter

import pytest

from lnsim_gym.backends.lnd import LndBackend, LndSettings
from lnsim_gym.payments import PaymentOptions
from tests.parity.deeds import Simulated, assert_adds_up, assert_legal, record
from tests.parity.drawing import fresh_seed, public_network, random_network
from tests.parity.forwarding import assert_equal_chances

pytestmark = [pytest.mark.lnd, pytest.mark.timeout(580)]

DEEDS = int(os.environ.get("LNSIM_PARITY_PAYMENTS", "240")) // 2


@pytest.mark.parametrize("draw", [random_network, public_network])
def test_what_real_nodes_do_is_what_the_rules_allow(live_launcher, draw):
    rng = fresh_seed()
    topology = draw(rng)
    options = PaymentOptions(fee_limit_ppm=rng.choice([5_000, 50_000, 500_000]))
    simulated = Simulated(options)
    drawn = Counter()
    reasons = Counter()
    left_to_chance = 0
    with LndBackend(topology, options, LndSettings(launcher=live_launcher)) as live:
        for deed in record(rng, live, DEEDS):
            assert_adds_up(deed)
            assert_legal(deed, drawn)
            reasons["rebalance" if deed.route else "payment", deed.seen.reason] += 1
            if deed.topology.is_plain:
                if simulated.leaves_to_chance(deed):
                    left_to_chance += 1
                else:
                    assert deed.seen in simulated.outcomes(deed), deed
        start = topology.start_balances_msat()
        live.reset(start)
        assert (live.balances_msat() == start).all()
    print(f"{len(topology.nodes)} nodes, {len(topology.channels)} channels; {dict(reasons)}")
    assert_equal_chances(drawn)
    assert left_to_chance <= DEEDS // 10
    assert reasons["payment", "NONE"] > 0
