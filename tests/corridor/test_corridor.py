"""Surveyed episodes, replayed: as the exact engine has them where nobody else's balances matter, and by the rules."""

import numpy as np
import pytest

from lnsim_gym.agents.operator.surveyed import play_corridor
from lnsim_gym.agents.recipe import RuleRecipe
from lnsim_gym.agents.registry import POLICIES, build_rule
from lnsim_gym.corridor import Corridor, read_survey, survey_episode, write_survey
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks.config import EnvironmentConfig
from tests.corridor.places import fixed, played, problem_of, quiet_problem

STEPS = 8


@pytest.fixture(scope="module")
def problem():
    return problem_of()


@pytest.fixture(scope="module")
def survey(problem):
    return survey_episode(problem, 3, STEPS)


def replayed(corridor, rate_ppm):
    """Forwards by step and channel, and income by step, of the first network."""
    counts, income_msat = [], []
    for _ in range(corridor.steps):
        before_msat = corridor.income_msat[0]
        corridor.step(*fixed(corridor, rate_ppm))
        counts.append(corridor.counts[0, :, :4].copy())
        income_msat.append(corridor.income_msat[0] - before_msat)
    return np.array(counts), np.array(income_msat)


@pytest.mark.parametrize("position", range(3))
def test_while_nobody_else_moves_money_both_engines_forward_the_same(position):
    """Up to 5 % of the forwards, as LND keeps one path of each node; income of equal forwards to 1 msat each.

    1 msat, as fees upon fees are left out on the way to the own node; they decide between nearly equal ways at most.
    """
    problem = quiet_problem(position)
    corridor = Corridor([survey_episode(problem, 3, STEPS)])
    all_forwards = different = 0
    for rate_ppm in (20, 1000, 4000):
        counts, income_msat, seen = played(problem, 3, STEPS, rate_ppm)
        corridor.begin()
        found, found_msat = replayed(corridor, rate_ppm)
        wrong = np.abs(counts[:, :, [0, 2]] - found[:, :, [0, 2]]).sum(axis=(1, 2)) / 2
        forwards = counts[:, :, 2].sum(axis=1)
        all_forwards, different = all_forwards + forwards.sum(), different + wrong.sum()
        assert (np.abs(income_msat - found_msat) <= forwards)[wrong == 0].all()
        if not wrong.any():
            np.testing.assert_allclose(corridor.observe()[0][0], seen, atol=1e-5)
    assert all_forwards > 20 or position == 2
    assert different <= max(0.05 * all_forwards, 3)


def test_the_reference_earns_in_the_corridor_about_what_it_earned_while_surveyed(survey):
    corridor = Corridor([survey])
    replayed(corridor, survey.reference_ppm)
    assert corridor.income_msat[0] == pytest.approx(survey.reference_income_msat, rel=0.25)


def test_money_is_conserved_and_income_is_what_the_own_ends_gain(survey):
    corridor = Corridor([survey], copies=2)
    total_msat = survey.balance_msat.sum(axis=0)
    rng = np.random.default_rng(0)
    for step in range(corridor.steps):
        local_msat = corridor.own.local_msat.sum(axis=1)
        net_msat = corridor.income_msat - corridor.paid_msat
        leave, back = rng.choice(corridor.channels, 2, replace=False)
        corridor.step(*fixed(corridor, 50 * step, [leave, back, 50_000_000, 9_000]))
        np.testing.assert_array_equal(corridor.own.local_msat + corridor.own.remote_msat, [total_msat] * 2)
        gained_msat = corridor.own.local_msat.sum(axis=1) - local_msat
        np.testing.assert_array_equal(gained_msat, corridor.income_msat - corridor.paid_msat - net_msat)
    assert (corridor.paid_msat > 0).all()
    assert (corridor.moved_msat > 0).all()
    assert (corridor.own.local_msat >= corridor.own.keep_local_msat).all()
    assert corridor.income_msat[0] == corridor.income_msat[1]  # copies play the same


