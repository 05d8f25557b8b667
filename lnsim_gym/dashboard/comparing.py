"""Letting agents play the same episode, to be shown beside each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym

from lnsim_gym.agents import make_agent
from lnsim_gym.agents.play import play
from lnsim_gym.bridge.activity import describe_step
from lnsim_gym.bridge.description import Place, describe_network
from lnsim_gym.bridge.messages import ActivityData, InCompare, RecordingData
from lnsim_gym.bridge.names import WireNames
from lnsim_gym.dashboard.positions import positions_of
from lnsim_gym.environment.recording import RecordEpisodes
from lnsim_gym.environment.single import LightningNetEnv
from lnsim_gym.records import EpisodeEnd, EpisodeStart, StepEvents

__all__ = ["compare"]


class _Keeper:
    """Keeps the first episode that it is told of."""

    def __init__(self) -> None:
        self.start: EpisodeStart | None = None
        self.steps: list[StepEvents] = []
        self.over = False

    def episode_started(self, event: EpisodeStart) -> None:
        """Keep the start of the first episode."""
        self.start = self.start or event

    def stepped(self, event: StepEvents) -> None:
        """Keep a step of the first episode."""
        if not self.over:
            self.steps.append(event)

    def episode_ended(self, event: EpisodeEnd) -> None:
        """Keep nothing of later episodes."""
        del event
        self.over = True

    def close(self) -> None:
        """Do nothing."""


def compare(
    wanted: InCompare, make_environment: Callable[[str], gym.Env[Any, Any]], given_up: Callable[[], bool]
) -> Iterator[RecordingData]:
    """Yield the episode of each agent.

    Args:
        wanted: The agents, the seed and the number of steps.
        make_environment: Makes the environment as an agent sees it.
        given_up: Says whether nobody waits for it any longer.

    Raises:
        LnsimError: There is no such agent, or it cannot play in the environment.
    """
    for pane, name in enumerate(wanted.agents):
        env = make_environment(name)
        try:
            network = env.unwrapped
            keeper = _Keeper()
            if not isinstance(network, LightningNetEnv):
                return
            agent = make_agent(name, network.problem)
            paid = []
            for reward, info in play(RecordEpisodes(env, [keeper]), agent, wanted.steps, wanted.seed):
                paid.append((reward, info["rewards"]))
                if given_up():
                    return
                if keeper.over:
                    break
            yield _recording(network, keeper, paid, (pane, len(wanted.agents), f"{name}, seed {wanted.seed}"))
        finally:
            env.close()


def _recording(
    network: LightningNetEnv, keeper: _Keeper, paid: list[tuple[float, dict[str, float]]], shown: tuple[int, int, str]
) -> RecordingData:
    """Describe an episode that was kept."""
    start = keeper.start
    if start is None:
        raise RuntimeError("no episode was begun")
    topology = keeper.steps[0].topology_before if keeper.steps else network.topology
    own = network.problem.task.watched
    place = Place(start.environment_id, start.backend, start.episode, 0, start.seed, own)
    whole = len(topology.channels) or 1
    steps: list[ActivityData] = [describe_step(event, *due) for event, due in zip(keeper.steps, paid, strict=True)]
    return RecordingData(
        pane=shown[0],
        panes=shown[1],
        title=shown[2],
        network=next(describe_network(WireNames(topology), topology, start.start_balances_msat, place, whole)),
        positions=positions_of(topology),
        episodes=[start.episode],
        steps=steps,
        differences=[],
    )
