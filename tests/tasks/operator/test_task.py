"""The operator's environment as a whole: its money, its market, what it records, and that all its forms agree."""

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from lnsim_gym.backends.interventions import BalanceChange, PolicyChange, balances_after, topology_after
from lnsim_gym.errors import ConfigError
from lnsim_gym.network.public import public
from lnsim_gym.records.events import balances_per_payment
from lnsim_gym.tasks.operator.features import CHANNEL_FEATURES, NODE_FEATURES

pytestmark = pytest.mark.slow  # what it is made of takes a minute to be compiled

ID = "LightningOperator-v0"
TOPOLOGY = public(nodes=60, own_channels=6, own_capacity_sat=20_000_000, seed=3, own_seed=1)
SMALL = {"topology": TOPOLOGY.to_dict(), "payments_per_step": 100, "traffic": {"payments_per_day": 150}}
FORMS = ("box", "multidiscrete", "dict")
COSTS = ("rebalance_fee_msat", "swap_fee_msat", "chain_fee_msat")
ALONE = {"restore_days": 0, "competitors": 0}


def make(**settings):
    return gym.make(ID, **{**SMALL, **settings})


def feature(observation, name):
    return observation["channels"][:, CHANNEL_FEATURES.index(name)]


def idle(env):
    """Return the action of ``dict`` form that leaves everything as it is."""
    action = {name: np.full(space.shape, -1, np.int64) for name, space in env.action_space.items()}
    action["inbound_fee_rate_ppm"][:] = 1
    action["rebalance"][:, 1:] = 0
    action["swap"][:, 1:] = 0
    return action


def played(env, steps, seed=0):
    """Yield what random actions of an episode bring about."""
    env.action_space.seed(seed)
    env.reset(seed=seed)
    for _ in range(steps):
        yield env.step(env.action_space.sample())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("observation", ["dict", "flat"])
def test_the_checker_of_gymnasium_finds_nothing(form, observation):
    check_env(make(action=form, observation=observation).unwrapped, skip_render_check=True)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(3))
def test_funds_gain_what_was_earned_less_what_was_paid_to_the_millisatoshi(form, seed):
    env = make(action=form)
    own = env.unwrapped.problem.task.out
    env.reset(seed=seed)
    before_msat = env.unwrapped.balances_msat().ravel()[own].sum() + 1000 * env.unwrapped.config.wallet_sat
    moved = np.zeros(3)
    for _, reward, _, _, info in played(env, 25, seed):
        money = info["ledger"]
        funds_msat = env.unwrapped.balances_msat().ravel()[own].sum() + money["wallet_msat"]
        costs = [money[name] for name in COSTS]
        assert money["funds_msat"] == funds_msat
        assert funds_msat - before_msat == money["income_msat"] - sum(costs)
        assert reward == (funds_msat - before_msat) / 1000
        before_msat = funds_msat
        moved += [money["income_msat"], *costs[1:]]
    assert moved[0] > 0
    assert form == "dict" or (moved > 0).all()  # plain numbers drawn at random ask for too much


@pytest.mark.parametrize("form", FORMS)
def test_what_a_step_did_leads_from_the_balances_before_it_to_those_after_it(form):
    env = make(action=form)
    env.reset(seed=5)
    env.action_space.seed(5)
    kinds = set()
    for _ in range(12):
        topology, before_msat = env.unwrapped.topology, env.unwrapped.balances_msat()
        env.step(env.action_space.sample())
        done = env.unwrapped.interventions()
        kinds |= {type(one) for one in done}
        topology_now = topology_after(topology, done)
        assert topology_now.policies == env.unwrapped.topology.policies
        paid_from_msat = balances_after(topology, before_msat, done)
        *_, (_, after_msat) = balances_per_payment(topology_now, paid_from_msat, env.unwrapped.last_outcomes())
        assert np.array_equal(after_msat, env.unwrapped.balances_msat())
        assert np.array_equal(after_msat.sum(axis=1), TOPOLOGY.owned_total_msat)
    assert kinds > {PolicyChange, BalanceChange}


