"""Writing down what agents do as data sets for offline learning, in Minari's form."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from minari import DataCollector, MinariDataset, StepDataCallback, list_local_datasets

from lnsim_gym.agents.base import Agent
from lnsim_gym.errors import ConfigError
from lnsim_gym.records.provenance import versions

__all__ = ["DataFormat", "dataset_id", "require_new_dataset", "write_dataset"]

DataFormat = Literal["hdf5", "arrow"]
"""Files that Minari writes; ``hdf5`` keeps texts and tables of infos, ``arrow`` takes environments with flat infos."""


def dataset_id(env_id: str, agent: str) -> str:
    """Return how a data set of an agent on an environment is called, such as ``LightningNet/targeted-v0``."""
    name, _, version = env_id.rpartition("-v")
    return f"{name}/{agent}-v{version}"


def require_new_dataset(name: str) -> None:
    """Refuse the name of a data set that exists.

    Raises:
        ConfigError: There is one.
    """
    if name in list_local_datasets():
        raise ConfigError(f"a data set {name} exists already: choose another --id, or delete it with `minari delete`")


def write_dataset(
    name: str,
    env: gym.Env[Any, Any],
    agent: Agent,
    called: str,
    seeds: Sequence[int],
    description: str,
    data_format: DataFormat = "hdf5",
    tell: Callable[[int, int], None] = lambda *_: None,
) -> MinariDataset:
    """Let an agent play one episode of each seed, and keep every step with its info.

    Each episode knows its seed, the data set the environment with all settings, and the versions it was made with.

    Args:
        name: Id of the data set, in Minari's form.
        env: An environment over a ``LightningNetEnv``, with a time limit; it is closed in the end.
        agent: Who plays.
        called: Name of the agent.
        seeds: Seeds, one episode each.
        description: What the data set says of itself.
        data_format: Kind of files.
        tell: Called after each episode with the number of those done, and of those to do.

    Raises:
        ConfigError: There is a data set of that name.
    """
    require_new_dataset(name)
    collector = DataCollector(env, _SameKeys, record_infos=True, data_format=data_format)
    try:
        for done, seed in enumerate(seeds, 1):
            _play_episode(collector, agent, seed)
            tell(done, len(seeds))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Minari asks for e-mail address and code
            return collector.create_dataset(
                name,
                algorithm_name=called,
                author="lnsim_gym",
                description=description,
                requirements=[
                    f"{package}=={version}"
                    for package, version in versions("gymnasium", "numpy", "numba").items()
                    if package != "python"
                ],
            )
    finally:
        collector.close()


class _SameKeys(StepDataCallback):  # type: ignore[misc]  # Minari has no types
    """Leaves out what time limits of some versions of Gymnasium add to the last info: Minari wants all keys in each."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        step = super().__call__(*arguments, **named)
        step["info"] = {key: value for key, value in step["info"].items() if key != "TimeLimit.truncated"}
        return step


def _play_episode(env: gym.Env[Any, Any], agent: Agent, seed: int) -> None:
    """Play the first episode of a seed."""
    rng = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    ended = False
    while not ended:
        observation, _, terminated, truncated, info = env.step(agent.act_one(observation, info, rng))
        ended = terminated or truncated
