"""The wrapper that streams the episodes of an environment."""

from __future__ import annotations

from typing import Any, SupportsFloat

import gymnasium as gym

from lnsim_gym.bridge.bridge import Bridge
from lnsim_gym.bridge.messages import EpisodeEndData
from lnsim_gym.bridge.settings import BridgeSettings
from lnsim_gym.environment.recording import network_under
from lnsim_gym.errors import BackendError

__all__ = ["StreamEpisodes"]


class StreamEpisodes(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Publishes every episode over WebSocket, and lets outside models suggest rebalances.

    The server listens from the moment the wrapper is made until ``close``. Streaming changes nothing about the
    episodes, and costs nearly nothing while no client listens.

    Args:
        env: An environment whose innermost one is a ``LightningNetEnv``.
        **settings: Fields of ``BridgeSettings``.

    Raises:
        ConfigError: ``env`` is another kind of environment, its channels vary from episode to episode, a setting is
            wrong, or the port is taken.

    Example:
        >>> import gymnasium as gym, lnsim_gym
        >>> from lnsim_gym.bridge import StreamEpisodes
        >>> env = StreamEpisodes(gym.make("LightningNet-v0", backend="simulator"), port=0)
        >>> env.bridge.port > 0
        True
        >>> env.close()
    """

    def __init__(self, env: gym.Env[Any, Any], **settings: Any) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, _disable_deepcopy=True, **settings)
        gym.Wrapper.__init__(self, env)
        self.bridge = Bridge(network_under(env, "streams"), BridgeSettings.of(settings))
        """What clients are connected to; set ``bridge.paused`` to stop publishing for a while."""
        self._episode: _Tally | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the environment and publish that an episode began."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._end(terminated=False, truncated=False, backend_error="")
        self._episode = _Tally(info["episode_number"])
        self.bridge.began(observation, info)
        return observation, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step the environment and publish what happened; a step that lost the backend only ends the episode."""
        self.bridge.stepping()
        try:
            result = self.env.step(action)
        except BackendError as fault:
            self._end(terminated=False, truncated=True, backend_error=str(fault))
            raise
        _, reward, terminated, truncated, info = result
        if not info["backend_error"]:
            if self._episode is not None:
                self._episode.add(reward, info)
            self.bridge.stepped(action, result)
        if terminated or truncated:
            self._end(terminated, truncated, info["backend_error"])
        return result

    def close(self) -> None:
        """Publish that the episode ended, stop the server and close the environment."""
        self._end(terminated=False, truncated=False, backend_error="")
        self.bridge.close()
        super().close()

    def _end(self, terminated: bool, truncated: bool, backend_error: str) -> None:
        """Publish that the episode ended, once."""
        episode = self._episode
        self._episode = None
        if episode is not None:
            self.bridge.ended(episode.summary(terminated, truncated, backend_error))


class _Tally:
    """Sums of an episode."""

    def __init__(self, episode: int) -> None:
        self._episode = episode
        self._steps = self._payments = self._succeeded = 0
        self._reward = 0.0

    def add(self, reward: SupportsFloat, info: dict[str, Any]) -> None:
        """Count a step."""
        self._steps += 1
        self._reward += float(reward)
        self._payments += info["payments"]
        self._succeeded += info["succeeded"]

    def summary(self, terminated: bool, truncated: bool, backend_error: str) -> EpisodeEndData:
        """Return the sums as a message's data."""
        return EpisodeEndData(
            episode=self._episode,
            steps=self._steps,
            total_reward=self._reward,
            payments=self._payments,
            succeeded=self._succeeded,
            success_rate=self._succeeded / self._payments if self._payments else 0.0,
            terminated=terminated,
            truncated=truncated,
            backend_error=backend_error,
        )
