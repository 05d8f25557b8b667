"""The agent that does what outside models suggest."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lnsim_gym.agents import Agent
from lnsim_gym.agents.rules import NoOp
from lnsim_gym.bridge.bridge import Bridge
from lnsim_gym.bridge.suggestions import Suggestion
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks.liquidity import as_liquidity
from lnsim_gym.tasks.liquidity.actions import ExactRebalance, ListedActions
from lnsim_gym.tasks.operator import OperatorTask

__all__ = ["BridgeAgent"]

PLAYING_S: Final = 1.0
"""Seconds that a model which answered the last request has for the next, whatever the pace."""


class BridgeAgent(Agent):
    """Turns suggestions into actions: that of highest confidence first, one per step.

    Before each step without a suggestion it asks the clients for one, with a ``request_suggestions`` message. An
    amount that the action space offers becomes that action, any other an ``ExactRebalance``. With a node of one's own
    suggestions are actions of that node, in plain numbers.

    Args:
        problem: The problem of the environment it acts on, with the task ``liquidity`` or ``operator``.
        bridge: Where the models are; it takes suggestions from now on.
        fallback: The agent that acts when nothing came; by default no action is taken.
        deadline_s: Seconds to wait for an answer in each step, in lock-step with the models. With 0 only models that
            answered the request before, and new clients, are waited for, a second at most.
    """

    def __init__(
        self, problem: Problem, bridge: Bridge, fallback: Agent | None = None, deadline_s: float = 0.0
    ) -> None:
        super().__init__(problem)
        task = problem.task
        offer = task if isinstance(task, OperatorTask) else as_liquidity(task, "the bridge agent").actions.routes
        if not 0 <= deadline_s < float("inf"):
            raise ConfigError(f"the bridge agent needs a deadline of 0 s or more, got {deadline_s}")
        self.fallback = fallback or NoOp(problem)
        self.deadline_s = deadline_s
        self._bridge = bridge
        self._answers = bridge.suggestions.answers
        self._plays_along = False
        """Whether a model answered since it was asked the time before, or a client came that was not asked yet."""
        self._audience = 0
        self._asked_s: float | None = None
        """When clients were asked for the coming step; None when they were not."""
        bridge.suggestions.open(offer)

    def ask_ahead(self) -> None:
        """Ask clients for the coming step, unless they were asked already or a suggestion waits.

        What plays at a pace calls it after each step, so that models have until the next one to answer.
        """
        suggestions = self._bridge.suggestions
        if self._asked_s is not None or suggestions.any_fresh:
            return
        answers = suggestions.answers
        audience = self._bridge.audience
        self._plays_along = answers > self._answers or audience > self._audience  # newcomers get a chance
        self._answers = answers
        self._audience = audience
        if self._bridge.request_suggestions(self.deadline_s):
            self._asked_s = time.monotonic()

    def _patience_s(self) -> float:
        """Return how long after it was asked for an answer is waited for."""
        return max(self.deadline_s, PLAYING_S if self._plays_along else 0.0)

    def act(
        self, observation: Any, info: Mapping[str, Any], rng: np.random.Generator
    ) -> npt.NDArray[Any] | list[dict[str, Any]]:
        """Choose the next action of the one network that the bridge is for; see ``Agent.act``.

        Returns:
            One action or ``ExactRebalance``, in an array of shape (1,) or (1, action length), or what another chose.

        Raises:
            ConfigError: Actions for several networks are asked for.
        """
        networks = len(info["action_mask"])
        if networks != 1:
            raise ConfigError(f"the bridge agent acts on one network, got {networks}: use a single environment")
        self.ask_ahead()
        bridge = self._bridge
        if self._asked_s is not None:
            patience_s = self._asked_s + self._patience_s() - time.monotonic()
            bridge.suggestions.wait(self._answers, lambda: bridge.has_audience, patience_s)
        self._asked_s = None
        suggestion = bridge.take()
        if suggestion is None:
            return self.fallback.act(observation, info, rng)
        return self._action(suggestion)

    def _action(self, suggestion: Suggestion) -> npt.NDArray[Any]:
        """Return the action that is a suggestion, in an array of its own."""
        exact = np.empty(1, object)
        if suggestion.fields.action is not None:
            exact[0] = suggestion.fields.action
            return exact
        actions = self.liquidity.actions
        row = suggestion.row
        if isinstance(actions, ListedActions):  # amounts of pairs of channels are those of no one pair
            sizes = np.flatnonzero(actions.amounts_msat[row] == suggestion.amount_msat)
            encoded = actions.encode(np.full(len(sizes[:1]), row), sizes[:1])
            if len(encoded) and actions.decode_one(encoded[0]).tolist() == [row, suggestion.amount_msat]:
                return encoded
        exact[0] = ExactRebalance(row, suggestion.amount_msat)
        return exact
