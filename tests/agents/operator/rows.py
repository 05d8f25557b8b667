"""Channels of an own node as a test puts them, shown to a rule without any simulator."""

import numpy as np

from lnsim_gym.agents.operator.base import Seen
from lnsim_gym.agents.registry import POLICIES
from lnsim_gym.episodes import Problem
from lnsim_gym.tasks.config import EnvironmentConfig
from lnsim_gym.tasks.operator.features import CHANNEL_FEATURES

CHANNELS = 4
SETTINGS = {
    "task": "operator",
    "topology": "public(nodes = 60, own_channels = 4, own_capacity_sat = 16_000_000)",
    "action": "dict",
}
UNITS = dict.fromkeys(("capacity", "local_balance", "remote_balance"), 1e6)
UNITS |= {name: 1e6 for name in CHANNEL_FEATURES if name.endswith("_amount")}
UNITS |= {name: 1e3 for name in CHANNEL_FEATURES if "fee_rate" in name or "fee_base" in name}
UNITS |= {"fee_earned": 1e3, "fee_sourced": 1e3, "forwarded_in": 10, "forwarded_out": 10}
UNITS |= {name: 10 for name in CHANNEL_FEATURES if name.startswith("failed_")}


def problem_of(**settings):
    return Problem.of(EnvironmentConfig.of({**SETTINGS, **settings}))


class Board:
    """A rule and the four channels of 4 M sat that it sees, half local at first.

    Args:
        policy: The rule, by its name in recipes.
        config: Settings of the environment.
        settings: Those of the rule.
    """

    def __init__(self, policy, config=None, **settings):
        self.problem = problem_of(**(config or {}))
        self.rule = POLICIES[policy](self.problem, **settings)
        self.step = 0

    def row(self, local=0.5, **features):
        """An observation row; features by channel, in plain units."""
        capacity_sat = 4e6
        local = np.broadcast_to(local, CHANNELS)
        shown = {
            "capacity": capacity_sat,
            "local_balance": local * capacity_sat,
            "remote_balance": (1 - local) * capacity_sat,
            "active": 1,
            "max_htlc": 1,
            "peer_max_htlc": 1,
            "fee_rate": 100,
            "fee_base": 1000,
            "days_since_change": 30,
            "changes_left": 4,
            **features,
        }
        task = self.problem.task
        row = np.zeros((1, task.observations.size), np.float32)
        for name, values in shown.items():
            task.observations.by_channel(row)[0, :, CHANNEL_FEATURES.index(name)] = np.divide(
                values, UNITS.get(name, 1)
            )
        task.observations.of_node(row)[0] = [2, 0.1, 0, 0]
        return row

    def act(self, local=0.5, **features):
        """Show the channels, and return the action."""
        row = self.row(local, **features)
        info = {name: np.array([value]) for name, value in (("seed", 1), ("episode_number", 0), ("step", self.step))}
        self.step += 1
        shown = self.problem.task.observations.present(row)
        (action,) = self.rule.act(shown, info, np.random.default_rng(0))
        assert self.problem.task.actions.space.contains(action)
        return {name: part.tolist() for name, part in action.items()}

    def seen(self, **features):
        return Seen.of(*(part for part in self.problem.task.observations.present(self.row(**features)).values()))