def test_forwards_are_those_of_the_payments_that_settled():
    env = make(action="dict")
    env.reset(seed=3)
    action = idle(env)
    action["fee_rate_ppm"][:] = 30
    out = env.unwrapped.problem.task.out.tolist()
    seen = 0
    for _ in range(20):
        observation, *_, info = env.step(action)
        outcomes = env.unwrapped.last_outcomes()
        routes, hops = outcomes.part_route[:, 0], outcomes.part_hop_msat[:, 0]
        went_out = np.array([[(routes[:, hop] == one) for hop in range(1, routes.shape[1])] for one in out])
        amounts = np.array(
            [[(routes[:, hop] == one) * hops[:, hop] for hop in range(1, routes.shape[1])] for one in out]
        )
        assert np.allclose(feature(observation, "forwarded_out"), went_out.sum(axis=(1, 2)) / 10)
        assert np.allclose(feature(observation, "forwarded_out_amount"), amounts.sum(axis=(1, 2)) / 1e9, rtol=1e-6)
        assert np.isclose(feature(observation, "fee_earned").sum() * 1e6, info["ledger"]["income_msat"], rtol=1e-5)
        assert np.isclose(feature(observation, "fee_sourced").sum() * 1e6, info["ledger"]["income_msat"], rtol=1e-5)
        seen += went_out.sum()
    assert seen > 20


def test_a_dear_node_earns_nothing_and_a_channel_that_is_out_of_balance_fails():
    env = make(action="dict")
    env.reset(seed=2)
    action = idle(env)
    action["fee_rate_ppm"][:], action["fee_base_msat"][:] = env.unwrapped.config.max_fee_rate_ppm, 5_000
    dear = [env.step(action)[4]["ledger"]["income_msat"] for _ in range(12)]
    env.reset(seed=2)
    action["fee_rate_ppm"][:], action["fee_base_msat"][:] = 0, 0
    cheap = [env.step(action)[0] for _ in range(12)]
    busy = sum(feature(each, "forwarded_out").sum() for each in cheap)
    assert busy > 1
    assert sum(feature(each, "failed_liquidity").sum() for each in cheap) > 0
    assert sum(income > 0 for income in dear) < 12


def test_changes_of_policy_are_rationed_and_come_back_with_time():
    env = make(action="dict", fee_changes_burst=2, fee_change_hours=12, step_hours=6)
    env.reset(seed=0)
    action, refused, announced = idle(env), [], []
    for step in range(6):
        action["fee_rate_ppm"][:] = 100 * (step + 1)
        observation, *_, info = env.step(action)
        announced.append(info["ledger"]["fee_changes"])
        refused.append(info["ledger"]["fee_changes_refused"])
        assert (feature(observation, "days_since_change") < 1).all()
    assert announced == [6, 6, 6, 0, 6, 0]  # two in a row, one more after twelve hours, half of it saved meanwhile
    assert refused == [0, 0, 0, 6, 0, 6]


def test_a_swap_costs_what_its_terms_say():
    terms = {
        "out_fee_ppm": 5_000,
        "routing_fee_ppm": 1_000,
        "in_fee_ppm": 2_000,
        "transaction_vbytes": 200,
        "min_sat": 1,
    }
    env = make(action="dict", swap=terms, chain={"sat_per_vbyte": 1.0, "spike_share": 0.0})
    observation, _ = env.reset(seed=0)
    rich = int(np.argmax(feature(observation, "local_balance")))
    action = idle(env)
    action["swap"][0] = rich, 100_000
    observation, *_, info = env.step(action)
    money = info["ledger"]
    assert money["swap_fee_msat"] == 500_000 + 100_000
    assert 150_000 <= money["chain_fee_msat"] <= 250_000
    wallet_msat = 1000 * env.unwrapped.config.wallet_sat + 100_000_000 - 500_000 - money["chain_fee_msat"]
    assert money["wallet_msat"] == wallet_msat
    assert observation["node"][NODE_FEATURES.index("wallet")] == pytest.approx(wallet_msat / 1e9)
    action["swap"][0] = int(np.argmax(feature(observation, "remote_balance"))), -100_000
    money = env.step(action)[4]["ledger"]
    assert money["swap_fee_msat"] == 200_000
    assert money["wallet_msat"] == wallet_msat - 100_000_000 - 200_000 - money["chain_fee_msat"]


