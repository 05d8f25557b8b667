"""Playing a streamed environment at a pace that people, and slow models, can follow, and that clients may control."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import gymnasium as gym
import numpy as np

from lnsim_gym.agents import Agent
from lnsim_gym.bridge.agent import BridgeAgent
from lnsim_gym.bridge.bridge import Bridge
from lnsim_gym.bridge.controls import Choose, Command, Controls, Reset, Step
from lnsim_gym.errors import BackendError, ConfigError, InvalidAction, LnsimError
from lnsim_gym.tasks.liquidity.actions import ExactRebalance
from lnsim_gym.tasks.operator import OperatorTask

__all__ = ["play_controlled", "wait_for_clients"]

MAX_QUOTE: Final = 60
"""How much of a client's action an error repeats, in characters."""


def play_controlled(
    env: gym.Env[Any, Any],
    bridge: Bridge,
    controls: Controls,
    make_player: Callable[[str], Agent],
    steps: int | None,
    seed: int,
) -> Iterator[tuple[float, dict[str, Any]]]:
    """Play one episode after another as the controls say.

    Args:
        env: A streamed environment.
        bridge: Its bridge.
        controls: The pace, and what clients want done.
        make_player: Builds the agent of a name; a ``LnsimError`` of it keeps the one that plays.
        steps: Steps to do in all; None never ends.
        seed: Seed of the first episode, and of the agent.

    Yields:
        Reward and info of each step.
    """
    table = _Table(env, make_player)
    table.choose(controls.describe().agent)
    table.reset(seed)
    made = 0
    while steps is None or made < steps:
        command = controls.next()
        try:
            done = _do(command, table, controls)
        except LnsimError as problem:
            if command.client is None or isinstance(problem, BackendError):
                raise
            bridge.complain(command.client, str(problem))
            continue
        if done is not None:
            made += 1
            yield done


def _do(command: Command, table: _Table, controls: Controls) -> tuple[float, dict[str, Any]] | None:
    """Do what is to be done next, and return reward and info when it was a step."""
    what = command.what
    if isinstance(what, Step):
        return table.step(what.action)
    if isinstance(what, Reset):
        table.reset(what.seed)
    elif isinstance(what, Choose):
        table.choose(what.agent)
        controls.chose(what.agent)
    return None


def wait_for_clients(bridge: Bridge, clients: int = 1) -> None:
    """Wait until so many clients are connected."""
    while bridge.counts().clients < clients:
        time.sleep(0.02)


class _Table:
    """Where an agent, or a client in its place, plays."""

    def __init__(self, env: gym.Env[Any, Any], make_player: Callable[[str], Agent]) -> None:
        self._env = env
        self._make_player = make_player
        self._player: Agent | None = None
        self._rng = np.random.default_rng()
        self._observation: Any = None
        self._info: dict[str, Any] = {}
        self._over = False

    def choose(self, agent: str) -> None:
        """Let another agent play on."""
        self._player = self._make_player(agent)

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode; a seed also begins the agent's own randomness."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._observation, self._info = self._env.reset(seed=seed)
        self._over = False
        self._ask_ahead()

    def step(self, action: Any) -> tuple[float, dict[str, Any]]:
        """Make a step of an action of a client, or of the agent; the agent's begins an episode where none is on."""
        if self._over and action is not None:
            raise InvalidAction("the episode has ended: send reset first")
        if self._over:
            self.reset()
        chosen = self._chosen() if action is None else _as_action(self._env, action)
        self._observation, reward, terminated, truncated, self._info = self._env.step(chosen)
        self._over = terminated or truncated
        if not self._over:
            self._ask_ahead()
        return float(reward), self._info

    def _ask_ahead(self) -> None:
        """Give models the time until the next step for their suggestions."""
        if isinstance(self._player, BridgeAgent):
            self._player.ask_ahead()

    def _chosen(self) -> Any:
        """Return the action of the agent."""
        if self._player is None:
            raise ConfigError("choose an agent first")
        return self._player.act_one(self._observation, self._info, self._rng)


def _as_action(env: gym.Env[Any, Any], given: Any) -> Any:
    """Turn JSON into an action.

    Raises:
        InvalidAction: It is none.
    """
    if isinstance(given, dict) and given.keys() == {"row", "amount_msat"}:
        if not all(isinstance(value, int) and not isinstance(value, bool) for value in given.values()):
            raise InvalidAction(f"expected integers under row and amount_msat, got {str(given)[:MAX_QUOTE]}")
        return ExactRebalance(**given)
    network: Any = env.unwrapped
    task, space = network.problem.task, env.action_space
    if isinstance(given, dict) and isinstance(task, OperatorTask):
        task.actions.decode_one(given)
        return given
    try:
        action = np.asarray(given, space.dtype)
    except (TypeError, ValueError, OverflowError):
        action = None
    if isinstance(space, gym.spaces.Discrete) and action is not None and action.ndim == 0:
        action = action[()]
    if action is None or not space.contains(action):
        raise InvalidAction(f"expected an element of {space}, got {str(given)[:MAX_QUOTE]}")
    return action
