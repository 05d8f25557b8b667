"""The PettingZoo form of an environment: every node is an agent that manages its own channels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final, cast

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from pettingzoo import ParallelEnv

from lnsim_gym.arrays import Float32, Int8, Int64
from lnsim_gym.environment.infos import InfoKind, check_kind, shown
from lnsim_gym.environment.single import LightningNetEnv
from lnsim_gym.errors import ConfigError, InvalidAction
from lnsim_gym.network import Topology
from lnsim_gym.payments import REASON_NAMES
from lnsim_gym.rendering import RENDER_FPS, RENDER_MODES
from lnsim_gym.tasks.liquidity import EveryNodeTask, ledger
from lnsim_gym.tasks.liquidity.rewards import TERMS

__all__ = ["ParallelLightningNetEnv"]

TYPICAL_BASE_MSAT: Final = 1_000
TYPICAL_RATE_PPM: Final = 1_000
"""Fees that observations show as one half."""
ANNOUNCED: Final = 5
"""Numbers that are announced of each channel."""
_RESET_OPTIONS: Final = ("balances_msat", "episode")

Observation = Float32 | dict[str, npt.NDArray[Any]]


class ParallelLightningNetEnv(ParallelEnv[str, Any, Any]):  # type: ignore[misc] - PettingZoo is an extra
    """A Lightning network in which each node manages its own channels.

    A step is that of ``LightningNetEnv`` with task ``every_node``: the nodes' rebalances are done one after the other,
    in the order of ``topology.nodes``, then a batch of payments runs. Where one node acts and the others do nothing,
    the episode is the one that ``LightningNetEnv`` has with that rebalance, on the same seed, to the millisatoshi.

    **Agents** are the nodes, by name. All have equal spaces, so that they can share a policy: those of the node with
    most channels. What a node lacks of that is 0 in observations, does nothing as an action, and is masked.

    **Action.** ``Discrete(1 + D * sizes)`` where D is the most rebalances that any node can pay (for pushes, its
    channels): 0 does nothing, ``1 + place * sizes + size`` sends that size over the node's rebalance at that place.
    With ``operation="push"`` a node pushes over its own channels, with ``"circular"`` it pays cycles of its own. A node
    without an action does nothing.

    **Observation.** float32 in [0, 1]: what a node knows. Of each of its channels, in their order: its own balance as a
    share of the capacity; then, if ``observation`` is ``flows`` or ``averages``, for each step or average the amounts
    that left and reached it over each channel, and the share of the batch that it sent in vain; then for each channel
    what is announced: its capacity as a share of the largest, base fee and fee rate of the node, and of the neighbour
    (x / (x + 1000), in msat and ppm). With ``mask_in_observation`` a dict of ``observation`` and ``action_mask``.

    **Reward.** The setting ``reward`` weighs the node's own share of each term (``EveryNodeTask.terms_by_node``): with
    ``"success_rate"`` the settled payments that it sent as a share of the whole batch, with ``"profit"`` what it earned
    by forwarding less what its rebalances cost. With ``shared_reward`` every node is paid the reward of the whole
    network, which is that of ``LightningNetEnv``.

    **Info** of each node, always with the same keys: ``payments`` and ``succeeded`` (those that it sent),
    ``earned_msat``, ``rebalance``, ``rewards`` (its terms), ``action_mask``, and ``seed``, ``episode_number``,
    ``step``, ``reset_rung``, ``reset_seconds``, ``backend_error`` of the environment.

    All agents are truncated together, by the time limit or when the backend is lost; then ``agents`` is empty until
    the next reset. Options of a reset are those of ``LightningNetEnv``; others mean nothing here.

    Args:
        env_id: Id of a registered environment with the liquidity task.
        render_mode: As for ``LightningNetEnv``.
        shared_reward: Whether every node is paid the reward of the whole network.
        info: As for ``LightningNetEnv``; ``"flat"`` for what makes tensors of infos, as TorchRL does.
        **settings: Settings that differ from the registered ones, ``max_episode_steps`` included.

    Raises:
        ConfigError: The environment has another task, or a setting is unknown, of the wrong type or out of range.
        InvalidAction: From ``step``, for an action outside the space or of an unknown agent.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - as PettingZoo has it
        "name": "lightning_net_v0",
        "render_modes": [*RENDER_MODES],
        "render_fps": RENDER_FPS,
        "is_parallelizable": True,
    }

    def __init__(
        self,
        env_id: str,
        render_mode: str | None = None,
        shared_reward: bool = False,
        info: InfoKind = "all",
        **settings: Any,
    ) -> None:
        spec = gym.spec(env_id)
        given = {"max_episode_steps": spec.max_episode_steps, **spec.kwargs, **settings}
        if given.pop("task", "liquidity") != "liquidity":
            raise ConfigError(f"every node can be an agent in environments with task 'liquidity', {env_id} has another")
        masked = given.pop("mask_in_observation", False)
        if not isinstance(masked, bool):
            raise ConfigError(f"mask_in_observation must be true or false where nodes are agents, got {masked!r}")
        if given.get("observation") == "dict":
            raise ConfigError("expected the observation 'balances', 'flows' or 'averages' where nodes are agents")
        self.network = LightningNetEnv(render_mode=render_mode, task="every_node", **given)
        """The environment of the whole network, whose actions are those of all nodes."""
        self.render_mode = render_mode
        self.shared_reward = shared_reward
        self._info_kind = check_kind(info)
        self.possible_agents = [*self.network.topology.nodes]
        self.agents: list[str] = []
        task = cast("EveryNodeTask", self.network.problem.task)
        self._task = task
        self._masked = masked
        self._index = {agent: index for index, agent in enumerate(self.possible_agents)}
        self._known = _known_entries(task)
        self._announced = _announced(self.network.topology)
        space: gym.Space[Any] = gym.spaces.Box(0, 1, (self._known.shape[1] + self._announced.shape[1],), np.float32)
        if masked:
            mask = gym.spaces.Box(0, 1, (task.actions.choices,), np.int8)
            space = gym.spaces.Dict({"observation": space, "action_mask": mask})
        self.observation_spaces = {agent: _fresh(space) for agent in self.possible_agents}
        self.action_spaces = {agent: gym.spaces.Discrete(task.actions.choices) for agent in self.possible_agents}

    def observation_space(self, agent: str) -> gym.Space[Any]:
        """Return the observation space of an agent, always the same object."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> gym.Space[Any]:
        """Return the action space of an agent, always the same object."""
        return self.action_spaces[agent]

    @cached_property
    def state_space(self) -> gym.Space[Any]:
        """The space of ``state``."""
        return self.network.observation_space

    def state(self) -> Float32:
        """Return what an agent that sees all would observe: the observation of ``LightningNetEnv``."""
        observation: Float32 = self._task.observations.present(self.network.columns.observation[0])
        return observation

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Observation], dict[str, dict[str, Any]]]:
        """Start an episode; see ``LightningNetEnv.reset``."""
        known = {name: value for name, value in (options or {}).items() if name in _RESET_OPTIONS}
        _, info = self.network.reset(seed=seed, options=known)
        self.agents = [*self.possible_agents]
        self._announced = _announced(self.network.topology)
        masks = self._masks(info)
        return self._observations(masks), self._infos(info, masks, stepped=False)

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[dict[str, Observation], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Do what the nodes decided, run a batch of payments, observe.

        Args:
            actions: An element of its action space for each node that does something.

        Returns:
            Observation, reward, False, whether the episode was truncated, and info, each by agent.

        Raises:
            InvalidAction: An action lies outside the space, or an agent is unknown.
            BackendError: The backend was lost and ``on_fault`` is ``"raise"``.
        """
        if not self.agents:
            raise gym.error.ResetNeeded("call reset before the first step and after an episode has ended")
        _, reward, _, truncated, info = self.network.step(self._joint(actions))
        masks = self._masks(info)
        lost = bool(info["backend_error"])
        observations, infos = self._observations(masks), self._infos(info, masks, stepped=not lost)
        if self.shared_reward or lost:
            rewards = dict.fromkeys(self.agents, float(reward))
        else:
            own = self._terms @ self._task.weights
            rewards = dict(zip(self.agents, own.tolist(), strict=True))
        ended = dict.fromkeys(self.agents, False), dict.fromkeys(self.agents, truncated)
        if truncated:
            self.agents = []
        return observations, rewards, *ended, infos

    def render(self) -> Any:
        """Show the network as ``render_mode`` says; see ``LightningNetEnv.render``."""
        return self.network.render()

    def close(self) -> None:
        """Release the network; harmless when closed already."""
        self.network.close()

    def _joint(self, actions: Mapping[str, Any]) -> list[Any]:
        """Return the action of the whole network."""
        joint: list[Any] = [0] * len(self.possible_agents)
        for agent, action in actions.items():
            if agent not in self._index:
                raise InvalidAction(f"expected actions of {', '.join(self.possible_agents[:10])}, got one of {agent!r}")
            if not self.action_spaces[agent].contains(_plain(action)):
                raise InvalidAction(
                    f"expected an integer in 0..{self._task.actions.choices - 1} from {agent}, got {action!r}"
                )
            joint[self._index[agent]] = int(action)
        return joint

    def _masks(self, info: Mapping[str, Any]) -> Int8:
        """Return what each node may do, shape (nodes, choices)."""
        masks: Int8 = info["action_mask"].reshape(len(self.possible_agents), -1)
        return masks

    def _observations(self, masks: Int8) -> dict[str, Observation]:
        """Return what each agent sees."""
        row = np.append(self.network.columns.observation[0], np.float32(0))
        seen = np.concatenate([row[self._known], self._announced], axis=1)
        if self._masked:
            both = zip(seen, masks, strict=True)
            rows: list[Any] = [{"observation": own.copy(), "action_mask": mask.copy()} for own, mask in both]
        else:
            rows = [own.copy() for own in seen]
        return dict(zip(self.agents, rows, strict=True))

    @property
    def _terms(self) -> npt.NDArray[np.float64]:
        """Terms of the last step by node."""
        return self._task.terms_by_node(self.network.columns, 0)

    def _infos(self, info: Mapping[str, Any], masks: Int8, *, stepped: bool) -> dict[str, dict[str, Any]]:
        """Return the info of each agent; of a step only where one was made."""
        columns = self.network.columns
        nodes = len(self.agents)
        sent = succeeded = earned_msat = np.zeros(nodes, np.int64)
        noted: Int64 = np.zeros((nodes, len(ledger.NAMES)), np.int64)
        terms = np.zeros((nodes, len(TERMS)))
        if stepped:
            source = columns.source[0, : columns.due[0]]
            sent = np.bincount(source, minlength=nodes)
            succeeded = np.bincount(source[columns.succeeded[0, : columns.due[0]]], minlength=nodes)
            noted, terms, earned_msat = self._task.noted_by_node(columns.ledger[0]), self._terms, columns.earned_msat[0]
        place = {
            name: info[name]
            for name in ("reset_rung", "reset_seconds", "seed", "episode_number", "step", "backend_error")
        }
        infos: dict[str, dict[str, Any]] = {
            agent: {
                "payments": int(sent[node]),
                "succeeded": int(succeeded[node]),
                "earned_msat": int(earned_msat[node]),
                "rebalance": _rebalance_info(noted[node]),
                "rewards": dict(zip(TERMS, terms[node].tolist(), strict=True)),
                "action_mask": masks[node].copy(),
                **place,
            }
            for node, agent in enumerate(self.agents)
        }
        return {agent: shown(own, self._info_kind) for agent, own in infos.items()}


