"""Channels that an operator closes and opens: their money, their masks, their form, and what payments make of them."""

import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from lnsim_gym.backends.interventions import balances_after, topology_after
from lnsim_gym.errors import ConfigError
from lnsim_gym.records.events import balances_per_payment
from lnsim_gym.records.lines import intervention_record
from lnsim_gym.tasks.operator.actions import OPTIONS
from lnsim_gym.tasks.operator.config import LEVERS
from tests.agents.operator.rows import CHANNELS, problem_of
from tests.tasks.operator.test_task import ALONE, ID, SMALL, TOPOLOGY, feature, make

FORMS = ("box", "multidiscrete", "dict")
OWN, SPARE = 6, 3
CALM = {"sat_per_vbyte": 1.0, "spike_share": 0.0}
CHANNELS_TOO = {
    "levers": list(LEVERS),
    "candidates": {"count": SPARE, "capacity_sat": 1_000_000},
    "wallet_sat": 5_000_000,
    "chain": CALM,
}
COSTS = ("rebalance_fee_msat", "swap_fee_msat", "chain_fee_msat")
MONEY = ("wallet_msat", "pending_msat", "commitment_msat")
slow = pytest.mark.slow  # what it is made of takes a minute to be compiled


def with_channels(**settings):
    return make(**{**CHANNELS_TOO, **settings})


def actions_of(**settings):
    return problem_of(levers=list(LEVERS), candidates={"count": SPARE}, **settings).task.actions


def changed(actions, action):
    parts = actions.parts_of(np.array(actions.decode_one(action))[None])
    return parts.closes[0].tolist(), parts.opens[0].tolist()


def test_candidates_are_the_largest_nodes_without_a_channel_and_come_behind_all_others():
    plain, wider = problem_of(), problem_of(levers=["open"], candidates={"count": SPARE, "capacity_sat": 2_000_000})
    assert wider.topology.channels[:-SPARE] == tuple(plain.topology.channels)
    assert [channel.initiator for channel in wider.topology.channels[-SPARE:]] == ["own"] * SPARE
    assert {channel.capacity_sat for channel in wider.topology.channels[-SPARE:]} == {2_000_000}
    joined = {channel.initiator for channel in plain.topology.channels if channel.peer == "own"}
    joined |= {channel.peer for channel in plain.topology.channels if channel.initiator == "own"}
    size = dict(zip(plain.topology.nodes, plain.topology.node_capacity_sat, strict=True))
    free = sorted((name for name in plain.topology.nodes if name not in {*joined, "own"}), key=lambda name: -size[name])
    assert [channel.peer for channel in wider.topology.channels[-SPARE:]] == free[:SPARE]
    named = problem_of(levers=["open"], candidates={"peers": ["n5", "n4"]})
    assert [channel.peer for channel in named.topology.channels[-2:]] == ["n5", "n4"]


def test_closes_and_opens_of_each_form_name_channels_and_rows_beyond_them_nothing():
    box = actions_of(action="box")
    action = np.zeros(box.space.shape, np.float32)
    action[-4:] = -1, 0.51, 1, 0.51
    assert changed(box, action) == ([0], [CHANNELS + SPARE - 1])
    action[-4:] = -1, 0.5, 1, -1
    assert changed(box, action) == ([-1], [-1])
    discrete = actions_of(action="multidiscrete")
    action = np.zeros(discrete.space.shape, np.int64)
    action[-2:] = 2, 0
    assert changed(discrete, action) == ([1], [-1])
    plain = actions_of(action="dict", channel_rows=CHANNELS + SPARE + 2, closes_per_step=2)
    assert changed(plain, {"close": [3, -1], "open": [5]}) == ([3, -1], [5])
    assert changed(plain, {"close": [CHANNELS + SPARE, 0], "open": [-1]}) == ([-1, 0], [-1])


