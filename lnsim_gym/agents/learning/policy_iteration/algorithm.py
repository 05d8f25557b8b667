"""Direct policy iteration: learn which action is best from rollouts of several, all in the same future."""

from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.save_util import load_from_pkl, save_to_pkl
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.vec_env import VecEnv

from lnsim_gym.agents.learning.policy_iteration.branches import Branches
from lnsim_gym.agents.learning.policy_iteration.experience import Experience
from lnsim_gym.agents.learning.policy_iteration.policy import ActionValuePolicy
from lnsim_gym.arrays import Bool, Float64, Int64

__all__ = ["DirectPolicyIteration"]


class DirectPolicyIteration(BaseAlgorithm):
    """Tries several actions wherever the training comes by, and learns how much they differ.

    At every step some actions of each network are rolled out in copies of it: the action first, then what the policy
    does. All copies meet the same payments (common random numbers), so that what luck adds to their returns is much
    the same and drops out of the differences, which the policy learns by regression. It is told only what an agent
    sees, while the copies follow the network's true hidden state: what it learns is the mean over all states that look
    alike. Acting by the higher values improves on the policy that was rolled out (policy iteration; as regression
    from rollouts: Lagoudakis and Parr, Reinforcement learning as classification, 2003; Lazaric, Ghavamzadeh and Munos,
    Analysis of a classification-based policy iteration algorithm, 2010; with the same future for all: Ng and Jordan,
    PEGASUS, 2000).

    Args:
        policy: ``"MlpPolicy"``.
        env: A ``LightningVecEnv`` with discrete actions, wrapped or not.
        learning_rate: Learning rate of Adam, or a schedule of it.
        gamma: Discount of the returns.
        horizon: Steps of a rollout.
        candidates: Actions tried at each step: doing nothing, the best half, and others at random.
        exploration: Chance that a network takes one of the tried actions at random instead of the best.
        buffer_size: Observations that are kept to learn from.
        batch_size: Observations of an update.
        gradient_steps: Updates after each step of all networks.
        tau: Weight of an update in the averaged weights, which act.
        policy_kwargs: Arguments of ``ActionValuePolicy``.
        stats_window_size: Episodes that logged means are over.
        tensorboard_log: Folder of a log for TensorBoard.
        verbose: 0 for silence, 1 for information.
        seed: Seed of everything random.
        device: ``"cpu"``: the networks are too small to be faster elsewhere.
        _init_setup_model: Whether to build the policy at once.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": ActionValuePolicy}
    policy: ActionValuePolicy
    action_space: gym.spaces.Discrete
    env: VecEnv
    _last_obs: npt.NDArray[np.float32]

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: GymEnv | str | None,
        learning_rate: float | Schedule = 1e-3,
        gamma: float = 0.97,
        horizon: int = 10,
        candidates: int = 16,
        exploration: float = 0.15,
        buffer_size: int = 200_000,
        batch_size: int = 2048,
        gradient_steps: int = 6,
        tau: float = 0.005,
        policy_kwargs: dict[str, Any] | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: str | torch.device = "cpu",
        _init_setup_model: bool = True,
    ) -> None:
        super().__init__(
            policy,
            env,
            learning_rate,
            policy_kwargs,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device=device,
            support_multi_env=True,
            seed=seed,
        )
        counts = {"horizon": horizon, "candidates": candidates, "buffer_size": buffer_size, "batch_size": batch_size}
        for name, count in {**counts, "gradient_steps": gradient_steps}.items():
            if count < 1:
                raise ValueError(f"{name} must be at least 1, got {count}")
        for name, share in {"gamma": gamma, "exploration": exploration, "tau": tau}.items():
            if not 0 <= share <= 1:
                raise ValueError(f"{name} must lie in 0..1, got {share}")
        self.gamma = gamma
        self.horizon = horizon
        self.candidates = candidates
        self.exploration = exploration
        self.buffer_size = buffer_size
        self.batch_size = batch_size
        self.gradient_steps = gradient_steps
        self.tau = tau
        if _init_setup_model:
            self._setup_model()

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 100,
        tb_log_name: str = "DirectPolicyIteration",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train for a number of steps over all networks, those of rollouts not counted; see ``BaseAlgorithm.learn``.

        Raises:
            ValueError: The environment is no ``LightningVecEnv``.
        """
        total, watch = self._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)
        watch.on_training_start(locals(), globals())
        with closing(Branches(self.env, self.candidates)) as branches:
            while self.num_timesteps < total:
                watch.on_rollout_start()
                self._step(branches)
                self._update_current_progress_remaining(self.num_timesteps, total)
                if not watch.on_step():
                    break
                watch.on_rollout_end()
                loss = self._learn_differences()
                if self.num_timesteps // self.n_envs % log_interval == 0:
                    self.logger.record("train/loss", loss)
                    self.dump_logs()
        watch.on_training_end()
        return self

    def predict(
        self,
        observation: Any,
        state: tuple[npt.NDArray[Any], ...] | None = None,
        episode_start: Bool | None = None,
        deterministic: bool = True,
        action_masks: Bool | None = None,
    ) -> tuple[npt.NDArray[Any], tuple[npt.NDArray[Any], ...] | None]:
        """Choose actions; see ``ActionValuePolicy.predict``."""
        return self.policy.predict(observation, state, episode_start, deterministic, action_masks)

    def save_replay_buffer(self, path: Path) -> None:
        """Write what it learns from."""
        save_to_pkl(path, self.replay_buffer.save_state(), self.verbose)

    def load_replay_buffer(self, path: Path) -> None:
        """Read what ``save_replay_buffer`` wrote."""
        self.replay_buffer.restore_state(load_from_pkl(path, self.verbose))

    def dump_logs(self) -> None:
        """Write means over the last episodes to the log."""
        for name, key in (("ep_rew_mean", "r"), ("ep_len_mean", "l")):
            if self.ep_info_buffer:
                self.logger.record(f"rollout/{name}", np.mean([episode[key] for episode in self.ep_info_buffer]))
        self.logger.dump(self.num_timesteps)

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        """Name what PyTorch saves."""
        return ["policy", "policy.optimizer"], []

    def _setup_model(self) -> None:
        """Build the policy and an empty memory."""
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        spaces = self.observation_space, self.action_space
        self.policy = cast("ActionValuePolicy", self.policy_class(*spaces, self.lr_schedule, **self.policy_kwargs))
        self.candidates = min(self.candidates, int(self.action_space.n))
        blank = np.zeros((1, *cast("gym.spaces.Box", self.observation_space).shape), np.float32)
        basis = self.policy.learned.basis(blank, np.zeros((1, self.candidates), np.int64))
        self.replay_buffer = Experience(self.buffer_size, basis.shape[1:], self.candidates)

    def _step(self, branches: Branches) -> None:
        """Try actions on every network, note what they led to, and do one of them."""
        observation = self._last_obs
        allowed = np.stack(self.env.env_method("action_masks"))
        candidates = self._candidates(self.policy.values(observation, allowed), allowed)
        returns = self._returns(branches, candidates)
        self.replay_buffer.add(self.policy.learned.basis(observation, candidates), candidates, returns)
        following, _, dones, infos = self.env.step(self._actions(candidates))
        self._last_obs = np.asarray(following)
        self._update_info_buffer(infos, dones)
        self.num_timesteps += self.n_envs

    def _candidates(self, values: npt.NDArray[np.float32], allowed: Bool) -> Int64:
        """Return the actions to try, shape (n, candidates), the best one first."""
        best = max(self.candidates // 2, 1)
        priority = self._rng.random(values.shape)
        priority[~allowed] -= 1.0  # only where nothing else is left
        order = np.argsort(-values, axis=1, kind="stable")
        np.put_along_axis(priority, order[:, :best], 2.0 + np.arange(best, 0, -1), axis=1)
        priority[:, 0] = np.maximum(priority[:, 0], 2.0)
        return np.argsort(-priority, axis=1, kind="stable")[:, : self.candidates]

    def _returns(self, branches: Branches, candidates: Int64) -> Float64:
        """Return what each of the actions leads to, shape (n, candidates)."""
        branches.start()
        returns = branches.step(candidates.ravel())
        for step in range(1, self.horizon):
            if branches.ended:
                break
            returns += self.gamma**step * branches.step(self.policy.values(*branches.observe()).argmax(axis=1))
        return returns.reshape(candidates.shape)

    def _actions(self, candidates: Int64) -> Int64:
        """Return the action of each network: the best, or by chance another one that was tried."""
        tried = self._rng.integers(self.candidates, size=len(candidates))
        place = np.where(self._rng.random(len(candidates)) < self.exploration, tried, 0)
        actions: Int64 = candidates[np.arange(len(candidates)), place]
        return actions

    def _learn_differences(self) -> float:
        """Fit the values to the differences between returns; return the last loss."""
        self._update_learning_rate(self.policy.optimizer)
        loss = torch.zeros(())
        for _ in range(self.gradient_steps):
            basis, action, returns = map(torch.from_numpy, self.replay_buffer.sample(self.batch_size, self._rng))
            error = self.policy.learned.at(basis, action) - returns
            loss = (error - error.mean(dim=1, keepdim=True)).square().mean()
            self.policy.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.policy.optimizer.step()
            self.policy.average(self.tau)
        return float(loss.detach())

    @property
    def _rng(self) -> np.random.Generator:
        """Source of randomness, which the seed fixes."""
        return self.action_space.np_random
