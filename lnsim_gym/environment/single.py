"""The Gymnasium environment: a thin presentation of one network's episodes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, Final

import gymnasium as gym
import numpy as np

from lnsim_gym.arrays import Bool, Int64
from lnsim_gym.backends.base import ResetReport
from lnsim_gym.backends.interventions import Intervention, Rebalance
from lnsim_gym.environment.infos import InfoKind, add_place, check_kind, payments_info, reset_info, shown
from lnsim_gym.environment.options import StartOptions, time_limit
from lnsim_gym.environment.saving import SavedState
from lnsim_gym.environment.spec import PlainSpec
from lnsim_gym.episodes import Episodes, Problem
from lnsim_gym.episodes.start import open_episodes
from lnsim_gym.errors import BackendError
from lnsim_gym.network import Topology
from lnsim_gym.payments import PaymentBatch, PaymentOutcomes, RebalanceResult
from lnsim_gym.rendering import RENDER_FPS, RENDER_MODES, Renderer
from lnsim_gym.tasks import EnvironmentConfig
from lnsim_gym.tasks.columns import LEDGER, StepColumns
from lnsim_gym.tasks.config import plain_settings
from lnsim_gym.tasks.presentation import Presentation

__all__ = ["LightningNetEnv"]

_BOUND: Final = frozenset(
    {
        *("_counts", "_ledger", "_terms", "_reward", "_due", "_all"),
        *("_observed", "_masked", "_decode_one", "_step_one", "_add_info", "_end"),
    }
)
"""Attributes that ``_bind`` looks up."""


class LightningNetEnv(gym.Env[Any, Any]):
    """A Lightning network on which an agent has a task; by default it manages liquidity.

    One ``step`` does what the task makes of the action, then runs a batch of payments between random nodes, then
    observes. Actions, observations, rewards and the infos ``rebalance`` and ``rewards`` are the task's (the setting
    ``task``, see ``tasks.Task``); what follows describes them for ``"liquidity"``. There a step applies at most one
    rebalance. Channels run dry where demand is one-sided, and payments over them fail: the agent keeps liquidity where
    it will be needed.

    **Action.** Chooses a rebalance: an amount over one of the operation's routes, in one of two orientations. With
    ``operation="push"``, route c is channel c, and forward lets its initiator pay its peer; with ``"circular"`` a route
    is a cycle back to the paying node. Amounts are shares (``action_sizes``) of the smallest channel on the route,
    whole sat.

    - ``discrete``, ``Discrete(1 + 2 * routes * sizes)``: 0 does nothing, ``1 + (2 * route + reversed) * sizes + size``
      sends that size over that route.
    - ``multidiscrete``, ``MultiDiscrete([routes, 2, sizes + 1])``: route, reversed, size (0 does nothing).
    - ``box``, ``Box(-1, 1, (routes,), float32)``: the entry of largest magnitude acts. Its sign is the orientation, its
      magnitude the share of the largest size; below 0.05 nothing is done.
    - ``dict``, ``Dict(route=Discrete(routes), share=Box(-1, 1, (1,)))``: the same for a route by number.

    With ``circular_routes="found"`` a route is a pair of channels of one node, the one by which an amount leaves it and
    the one by which it comes back; what lies between is found when the action is taken. The spaces of that are those of
    ``tasks.liquidity.pairs``.

    A rebalance that LND would refuse is refused, changes nothing, and is reported in ``info["rebalance"]``.

    **Observation.** float32 in [0, 1]; C channels in the order of ``topology.channels``, N nodes in that of
    ``topology.nodes``, K = ``observation_history``.

    - ``balances``, shape ``(2C,)``: balance / capacity of the initiator, then of the peer, channel by channel.
    - ``flows``, shape ``(2C + K * (2C + 2N),)``: the same, then for each of the last K steps, newest first, the amount
      settled over each direction / capacity (cut at 1), and the share of the batch that failed, by sender and by
      receiver.
    - ``averages``, shape ``(2C + (1 + A) * (2C + 2N),)``: the same with the last step, followed by exponential averages
      over each of the A numbers of steps in ``observation_averages`` (a new step weighs 2 / (n + 1)).
    - ``dict``: the entries of ``flows`` under ``balances``, ``flows``, ``failed_by_sender``, ``failed_by_receiver``.

    With ``mask_in_observation`` it is a dict of ``observation`` and ``action_mask`` (int8, as in the info); ``dict``
    gets ``action_mask`` as one more entry. ``"rllib"`` and ``"tianshou"`` use the keys that these read.

    **Reward.** The weighted sum of the terms of ``tasks.liquidity.rewards.TERMS``; by default the share of the batch
    that settled.

    ``action_space.sample(info["action_mask"])`` draws an action of any kind that the mask allows.

    **Episode.** Never terminates; it is truncated by the time limit, or when the backend is lost (then the reward
    is 0, the observation the last valid one, and ``info["backend_error"]`` says why; the next ``reset`` repairs it).
    Start balances, demand and payments follow from the seed given to ``reset`` and the number of episodes since.
    ``reset(options={"balances_msat": array, "episode": k})`` overrides start balances and episode number.

    **Info of a step.** ``payments``, ``succeeded`` (counts), ``volume_sat``, ``fees_msat``, ``failures`` (counts by
    LND reason), ``rebalance`` (``requested_sat, applied_sat, fee_msat, refused, reason``), ``rewards`` (every term);
    after a reset all of that is 0, False or ``"NONE"``. Info of the last reset: ``reset_rung``, ``reset_seconds``.
    Besides, ``seed``, ``episode_number``, ``step`` (steps done), ``action_mask`` (int8) and ``backend_error``. Keys
    and types never vary.

    Args:
        render_mode: ``"human"`` draws a window at every reset and step; with ``"rgb_array"`` ``render`` returns a
            picture, uint8 of shape (height, width, 3), with ``"ansi"`` a text; None draws nothing. In its place may
            stand a mapping of all keywords, as RLlib passes it to the class.
        max_episode_steps: Steps after which an episode is truncated; never when None or -1. ``gym.make`` takes this
            keyword itself, for its ``TimeLimit``.
        info: ``"all"``; ``"numbers"`` leaves texts out (``reason``, ``reset_rung``, ``backend_error``), of which no
            tensors can be made; ``"flat"`` besides puts the entries of tables beside the others, under keys such as
            ``rewards.success_rate``.
        **settings: Fields of ``EnvironmentConfig``, also as NumPy, OmegaConf or ``pathlib`` have them.

    Raises:
        UnknownSetting: A setting is unknown; also a ``TypeError``.
        ConfigError: A setting is of the wrong type or out of range.
        InvalidAction: From ``step``, for an action outside the space.
        MissingDependency: A package that ``render_mode`` needs is not installed.
        BackendError: From ``reset`` when the network cannot be brought up, and from ``step`` with ``on_fault="raise"``.
    """

    metadata: dict[str, Any] = {"render_modes": [*RENDER_MODES], "render_fps": RENDER_FPS}  # noqa: RUF012

    spec = PlainSpec()

    def __init__(
        self,
        render_mode: str | Mapping[str, Any] | None = None,
        max_episode_steps: int | None = None,
        info: InfoKind = "all",
        **settings: Any,
    ) -> None:
        if isinstance(render_mode, Mapping):
            self.__init__(**{**render_mode, **settings})  # type: ignore[misc]
            return
        self.render_mode = render_mode
        self.config = EnvironmentConfig.of(settings)
        self.problem = Problem.of(self.config)
        self.action_space = copy.deepcopy(self.problem.task.actions.space)
        self.observation_space = Presentation(self.problem.task).space
        self.settings = plain_settings(settings)
        self.max_episode_steps = time_limit(max_episode_steps)
        self._info_kind = check_kind(info)
        self._episodes: Episodes = open_episodes(self.problem)
        self._renderer = None if render_mode is None else Renderer(render_mode, self._episodes, self.metadata)
        self._seed: int | None = None
        self._episode = self._step = 0
        self._reset_report = ResetReport(rung="none", seconds=0.0)
        self._bind()

    def _bind(self) -> None:
        """Look up once what every step needs."""
        columns = self._episodes.columns
        task = self.problem.task
        # Memory views give up their numbers in half the time that arrays take.
        self._counts = columns.counts[0, :LEDGER].data
        self._ledger = columns.ledger[0].data
        self._terms = columns.terms[0].data
        self._reward = columns.reward.data
        self._due = columns.due.data
        self._observed = Presentation(task).views_of(columns.observation[0], columns.allowed[0])
        self._masked = task.actions.masks_of(columns.allowed[0])
        self._decode_one = task.actions.decode_one
        self._step_one = self._episodes.step_one
        self._add_info = task.add_info
        self._all = np.ones(1, np.bool_)
        self._end = self.max_episode_steps or np.inf

    @property
    def topology(self) -> Topology:
        """The network with the routing policies that it has now."""
        return self._episodes.topology(0)

    @property
    def columns(self) -> StepColumns:
        """What happened in the last step, one row; views that change with the next reset and step."""
        return self._episodes.columns

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: Starts a new sequence of episodes; without one the sequence goes on.
            options: ``balances_msat``, start balances of shape (channels, 2); ``episode``, the episode's number.

        Raises:
            ConfigError: An option is unknown or impossible.
            BackendError: The network cannot be brought up.
        """
        super().reset(seed=seed)
        start = StartOptions.of([options or {}], self._episodes)
        if seed is not None or self._seed is None:
            self._seed = int(self.np_random.integers(2**62)) if seed is None else seed
            self._episodes.seed(0, self._seed)
        self._reset_report = start.begin(self._episodes, self._all)
        self._episode = int(self._episodes.episodes[0])
        self._step = 0
        if self._renderer is not None:
            self._renderer.began(self._all, self._length())
        return self._observed(), self._completed(reset_info(self.problem.task), "")

    def _length(self) -> int | None:
        """Return how long an episode is: ``gym.make`` keeps to itself what it was told, but for what is registered."""
        registered = gym.registry.get(self.spec.id) if self.spec else None
        return self.max_episode_steps or (registered.max_episode_steps if registered else None)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Do what the action says, run a batch of payments, observe.

        Args:
            action: An element of ``action_space``, or what the task takes in place of one (``ExactRebalance``).

        Returns:
            Observation, reward, False, whether the time limit was reached or the backend was lost, and info.

        Raises:
            InvalidAction: The action lies outside the space.
            BackendError: The backend was lost and ``on_fault`` is ``"raise"``.
        """
        if self._seed is None:
            raise gym.error.ResetNeeded("call reset before the first step")
        decision = self._decode_one(action)
        try:
            self._step_one(decision)
        except BackendError as fault:
            if self.config.on_fault == "raise":
                raise
            return self._observed(), 0.0, False, True, self._lost(fault)
        self._step += 1
        if self._renderer is not None:
            self._renderer.stepped(self._all)
        return self._observed(), self._reward[0], False, self._step >= self._end, self._info("")

    def render(self) -> Any:
        """Show the network as ``render_mode`` says; draws nothing without one.

        Returns:
            A picture, uint8 of shape (height, width, 3), a text, or None.
        """
        if self._renderer is None:
            gym.logger.warn("render was called, but render_mode is None: pass it when the environment is made")
            return None
        if self._seed is None:
            raise gym.error.ResetNeeded("call reset before the first render")
        frames = self._renderer.render()
        return None if frames is None else frames[0]

    def action_masks(self) -> Bool:
        """Return which actions the balances allow, as sb3-contrib asks for them, shape (mask length,)."""
        if self._seed is None:
            raise gym.error.ResetNeeded("call reset before the first action_masks")
        return self._masked().astype(np.bool_)

    def balances_msat(self) -> Int64:
        """Return the exact balances in msat, shape (channels, 2), initiator first."""
        balances: Int64 = self._episodes.columns.balances_msat[0].copy()
        return balances

    def last_batch(self) -> PaymentBatch:
        """Return the payments of the last step."""
        return self._episodes.batch(0)

    def last_outcomes(self) -> PaymentOutcomes:
        """Return what became of the payments of the last step."""
        return self._episodes.outcomes(0)

    def keep_step(self) -> Callable[[], tuple[PaymentBatch, PaymentOutcomes, Int64]]:
        """Keep the last step as it is now, cheaply.

        Returns:
            A function that gives its payments, what became of them, and the balances after it, shape (channels, 2).
        """
        return self._episodes.keep_step(0)

    def interventions(self) -> tuple[Intervention, ...]:
        """Return what the last step did to the network before its payments, and what became of it."""
        return self._episodes.interventions(0)

    def last_rebalance(self) -> tuple[tuple[int, ...], int, RebalanceResult]:
        """Return the first rebalance of the last step: route as direction indices, amount asked for in msat, result.

        Without one the route is empty and the amount 0.
        """
        for done in self.interventions():
            if isinstance(done, Rebalance):
                return done.route, done.amount_msat, done.result
        return (), 0, RebalanceResult()

    def network_record(self) -> list[dict[str, Any]]:
        """Return name, host, port, TLS certificate, macaroon and public key of each real node; empty when simulated."""
        return self._episodes.network_record()

    def close(self) -> None:
        """Release the network and everything made for it; harmless when closed already."""
        self._episodes.close()
        if self._renderer is not None:
            self._renderer.close()

    def save_state(self) -> SavedState:
        """Return where the episode stands, for ``restore_state`` of this environment or one made alike.

        Wrappers keep counts of their own (Gymnasium's ``TimeLimit`` the steps): where these matter, copy the wrapped
        environment with ``copy.deepcopy`` or ``pickle``, which both go on in mid-episode.

        Raises:
            ConfigError: The episodes are on real nodes, which cannot be put back where they were.
        """
        own = {"seed": self._seed, "episode": self._episode, "step": self._step, "reset_report": self._reset_report}
        return SavedState.of(self, self._episodes, self._renderer, own)

    def restore_state(self, state: SavedState) -> None:
        """Go on, without a reset, where an environment of the same settings stood when it gave this state.

        Raises:
            ConfigError: The state is of other settings, or the episodes are on real nodes.
        """
        own = SavedState.put_back(state, self, self._episodes, self._renderer)
        self._seed = own["seed"]
        self._episode = own["episode"]
        self._step = own["step"]
        self._reset_report = own["reset_report"]

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle everything but what ``_bind`` looks up; one over real nodes starts as if just made."""
        if not self._episodes.can_be_copied:
            keywords = {"render_mode": self.render_mode, "max_episode_steps": self.max_episode_steps}
            keywords |= {"info": self._info_kind, **self.settings}
            return {"keywords": keywords, "spec": self.spec}
        return {name: value for name, value in vars(self).items() if name not in _BOUND}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Go on where the original stood."""
        if "keywords" in state:
            self.__init__(**state["keywords"])  # type: ignore[misc]
            self.spec = state["spec"]
            return
        self.__dict__.update(state)
        self._bind()

    def _info(self, backend_error: str) -> dict[str, Any]:
        """Return the info of the step that was just made."""
        info = payments_info(self._counts.tolist(), self._due[0])
        self._add_info(info, self._ledger.tolist(), self._terms.tolist())
        return self._completed(info, backend_error)

    def _completed(self, info: dict[str, Any], backend_error: str) -> dict[str, Any]:
        """Add to an info where the environment stands."""
        report = self._reset_report
        place = self._seed, self._episode, self._step, self._masked()
        add_place(info, report.rung, report.seconds, *place, backend_error)
        return shown(info, self._info_kind)

    def _lost(self, fault: BackendError) -> dict[str, Any]:
        """Return the info of a step during which the backend was lost."""
        columns = self._episodes.columns
        columns.counts[:] = 0
        columns.terms[:] = 0.0
        return self._info(f"{type(fault).__name__}: {fault}")
