"""A wrapper that turns the steps of an environment into events and hands them to recorders.

CSV and Parquet files, statistics, traces and the bridge are such recorders; none of them knows Gymnasium.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, SupportsFloat

import gymnasium as gym

from lnsim_gym.environment import LightningNetEnv
from lnsim_gym.errors import ConfigError
from lnsim_gym.records import EpisodeEnd, EpisodeStart, Recorder, StepEvents
from lnsim_gym.records.events import balances_after_rebalance

__all__ = ["RecordEpisodes"]


class RecordEpisodes(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Hands every episode's start, steps and end to recorders.

    Args:
        env: An environment whose innermost one is a ``LightningNetEnv``.
        recorders: What takes note of the events; closed with the environment.

    Raises:
        ConfigError: ``env`` is another kind of environment, or its channels vary from episode to episode.
    """

    def __init__(self, env: gym.Env[Any, Any], recorders: Sequence[Recorder]) -> None:
        gym.Wrapper.__init__(self, env)
        if not isinstance(env.unwrapped, LightningNetEnv):
            raise ConfigError(f"expected an environment over a LightningNetEnv, got {env.unwrapped}")
        env.unwrapped.problem.require_same_channels("recorders")
        self._network: LightningNetEnv = env.unwrapped
        self.recorders = list(recorders)
        self._start: EpisodeStart | None = None
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the environment and tell that an episode began."""
        self._end("")
        observation, info = self.env.reset(seed=seed, options=options)
        spec = self._network.spec
        self._steps = 0
        self._start = EpisodeStart(
            episode=info["episode_number"],
            seed=info["seed"],
            start_balances_msat=self._network.balances_msat(),
            timestamp=datetime.now(UTC),
            environment_id=spec.id if spec else "",
            backend=self._network.config.backend,
        )
        for recorder in self.recorders:
            recorder.episode_started(self._start)
        return observation, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step the environment and tell what happened; a step that lost the backend ends the episode instead."""
        before_msat, timestamp = self._network.balances_msat(), datetime.now(UTC)
        result = self.env.step(action)
        *_, terminated, truncated, info = result
        if info["backend_error"]:
            self._end(info["backend_error"])
            return result
        event = self._event(action, before_msat, timestamp)
        self._steps += 1
        for recorder in self.recorders:
            recorder.stepped(event)
        if terminated or truncated:
            self._end("")
        return result

    def close(self) -> None:
        """End the episode, close the recorders and the environment."""
        self._end("")
        for recorder in self.recorders:
            recorder.close()
        super().close()

    def _event(self, action: Any, before_msat: Any, timestamp: datetime) -> StepEvents:
        """Gather the events of the step that was just made."""
        network, start = self._network, self._start
        if start is None:
            raise gym.error.ResetNeeded("call reset before the first step")
        route, requested_msat, result = network.last_rebalance()
        return StepEvents(
            episode=start.episode,
            step=self._steps,
            seed=start.seed,
            action=action,
            rebalance_route=route,
            rebalance_amount_msat=requested_msat,
            rebalance=result,
            batch=network.last_batch(),
            outcomes=network.last_outcomes(),
            balances_before_msat=before_msat,
            balances_after_rebalance_msat=balances_after_rebalance(
                network.topology, before_msat, route, result.applied_msat
            ),
            balances_after_msat=network.balances_msat(),
            timestamp=timestamp,
            topology=network.topology,
        )

    def _end(self, backend_error: str) -> None:
        """Tell that the episode ended, once."""
        if self._start is None:
            return
        event = EpisodeEnd(
            episode=self._start.episode, steps=self._steps, timestamp=datetime.now(UTC), backend_error=backend_error
        )
        self._start = None
        for recorder in self.recorders:
            recorder.episode_ended(event)
