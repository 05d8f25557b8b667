"""What a task is: the one interface through which episodes, environments, records and pictures see every task.

A step of any task goes like this, on every backend::

    decide    action -> decision: a row of int64, what to do                  Task.actions
    apply     decision x network -> what was done and what it cost            kernels, or Task.apply through a backend
    serve     traffic -> payments -> outcomes, earnings by node               the same for every task (``loop``)
    measure   balances, outcomes, ledger -> terms -> reward                   kernels
    observe   what the agent may know -> observation, allowed options         kernels

``measure`` and ``observe`` are compiled once and run on the columns of simulated and of real networks alike; only
``apply`` exists twice, compiled for simulated networks and over ``Backend`` for real nodes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Bool, Float32, Int8, Int64
from lnsim_gym.backends.base import Backend
from lnsim_gym.backends.interventions import Intervention
from lnsim_gym.errors import InvalidAction
from lnsim_gym.network import Topology
from lnsim_gym.payments import PaymentBatch
from lnsim_gym.tasks.config import EnvironmentConfig

__all__ = ["ActionScheme", "Kernel", "ObservationScheme", "RebalanceTally", "Task", "TaskKernels", "as_array"]


def as_array(actions: Any) -> npt.NDArray[Any]:
    """Return actions as an array.

    Raises:
        InvalidAction: They are of no one shape, or no numbers that lie in memory of the CPU.
    """
    try:
        return np.asarray(actions)
    except (TypeError, ValueError) as problem:
        raise InvalidAction(f"expected an array of numbers, got {actions!r}: {problem}") from None


class ActionScheme(ABC):
    """How actions of a space become decisions."""

    space: gym.Space[Any]

    @abstractmethod
    def decode(self, actions: Any) -> Int64:
        """Turn a batch of actions into decisions.

        Args:
            actions: Actions of ``space``, stacked along a first axis.

        Returns:
            Decisions, shape (batch, len(Task.decision)).

        Raises:
            InvalidAction: An action lies outside the space.
        """

    def decode_batch(self, actions: Any, networks: int, which: Bool | None = None) -> Int64:
        """Turn the actions of a vector environment into decisions.

        Args:
            actions: One action of ``space`` for each network.
            networks: How many there are.
            which: The networks whose actions count, shape (networks,); all by default.

        Returns:
            Decisions of those that count, shape (n, len(Task.decision)).

        Raises:
            InvalidAction: The number of actions is another one, or an action lies outside the space.
        """
        if isinstance(actions, Mapping):
            parts = {name: self._batch_of(part, actions, networks) for name, part in actions.items()}
            return self.decode(parts if which is None else {name: part[which] for name, part in parts.items()})
        batch = self._batch_of(actions, actions, networks)
        return self.decode(batch if which is None else batch[which])

    @staticmethod
    def _batch_of(entries: Any, actions: Any, networks: int) -> npt.NDArray[Any]:
        """Return entries of actions as an array with a first axis of one for each network."""
        batch = as_array(entries)
        if batch.shape[:1] != (networks,):
            raise InvalidAction(f"expected an action for each of {networks} networks, got {actions!r}")
        return batch

    def decode_one(self, action: Any) -> memoryview:
        """Turn one action, or what the task takes in place of one, into a decision, len(Task.decision) int64."""
        batch = [action] if isinstance(action, Mapping) else as_array(action)[None]
        decision: memoryview = self.decode(batch)[0].data
        return decision

    def mask(self, allowed: Int8) -> Int8:
        """Turn allowed options into a mask over the actions of the space; by default each option is an action.

        Args:
            allowed: As ``observe`` fills it, shape (batch, Task.options).

        Returns:
            A fresh int8 array of shape (batch, mask length), 1 where an action is allowed.
        """
        return allowed.copy()

    def masks_of(self, allowed: Int8) -> Callable[[], Int8]:
        """Return what masks the options of one network as they are when it is called; see ``mask``.

        Args:
            allowed: The network's own row, shape (Task.options,).
        """
        return lambda: self.mask(allowed[None])[0]


class ObservationScheme(ABC):
    """What an observation row means, and how it is shown to an agent."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Length of an observation row."""

    @property
    @abstractmethod
    def space(self) -> gym.Space[Any]:
        """The observation space."""

    def present(self, rows: Float32) -> Any:
        """Return fresh observations of the space, for rows of shape (..., size)."""
        return rows.copy()

    def views_of(self, row: Float32) -> Callable[[], Any]:
        """Return what presents one network's row, shape (size,), as it is when it is called."""
        return lambda: self.present(row)


