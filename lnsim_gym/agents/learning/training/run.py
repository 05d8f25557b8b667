"""A training that can be saved and resumed: the environment, its wrappers, the model, and how far it has come."""

from __future__ import annotations

import os
import pickle
import random
import shutil
import zlib
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from lnsim_gym.agents.features import make_features
from lnsim_gym.agents.learning.hyperparams import Hyperparameters
from lnsim_gym.agents.learning.policy_iteration import DirectPolicyIteration
from lnsim_gym.agents.learning.sb3 import LightningVecEnv
from lnsim_gym.agents.learning.trained import TrainedAgent, statistics_of
from lnsim_gym.agents.learning.training.folder import TrainingFolder
from lnsim_gym.agents.learning.training.report import CurvePoint
from lnsim_gym.agents.learning.wrappers import ClockedVecEnv, FeaturedVecEnv
from lnsim_gym.agents.recipe import TrainedRecipe
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError, RecordError

__all__ = ["FIRST_SEED", "TrainingRun"]

FIRST_SEED: Final = 10_000_000
"""Seeds of the networks begin here, ``n_envs`` for each seed of a training, far from those of evaluations."""


_CHECKSUMS: Final = "checksums.json"


class TrainingRun:
    """The training of one seed, as far as it has come.

    Args:
        recipe: What to train.
        seed: Seed of the model; the networks get seeds of their own that follow from it.

    Raises:
        ConfigError: A setting of the recipe is unknown or impossible.
    """

    def __init__(self, recipe: TrainedRecipe, seed: int) -> None:
        self.recipe = recipe
        self.seed = seed
        self.curve: list[CurvePoint] = []
        self.wall_time_s = 0.0
        """Time spent on training so far."""
        self._hyperparameters = Hyperparameters.of(recipe)
        n_envs = self._hyperparameters.n_envs
        first = FIRST_SEED + seed * self._hyperparameters.n_envs
        self._env = LightningVecEnv(recipe.env, n_envs, info=False, **recipe.env_kwargs)
        self._features = make_features(recipe, self._env.problem)
        observed = self._env if self._features is None else FeaturedVecEnv(self._env, self._features)
        self._clock = ClockedVecEnv(observed)
        self._monitor = VecMonitor(self._clock)
        self._normalizer: VecNormalize | None = None
        if self._hyperparameters.normalize is not None:
            self._normalizer = VecNormalize(self._monitor, **self._hyperparameters.normalize)
        self.model = self._fresh_model()
        self._env.seed(first)

    @property
    def steps(self) -> int:
        """Steps trained so far, over all networks."""
        return self.model.num_timesteps

    @property
    def environment_s(self) -> float:
        """Time that the environment took of it."""
        return self._clock.seconds

    @property
    def planned_steps(self) -> int | None:
        """Steps that the recipe asks for."""
        return self._hyperparameters.n_timesteps

    def agent(self, problem: Problem) -> TrainedAgent:
        """Return an agent that acts by the policy as it is."""
        features = None if self._features is None else self._features.fresh_copy()
        return TrainedAgent(problem, self.model.policy, statistics_of(self._normalizer), features)

    def save(self, folder: TrainingFolder) -> None:
        """Write a checkpoint, all of it or nothing, and remove older ones.

        Raises:
            RecordError: It cannot be written.
        """
        finished = folder.checkpoints / f"{self.steps:012d}"
        unfinished = folder.checkpoints / "unfinished"
        if folder.last_checkpoint() == finished:
            return
        try:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            self._write(unfinished)
            _seal(unfinished)
            unfinished.rename(finished)
            for older in folder.checkpoints.iterdir():
                if older != finished:
                    shutil.rmtree(older)
        except OSError as problem:
            raise RecordError(f"cannot write the checkpoint {finished} ({problem}): make room, then --resume") from None

    def resume(self, folder: TrainingFolder) -> None:
        """Go on exactly where the last checkpoint was written. Checkpoints are pickles: load only your own.

        Raises:
            ConfigError: There is no checkpoint, one of other settings, or one that is damaged.
        """
        last = folder.last_checkpoint()
        if last is None:
            raise ConfigError(f"expected a checkpoint in {folder.checkpoints}, found none: start without --resume")
        try:
            _require_whole(last)
            state = pickle.loads((last / "state.pkl").read_bytes())
            self._require_same_training(last, state["identity"])
            self._read(last)
            self._restore_state(state)
        except (OSError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as problem:
            if isinstance(problem, ConfigError):
                raise
            raise ConfigError(
                f"the checkpoint {last} is damaged ({problem}): remove its folder, and start without --resume"
            ) from None

    def close(self) -> None:
        """Release the networks."""
        self._env.close()

    def _fresh_model(self) -> BaseAlgorithm:
        """Make the model."""
        own = self._hyperparameters
        kwargs: dict[str, Any] = {"policy_kwargs": own.policy_kwargs, "seed": self.seed, "device": "cpu"}
        try:
            return own.algorithm(own.policy, self._normalizer or self._monitor, **kwargs, **own.arguments)
        except (TypeError, ValueError, AssertionError) as problem:
            raise ConfigError(f"{own.algorithm.__name__} does not take the hyperparameters: {problem}") from None

    def _write(self, folder: Path) -> None:
        """Write the files of a checkpoint."""
        self.model.save(folder / "model.zip")
        if self._normalizer is not None:
            self._normalizer.save(str(folder / "vecnormalize.pkl"))
        if isinstance(self.model, OffPolicyAlgorithm | DirectPolicyIteration):
            self.model.save_replay_buffer(folder / "replay_buffer.pkl")
        (folder / "state.pkl").write_bytes(pickle.dumps(self._checkpoint_state()))

    def _read(self, folder: Path) -> None:
        """Read the files of a checkpoint, but for the state."""
        if self._normalizer is not None:
            self._normalizer = VecNormalize.load(str(folder / "vecnormalize.pkl"), self._monitor)
        venv = self._normalizer or self._monitor
        self.model = type(self.model).load(folder / "model.zip", venv, device="cpu", force_reset=False)
        if isinstance(self.model, OffPolicyAlgorithm | DirectPolicyIteration):
            self.model.load_replay_buffer(folder / "replay_buffer.pkl")

    def _require_same_training(self, checkpoint: Path, identity: dict[str, Any]) -> None:
        """Refuse a checkpoint of another training."""
        mine = self._identity()
        for key, value in identity.items():
            if mine[key] != value:
                raise ConfigError(
                    f"the checkpoint {checkpoint} was made with {key} {value}, now asked for is {mine[key]}: "
                    "choose another --out"
                )

    def _identity(self) -> dict[str, Any]:
        """Return what must be equal for a training to go on."""
        recipe = msgspec.to_builtins(self.recipe)
        compared = {key: recipe[key] for key in ("algo", "env", "env_kwargs", "features")}
        hyperparams = {key: value for key, value in recipe["hyperparams"].items() if key != "n_timesteps"}
        return {**compared, "hyperparams": hyperparams, "seed": self.seed}

    def _checkpoint_state(self) -> dict[str, Any]:
        """Return what a checkpoint needs beyond what stable-baselines3 saves."""
        return {
            "identity": self._identity(),
            "curve": self.curve,
            "wall_time_s": self.wall_time_s,
            "environment_s": self._clock.seconds,
            "env": self._env.save_state(),
            "features": None if self._features is None else self._features.save_state(),
            "monitor": (self._monitor.episode_returns, self._monitor.episode_lengths),
            "returns": None if self._normalizer is None else self._normalizer.returns,
            "memory": self.model._last_lstm_states if isinstance(self.model, RecurrentPPO) else None,
            "python": random.getstate(),
            "numpy": np.random.get_state(),
            "torch": torch.get_rng_state(),
            "actions": self.model.action_space.np_random.bit_generator.state,
        }

    def _restore_state(self, state: dict[str, Any]) -> None:
        """Put back what ``_checkpoint_state`` returned."""
        self.curve = state["curve"]
        self.wall_time_s = state["wall_time_s"]
        self._clock.seconds = state["environment_s"]
        self._env.restore_state(state["env"])
        if self._features is not None:
            self._features.restore_state(state["features"])
        self._monitor.episode_returns, self._monitor.episode_lengths = state["monitor"]
        if self._normalizer is not None:
            self._normalizer.returns = state["returns"]
        if isinstance(self.model, RecurrentPPO):
            self.model._last_lstm_states = state["memory"]
        random.setstate(state["python"])
        np.random.set_state(state["numpy"])
        torch.set_rng_state(state["torch"])
        self.model.action_space.np_random.bit_generator.state = state["actions"]


def _seal(folder: Path) -> None:
    """Bring the files of a checkpoint to the disk, and write their checksums beside them.

    Raises:
        OSError: There is no room, or the disk failed.
    """
    sums = {}
    for file in sorted(folder.iterdir()):
        with file.open("rb+") as opened:
            sums[file.name] = zlib.crc32(opened.read())
            os.fsync(opened.fileno())
    with (folder / _CHECKSUMS).open("xb") as opened:
        opened.write(msgspec.json.encode(sums))
        opened.flush()
        os.fsync(opened.fileno())


def _require_whole(folder: Path) -> None:
    """Refuse a checkpoint that is not as it was written; those of versions without checksums are taken as they are.

    Raises:
        OSError: It cannot be read.
        ValueError: Something of it has changed.
    """
    if not (folder / _CHECKSUMS).exists():
        return
    sums = msgspec.json.decode((folder / _CHECKSUMS).read_bytes(), type=dict[str, int])
    for name, written in sums.items():
        if zlib.crc32((folder / name).read_bytes()) != written:
            raise ValueError(f"{name} is not as it was written")
