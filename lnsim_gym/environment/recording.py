"""Turning the steps of an environment into events, and a wrapper that hands them to recorders.

CSV and Parquet files, statistics and traces are such recorders; none of them knows Gymnasium. The bridge encodes the
same events.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import Any, SupportsFloat

import gymnasium as gym

from lnsim_gym.arrays import Int64
from lnsim_gym.backends.interventions import balances_after
from lnsim_gym.environment.single import LightningNetEnv
from lnsim_gym.errors import ConfigError, RecordError
from lnsim_gym.network import Topology
from lnsim_gym.payments import PaymentBatch, PaymentOutcomes
from lnsim_gym.records import EpisodeEnd, EpisodeStart, Recorder, StepEvents

__all__ = ["RecordEpisodes", "network_under", "step_events"]


def network_under(env: gym.Env[Any, Any], who: str) -> LightningNetEnv:
    """Return the innermost environment, on behalf of a wrapper that reports its channels.

    Args:
        env: The environment, wrapped or not.
        who: How to call those who take note of it in an error.

    Raises:
        ConfigError: ``env`` is another kind of environment, or its channels vary from episode to episode.
    """
    network = env.unwrapped
    if not isinstance(network, LightningNetEnv):
        raise ConfigError(f"expected an environment over a LightningNetEnv, got {network}")
    network.problem.require_same_channels(who)
    return network


def step_events(
    network: LightningNetEnv,
    kept: tuple[PaymentBatch, PaymentOutcomes, Int64],
    *,
    episode: int,
    step: int,
    seed: int,
    action: Any,
    before: Topology,
    before_msat: Int64,
    timestamp: datetime,
) -> StepEvents:
    """Gather the events of the step that was just made.

    Args:
        network: The environment that made it.
        kept: Its payments, their outcomes, and the balances after them, shape (channels, 2).
        episode: Number of the episode.
        step: Number of the step in it, from 0.
        seed: Seed of the episode.
        action: As given to ``step``.
        before: The network with the policies that it had before the step.
        before_msat: Balances before the step, shape (channels, 2).
        timestamp: When the step began.
    """
    interventions = network.interventions()
    batch, outcomes, after_msat = kept
    return StepEvents(
        episode=episode,
        step=step,
        seed=seed,
        action=action,
        interventions=interventions,
        batch=batch,
        outcomes=outcomes,
        balances_before_msat=before_msat,
        balances_served_from_msat=balances_after(before, before_msat, interventions),
        topology_before=before,
        balances_after_msat=after_msat,
        timestamp=timestamp,
        topology=network.topology,
    )


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
        self._network = network_under(env, "recorders")
        self.recorders = list(recorders)
        self._start: EpisodeStart | None = None
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the environment and report that an episode began."""
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
            topology=self._network.topology,
        )
        for recorder in self.recorders:
            recorder.episode_started(self._start)
        return observation, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step the environment and report what happened; a step that lost the backend ends the episode instead."""
        before = self._network.topology
        before_msat = self._network.balances_msat()
        timestamp = datetime.now(UTC)
        result = self.env.step(action)
        *_, terminated, truncated, info = result
        if info["backend_error"]:
            self._end(info["backend_error"])
            return result
        event = self._event(action, before, before_msat, timestamp)
        self._steps += 1
        self._tell(event)
        if terminated or truncated:
            self._end("")
        return result

    def close(self) -> None:
        """End the episode, close the recorders and the environment."""
        with ExitStack() as closing:  # whatever one of them raises, all are closed
            closing.callback(super().close)
            for recorder in self.recorders:
                closing.callback(recorder.close)
            self._end("")

    def _tell(self, event: StepEvents) -> None:
        """Hand a step to the recorders; one that has no room for it ends with the step before.

        Raises:
            RecordError: One could not take note of it; the others have.
        """
        problems = []
        for recorder in list(self.recorders):
            try:
                recorder.stepped(event)
            except RecordError as problem:
                problems.append(problem)
                self.recorders.remove(recorder)
                with suppress(RecordError):
                    recorder.close()
        if problems:
            raise problems[0]

    def _event(self, action: Any, before: Topology, before_msat: Int64, timestamp: datetime) -> StepEvents:
        """Gather the events of the step that was just made."""
        network = self._network
        start = self._start
        if start is None:
            raise gym.error.ResetNeeded("call reset before the first step")
        return step_events(
            network,
            (network.last_batch(), network.last_outcomes(), network.balances_msat()),
            episode=start.episode,
            step=self._steps,
            seed=start.seed,
            action=action,
            before=before,
            before_msat=before_msat,
            timestamp=timestamp,
        )

    def _end(self, backend_error: str) -> None:
        """Report that the episode ended, once."""
        if self._start is None:
            return
        event = EpisodeEnd(
            episode=self._start.episode, steps=self._steps, timestamp=datetime.now(UTC), backend_error=backend_error
        )
        self._start = None
        for recorder in self.recorders:
            recorder.episode_ended(event)
