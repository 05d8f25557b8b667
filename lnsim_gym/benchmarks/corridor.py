"""How well the corridor engine stands for the exact one: the same rules, on the same episodes, in both."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import gymnasium as gym
import msgspec
import numpy as np

from lnsim_gym.agents.evaluate import play_episodes
from lnsim_gym.agents.operator.base import OperatorRule
from lnsim_gym.agents.operator.surveyed import play_corridor
from lnsim_gym.agents.registry import make_agent
from lnsim_gym.arrays import Float64
from lnsim_gym.benchmarks.report import Report, circumstances, system_load
from lnsim_gym.corridor import Corridor, survey_episode
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.network.public import placed
from lnsim_gym.tasks.config import EnvironmentConfig

__all__ = ["RULES", "CorridorFigures", "RuleFigures", "markdown", "measure"]

ENVIRONMENT_ID: Final = "LightningOperator-v0"
RULES: Final = ("static", "charge_lnd", "ln_operator", "learned_operator")
"""Those that are compared."""
FIRST_GRAPH: Final = 500
FIRST_POSITION: Final = 40
"""Where the places begin: nothing is trained on these graphs."""
SEED: Final = 7_000


class RuleFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One rule in both engines, in sat a day by place."""

    agent: str
    exact: list[float]
    corridor: list[float]


class CorridorFigures(Report, frozen=True, kw_only=True):
    """What was measured."""

    environment: str
    days: float
    places: int
    rules: list[RuleFigures]
    level: float
    """Sum of all nets in the corridor engine over that in the exact one."""
    correlation: float
    """Of the nets of all rules at all places."""
    order: float
    """Rank correlation of the rules (Spearman's), mean over places."""
    exact_s: float
    """CPU time of an episode in the exact engine."""
    corridor_s: float
    """CPU time of an episode in the corridor engine, with all places side by side."""
    survey_s: float
    """CPU time of a survey."""

    @property
    def speedup(self) -> float:
        """How many times faster the corridor engine is, surveys left out."""
        return self.exact_s / self.corridor_s


def measure(places: int, days: float = 30.0, told: Callable[[int], None] = lambda _: None) -> CorridorFigures:
    """Play each rule at each place in both engines.

    Args:
        places: How many places.
        days: Length of an episode in days of simulated time.
        told: Called with the number of places that are done.

    Raises:
        ConfigError: There is no place or no step to play.
    """
    if places < 1 or days <= 0:
        raise ConfigError(f"expected at least one place and some days to play, got {places} and {days:g}")
    load_before, exact_sat, surveys = system_load(), np.empty((places, len(RULES))), []
    exact_s = survey_s = 0.0
    for place in range(places):
        problem = _problem(place)
        steps = max(1, round(days * 24 / problem.task.config.step_hours))  # type: ignore[attr-defined]
        survey_episode(problem, SEED, 1)  # loads, or compiles, what both need
        begin_s = time.process_time()
        surveys.append(survey_episode(problem, SEED + place, steps))
        survey_s += (time.process_time() - begin_s) / places
        begin_s = time.process_time()
        for rule, name in enumerate(RULES):
            played = play_episodes(make_agent(name, problem), [SEED + place], steps)
            exact_sat[place, rule] = played.reward[0] / played.days[0]
        exact_s += (time.process_time() - begin_s) / places / len(RULES)
        told(place + 1)
    corridor_sat, corridor_s = _in_corridor(problem, Corridor(surveys))
    orders = [_rank_correlation(*nets) for nets in zip(exact_sat, corridor_sat, strict=True)]
    return CorridorFigures(
        environment=ENVIRONMENT_ID,
        days=days,
        places=places,
        rules=[
            RuleFigures(agent=name, exact=exact_sat[:, rule].tolist(), corridor=corridor_sat[:, rule].tolist())
            for rule, name in enumerate(RULES)
        ],
        level=float(corridor_sat.sum() / exact_sat.sum()),
        correlation=float(np.corrcoef(exact_sat.ravel(), corridor_sat.ravel())[0, 1]),
        order=float(np.mean(orders)),
        exact_s=exact_s,
        corridor_s=corridor_s,
        survey_s=survey_s,
        **circumstances(load_before, "gymnasium", "numpy", "numba"),
    )


def _problem(place: int) -> Problem:
    """Return the environment's problem at a place."""
    settings = dict(gym.spec(ENVIRONMENT_ID).kwargs)
    settings.pop("max_episode_steps", None)
    topology = placed(settings["topology"], graph=FIRST_GRAPH + place, position=FIRST_POSITION + place)
    view = {"observation": "dict", "action": "dict"}
    return Problem.of(EnvironmentConfig.of({**settings, **view, "topology": topology}))


def _in_corridor(problem: Problem, corridor: Corridor) -> tuple[Float64, float]:
    """Return the nets of all rules, shape (places, rules), and the CPU time of an episode."""
    nets_sat, seconds = [], 0.0
    for name in RULES:
        rule = make_agent(name, problem)
        assert isinstance(rule, OperatorRule)
        play_corridor(rule, corridor)  # loads, or compiles, what it needs
        begin_s = time.process_time()
        nets_sat.append(play_corridor(rule, corridor))
        seconds += time.process_time() - begin_s
    return np.stack(nets_sat, axis=1), seconds / len(RULES) / corridor.networks


def _rank_correlation(one: Float64, other: Float64) -> float:
    """Return Spearman's rank correlation of values without ties."""
    ranks = one.argsort().argsort(), other.argsort().argsort()
    return float(np.corrcoef(*ranks)[0, 1])


def markdown(figures: CorridorFigures) -> str:
    """Return the figures as a table in Markdown."""
    lines = [
        f"{figures.environment}, {figures.places} places, {figures.days:g} days each, net in sat a day.",
        "",
        "| | exact engine | corridor engine |",
        "| --- | ---: | ---: |",
    ]
    lines += [
        f"| {each.agent} | {np.mean(each.exact):,.1f} | {np.mean(each.corridor):,.1f} |" for each in figures.rules
    ]
    lines += [
        "",
        f"Level {figures.level:.2f} of the exact engine; correlation over rules and places {figures.correlation:.2f};",
        f"rank correlation of the rules at a place {figures.order:.2f}.",
        f"CPU time of an episode: {figures.exact_s:.2f} s exact, {1000 * figures.corridor_s:.1f} ms in the corridor,",
        f"{figures.speedup:.0f} times faster; {figures.survey_s:.1f} s for a survey.",
    ]
    return "\n".join(lines)
