"""Agents that act by a trained policy, and the small file that a policy is kept in.

A policy file is a NumPy archive: the weights that choose actions (``policy/...``), the statistics that observations are
normalised with, if they are (``mean/...``, ``scale/...``, ``clip``), and the spaces it was trained for (``spaces``). It
holds no code, so files of others can be loaded safely.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecNormalize

from lnsim_gym.agents.base import Agent
from lnsim_gym.agents.features import Features, make_features
from lnsim_gym.agents.learning.hyperparams import Hyperparameters
from lnsim_gym.agents.learning.policy_iteration import ActionValuePolicy
from lnsim_gym.agents.recipe import TrainedRecipe
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks.presentation import Presentation, without_mask

__all__ = ["ObservationStatistics", "TrainedAgent", "load_agent"]

_CRITICS: Final = (
    "value_net.",
    "mlp_extractor.value_net.",
    "vf_features_extractor.",
    "lstm_critic.",
    "critic.",
    "critic_target.",
    "q_net_target.",
    "learned.",
)
"""Weights that only training needs."""
_PLAIN: Final = ""
"""Stands for the key of observations that are no dict."""


@dataclass(frozen=True)
class ObservationStatistics:
    """What ``VecNormalize`` has learned of the observations; one entry per key of dict observations."""

    mean: dict[str, npt.NDArray[np.float64]]
    scale: dict[str, npt.NDArray[np.float64]]
    """Standard deviations."""
    clip: float
    """Largest magnitude of a normalised observation."""

    @classmethod
    def of(cls, normalizer: VecNormalize | None) -> ObservationStatistics | None:
        """Take the statistics as they are now, or None where observations are not normalised."""
        if normalizer is None or not normalizer.norm_obs:
            return None
        running = normalizer.obs_rms if isinstance(normalizer.obs_rms, dict) else {_PLAIN: normalizer.obs_rms}
        return cls(
            mean={key: own.mean.copy() for key, own in running.items()},
            scale={key: np.sqrt(own.var + normalizer.epsilon) for key, own in running.items()},
            clip=normalizer.clip_obs,
        )

    def normalize(self, observation: Any) -> Any:
        """Normalise observations as ``VecNormalize`` does."""
        if not isinstance(observation, dict):
            return self._normalize(_PLAIN, observation)
        return {key: self._normalize(key, rows) if key in self.mean else rows for key, rows in observation.items()}

    def _normalize(self, key: str, rows: Any) -> npt.NDArray[np.float32]:
        """Normalise the observations under one key."""
        normalized: npt.NDArray[np.float64] = (rows - self.mean[key]) / self.scale[key]
        return normalized.clip(-self.clip, self.clip).astype(np.float32)


class TrainedAgent(Agent):
    """Does what a policy of stable-baselines3 thinks best, without chance.

    The memory of a recurrent policy is empty at the start of each episode.

    Args:
        problem: The problem of the environment it acts on.
        policy: The policy.
        statistics: What observations are normalised with, if they are.
        features: What is put behind observations, if anything is.
    """

    def __init__(
        self,
        problem: Problem,
        policy: BasePolicy,
        statistics: ObservationStatistics | None = None,
        features: Features | None = None,
    ) -> None:
        super().__init__(problem)
        self._features = features
        self._policy = policy
        self._statistics = statistics
        self._memory: tuple[npt.NDArray[Any], ...] | None = None

    def act(self, observation: Any, info: Mapping[str, Any], rng: np.random.Generator) -> npt.NDArray[Any]:
        """See ``Agent.act``."""
        if self._features is not None:
            observation = self._features(without_mask(observation), np.asarray(info["step"]))
        if self._statistics is not None:
            observation = self._statistics.normalize(observation)
        if isinstance(self._policy, MaskableActorCriticPolicy | ActionValuePolicy):
            masks = np.asarray(info["action_mask"]).astype(np.bool_)
            actions, _ = self._policy.predict(observation, deterministic=True, action_masks=masks)
            return actions
        starts = np.asarray(info["step"]) == 0
        if self._memory is not None and self._memory[0].shape[1] != len(starts):
            self._memory = None
        actions, self._memory = self._policy.predict(observation, self._memory, starts, deterministic=True)
        return actions

    def save(self, path: Path) -> None:
        """Write the policy file, whose name ends in ``.npz``."""
        weights = self._policy.state_dict()
        arrays = {f"policy/{name}": tensor.numpy() for name, tensor in weights.items() if not _is_critic(name)}
        if self._statistics is not None:
            arrays |= {f"mean/{key}": mean for key, mean in self._statistics.mean.items()}
            arrays |= {f"scale/{key}": scale for key, scale in self._statistics.scale.items()}
            arrays["clip"] = np.array(self._statistics.clip)
        spaces = np.array([str(self._policy.observation_space), str(self._policy.action_space)])
        np.savez_compressed(path, spaces=spaces, **arrays)


def load_agent(name: str, problem: Problem, recipe: TrainedRecipe, weights: Path) -> TrainedAgent:
    """Build the agent of a recipe from its policy file.

    It acts on networks of the size it learnt on, or of any size where its features allow that.

    Args:
        name: How to call the agent in an error.
        problem: The problem of the environment it will act on.
        recipe: The recipe.
        weights: The policy file.

    Raises:
        ConfigError: There is no such file, it does not fit the recipe, or the environment is not one it can act on.
    """
    try:
        with np.load(weights, allow_pickle=False) as archive:
            arrays = dict(archive)
        observations, actions = arrays.pop("spaces").tolist()
    except FileNotFoundError:
        raise ConfigError(f"agent {name!r}: the policy file {weights} is missing; `lnsim train` makes one") from None
    except (OSError, ValueError, KeyError, AttributeError, TypeError, zipfile.BadZipFile) as problem_with_file:
        raise ConfigError(f"agent {name!r}: {weights} is no policy file: {problem_with_file}") from None
    features = make_features(recipe, problem)
    spaces = features.space if features else Presentation(problem.task).space, problem.task.actions.space
    of_one_size = features is None or not features.fits_any_network
    for what, space, trained in zip(("observations", "actions"), spaces, (observations, actions), strict=True):
        if of_one_size and str(space) != trained:
            raise ConfigError(
                f"agent {name!r} was trained for {what} {trained}, this environment has {space}: "
                "its network must have as many nodes and channels, and the settings of the recipe"
            )
    policy = Hyperparameters.of(recipe).make_policy(*spaces)
    state = {key.removeprefix("policy/"): torch.from_numpy(array) for key, array in arrays.items() if "policy/" in key}
    try:
        missing = [key for key in policy.load_state_dict(state, strict=False)[0] if not _is_critic(key)]
        unknown = state.keys() - policy.state_dict().keys()
    except RuntimeError as problem_with_shapes:
        raise ConfigError(f"agent {name!r}: {weights} does not fit the recipe: {problem_with_shapes}") from None
    if missing or unknown:
        raise ConfigError(
            f"agent {name!r}: {weights} does not fit the hyperparameters of the recipe: "
            f"missing {missing}, unknown {sorted(unknown)}"
        )
    policy.set_training_mode(False)
    return TrainedAgent(problem, policy, _statistics(arrays), features)


def _statistics(arrays: dict[str, npt.NDArray[Any]]) -> ObservationStatistics | None:
    """Return the statistics of a policy file."""
    if "clip" not in arrays:
        return None
    mean, scale = (
        {key.removeprefix(f"{kind}/"): array for key, array in arrays.items() if key.startswith(f"{kind}/")}
        for kind in ("mean", "scale")
    )
    return ObservationStatistics(mean=mean, scale=scale, clip=float(arrays["clip"]))


def _is_critic(name: str) -> bool:
    """Return whether weights of a name play no part in choosing actions."""
    return name.startswith(_CRITICS)
