"""Environments on networks with parallel channels, inbound fees and disabled directions, in every form."""

import copy
import random
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest

from lnsim_gym.backends.interventions import balances_after
from lnsim_gym.records.events import balances_per_payment
from tests.oracle.engine import first_payment
from tests.oracle.network import OracleNetwork, SeededChoice
from tests.oracle.scenarios import random_topology

pytestmark = pytest.mark.slow  # networks with links take half a minute to be compiled
SEED = 5
PAYMENT_MS = 5_000
TRAFFIC = {"kind": "drift", "median_amount_sat": 200_000.0, "seconds_per_payment": PAYMENT_MS / 1000}


@pytest.fixture(scope="module")
def topology():
    """A connected network on which forwarders choose among parallel channels."""
    rng = random.Random(1)
    drawn = (random_topology(rng, nodes=7, public=True, default_rate=True) for _ in range(200))
    return next(network for network in drawn if network.is_connected and len(network.channels) > 20)


@pytest.fixture(scope="module")
def settings(topology):
    return {"topology": topology.to_dict(), "payments_per_step": 30, "max_episode_steps": 8, "traffic": TRAFFIC}


@pytest.mark.parametrize("payment", [{}, {"max_parts": 16}, {"mission_control": "per_episode"}])
def test_every_payment_of_an_episode_equals_the_oracle(topology, settings, payment):
    env = gym.make("LightningNet-v0", **settings, payment=payment).unwrapped
    env.reset(seed=SEED)
    oracle = OracleNetwork(
        topology,
        env.balances_msat(),
        max_parts=payment.get("max_parts", 1),
        remember=payment.get("mission_control") == "per_episode",
        choose=SeededChoice(SEED),
    )
    now_ms = 0
    for _ in range(8):
        before_msat = env.balances_msat()
        env.step(0)
        batch, outcomes = env.last_batch(), env.last_outcomes()
        rows = zip(*(column.tolist() for column in batch[:3]), strict=True)
        for index, (source, target, amount) in enumerate(rows):
            limit = int(env.config.payment.fee_limit_msat(np.int64(amount)))
            expected = oracle.pay(source, target, amount, limit, now_ms)
            assert payment_at(outcomes, index) == expected
            now_ms += PAYMENT_MS
        assert env.balances_msat().tolist() == oracle.balances_msat()
        told = list(balances_per_payment(topology, before_msat, outcomes))
        assert np.array_equal(told[-1][1], env.balances_msat())


def payment_at(outcomes, index):
    """Return one payment of a batch in the form of the oracle's."""
    names = ("succeeded", "failure_reason", "attempts", "fee_msat", "parts", "part_amount_msat", "part_route")
    return first_payment(SimpleNamespace(**{name: getattr(outcomes, name)[index : index + 1] for name in names}))


def test_rebalances_over_parallel_channels_move_what_the_records_say(topology, settings):
    env = gym.make("LightningNet-v0", **settings).unwrapped
    env.reset(seed=SEED)
    applied = 0
    for _ in range(40):
        before_msat = env.balances_msat()
        action = env.action_space.sample(env.action_masks().astype(np.int8))
        _, _, _, truncated, _ = env.step(action)
        served_from_msat = balances_after(topology, before_msat, env.interventions())
        applied += bool((served_from_msat != before_msat).any())
        told = list(balances_per_payment(topology, served_from_msat, env.last_outcomes()))
        assert np.array_equal(told[-1][1], env.balances_msat())
        if truncated:
            env.reset()
    assert applied > 5


def test_vectors_and_copies_go_on_as_single_environments_do(settings):
    vector = gym.make_vec("LightningNet-v0", num_envs=3, **settings)
    singles = [gym.make("LightningNet-v0", **settings) for _ in range(3)]
    observations, _ = vector.reset(seed=SEED)
    for index, single in enumerate(singles):
        assert np.array_equal(observations[index], single.reset(seed=SEED + index)[0])
    rng = np.random.default_rng(1)
    for step in range(7):
        actions = rng.integers(0, singles[0].action_space.n, 3)
        if step == 3:
            vector, singles = copy.deepcopy(vector), [copy.deepcopy(single) for single in singles]
        observations, rewards, *_ = vector.step(actions)
        for index, single in enumerate(singles):
            observation, reward, *_ = single.step(actions[index])
            assert np.array_equal(observations[index], observation)
            assert rewards[index] == reward


def test_the_draws_of_forwarders_depend_on_the_seed(topology, settings):
    """Among parallel channels each is taken at some time; the same seed takes the same."""

    def routes(seed):
        env = gym.make("LightningNet-v0", **settings).unwrapped
        env.reset(seed=seed)
        env.step(0)
        return env.last_outcomes().part_route.tolist()

    assert routes(1) == routes(1)
    assert routes(1) != routes(2)