def _fresh(space: gym.Space[Any]) -> gym.Space[Any]:
    """Return an equal space with a random generator of its own."""
    if isinstance(space, gym.spaces.Dict):
        return gym.spaces.Dict({name: _fresh(part) for name, part in space.items()})
    assert isinstance(space, gym.spaces.Box)
    return gym.spaces.Box(0, 1, space.shape, cast("type[np.floating[Any]]", space.dtype))


def _plain(action: Any) -> Any:
    """Return an action as ``Discrete`` knows it: arrays without axes, and of one number, are numbers too."""
    return action.item() if isinstance(action, np.ndarray) and action.size == 1 else action


def _rebalance_info(noted: Int64) -> dict[str, Any]:
    """Return what is said of a node's rebalance, in the words of the liquidity task."""
    return {
        "requested_sat": int(noted[ledger.REQUESTED]) // 1000,
        "applied_sat": int(noted[ledger.APPLIED]) // 1000,
        "fee_msat": int(noted[ledger.FEE]),
        "refused": bool(noted[ledger.REASON]),
        "reason": REASON_NAMES[noted[ledger.REASON]],
    }


def _own_ends(topology: Topology) -> Int64:
    """Return the directions out of each node, shape (nodes, most channels of a node), padded with -1."""
    source = topology.arrays.source
    ends = [np.flatnonzero(source == node) for node in range(len(topology.nodes))]
    table = np.full((len(ends), max(map(len, ends))), -1, np.int64)
    for node, own in enumerate(ends):
        table[node, : len(own)] = own
    return table


