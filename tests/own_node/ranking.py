"""Are policies ranked as the truth has them? ``python -m tests.own_node.ranking 200:206``.

Each node lives some weeks in a small market of its own, run by a rule; a backtest sees its history alone, and ranks
five policies in its last weeks. Then the true market plays fresh weeks with each of these, from where the node stands.
Where the truth separates two policies (the 95 % interval of the difference of their nets, week by week, leaves out 0),
the backtest should have them in that order.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import combinations

import numpy as np

from lnsim_gym.agents import make_agent
from lnsim_gym.agents.evaluate import bootstrap, play_episodes
from lnsim_gym.agents.recipe import view_of
from lnsim_gym.errors import ConfigError
from lnsim_gym.network.public import public
from lnsim_gym.own_node import backtest_node
from lnsim_gym.own_node.backtest.told import Backtest
from tests.own_node.histories import History, problem_of, simulate, with_numbers

POLICIES = ("noop", "static", "charge_lnd", "feelancer", "lndg_fees")
HISTORIES = ("charge_lnd", "static", "noop")
DAYS, BACK, WEEKS, STEPS = 42, 3, 24, 28
MARKET = {"kind": "market", "payments_per_day": 300}


def ranked(seed: int) -> tuple[Backtest, np.ndarray]:
    """Return the backtest of one node, and the true net of each policy in each week, shape (policies, weeks).

    Raises:
        ConfigError: Its history is too short to tell anything.
    """
    topology = public(nodes=120, own_channels=8, own_capacity_sat=30_000_000, seed=seed, own_seed=seed)
    rule = HISTORIES[seed % len(HISTORIES)]
    history = simulate(problem_of(with_numbers(topology), traffic=MARKET), rule, DAYS, 100 + seed)
    found = backtest_node(history.node, history.topology, POLICIES, weeks=BACK)
    return found, np.stack([_truth(history, policy) for policy in POLICIES])


def _truth(history: History, policy: str) -> np.ndarray:
    """Return what a policy gains a day in fresh weeks of the true market."""
    view = {"action": "dict", **view_of(policy, "operator")}
    problem = problem_of(history.topology, warm_up_days=0.0, traffic=MARKET, **view)
    tally = play_episodes(make_agent(policy, problem), range(5_000, 5_000 + WEEKS), STEPS)
    return tally.reward / tally.days


def rows(seeds: range) -> Iterator[str]:
    """Yield what each node's ranking was worth, and in the end of all of them."""
    right = told = 0
    for seed in seeds:
        try:
            found, true = ranked(seed)
        except ConfigError as problem:
            yield f"{seed}: {problem}"
            continue
        if not found.is_reproduced:
            yield f"{seed}: not reproduced ({found.income:.0f} of {found.foretold_low:.0f}..{found.foretold_high:.0f})"
            continue
        net = {one.policy: one.net for one in found.policies}
        separated, wrong = 0, []
        for one, other in combinations(range(len(POLICIES)), 2):
            low, high = bootstrap(true[one] - true[other])
            if low <= 0 <= high:
                continue
            separated += 1
            if (net[POLICIES[one]] > net[POLICIES[other]]) != (low > 0):
                wrong.append(f"{POLICIES[one]}/{POLICIES[other]} ({low:+.0f}..{high:+.0f})")
        right, told = right + separated - len(wrong), told + separated
        nets = ", ".join(
            f"{policy} {net[policy]:.0f} ({mean:.0f})" for policy, mean in zip(POLICIES, true.mean(axis=1), strict=True)
        )
        said = f", wrong: {', '.join(wrong)}" if wrong else ""
        yield f"{seed}: {nets}; {separated - len(wrong)} of {separated} right{said}"
    yield f"{right} of {told} pairs right"


if __name__ == "__main__":
    first, last = (int(part) for part in sys.argv[1].split(":"))
    for row in rows(range(first, last)):
        print(row, flush=True)
