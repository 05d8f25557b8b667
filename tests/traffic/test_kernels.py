"""Traffic is a pure function of (seed, episode, step) with the distributions its models promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Topology
from lnsim_gym.network.presets import preset
from lnsim_gym.payments import DESCRIPTIONS
from lnsim_gym.schema import convert
from lnsim_gym.traffic import (
    CardTraffic,
    ClassicTraffic,
    DriftTraffic,
    SimlnTraffic,
    TrafficModel,
    TrafficSource,
    compile_traffic,
)
from lnsim_gym.traffic.kernels import DESCRIPTION_COUNT
from lnsim_gym.traffic.source import draw_start_balances

MODELS = (DriftTraffic(), CardTraffic(), ClassicTraffic(), SimlnTraffic())
MANY = 100_000


def many_payments(model: TrafficModel, topology: Topology | None = None):
    return TrafficSource(model, topology or preset("default"), MANY).batch(seed=5, episode=0, step=0)


def pair_counts(batch) -> np.ndarray:
    counts = np.zeros((5, 5), int)
    np.add.at(counts, (batch.source, batch.destination), 1)
    return counts


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
@settings(max_examples=25)
@given(seed=st.integers(0, 2**70), episode=st.integers(0, 10**6), step=st.integers(0, 10**6))
def test_a_batch_depends_on_seed_episode_and_step_alone(model, seed, episode, step):
    fresh = TrafficSource(model, preset("default"), 20)
    used = TrafficSource(model, preset("default"), 20)
    used.batch(seed + 1, episode, step)
    used.batch(seed, episode + 1, step + 40)
    for left, right in zip(fresh.batch(seed, episode, step), used.batch(seed, episode, step), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_seeds_episodes_and_steps_give_different_batches(model):
    source = TrafficSource(model, preset("default"), 20)
    amounts = {tuple(source.batch(*key).amount_msat) for key in [(1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1)]}
    assert len(amounts) == 4


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_payments_are_between_two_nodes_in_whole_sat(model):
    batch = many_payments(model)
    assert (batch.source != batch.destination).all()
    assert set(np.unique(batch.source)) == set(np.unique(batch.destination)) == set(range(5))
    assert (batch.amount_msat >= 1000).all()
    assert (batch.amount_msat % 1000 == 0).all()
    assert set(np.unique(batch.description)) == set(range(len(DESCRIPTIONS))) == set(range(DESCRIPTION_COUNT))


def test_drift_amounts_are_log_normal():
    logs = np.log(many_payments(DriftTraffic(median_amount_sat=20_000, amount_log_sd=1.0)).amount_msat / 1000)
    assert np.median(logs) == pytest.approx(np.log(20_000), abs=0.02)
    assert logs.std() == pytest.approx(1.0, abs=0.01)
    assert np.quantile(logs, 0.999) == pytest.approx(np.log(20_000) + 3.09, abs=0.15)


def test_card_amounts_have_the_median_of_22_units():
    logs = np.log(many_payments(CardTraffic(sat_per_unit=100, max_amount_sat=10**9)).amount_msat / 1000)
    assert np.exp(np.median(logs)) == pytest.approx(2_200, rel=0.03)
    assert logs.std() == pytest.approx(1.87, abs=0.02)


def test_without_spread_all_pairs_are_equally_likely():
    counts = pair_counts(many_payments(DriftTraffic(weight_spread=0)))
    assert counts[~np.eye(5, dtype=bool)] == pytest.approx(np.full(20, MANY / 20), rel=0.06)


def test_weights_stay_within_a_regime_and_change_with_it():
    source = TrafficSource(DriftTraffic(weight_spread=1.5, redraw_every_steps=25), preset("default"), 20_000)
    early, late, next_regime = (np.bincount(source.batch(1, 0, step).source, minlength=5) for step in (0, 24, 25))
    assert np.abs(early - late).max() < 500
    assert np.abs(early - next_regime).max() > 1_500


def test_log_weights_are_normal_with_the_spread_asked_for():
    source = TrafficSource(DriftTraffic(weight_spread=0.7, redraw_every_steps=1), preset("default"), 1)
    logs = []
    for step in range(4_000):
        source.batch(3, 0, step)
        receiving = np.diff(source._cumulative[1], prepend=0.0)
        logs += np.log(receiving).tolist()
    assert np.mean(logs) == pytest.approx(0.0, abs=0.03)
    assert np.std(logs) == pytest.approx(0.7, abs=0.02)


def test_classic_amounts_are_uniform_integers():
    sat = many_payments(ClassicTraffic()).amount_msat // 1000
    assert (sat.min(), sat.max()) == (500, 3_000)
    assert sat.mean() == pytest.approx(1_750, abs=8)
    assert np.bincount(sat - 500).std() < 3 * np.sqrt(MANY / 2501)


def test_classic_patterns_are_direct_multi_hop_and_circular():
    counts = pair_counts(many_payments(ClassicTraffic()))
    neighbours = np.zeros((5, 5), bool)
    arrays = preset("default").arrays
    neighbours[arrays.source, arrays.destination] = True
    # Alice has three neighbours and one stranger: 70 % / 3 and a share of the 5 %, or 25 % and a share of the 5 %.
    expected = np.where(neighbours, 0.7, 0.25) / np.where(
        neighbours, neighbours.sum(1)[:, None], 4 - neighbours.sum(1)[:, None]
    )
    expected = (expected + 0.05 / 4) * (1 - np.eye(5)) * MANY / 5
    np.testing.assert_allclose(counts, expected, rtol=0.08)


def test_a_node_that_knows_everyone_pays_anyone_in_the_multi_hop_pattern():
    star = Topology.from_dict(
        {
            "nodes": list("abc"),
            "channels": [{"initiator": "a", "peer": peer, "capacity_sat": 100_000} for peer in "bc"],
        }
    )
    batch = many_payments(ClassicTraffic(direct_share=0, multi_hop_share=1), star)
    assert set(batch.destination[batch.source == 0]) == {1, 2}
    assert set(batch.destination[batch.source == 1]) == {2}


def test_simln_pairs_follow_capacities_and_amounts_keep_their_mean():
    model = SimlnTraffic(expected_payment_sat=3_800, amount_log_sd=0.5)
    batch = many_payments(model)
    degrees = np.bincount(preset("default").arrays.source)
    expected = np.outer(degrees, degrees) * (1 - np.eye(5))
    expected = expected / expected.sum() * MANY
    np.testing.assert_allclose(pair_counts(batch), expected, rtol=0.08, atol=1)
    assert batch.amount_msat.mean() / 1000 == pytest.approx(3_800, rel=0.02)


def test_simln_amounts_spread_as_the_capacities_of_the_pair_say():
    batch = many_payments(SimlnTraffic(expected_payment_sat=3_800))
    capacity_sat = np.bincount(preset("default").arrays.source) * 500_000.0
    pair = (batch.source == 0) & (batch.destination == 1)
    limit = min(capacity_sat[0], capacity_sat[1]) / 2
    logs = np.log(batch.amount_msat[pair] / 1000)
    # The lower tail is cut at 1 sat, so the median is compared, and the spread above it.
    assert np.median(logs) == pytest.approx(2 * np.log(3_800) - np.log(limit), abs=0.15)
    sigma = np.sqrt(2 * (np.log(limit) - np.log(3_800)))
    assert np.quantile(logs, 0.8413) - np.median(logs) == pytest.approx(sigma, rel=0.05)


def test_simln_time_between_payments_follows_the_capacity():
    program = compile_traffic(SimlnTraffic(expected_payment_sat=3_500, capacity_multiplier=2), preset("default"))
    payments_per_30_days = 2 * 7_000_000 / 3_500
    assert program.payment_ms == round(1000 * 30 * 24 * 3600 / payments_per_30_days)


@settings(max_examples=50)
@given(seed=st.integers(0, 2**64 - 1), low=st.floats(0, 1), width=st.floats(0, 1))
def test_start_balances_are_whole_sat_above_the_reserve(seed, low, width):
    topology = preset("default")
    balances = np.empty((7, 2), np.int64)
    high = min(1.0, low + width)
    owned_msat, reserve_msat = topology.owned_total_msat, topology.arrays.reserve_msat
    given_msat = topology.given_initiator_msat
    draw_start_balances(given_msat, owned_msat, reserve_msat, low, high, 1.0, np.uint64(seed), 0, balances.ravel())
    topology.check_balances_msat(balances)
    assert (balances[:, 0] % 1000 == 0).all()
    assert (balances >= topology.arrays.reserve_msat[:, None]).all()


@pytest.mark.parametrize(
    ("settings_", "complaint"),
    [
        (
            {"kind": "drift", "median_amount_sat": float("inf")},
            "median_amount_sat must lie in 1..4,000,000,000, got inf",
        ),
        ({"kind": "drift", "max_amount_sat": 2**62}, "max_amount_sat must lie in 1..4,000,000,000"),
        ({"kind": "classic", "max_amount_sat": 2**62}, "max_amount_sat must lie in 1..4,000,000,000"),
        ({"kind": "simln", "expected_payment_sat": float("inf")}, "expected_payment_sat must lie in"),
        ({"kind": "simln", "capacity_multiplier": 1e-300}, "seconds_per_payment must lie in"),
        ({"kind": "card", "seconds_per_payment": float("inf")}, "seconds_per_payment must lie in"),
        ({"kind": "drift", "median_amount_sat": 0}, "median_amount_sat must lie in 1..4,000,000,000, got 0"),
        ({"kind": "card", "sat_per_unit": 0.01}, "median amount must be at least 1 sat, got 0.22"),
        ({"kind": "drift", "redraw_every_steps": 0}, "redraw_every_steps must be at least 1"),
        ({"kind": "classic", "min_amount_sat": 5, "max_amount_sat": 4}, "min_amount_sat <= max_amount_sat"),
        ({"kind": "classic", "direct_share": 0.9, "multi_hop_share": 0.2}, "add up to at most 1"),
        ({"kind": "simln", "capacity_multiplier": 0}, "capacity_multiplier must be above 0"),
    ],
)
def test_impossible_settings_are_refused_with_the_setting_named(settings_, complaint):
    kinds = {type(model).__struct_config__.tag: type(model) for model in MODELS}
    model = convert(settings_, kinds[settings_["kind"]], "traffic")
    with pytest.raises(ConfigError, match=complaint):
        compile_traffic(model, preset("default"))
