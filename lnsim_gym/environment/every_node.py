"""Making environments in which every node is an agent; PettingZoo, an extra, is imported when one is made."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from lnsim_gym.errors import MissingDependency

if TYPE_CHECKING:
    from lnsim_gym.environment.parallel import ParallelLightningNetEnv

__all__ = ["parallel_env"]


def parallel_env(env_id: str = "LightningNet-v0", **settings: Any) -> ParallelLightningNetEnv:
    """Make an environment in which every node manages its own channels, a PettingZoo ``ParallelEnv``.

    Args:
        env_id: Id of a registered environment with the liquidity task, on the simulator or on real nodes.
        **settings: ``render_mode``, ``shared_reward``, and settings of the environment that differ from the registered
            ones; see ``environment.parallel.ParallelLightningNetEnv``.

    Raises:
        MissingDependency: PettingZoo is not installed.
        ConfigError: A setting is unknown or impossible.
    """
    if find_spec("pettingzoo") is None:
        raise MissingDependency(
            "an environment of several agents needs pettingzoo, which is not installed: "
            "pip install 'lnsim_gym[pettingzoo]'"
        )
    from lnsim_gym.environment.parallel import ParallelLightningNetEnv  # noqa: PLC0415 - pettingzoo is an extra

    return ParallelLightningNetEnv(env_id.removeprefix("lnsim_gym:"), **settings)