Kernel = Any
"""A compiled function of the address of the loop's state, that of the task's, and a range of networks."""


class TaskKernels(NamedTuple):
    """Compiled functions ``(address, task address, first network, one after the last)`` of a task; see ``loop``."""

    example: tuple[Any, ...]
    """The state of the task that they learned their types from; see ``Task.compiled_state``."""

    reset: Kernel
    """Starts an episode on the marked networks of a range."""
    step: Kernel
    """Does a step on them, payments in one part, where no network has links (see ``backends.simulator.layout``)."""
    step_in_parts: Kernel
    """The same where payments may be made in several parts."""
    step_linked: Kernel
    """The same where networks have links, payments in one part or several."""
    observe: Kernel
    """Begins an episode on the first network as a backend was reset, and observes it."""
    conclude: Kernel
    """Counts, measures and observes the step that a backend just made on the first network."""
    plan: Kernel | None = None
    """Notes in the ledger what the decision for the first network comes to, before ``Task.apply`` carries it out."""


class RebalanceTally(NamedTuple):
    """What the rebalances of a step on each of n networks add up to, int64 of shape (n,)."""

    asked: Int64
    """Rebalances asked for."""
    refused: Int64
    """Those that were not applied."""
    applied_msat: Int64
    """Amounts that the others moved."""
    fee_msat: Int64
    """Routing fees paid for that."""