@pytest.mark.parametrize("form", FORMS)
def test_masks_have_options_to_close_and_to_open(form):
    actions = actions_of(action=form)
    rows = CHANNELS + SPARE
    allowed = np.zeros((OPTIONS + 2, rows), np.int8)
    allowed[OPTIONS, 2], allowed[OPTIONS + 1, CHANNELS] = 1, 1
    actions.space.seed(1)
    seen = set()
    for _ in range(400):
        drawn = actions.space.sample(actions.mask(allowed.reshape(1, -1))[0])
        assert drawn in actions.space
        seen.add(tuple(one[0] for one in changed(actions, drawn)))
    if form == "box":  # which names channels by numbers of one range
        assert len(seen) > 3
    else:
        assert seen == {(-1, -1), (-1, CHANNELS), (2, -1), (2, CHANNELS)}


def test_without_the_levers_spaces_options_and_ledgers_are_as_they_were():
    task = problem_of().task
    assert set(task.actions.plain.spaces) == {
        "fee_rate_ppm", "fee_base_msat", "inbound_fee_rate_ppm", "max_htlc_sat", "rebalance", "swap"
    }  # fmt: skip
    assert task.options == OPTIONS * CHANNELS
    assert not any("pending" in name or "code" in name for name in task.ledger)
    assert task.terms == ("income_sat", "rebalance_fees_sat", "swap_fees_sat", "chain_fees_sat")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"candidates": {"count": 60}}, "candidates.count: the own node has no channel with 54 nodes"),
        ({"candidates": {"peers": ["nobody"]}}, "candidates.peers: expected names of other nodes"),
        ({"candidates": {"peers": ["own"]}}, "candidates.peers: expected names of other nodes"),
        ({"candidates": {"count": 0}}, "candidates.count must lie in"),
        ({"backend": "lnd", "levers": ["fees", "close"]}, "leave 'close' and 'open' out of levers"),
    ],
)
def test_settings_at_fault_are_named(settings, said):
    with pytest.raises(ConfigError, match=said):
        with_channels(**settings)


@slow
@pytest.mark.parametrize("form", FORMS)
def test_the_checker_of_gymnasium_finds_nothing(form):
    check_env(with_channels(action=form).unwrapped, skip_render_check=True)


@slow
@pytest.mark.parametrize("value", ["par", "replacement_cost"])
@pytest.mark.parametrize("form", FORMS)
def test_funds_gain_what_was_earned_less_what_was_paid_to_the_millisatoshi(form, value):
    env = with_channels(action=form, liquidity_value=value, others={"offline_share": 0.2})
    own = env.unwrapped.problem.task.out
    env.action_space.seed(2)
    _, info = env.reset(seed=2)
    before, counted = None, np.zeros(3, np.int64)
    for step in range(40):
        action = env.action_space.sample(info["action_mask"] if step % 2 else None)
        _, reward, _, _, info = env.step(action)
        money, terms = info["ledger"], info["rewards"]
        held_msat = env.unwrapped.balances_msat().ravel()[own].sum()
        assert money["funds_msat"] == held_msat + sum(money[name] for name in MONEY)
        now = money["funds_msat"], money["replacement_msat"]
        if before is not None:
            assert now[0] - before[0] == money["income_msat"] - sum(money[name] for name in COSTS)
            assert reward == (now[0] - before[0] - now[1] + before[1]) / 1000
            assert reward == pytest.approx(terms["income_sat"] - sum(list(terms.values())[1:]), abs=1e-6)
        before = now
        counted += [money[name] for name in ("channels_closed", "channels_opened", "channel_changes_refused")]
        assert (now[1] == 0) or value == "replacement_cost"
    assert (counted > 0).all()


