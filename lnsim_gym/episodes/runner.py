"""The interface of the two episode runners."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Bool, Int64
from lnsim_gym.backends.base import ResetReport
from lnsim_gym.backends.interventions import Intervention
from lnsim_gym.episodes.problem import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Topology
from lnsim_gym.payments import PaymentBatch, PaymentOutcomes
from lnsim_gym.tasks.columns import Sizes, StepColumns
from lnsim_gym.tasks.state import Places

__all__ = ["NOT_COPIED", "Episodes"]

NOT_COPIED: Final = (
    "only episodes on the simulator can be copied, saved and restored, as real nodes cannot be put back in "
    "mid-episode: set backend='simulator'"
)


class Episodes(ABC):
    """Runs the episodes of a problem on ``networks`` networks, each with its own seed, episode and step.

    Args:
        problem: What is to be done.
        networks: How many networks step together.
    """

    can_be_copied: ClassVar[bool] = False
    """Whether ``copy.deepcopy`` and ``pickle`` give a runner that goes on where this one stands."""

    def __init__(self, problem: Problem, networks: int) -> None:
        self.problem = problem
        self.networks = networks
        self.columns = StepColumns.zeros(Sizes.of(problem.task, linked=problem.is_linked), networks)
        self.places = Places.zeros(networks)

    @property
    def seeds(self) -> Any:
        """Seed of each network, uint64 of shape (networks,)."""
        return self.places.seeds

    @property
    def episodes(self) -> Int64:
        """Number of each network's episode since its seed, shape (networks,)."""
        return self.places.episodes

    @property
    def steps(self) -> Int64:
        """Steps done in the current episode, shape (networks,)."""
        return self.places.steps

    @property
    def variants(self) -> Int64:
        """Index of the problem's variant that each network is on, shape (networks,)."""
        return self.places.variant

    def seed(self, network: int, seed: int) -> None:
        """Let the next ``begin`` of a network start the episodes of a seed, whose low 64 bits count."""
        self.places.seeds[network] = seed % 2**64
        self.places.episodes[network] = -1

    def begin(self, which: Bool, start_balances_msat: Int64 | None = None) -> ResetReport:
        """Start the next episode on the chosen networks; see ``reset``."""
        self.places.episodes[which] += 1
        return self.reset(which, start_balances_msat)

    @abstractmethod
    def reset(self, which: Bool, start_balances_msat: Int64 | None = None) -> ResetReport:
        """Start an episode on the chosen networks, as their entries of ``seeds`` and ``episodes`` say.

        Args:
            which: The networks to reset, shape (networks,).
            start_balances_msat: Start balances, shape (networks, channels, 2); by default those of the config.

        Raises:
            BackendError: The backend could not be brought to the start balances.
        """

    @abstractmethod
    def step(self, which: Bool, decisions: Int64) -> None:
        """Do one step on the chosen networks and fill their rows of ``columns``.

        Args:
            which: The networks that step, shape (networks,).
            decisions: What was decided on each, shape (networks, len(Task.decision)).

        Raises:
            BackendError: The backend was lost; the columns still hold the last valid observation.
        """

    def step_one(self, decision: memoryview) -> None:
        """Do one step on the only network, for a decision of len(Task.decision) int64 numbers; see ``step``."""
        self.step(np.ones(1, np.bool_), np.asarray(decision)[None])

    def topology(self, network: int) -> Topology:
        """Return the network with the policies that it has now."""
        return self.problem.variants[int(self.places.variant[network])].topology

    def batch(self, network: int) -> PaymentBatch:
        """Return the payments of one network's last step."""
        return self.columns.batch(network)

    def outcomes(self, network: int) -> PaymentOutcomes:
        """Return the outcomes of one network's last step."""
        return self.columns.outcomes(network)

    def keep_step(self, network: int) -> Callable[[], tuple[PaymentBatch, PaymentOutcomes, Int64]]:
        """Keep one network's last step as it is now, cheaply.

        Returns:
            A function that gives its payments, what became of them, and the balances after it, shape (channels, 2).
        """
        kept = self.batch(network), self.outcomes(network), self.columns.balances_msat[network].copy()
        return lambda: kept

    def interventions(self, network: int) -> tuple[Intervention, ...]:
        """Return what others and the task did to one network in its last step, before the payments."""
        columns, places = self.columns, self.places
        task = self.problem.variants[int(places.variant[network])].task
        place = int(places.seeds[network]), int(places.episodes[network]), int(places.steps[network]) - 1
        done = task.interventions(columns.decision[network], columns.ledger[network])
        return (*task.happened(*place), *done) if place[-1] >= 0 else done

    def save_state(self) -> list[npt.NDArray[Any]]:
        """Return a copy of everything that episodes are in the middle of, for ``restore_state``.

        Raises:
            ConfigError: The episodes are on real nodes.
        """
        raise ConfigError(NOT_COPIED)

    def restore_state(self, state: list[npt.NDArray[Any]]) -> None:  # noqa: ARG002
        """Go on where a runner of the same problem and size stood when it gave this state.

        Raises:
            ConfigError: The state is of another problem or another number of networks, or the episodes are on real
                nodes.
        """
        raise ConfigError(NOT_COPIED)

    def network_record(self) -> list[dict[str, Any]]:
        """Return how to reach each real node (host, port, certificate, macaroon, public key); empty when simulated."""
        return []

    @abstractmethod
    def close(self) -> None:
        """Release the networks; harmless when closed already."""