class Task(ABC):
    """What an agent sees, does and is paid for, on one topology.

    A task never asks on which backend it runs. Register one with ``registry.register_task``; then ``task = name`` is a
    setting of environments, besides the fields of ``Config``.

    Args:
        config: Settings; an instance of ``Config``.
        topology: The network.

    Raises:
        ConfigError: The settings ask for the impossible.
    """

    name: ClassVar[str]
    """Value of the setting ``task``."""
    Config: ClassVar[type[EnvironmentConfig]]
    """Settings of an environment with this task."""
    decision: tuple[str, ...]
    """What each number of a decision means."""
    ledger: tuple[str, ...] = ()
    """What each number means that ``apply`` and ``measure`` note of a step, int64, amounts in msat."""
    terms: tuple[str, ...]
    """Terms of the reward."""
    meanings: ClassVar[Mapping[str, str]] = {}
    """What each term of the reward means, for those who read of it."""
    changes_policies: ClassVar[bool] = False
    """Whether ``apply`` may change routing policies; then each network has policies of its own.

    Kernels change them by ``loop.set_policy``.
    """
    counts_earnings: ClassVar[bool] = False
    """Whether the forwarding fees that each node earns are counted."""
    draws_payments: ClassVar[bool] = False
    """Whether the kernels draw payments of their own (``loop.step_range_of``), not those of the traffic model."""
    needs_links: ClassVar[bool] = False
    """Whether the kernels are for networks with links, and plain ones are laid out likewise; see ``TaskKernels``."""
    watched: int | None = None
    """Node whose forwards are counted by channel, in ``StepColumns.forwards``; see ``backends.simulator.forwards``."""
    step_ms: int = 0
    """Simulated time of a step in ms, where the kernels draw payments of their own."""
    warm_up_steps: int = 0
    """Steps with ``idle_decision`` that are done before an episode begins; its clock runs on from there."""
    idle_decision: Int64
    """The decision that leaves a network as it is, where there are such steps, shape (len(decision),)."""
    kept: tuple[str, ...] = ()
    """What each number means that kernels keep from step to step in ``StepColumns.kept``, int64; 0 after a reset."""

    pays_success_rate: bool = False
    """Whether the reward is the share of payments that settled, and nothing else."""

    actions: ActionScheme
    observations: ObservationScheme
    options: int
    """Length of a row of allowed options."""

    def __init__(self, config: EnvironmentConfig, topology: Topology) -> None:
        self.config = config
        self.topology = topology

    @classmethod
    def prepared(cls, config: EnvironmentConfig, topology: Topology) -> Topology:  # noqa: ARG003
        """Return the network that episodes are on, given the one that a config names: by default just that.

        Raises:
            ConfigError: The settings ask for the impossible.
        """
        return topology

    @property
    @abstractmethod
    def kernels(self) -> TaskKernels:
        """The compiled functions; imported when first asked for."""

    @abstractmethod
    def compiled_state(self, variants: Sequence[Any]) -> tuple[Any, ...]:
        """Lay out what the kernels need to know of the task.

        Args:
            variants: This task on each variant of the network, this one first.

        Returns:
            A named tuple of arrays and numbers, of one type whatever the settings.
        """

    @abstractmethod
    def apply(self, backend: Backend, decision: Int64, noted: Int64) -> tuple[tuple[Intervention, ...], int]:
        """Do on a backend what a decision says.

        Args:
            backend: The network.
            decision: Shape (len(decision),).
            noted: Entries of the ledger for this step, shape (len(ledger),), filled in place; as ``plan`` left them,
                where there is one.

        Returns:
            What was done, in order, and how many payments of the step's batch are to be sent.

        Raises:
            BackendError: The backend was lost.
        """

    @abstractmethod
    def interventions(self, decision: Int64, noted: Int64) -> tuple[Intervention, ...]:
        """Return what a decision did in the simulator, given what ``apply`` noted in the ledger."""

    def payments(self, seed: int, episode: int, step: int) -> tuple[PaymentBatch, Int64, Int64]:
        """Return the payments that kernels draw for a step, when they are in ms, and their fee limits in ppm.

        Args:
            seed: Seed of the environment; its low 64 bits count.
            episode: Index of the episode since that seed.
            step: Index of the step since the clock began, warm-up included.

        Raises:
            NotImplementedError: The payments are those of the traffic model (``draws_payments``).
        """
        raise NotImplementedError

    def happened(self, seed: int, episode: int, step: int) -> tuple[Intervention, ...]:
        """Return what others did at the begin of a step, whatever the agent decided; by default nothing.

        Args:
            seed: Seed of the environment; its low 64 bits count.
            episode: Index of the episode since that seed.
            step: Index of the step within the episode.
        """
        return ()

    def add_info(self, info: dict[str, Any], noted: list[int], terms: list[float]) -> None:
        """Add to the info of a step what it says of the task: by default the terms of the reward, as ``rewards``.

        Args:
            info: What was said of the payments.
            noted: Entries of the step, as ``ledger`` names them.
            terms: Terms of the reward.
        """
        info["rewards"] = dict(zip(self.terms, terms, strict=True))

    def short_infos(self, noted: Int64, terms: npt.NDArray[np.float64]) -> list[dict[str, Any]]:
        """Return what matters most of a step, flat, as stable-baselines3 logs it: by default the terms of the reward.

        Args:
            noted: Shape (n, len(ledger)).
            terms: Shape (n, len(terms)).
        """
        return [dict(zip(self.terms, row, strict=True)) for row in terms.tolist()]

    def step_infos(self, noted: Int64, terms: npt.NDArray[np.float64], which: Bool) -> dict[str, Any]:
        """Return the same for many networks: arrays of shape (n,) by key, nested as in ``add_info``.

        Args:
            noted: Shape (n, len(ledger)), 0 where a network did not step.
            terms: Shape (n, len(terms)), 0.0 where a network did not step.
            which: Networks that stepped, shape (n,).
        """
        return {"rewards": dict(zip(self.terms, np.ascontiguousarray(terms.T), strict=True))}

    def rebalance_tally(self, noted: Int64) -> RebalanceTally:
        """Add up the rebalances of a step; by default there are none.

        Args:
            noted: Shape (n, len(ledger)).
        """
        return RebalanceTally(*np.zeros((len(RebalanceTally._fields), len(noted)), np.int64))

    def require_same_shape(self, other: Any, index: int) -> None:  # noqa: B027 - most tasks ask for nothing more
        """Refuse a variant whose spaces would not be those of this task; nodes and channels are equal in number.

        Args:
            other: This task on the variant.
            index: Number of the variant.

        Raises:
            ConfigError: They differ.
        """
