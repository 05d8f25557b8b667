"""What actions of an own node mean in each form, what masks leave of them, and rows that stand for no channel."""

import gymnasium as gym
import numpy as np
import pytest

from lnsim_gym.agents import make_agent
from lnsim_gym.errors import ConfigError, InvalidAction
from lnsim_gym.tasks.operator.actions import OPTIONS, QUIET
from lnsim_gym.tasks.operator.features import CHANNEL_FEATURES, KEEP, NODE_FEATURES
from tests.agents.operator.rows import CHANNELS, problem_of

FORMS = ("box", "multidiscrete", "dict")
ROWS = 7


def actions_of(**settings):
    return problem_of(**settings).task.actions


def decoded(actions, action):
    """The decision that one action is: policies by channel, rebalances, swaps."""
    parts = actions.parts_of(np.array(actions.decode_one(action))[None])
    return parts.policies[0], parts.rebalances[0], parts.swaps[0]


@pytest.mark.parametrize("rows", [0, ROWS])
@pytest.mark.parametrize("form", FORMS)
def test_doing_nothing_is_an_action_of_every_form(form, rows):
    problem = problem_of(action=form, channel_rows=rows)
    actions = problem.task.actions
    info = {"step": np.zeros(3), "action_mask": actions.mask(np.ones((3, actions.options), np.int8))}
    chosen = make_agent("noop", problem).act(None, info, np.random.default_rng(0))
    assert all(one in actions.space for one in chosen)
    assert np.array_equal(actions.decode(chosen), np.tile(problem.task.idle_decision, (3, 1)))


