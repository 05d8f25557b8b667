"""The Gymnasium forms of an episode: single and vector environments, their registration, and recording wrappers."""

from typing import TYPE_CHECKING

from lnsim_gym.lazy import imported_when_used

if TYPE_CHECKING:
    from lnsim_gym.environment.corridor import CorridorEnv
    from lnsim_gym.environment.single import LightningNetEnv
    from lnsim_gym.environment.vector import LightningNetVectorEnv

__all__ = ["CorridorEnv", "LightningNetEnv", "LightningNetVectorEnv"]

# Registering an environment needs none of what playing it does.
__getattr__ = imported_when_used(
    __name__,
    {
        "CorridorEnv": "lnsim_gym.environment.corridor",
        "LightningNetEnv": "lnsim_gym.environment.single",
        "LightningNetVectorEnv": "lnsim_gym.environment.vector",
    },
)