def test_others_take_four_changes_in_a_row_and_one_a_day(survey):
    corridor = Corridor([survey])
    taken = []
    for step in range(corridor.steps):
        corridor.step(*fixed(corridor, 1_000 if step % 2 else 2_000))
        taken.append(int(corridor.own.fee_rate_ppm[0, 0]))
    assert taken == [2_000, 1_000, 2_000, 1_000, 2_000, 2_000, 2_000, 2_000]  # the fifth was saved up by a day
    corridor.begin()
    corridor.step(*fixed(corridor, 1_000))
    corridor.step(*fixed(corridor, 1_050))
    assert (corridor.own.fee_rate_ppm == 1_000).all()  # by 5 %, which is not announced
    with pytest.raises(ConfigError, match="all of which are done"):
        replayed(corridor, 1_000)


@pytest.mark.parametrize("policy", ["static", "ln_operator", "charge_lnd", "brln_autofee", "clboss", "revenue_ops"])
def test_any_rule_plays_surveyed_episodes(problem, survey, policy):
    rule = build_rule(policy, RuleRecipe(policy=policy, settings={}), problem)
    corridor = Corridor([survey])
    net_sat = play_corridor(rule, corridor)
    assert net_sat == pytest.approx((corridor.income_msat - corridor.paid_msat) / 1000 / (STEPS / 4))
    np.testing.assert_array_equal(rule.around.same_peer[0], np.equal.outer(survey.peer, survey.peer))
    rule.graphs.choose({"step": np.zeros(1)})
    np.testing.assert_allclose(rule.around.peers_pay_ppm(0.65), rule.graphs.peers_pay_ppm(0.65))


def test_a_rule_that_knows_too_much_or_another_node_is_refused(survey):
    corridor = Corridor([survey])
    with pytest.raises(ConfigError, match="fee_oracle knows"):
        play_corridor(POLICIES["fee_oracle"](problem_of()), corridor)
    other = problem_of(topology="public(nodes = 60, own_channels = 4, own_capacity_sat = 20_000_000)")
    rule = build_rule("charge_lnd", RuleRecipe(policy="charge_lnd", settings={}), other)
    with pytest.raises(ConfigError, match=r"for 6 own channels .* got one for 4"):
        play_corridor(rule, corridor)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"task": "liquidity"}, "task 'operator'"),
        ({"levers": ["fees", "close"]}, "leave 'close' and 'open'"),
        ({"payment": {"max_parts": 4}}, "max_parts=1"),
        ({"topology": ["public(nodes = 60, own_channels = 6)"] * 2}, "2 variants"),
    ],
)
def test_what_cannot_be_surveyed_is_refused(settings, said):
    is_other = settings == {"task": "liquidity"}
    problem = Problem.of(EnvironmentConfig.of({})) if is_other else problem_of(**settings)
    with pytest.raises(ConfigError, match=said):
        survey_episode(problem, 0, 1)


def test_a_file_gives_the_survey_back_to_its_owner_only(tmp_path, survey):
    path = tmp_path / "survey.npz"
    write_survey(path, survey)
    assert path.stat().st_mode & 0o077 == 0
    for name, part in read_survey(path)._asdict().items():
        np.testing.assert_array_equal(part, getattr(survey, name), err_msg=name)


def test_a_file_that_is_cut_off_missing_or_of_another_form_is_refused(tmp_path, survey):
    path = tmp_path / "survey.npz"
    with pytest.raises(ConfigError, match="does not exist"):
        read_survey(path)
    write_survey(path, survey)
    whole = path.read_bytes()
    for length in (0, 100, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:length])
        with pytest.raises(ConfigError, match="expected a survey, got"):
            read_survey(path)
    np.savez(path, form=np.array("lnsim corridor survey 0"), seed=np.array(1))
    with pytest.raises(ConfigError, match="got 'lnsim corridor survey 0'"):
        read_survey(path)


def test_surveys_of_unlike_nodes_are_not_replayed_together(survey):
    with pytest.raises(ConfigError, match="at least one survey"):
        Corridor([])
    with pytest.raises(ConfigError, match="one step_ms"):
        Corridor([survey, survey._replace(step_ms=1)])