def test_numbers_near_zero_keep_a_policy_and_those_beyond_stretch_over_all_values():
    actions = actions_of(action="box", levers=["fees", "inbound_fees", "max_htlc"], max_fee_rate_ppm=999)
    action = np.zeros((CHANNELS, 4), np.float32)
    action[0] = -1, -1, -1, -1
    action[1] = 1, 1, 1, 1
    quiet, middle = QUIET - 1e-6, QUIET + 1e-6
    action[2] = quiet, -quiet, quiet, 0
    action[3] = middle, -middle, middle, middle
    policies, *_ = decoded(actions, action.ravel())
    capacity_msat = actions.limits.capacity_msat
    assert policies[0].tolist() == [0, 0, 0, capacity_msat[0] // 1_000_000 * 1000]  # a thousandth, in whole sat
    assert policies[1].tolist() == [999, 5_000, -999, capacity_msat[1]]
    assert policies[2].tolist() == [KEEP] * 4
    assert policies[3, :3].tolist() == [31, 2_500, -31]  # the root of 1,000 less 1


def test_rebalances_and_swaps_of_a_box_are_shares_of_the_channels_that_they_leave():
    actions = actions_of(action="box", levers=["rebalance", "swap"], rebalances_per_step=2, max_fee_rate_ppm=999)
    action = np.zeros(10, np.float32)
    action[:4] = -1, 0.99, 1, 1  # from the first channel to the last
    action[4:8] = 1, 1, QUIET - 1e-6, 1
    action[8:] = 0.1, -0.5
    _, rebalances, swaps = decoded(actions, action)
    first_sat, _, third_sat, _ = (actions.limits.capacity_msat // 1000).tolist()
    assert rebalances.tolist() == [[0, 3, first_sat // 5 * 1000, 999], [-1] * 4]
    assert swaps.tolist() == [[2, -(third_sat // 2 * 1000)]]


@pytest.mark.parametrize("form", FORMS)
def test_plain_numbers_are_taken_in_every_form_and_what_they_leave_out_stays(form):
    actions = actions_of(action=form)
    assert (decoded(actions, {})[0] == KEEP).all()
    policies, rebalances, swaps = decoded(actions, {"fee_rate_ppm": [5, -1, 7, -1], "swap": [[2, -9]]})
    assert policies[:, 0].tolist() == [5, KEEP, 7, KEEP]
    assert (policies[:, 1:] == KEEP).all()
    assert (rebalances == -1).all()
    assert swaps.tolist() == [[2, -9_000]]


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ({"fee_rat_ppm": [1, 1, 1, 1]}, "Did you mean 'fee_rate_ppm'"),
        ({"fee_rate_ppm": 5}, "expected 'fee_rate_ppm' of shape"),
        ({"fee_rate_ppm": [1, 1, 1]}, "expected 'fee_rate_ppm' of shape"),
        ({"fee_rate_ppm": [1, 1, 1, 1.5]}, "with integers in -1..5000"),
        ({"fee_rate_ppm": [1, 1, 1, 6_000]}, "with integers in -1..5000"),
        ({"rebalance": [[0, 1, 5]]}, "expected 'rebalance' of shape"),
        ({"swap": [[4, 5]]}, "expected 'swap' of shape"),
        ([0.0], "expected"),
        (5, "expected"),
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_actions_at_fault_are_refused_with_what_was_expected(form, action, said):
    with pytest.raises(InvalidAction, match=said if isinstance(action, dict) else "expected"):
        actions_of(action=form).decode_one(action)


@pytest.mark.parametrize("form", FORMS)
def test_rows_beyond_the_channels_do_nothing(form):
    few, many = actions_of(action=form), actions_of(action=form, channel_rows=ROWS)
    many.space.seed(3)
    for _ in range(50):
        _, rebalances, swaps = decoded(many, many.space.sample())
        assert (rebalances[:, :2] < CHANNELS).all()
        assert (swaps[:, 0] < CHANNELS).all()
    assert few.limits.decision == many.limits.decision
    assert many.plain["fee_rate_ppm"].shape == (ROWS,)


@pytest.mark.parametrize("rows", [0, ROWS])
@pytest.mark.parametrize("form", FORMS)
def test_samples_from_a_mask_do_only_what_it_allows(form, rows):
    actions = actions_of(action=form, channel_rows=rows)
    allowed = np.zeros((OPTIONS, CHANNELS), np.int8)
    actions.space.seed(1)
    for _ in range(20):
        drawn = actions.space.sample(actions.mask(allowed.reshape(1, -1))[0])
        assert drawn in actions.space
        policies, rebalances, swaps = decoded(actions, drawn)
        assert (policies == KEEP).all()
        assert (rebalances[:, 0] == -1).all()
        assert (swaps[:, 0] == -1).all()
    allowed[:, 1] = 1
    allowed[2, 2] = 1
    seen = set()
    for _ in range(200):
        drawn = actions.space.sample(actions.mask(allowed.reshape(1, -1))[0])
        policies, rebalances, swaps = decoded(actions, drawn)
        assert (policies[[0, 2, 3]] == KEEP).all()
        if form != "box":  # which names channels by numbers of one range
            assert set(rebalances[:, 0]) <= {-1, 1}
            assert set(rebalances[rebalances[:, 0] >= 0, 1]) <= {1, 2}
            assert set(swaps[:, 0]) <= {-1, 1}
        seen |= {("policy", bool((policies[1] != KEEP).any())), ("move", bool((rebalances[:, 0] >= 0).any()))}
        seen.add(("swap", bool((swaps[:, 0] >= 0).any())))
    assert {("policy", True), ("move", True), ("swap", True)} <= seen


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_chance_plays_every_form(form, masked, tmp_path):
    recipe = tmp_path / "chance.toml"
    recipe.write_text(f'policy = "random"\nmasked = {str(masked).lower()}\n')
    problem = problem_of(action=form)
    actions = problem.task.actions
    agent = make_agent(str(recipe), problem)
    info = {"action_mask": actions.mask(np.ones((2, actions.options), np.int8))}
    first = agent.act(None, info, np.random.default_rng(4))
    again = agent.act(None, info, np.random.default_rng(4))
    assert all(one in actions.space for one in first)
    assert np.array_equal(actions.decode(first), actions.decode(again))
    assert not np.array_equal(*actions.decode(first))


@pytest.mark.parametrize("kind", ["dict", "flat"])
def test_observations_have_rows_for_more_channels_than_there_are(kind):
    plain, padded = (problem_of(observation=kind, channel_rows=rows).task.observations for rows in (0, ROWS))
    rows = np.arange(2 * plain.size, dtype=np.float32).reshape(2, -1)
    few, many = plain.present(rows), padded.present(rows)
    assert all(gym.vector.utils.batch_space(space, 2).contains(shown) for space, shown in [(padded.space, many)])
    if kind == "flat":
        assert np.array_equal(padded.by_channel(many), plain.by_channel(few))
        assert np.array_equal(padded.of_node(many), plain.of_node(few))
        assert many.shape == (2, ROWS * len(CHANNEL_FEATURES) + len(NODE_FEATURES))
        assert not many[:, CHANNELS * len(CHANNEL_FEATURES) : -len(NODE_FEATURES)].any()
        return
    assert np.array_equal(many["channels"][:, :CHANNELS], few["channels"])
    assert not many["channels"][:, CHANNELS:].any()
    assert many["channel_mask"].tolist() == [[1] * CHANNELS + [0] * (ROWS - CHANNELS)] * 2
    assert "channel_mask" not in few


@pytest.mark.parametrize("form", ["box", "multidiscrete"])
def test_nodes_of_any_size_have_the_same_spaces_with_rows_for_all_of_them(form):
    larger = "public(nodes = 60, own_channels = 6, own_capacity_sat = 50_000_000)"
    four, six = (problem_of(action=form, channel_rows=ROWS, **settings).task for settings in ({}, {"topology": larger}))
    assert (len(four.out), len(six.out)) == (4, 6)
    assert four.actions.space == six.actions.space
    assert four.observations.space == six.observations.space


def test_fewer_rows_than_channels_are_refused():
    with pytest.raises(ConfigError, match="expected a row for each of 4 own channels, got channel_rows=3"):
        problem_of(channel_rows=3)


def test_a_rule_acts_on_padded_rows_as_on_its_channels_alone():
    action = {}
    for rows in (0, ROWS):
        problem = problem_of(channel_rows=rows)
        agent = make_agent("static", problem)
        row = np.zeros((1, problem.task.observations.size), np.float32)
        info = {"seed": np.zeros(1, int), "episode_number": np.zeros(1, int), "step": np.zeros(1, int)}
        (action[rows],) = agent.act(problem.task.observations.present(row), info, np.random.default_rng(0))
        assert action[rows] in problem.task.actions.space
    assert all(action[ROWS][name][:CHANNELS].tolist() == action[0][name].tolist() for name in ("fee_rate_ppm",))
