"""The Gymnasium environment: a thin presentation of one network's episodes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final

import gymnasium as gym
import numpy as np

from lnsim_gym.arrays import Bool, Int64
from lnsim_gym.backends.interventions import Intervention, Rebalance
from lnsim_gym.environment.saving import SavedState
from lnsim_gym.environment.spec import HasSpec
from lnsim_gym.episodes import Episodes, Problem
from lnsim_gym.episodes.start import open_episodes
from lnsim_gym.errors import BackendError, ConfigError
from lnsim_gym.network import Topology
from lnsim_gym.payments import PaymentBatch, PaymentOutcomes, RebalanceResult
from lnsim_gym.rendering import RENDER_FPS, RENDER_MODES, Renderer
from lnsim_gym.tasks import EnvironmentConfig
from lnsim_gym.tasks.columns import LEDGER

__all__ = ["LightningNetEnv"]

_RESET_OPTIONS: Final = ("balances_msat", "episode")
_BOUND: Final = frozenset(
    {
        *("_counts", "_ledger", "_terms", "_reward", "_due", "_all"),
        *("_observed", "_masked", "_decode_one", "_step_one", "_add_info"),
    }
)
"""Attributes that ``_bind`` looks up."""


class LightningNetEnv(HasSpec, gym.Env[Any, Any]):
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

    **Reward.** The weighted sum of the terms of ``tasks.liquidity.rewards.TERMS``; by default the share of the batch
    that settled.

    **Episode.** Never terminates; it is truncated by the time limit, or when the backend is lost (then the reward
    is 0, the observation the last valid one, and ``info["backend_error"]`` says why; the next ``reset`` repairs it).
    Start balances, demand and payments follow from the seed given to ``reset`` and the number of episodes since.
    ``reset(options={"balances_msat": array, "episode": k})`` overrides start balances and episode number.

    **Info of a step.** ``payments``, ``succeeded`` (counts), ``volume_sat``, ``fees_msat``, ``failures`` (counts by
    LND reason), ``rebalance`` (``requested_sat, applied_sat, fee_msat, refused, reason``), ``rewards`` (every term).
    Info of a reset: ``reset_rung``, ``reset_seconds``. Both have ``seed``, ``episode_number``, ``step`` (steps
    done), ``action_mask`` (int8) and ``backend_error``. Keys and types never vary.

    Args:
        render_mode: ``"human"`` draws a window at every reset and step; with ``"rgb_array"`` ``render`` returns a
            picture, uint8 of shape (height, width, 3), with ``"ansi"`` a text; None draws nothing.
        **settings: Fields of ``EnvironmentConfig``.

    Raises:
        ConfigError: A setting is unknown, of the wrong type or out of range.
        InvalidAction: From ``step``, for an action outside the space.
        MissingDependency: A package that ``render_mode`` needs is not installed.
        BackendError: From ``reset`` when the network cannot be brought up, and from ``step`` with ``on_fault="raise"``.
    """

    metadata: dict[str, Any] = {"render_modes": [*RENDER_MODES], "render_fps": RENDER_FPS}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None, **settings: Any) -> None:
        self.render_mode = render_mode
        self.config = EnvironmentConfig.of(settings)
        self.problem = Problem.of(self.config)
        self.action_space = copy.deepcopy(self.problem.task.actions.space)
        self.observation_space = self.problem.task.observations.space
        self.settings = settings | ({"topology": self.config.topology} if "topology" in settings else {})
        self._episodes: Episodes = open_episodes(self.problem)
        self._renderer = None if render_mode is None else Renderer(render_mode, self._episodes, self.metadata)
        self._seed: int | None = None
        self._episode = self._step = 0
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
        self._observed = task.observations.views_of(columns.observation[0])
        self._masked = task.actions.masks_of(columns.allowed[0])
        self._decode_one = task.actions.decode_one
        self._step_one = self._episodes.step_one
        self._add_info = task.add_info
        self._all = np.ones(1, np.bool_)

    @property
    def topology(self) -> Topology:
        """The network with the routing policies that it has now."""
        return self._episodes.topology(0)

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
        start_msat, episode = self._reset_options(options or {})
        if seed is not None or self._seed is None:
            self._seed = int(self.np_random.integers(2**62)) if seed is None else seed
            self._episodes.seed(0, self._seed)
        if episode is not None:
            self._episodes.episodes[0] = episode - 1
        report = self._episodes.begin(self._all, start_msat)
        self._episode = int(self._episodes.episodes[0])
        self._step = 0
        if self._renderer is not None:
            self._renderer.began(self._all)
        info = {
            "reset_rung": report.rung,
            "reset_seconds": report.seconds,
            "seed": self._seed,
            "episode_number": self._episode,
            "step": self._step,
            "action_mask": self._masked(),
            "backend_error": "",
        }
        return self._observed(), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Do what the action says, run a batch of payments, observe.

        Args:
            action: An element of ``action_space``, or what the task takes in place of one (``ExactRebalance``).

        Returns:
            Observation, reward, False, whether the backend was lost, and info.

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
        return self._observed(), self._reward[0], False, False, self._info("")

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
        own = {"seed": self._seed, "episode": self._episode, "step": self._step}
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

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle everything but what ``_bind`` looks up; one over real nodes starts as if just made."""
        if not self._episodes.can_be_copied:
            return {name: vars(self)[name] for name in ("render_mode", "settings")} | {"_spec": self.spec}
        return {name: value for name, value in vars(self).items() if name not in _BOUND}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Go on where the original stood."""
        if "_episodes" not in state:
            self.__init__(render_mode=state["render_mode"], **state["settings"])  # type: ignore[misc]
        self.__dict__.update(state)
        self._bind()

    def _reset_options(self, options: dict[str, Any]) -> tuple[Int64 | None, int | None]:
        """Check the options of a reset."""
        for name in options:
            if name not in _RESET_OPTIONS:
                raise ConfigError(f"unknown reset option {name!r}: known are {', '.join(_RESET_OPTIONS)}")
        episode = options.get("episode")
        if episode is not None and (not isinstance(episode, int) or episode < 0):
            raise ConfigError(f"the reset option episode must be an integer >= 0, got {episode!r}")
        if "balances_msat" not in options:
            return None, episode
        return self.topology.check_balances_msat(options["balances_msat"])[None], episode

    def _info(self, backend_error: str) -> dict[str, Any]:
        """Return the info of the step that was just made; written out, as every step comes here."""
        (  # in the order of COUNTS
            succeeded,
            volume_msat,
            fees_msat,
            _no_failure,
            timeout,
            no_route,
            error,
            incorrect_payment_details,
            insufficient_balance,
            canceled,
        ) = self._counts.tolist()
        info = {
            "payments": self._due[0],
            "succeeded": succeeded,
            "volume_sat": volume_msat // 1000,
            "fees_msat": fees_msat,
            "failures": {
                "TIMEOUT": timeout,
                "NO_ROUTE": no_route,
                "ERROR": error,
                "INCORRECT_PAYMENT_DETAILS": incorrect_payment_details,
                "INSUFFICIENT_BALANCE": insufficient_balance,
                "CANCELED": canceled,
            },
        }
        self._add_info(info, self._ledger.tolist(), self._terms.tolist())
        info["seed"] = self._seed
        info["episode_number"] = self._episode
        info["step"] = self._step
        info["action_mask"] = self._masked()
        info["backend_error"] = backend_error
        return info

    def _lost(self, fault: BackendError) -> dict[str, Any]:
        """Return the info of a step during which the backend was lost."""
        columns = self._episodes.columns
        columns.counts[:] = 0
        columns.terms[:] = 0.0
        return self._info(f"{type(fault).__name__}: {fault}")