def _known_entries(task: EveryNodeTask) -> Int64:
    """Return which entries of the network's observation row each node knows, shape (nodes, n); -1 stands for 0."""
    layout = task.observations
    out = _own_ends(task.topology)
    into = np.where(out < 0, -1, out ^ 1)
    nodes = np.arange(len(out))[:, None]
    blocks = [out]
    for block in range(layout.history):
        first = layout.directions + block * layout.features
        blocks += [np.where(out < 0, -1, first + out), np.where(into < 0, -1, first + into)]
        blocks.append(first + layout.directions + nodes)
    return np.concatenate(blocks, axis=1)


def _announced(topology: Topology) -> Float32:
    """Return what is announced of each node's channels, shape (nodes, ANNOUNCED * most channels of a node)."""
    arrays = topology.arrays
    out = _own_ends(topology)
    capacity_sat = arrays.capacity_sat[out >> 1]
    base_msat = arrays.fee_base_msat / (arrays.fee_base_msat + TYPICAL_BASE_MSAT)
    rate_ppm = arrays.fee_rate_ppm / (arrays.fee_rate_ppm + TYPICAL_RATE_PPM)
    features = [
        capacity_sat / arrays.capacity_sat.max(),
        *(fee[end] for end in (out, out ^ 1) for fee in (base_msat, rate_ppm)),
    ]
    by_node = np.where(out < 0, 0, np.stack(features)).astype(np.float32).transpose(1, 0, 2)
    return np.ascontiguousarray(by_node).reshape(len(out), -1)
