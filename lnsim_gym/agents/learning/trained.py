"""Agents that act by a trained policy of stable-baselines3."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecNormalize

from lnsim_gym.agents.base import Agent
from lnsim_gym.agents.features import Features
from lnsim_gym.agents.learning.hyperparams import Hyperparameters
from lnsim_gym.agents.learning.policy_iteration import ActionValuePolicy
from lnsim_gym.agents.policy_file import PLAIN_OBSERVATION, ObservationStatistics, PolicyFile
from lnsim_gym.agents.recipe import TrainedRecipe
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks.presentation import without_mask

__all__ = ["TrainedAgent", "load_agent", "statistics_of"]

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


def statistics_of(normalizer: VecNormalize | None) -> ObservationStatistics | None:
    """Take the statistics as they are now, or None where observations are not normalised."""
    if normalizer is None or not normalizer.norm_obs:
        return None
    running = normalizer.obs_rms if isinstance(normalizer.obs_rms, dict) else {PLAIN_OBSERVATION: normalizer.obs_rms}
    return ObservationStatistics(
        mean={key: own.mean.copy() for key, own in running.items()},
        scale={key: np.sqrt(own.var + normalizer.epsilon) for key, own in running.items()},
        clip=normalizer.clip_obs,
    )


class TrainedAgent(Agent):
    """Does what a policy of stable-baselines3 thinks best, without chance.

    The memory of a recurrent policy is empty at the start of each episode.

    Args:
        problem: The problem of the environment it acts on.
        policy: The policy.
        statistics: What observations are normalised with, if they are.
        features: What is put behind observations, if anything is.
    """

    is_separable = False  # matrix products of float32 depend on the number of rows in their last bits

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
    file = PolicyFile.read(name, problem, recipe, weights)
    policy = Hyperparameters.of(recipe).make_policy(*file.spaces)
    state = {key: torch.from_numpy(array) for key, array in file.weights.items()}
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
    return TrainedAgent(problem, policy, file.statistics, file.features)


def _is_critic(name: str) -> bool:
    """Return whether weights of a name play no part in choosing actions."""
    return name.startswith(_CRITICS)
