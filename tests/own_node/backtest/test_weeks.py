"""Backtests of a node of which the law is known: what is foretold, what is refused, and what is ranked."""

from dataclasses import replace

import numpy as np
import pytest

from lnsim_gym.errors import ConfigError
from lnsim_gym.own_node import backtest_node
from lnsim_gym.own_node.backtest.text import conclusions, open_questions, policy_rows, verdict, week_rows
from lnsim_gym.own_node.backtest.told import LOGGED
from lnsim_gym.own_node.demand.past import Past
from lnsim_gym.own_node.reading.history import DAY_NS, Forwards, Refills
from tests.own_node.coverage import foretell, history
from tests.own_node.histories import more_in_the_last_week, recipe_of


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return history(104, recipe_of(tmp_path_factory.mktemp("recipes"), 20), weeks=3)


@pytest.mark.slow
def test_the_own_policy_is_foretold_and_others_are_ranked_as_they_are_in_truth(known, tmp_path):
    recipe, told = recipe_of(tmp_path, 5_000), []
    found = backtest_node(
        known.node, known.topology, [recipe, "noop", "static"], weeks=1, draws=20, tell=lambda *what: told.append(what)
    )
    assert found.is_reproduced
    assert [one.policy for one in found.policies][:2] == [LOGGED, "static"]
    assert [one.net for one in found.policies[1:]] == sorted((one.net for one in found.policies[1:]), reverse=True)
    logged, better, idle, dear = (
        {one.policy: one for one in found.policies}[name] for name in (LOGGED, "static", "noop", recipe)
    )
    truth = history(104, "static", weeks=3)  # the same market at 250 ppm
    assert truth.income_sat.sum() > 3 * known.income_sat.sum()
    assert better.net > 2 * logged.net
    assert better.ahead_chance > 0.9
    assert found.income == pytest.approx(known.income_sat[-28:].sum() / 7, rel=1e-3)
    assert logged.ahead == logged.ahead_low == logged.ahead_high == 0
    assert idle.net == pytest.approx(logged.net, rel=0.05)  # the policy was to leave the fee rates as they are
    assert dear.ahead_chance < 0.25  # in a few draws someone who pays much has no other way
    week = found.weeks[0]
    assert week.foretold_low <= week.foretold <= week.foretold_high
    assert week.log_likelihood > week.log_likelihood_pooled
    assert [what for what, done, _ in told if done] == ["fit", LOGGED, recipe, "noop", "static"]
    assert "reproduces it" in verdict(found)
    assert "Clearly more than your own policy: static" in "\n".join(conclusions(found))
    assert f"({dear.ahead_chance:.0%})" in "\n".join(conclusions(found))
    assert found.rates_ppm == (20, 20)
    assert "20 to 20 ppm" in "\n".join(open_questions(found))
    assert len(list(week_rows(found))) == 1
    assert len(list(policy_rows(found))) == 4


def test_what_the_simulation_does_not_reproduce_ranks_nothing(known):
    node = more_in_the_last_week(known.node, 20)
    found = backtest_node(node, known.topology, ["noop"], weeks=1, draws=12)
    assert not found.is_reproduced
    assert [one.policy for one in found.policies] == [LOGGED]
    assert "does NOT reproduce it, and ranks nothing" in verdict(found)
    assert not list(conclusions(found))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"weeks": 4}, "expected a history of 35 days for 4 weeks"),
        ({"weeks": 0}, "expected at least 1 week and 10 draws, got 0 and 40"),
        ({"draws": 5}, "got 1 and 5"),
    ],
)
def test_what_cannot_be_tested_is_refused(known, settings, complaint):
    with pytest.raises(ConfigError, match=complaint):
        backtest_node(known.node, known.topology, [], **{"weeks": 1, **settings})


def test_a_policy_that_there_is_not_is_refused_at_once(known):
    with pytest.raises(ConfigError, match="expected an agent that can run a node of your own, got 'nobody'"):
        backtest_node(known.node, known.topology, ["nobody"], weeks=1)
    with pytest.raises(ConfigError, match="not one forward"):
        backtest_node(replace(known.node, forwards=Forwards.of([])), known.topology, [], weeks=1)


def test_a_policy_that_cannot_run_a_node_is_refused_before_the_first_fit(known):
    told = []
    with pytest.raises(ConfigError, match="got 'ring'"):
        backtest_node(known.node, known.topology, ["ring"], weeks=1, draws=10, tell=lambda *what: told.append(what))
    assert told == []


def test_a_class_of_ones_own_is_played_as_its_recipe_would_be(known, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from lnsim_gym.agents.operator import OperatorRule\n"
        "class Flat(OperatorRule):\n"
        "    def decide(self, seen, plan, rng):\n"
        "        plan.fee_rate_ppm[:] = 90\n"
    )
    found = backtest_node(known.node, known.topology, [f"{mine}:Flat", recipe_of(tmp_path, 90)], weeks=1, draws=10)
    _, one, other = found.policies
    assert {one.policy, other.policy} == {f"{mine}:Flat", recipe_of(tmp_path, 90)}
    assert one.net == other.net


def test_refills_of_the_past_are_played_again(known):
    past = Past(known.node, known.topology)
    local = past.local_msat([past.end_ns])[0] / past.topology.owned_total_msat[past.out // 2]
    leave, back = (int(past.numbers[place]) for place in (local.argmax(), local.argmin()))
    days = range(1, 7)
    refills = [(past.end_ns - day * DAY_NS, leave, back, 20_000_000, 200_000) for day in days]
    node = replace(known.node, refills=Refills.of(refills))
    found = backtest_node(node, known.topology, [], weeks=1, draws=12)
    paid = 200 * len(days) / 7
    assert found.weeks[0].refill_fees == pytest.approx(paid)
    assert 0 < found.policies[0].rebalance_fees < 1.25 * paid
    assert found.policies[0].net == pytest.approx(found.policies[0].income - found.policies[0].rebalance_fees)


@pytest.mark.slow
def test_what_happens_lies_in_the_intervals_about_as_often_as_they_say():
    """The documentation has the figures of more histories; see ``coverage``."""
    inside = {"forwards by channel out": [], "forwards by pair": []}
    for seed, policy in ((100, "charge_lnd"), (103, "charge_lnd"), (108, "static"), (109, "charge_lnd")):
        week = foretell(history(seed, policy))
        for name, found in inside.items():
            found.extend(week[name].inside().tolist())
    assert np.mean(inside["forwards by channel out"]) > 0.85
    assert np.mean(inside["forwards by pair"]) > 0.9
