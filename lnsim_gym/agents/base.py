"""The one small interface of an agent: observations of a batch of networks in, actions out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Float64, Int64
from lnsim_gym.episodes import Problem
from lnsim_gym.tasks.liquidity import LiquidityTask, as_liquidity
from lnsim_gym.tasks.presentation import without_mask

__all__ = ["Agent"]


class Agent(ABC):
    """Maps observations to actions, for any number of networks at once.

    Args:
        problem: The problem of the environment it acts on.
    """

    INFO: Final = ("action_mask", "seed", "episode_number", "step")
    """Entries of info that an agent may read."""

    TASKS: ClassVar[tuple[str, ...]] = ("liquidity",)
    """Tasks that it can play, by name."""
    VIEW: ClassVar[Mapping[str, Any]] = {}
    """Settings of an environment in which it sees and acts, where it is named by its class; recipes have their own."""

    is_separable: ClassVar[bool] = True
    """Whether it decides on each network as if there were no others, to the last bit."""

    threads: int = 1
    """Threads that an agent which simulates may use."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    @property
    def liquidity(self) -> LiquidityTask:
        """The liquidity task, for agents that know no other.

        Raises:
            ConfigError: The environment has another task.
        """
        return as_liquidity(self.problem.task, type(self).__name__)

    @abstractmethod
    def act(
        self, observation: Any, info: Mapping[str, Any], rng: np.random.Generator
    ) -> npt.NDArray[Any] | list[dict[str, Any]]:
        """Choose an action for each network.

        Args:
            observation: Observations stacked along a first axis of length n, or a dict of such arrays.
            info: ``action_mask`` (n, mask length), ``seed``, ``episode_number`` and ``step`` (n,), as infos have them.
            rng: Source of any randomness.

        Returns:
            Actions stacked along a first axis of length n; a list of n where an action is a dict.
        """

    def act_one(self, observation: Any, info: Mapping[str, Any], rng: np.random.Generator) -> Any:
        """Choose an action for a single environment's observation and info."""
        return self.act(_batch_of_one(observation), {key: np.asarray(info[key])[None] for key in self.INFO}, rng)[0]

    def balance_shares(self, observation: Any) -> Float64:
        """Read the balances from observations of any kind.

        Returns:
            Balances as shares of the capacity, shape (n, channels, 2), initiator first.
        """
        plain = without_mask(observation)
        rows = plain["balances"] if isinstance(plain, dict) else plain
        shares: Float64 = rows[:, : self.liquidity.observations.directions].astype(np.float64)
        return shares.reshape(len(rows), -1, 2)

    def balances_msat(self, observation: Any) -> Int64:
        """Read the balances from observations of any kind, rounded to whole sat.

        Returns:
            Balances that the channels can hold, in msat, shape (n, channels, 2), initiator first.
        """
        topology = self.problem.topology
        shares = self.balance_shares(observation)
        total_sat = topology.owned_total_msat // 1000
        initiator_sat = np.rint(shares[:, :, 0] * topology.arrays.capacity_sat).astype(np.int64)
        initiator_sat = np.clip(initiator_sat, topology.arrays.reserve_msat // 1000, total_sat)
        return 1000 * np.stack([initiator_sat, total_sat - initiator_sat], axis=2)


def _batch_of_one(observation: Any) -> Any:
    """Return a single observation as a batch."""
    if isinstance(observation, dict):
        return {key: _batch_of_one(value) for key, value in observation.items()}
    return observation[None]
