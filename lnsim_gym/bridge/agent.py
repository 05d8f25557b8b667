"""The agent that does what outside models suggest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lnsim_gym.agents import Agent
from lnsim_gym.agents.rules import NoOp
from lnsim_gym.bridge.bridge import Bridge
from lnsim_gym.bridge.suggestions import Suggestion
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks.liquidity import as_liquidity
from lnsim_gym.tasks.liquidity.actions import ExactRebalance

__all__ = ["BridgeAgent"]


class BridgeAgent(Agent):
    """Turns suggestions into actions: that of highest confidence first, one per step.

    Before each step without a suggestion it asks the clients for one, with a ``request_suggestions`` message. An
    amount that the action space offers becomes that action, any other an ``ExactRebalance``.

    Args:
        problem: The problem of the environment it acts on; its operation must be ``push``.
        bridge: Where the models are; it takes suggestions from now on.
        fallback: The agent that acts when nothing came; by default no action is taken.
        deadline_s: Seconds to wait for an answer in each step, in lock-step with the models; 0 does not wait.
    """

    def __init__(
        self, problem: Problem, bridge: Bridge, fallback: Agent | None = None, deadline_s: float = 0.0
    ) -> None:
        super().__init__(problem)
        operation = as_liquidity(problem.task, "the bridge agent").config.operation
        if operation != "push":
            raise ConfigError(f"the bridge agent needs operation 'push', got {operation!r}")
        if not 0 <= deadline_s < float("inf"):
            raise ConfigError(f"the bridge agent needs a deadline of 0 s or more, got {deadline_s}")
        self.fallback = fallback or NoOp(problem)
        self.deadline_s = deadline_s
        self._bridge = bridge
        bridge.suggestions.open()

    def act(self, observation: Any, info: Mapping[str, Any], rng: np.random.Generator) -> npt.NDArray[Any]:
        """Choose the next action of the one network that the bridge is for; see ``Agent.act``.

        Returns:
            One action or ``ExactRebalance``, in an array of shape (1,) or (1, action length).

        Raises:
            ConfigError: Actions for several networks are asked for.
        """
        networks = len(info["action_mask"])
        if networks != 1:
            raise ConfigError(f"the bridge agent acts on one network, got {networks}: use a single environment")
        bridge = self._bridge
        deadline_s = self.deadline_s
        bridge.suggestions.wait(lambda: bridge.request_suggestions(deadline_s), lambda: bridge.has_audience, deadline_s)
        suggestion = bridge.take()
        if suggestion is None:
            return self.fallback.act(observation, info, rng)
        return self._action(suggestion)

    def _action(self, suggestion: Suggestion) -> npt.NDArray[Any]:
        """Return the action that is a suggestion, in an array of its own."""
        actions = self.liquidity.actions
        row = suggestion.direction  # with push, rows of the routes are directions
        sizes = np.flatnonzero(actions.amounts_msat[row] == suggestion.amount_msat)
        if len(sizes):
            encoded = actions.encode(np.array([row]), sizes[:1])
            if actions.decode_one(encoded[0]).tolist() == [row, suggestion.amount_msat]:
                return encoded
        exact = np.empty(1, object)
        exact[0] = ExactRebalance(row, suggestion.amount_msat)
        return exact