@slow
def test_what_a_step_did_leads_from_the_network_before_it_to_the_one_after_it():
    env = with_channels(action="dict", others={"offline_share": 0.2})
    env.action_space.seed(5)
    _, info = env.reset(seed=5)
    moved = 0
    for step in range(30):
        topology, before_msat = env.unwrapped.topology, env.unwrapped.balances_msat()
        action = env.action_space.sample(info["action_mask"] if step % 2 else None)
        *_, info = env.step(action)
        done = env.unwrapped.interventions()
        now = topology_after(topology, done)
        assert now.policies == env.unwrapped.topology.policies
        paid_from_msat = balances_after(topology, before_msat, done)
        *_, (_, after_msat) = balances_per_payment(now, paid_from_msat, env.unwrapped.last_outcomes())
        assert np.array_equal(after_msat, env.unwrapped.balances_msat())
        total_msat = after_msat.sum(axis=1)
        foreign = np.delete(np.arange(len(total_msat)), env.unwrapped.problem.task.out // 2)
        assert np.array_equal(total_msat[foreign], env.unwrapped.topology.owned_total_msat[foreign])
        moved += sum(intervention_record(one).status_change is not None for one in done)
    assert moved > 20


@slow
def test_a_channel_that_is_closed_pays_out_when_its_transaction_confirms():
    env = with_channels(action="dict", others=ALONE, chain={**CALM, "confirmation_hours": 12})
    task = env.unwrapped.problem.task
    observation, _ = env.reset(seed=3)
    place = int(np.flatnonzero((task.out % 2 == 0)[:OWN] & (feature(observation, "local_balance")[:OWN] > 1))[0])
    direction = int(task.out[place])
    before_msat = int(env.unwrapped.balances_msat().ravel()[direction])
    locked_msat = int(
        1000 * task.topology.arrays.capacity_sat[direction // 2] - task.topology.owned_total_msat[direction // 2]
    )
    observation, *_, info = env.step({"close": [place]})
    money = info["ledger"]
    fee_msat = money["chain_fee_msat"]
    assert 203_000 * 0.75 - 1000 <= fee_msat <= 203_000 * 1.25 + 1000
    assert money["pending_msat"] == before_msat + locked_msat - fee_msat
    assert money["wallet_msat"] == 5_000_000_000
    assert [feature(observation, name)[place] for name in ("local_balance", "remote_balance", "active")] == [0, 0, 0]
    assert info["action_mask"].reshape(OPTIONS + 2, -1)[:, place].tolist() == [0] * (OPTIONS + 2)
    again = env.step({"close": [place]})[4]["ledger"]
    assert (again["channel_changes_refused"], again["pending_msat"]) == (1, money["pending_msat"])
    paid = env.step({})[4]
    assert paid["ledger"]["wallet_msat"] == 5_000_000_000 + money["pending_msat"]
    assert paid["ledger"]["pending_msat"] == 0
    assert paid["action_mask"].reshape(OPTIONS + 2, -1)[-1, place] == (
        paid["ledger"]["wallet_msat"] >= 1000 * int(task.topology.arrays.capacity_sat[direction // 2]) + 110_000_000
    )


@slow
def test_a_channel_that_is_opened_takes_its_capacity_and_the_fee_and_forwards_once_confirmed():
    env = with_channels(action="dict", others=ALONE)
    task = env.unwrapped.problem.task
    observation, info = env.reset(seed=4)
    assert feature(observation, "active")[OWN:].tolist() == [0] * SPARE
    assert info["action_mask"].reshape(OPTIONS + 2, -1)[-1].tolist() == [0] * OWN + [1] * SPARE
    observation, *_, info = env.step({"open": [OWN]})
    money = info["ledger"]
    assert 223_000 * 0.75 - 1000 <= money["chain_fee_msat"] <= 223_000 * 1.25
    assert money["wallet_msat"] == 4_000_000_000 - money["chain_fee_msat"]
    assert money["pending_msat"] == 1_000_000_000
    assert feature(observation, "active")[OWN] == 0
    cheap = {"fee_rate_ppm": np.zeros(OWN + SPARE, int), "fee_base_msat": np.zeros(OWN + SPARE, int)}
    observation, *_, info = env.step(cheap)
    assert info["ledger"]["pending_msat"] == 0
    owned_msat = int(task.topology.owned_total_msat[task.out[OWN] // 2])
    held = env.unwrapped.balances_msat()[task.out[OWN] // 2]
    assert held.sum() == owned_msat
    assert feature(observation, "active")[OWN] == 1
    assert feature(observation, "fee_rate")[OWN] == 0
    forwarded = 0.0
    for _ in range(40):
        observation, *_ = env.step({})
        forwarded += feature(observation, "forwarded_out")[OWN] + feature(observation, "forwarded_in")[OWN]
        assert not feature(observation, "forwarded_out")[OWN + 1 :].any()
    assert forwarded > 0


@slow
def test_a_wallet_keeps_back_what_lnd_reserves_for_anchors():
    enough_sat = 1_000_000 + 223 + 70_000  # a fee of at most 1 sat for each byte, six channels that are there and this
    for wallet_sat, opened in ((enough_sat + 100, 1), (enough_sat - 300, 0)):
        env = with_channels(action="dict", others=ALONE, wallet_sat=wallet_sat)
        env.reset(seed=0)
        money = env.step({"open": [OWN]})[4]["ledger"]
        assert (money["channels_opened"], money["channel_changes_refused"]) == (opened, 1 - opened)


@slow
def test_liquidity_at_replacement_cost_charges_what_went_out_of_channels():
    env = make(action="dict", liquidity_value="replacement_cost", replacement_ppm=1_000)
    own = env.unwrapped.problem.task.out
    env.reset(seed=1)
    began_msat = env.unwrapped.balances_msat().ravel()[own]
    for _ in range(12):
        *_, info = env.step({"fee_rate_ppm": [20] * OWN})
        gone_msat = np.maximum(began_msat - env.unwrapped.balances_msat().ravel()[own], 0).sum()
        assert info["ledger"]["replacement_msat"] == gone_msat * 1_000 // 1_000_000
    assert gone_msat > 0
    now_msat = env.unwrapped.balances_msat().ravel()[own]
    fullest = int(np.argmax(np.where(now_msat <= began_msat, now_msat, 0)))
    swapped = env.step({"swap": [[fullest, 1_000_000]]})[4]  # which costs a thousand sat to move back
    assert swapped["ledger"]["swap_fee_msat"] > 0
    assert swapped["rewards"]["replacement_sat"] == pytest.approx(1_000, abs=200)


@slow
def test_vectors_play_the_same_episodes_and_levers_that_are_unused_change_no_reward():
    several = gym.make_vec(ID, num_envs=2, vectorization_mode="vector_entry_point", **{**SMALL, **CHANNELS_TOO})
    singles = [with_channels() for _ in range(2)]
    several.reset(seed=7)
    for place, env in enumerate(singles):
        env.reset(seed=7 + place)
    several.action_space.seed(1)
    for _ in range(8):
        actions = several.action_space.sample()
        observed, rewards, *_, infos = several.step(actions)
        for place, env in enumerate(singles):
            one, reward, *_, info = env.step(actions[place])
            assert reward == rewards[place]
            assert np.array_equal(one["channels"], observed["channels"][place])
            assert all(info["ledger"][name] == infos["ledger"][name][place] for name in info["ledger"])
    plain, able = make(action="dict"), make(action="dict", levers=[*LEVERS[:-1]])  # close alone adds no candidates
    plain.reset(seed=6)
    able.reset(seed=6)
    for _ in range(6):
        action = {"fee_rate_ppm": [30] * OWN}
        assert plain.step(action)[1] == able.step(action)[1]
    assert len(TOPOLOGY.channels) == len(able.unwrapped.topology.channels)


@pytest.mark.parametrize("form", FORMS)
def test_doing_nothing_closes_and_opens_nothing(form):
    task = problem_of(levers=list(LEVERS), candidates={"count": SPARE}, action=form).task
    still = task.actions.nothing(2)
    assert all(one in task.actions.space for one in still)
    assert np.array_equal(task.actions.decode(still), np.tile(task.idle_decision, (2, 1)))


@slow
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("mode", ["ansi", "rgb_array"])
def test_what_is_closed_is_shown_and_copied_as_all_else(mode):
    env = gym.make(ID, render_mode=mode, **{**SMALL, **CHANNELS_TOO}).unwrapped
    env.action_space.seed(0)
    env.reset(seed=0)
    for _ in range(4):
        env.step(env.action_space.sample())
    assert len(env.render()) > 100
    action, twin, state = env.action_space.sample(), pickle.loads(pickle.dumps(env)), env.save_state()
    reward = env.step(action)[1]
    assert twin.step(action)[1] == reward
    env.restore_state(state)
    assert env.step(action)[1] == reward