def test_no_route_leads_around_by_one_channel_alone():
    env = make(action="dict")
    env.reset(seed=0)
    told = env.step({"rebalance": [[0, 0, 10_000, 1_000_000], [-1, 0, 0, 0]]})[4]["rebalances"]
    assert told[0] == {"requested_sat": 10_000, "applied_sat": 0, "fee_msat": 0, "refused": True, "reason": "NO_ROUTE"}
    assert told[1]["requested_sat"] == 0


def test_vector_environments_play_the_same_episodes_as_single_ones():
    several = gym.make_vec(ID, num_envs=3, vectorization_mode="vector_entry_point", threads=2, **SMALL)
    singles = [make() for _ in range(3)]
    observed, _ = several.reset(seed=7)
    firsts = [env.reset(seed=7 + place)[0] for place, env in enumerate(singles)]
    assert all(np.array_equal(observed["channels"][place], first["channels"]) for place, first in enumerate(firsts))
    several.action_space.seed(1)
    for _ in range(8):
        actions = several.action_space.sample()
        observed, rewards, *_, infos = several.step(actions)
        for place, env in enumerate(singles):
            one, reward, *_, info = env.step(actions[place])
            assert reward == rewards[place]
            assert np.array_equal(one["channels"], observed["channels"][place])
            assert info["ledger"]["income_msat"] == infos["ledger"]["income_msat"][place]


@pytest.mark.parametrize("other", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["copy", "pickle"])
def test_a_copy_goes_on_as_the_original_does(other):
    env = make().unwrapped
    list(played(env, 4))
    twin = other(env)
    for _ in range(4):
        action = env.action_space.sample()
        assert env.step(action)[1] == twin.step(action)[1]
    assert np.array_equal(env.balances_msat(), twin.balances_msat())


def test_masks_leave_out_what_the_node_cannot_do():
    env = make(action="multidiscrete")
    env.reset(seed=1)
    for _ in range(10):
        masks = env.unwrapped.action_masks()
        assert len(masks) == env.action_space.nvec.sum()
        first = np.concatenate([[0], np.cumsum(env.action_space.nvec)[:-1]])
        action = np.array(
            [np.flatnonzero(masks[at : at + size])[-1] for at, size in zip(first, env.action_space.nvec, strict=True)]
        )
        assert env.step(action)[4]["ledger"]["fee_changes_refused"] == 0


def test_episodes_of_one_seed_are_the_same_and_the_market_does_not_depend_on_the_agent():
    one, other = make(), make(action="dict")
    one.reset(seed=4)
    other.reset(seed=4)
    for _ in range(3):
        one.step(one.action_space.sample())
        other.step(idle(other))
        mine, its = one.unwrapped.last_batch(), other.unwrapped.last_batch()
        assert all(np.array_equal(column, other_column) for column, other_column in zip(mine, its, strict=True))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"own_node": "nobody"}, "own_node='nobody' is no node of the topology"),
        ({"topology": "default", "own_node": "alice", "traffic": "drift"}, "needs traffic of kind 'market'"),
        ({"levers": []}, "levers needs at least one of"),
        ({"levers": ["fees", "fees"]}, "each once"),
        ({"backend": "lnd"}, "leave 'swap' out of levers"),
        ({"backend": "lnd", "levers": ["fees"]}, "nobody who acts but the own node"),
        ({"backend": "lnd", "levers": ["fees"], "others": ALONE}, "set gossip='at_once'"),
        ({"step_hours": 0.01}, "step_hours must lie in"),
        ({"traffic": {"payments_per_day": -1}}, "payments_per_day must lie in"),
        ({"others": {"offline_share": 2}}, "offline_share must lie in"),
    ],
)
def test_settings_at_fault_are_named(settings, said):
    with pytest.raises(ConfigError, match=said):
        make(**settings)
