"""The small file that a trained policy is kept in, and agents that play plain networks of it without torch.

A policy file is a NumPy archive: the weights that choose actions (``policy/...``), the statistics that observations are
normalised with, if they are (``mean/...``, ``scale/...``, ``clip``), and the spaces it was trained for (``spaces``). It
holds no code, so files of others can be loaded safely.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from lnsim_gym.agents.base import Agent
from lnsim_gym.agents.features import Features, make_features
from lnsim_gym.agents.recipe import TrainedRecipe
from lnsim_gym.arrays import Float32
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks.presentation import Presentation, without_mask

__all__ = ["PLAIN_OBSERVATION", "NetworkAgent", "ObservationStatistics", "PolicyFile"]

PLAIN_OBSERVATION: Final = ""
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
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self | None:
        """Return the statistics of a policy file, or None where observations are not normalised."""
        if "clip" not in arrays:
            return None
        mean, scale = (
            {key.removeprefix(f"{kind}/"): array for key, array in arrays.items() if key.startswith(f"{kind}/")}
            for kind in ("mean", "scale")
        )
        return cls(mean=mean, scale=scale, clip=float(arrays["clip"]))

    def normalize(self, observation: Any) -> Any:
        """Normalise observations as ``VecNormalize`` does."""
        if not isinstance(observation, dict):
            return self._normalize(PLAIN_OBSERVATION, observation)
        return {key: self._normalize(key, rows) if key in self.mean else rows for key, rows in observation.items()}

    def _normalize(self, key: str, rows: Any) -> Float32:
        """Normalise the observations under one key."""
        normalized: npt.NDArray[np.float64] = (rows - self.mean[key]) / self.scale[key]
        return normalized.clip(-self.clip, self.clip).astype(np.float32)


@dataclass(frozen=True)
class PolicyFile:
    """A policy file that fits its recipe and a problem."""

    weights: dict[str, npt.NDArray[Any]]
    """By the names that torch gives them."""
    spaces: tuple[gym.Space[Any], gym.Space[Any]]
    """Observations, with features where there are some, and actions."""
    statistics: ObservationStatistics | None
    features: Features | None

    @classmethod
    def read(cls, name: str, problem: Problem, recipe: TrainedRecipe, path: Path) -> Self:
        """Read a policy file.

        Args:
            name: How to call the agent in an error.
            problem: The problem of the environment it will act on.
            recipe: The recipe.
            path: The policy file.

        Raises:
            ConfigError: There is no such file, it is none, or the environment is not one it can act on.
        """
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = dict(archive)
            observations, actions = arrays.pop("spaces").tolist()
        except FileNotFoundError:
            raise ConfigError(f"agent {name!r}: the policy file {path} is missing; `lnsim train` makes one") from None
        except Exception as problem_with_file:  # a damaged archive fails in many ways
            raise ConfigError(f"agent {name!r}: {path} is no policy file: {problem_with_file}") from None
        features = make_features(recipe, problem)
        spaces = features.space if features else Presentation(problem.task).space, problem.task.actions.space
        of_one_size = features is None or not features.fits_any_network
        for what, space, trained in zip(("observations", "actions"), spaces, (observations, actions), strict=True):
            if of_one_size and str(space) != trained:
                raise ConfigError(
                    f"agent {name!r} was trained for {what} {trained}, this environment has {space}: "
                    "its network must have as many nodes and channels, and the settings of the recipe"
                )
        weights = {key.removeprefix("policy/"): array for key, array in arrays.items() if key.startswith("policy/")}
        return cls(weights, spaces, ObservationStatistics.of(arrays), features)

    def shown(self, observation: Any, info: Mapping[str, Any]) -> Any:
        """Return what the policy is shown of observations, for infos as ``Agent.act`` has them."""
        if self.features is not None:
            observation = self.features(without_mask(observation), np.asarray(info["step"]))
        return observation if self.statistics is None else self.statistics.normalize(observation)


class _Kind(NamedTuple):
    """How a learner's policy is laid out, where it is a plain network that values each action."""

    layers: str
    """Names of the layers, as a pattern with the number of each."""
    activation: str
    """Activation between them by default."""
    masked: bool
    """Whether it keeps to the mask of the actions."""


_ACTOR: Final = r"(?:mlp_extractor\.policy_net\.(\d+)|action_net)"
_KINDS: Final = {
    "ppo": _Kind(_ACTOR, "Tanh", masked=False),
    "maskable_ppo": _Kind(_ACTOR, "Tanh", masked=True),
    "dqn": _Kind(r"q_net\.q_net\.(\d+)", "ReLU", masked=False),
    "dpi": _Kind(r"averaged(?:\.layers)?\.(\d+)", "ReLU", masked=True),
}
_ACTIVATIONS: Final[dict[str, Callable[[Float32], Float32]]] = {
    "Tanh": np.tanh,
    "ReLU": lambda values: np.maximum(values, 0),
}


class NetworkAgent(Agent):
    """Does what a network of plain layers values most, with NumPy alone.

    Args:
        problem: The problem of the environment it acts on.
        recipe: How the network was trained.
        file: Its weights.

    Raises:
        ValueError: It is no plain network over discrete actions.
    """

    is_separable = False  # matrix products of float32 depend on the number of rows in their last bits

    def __init__(self, problem: Problem, recipe: TrainedRecipe, file: PolicyFile) -> None:
        super().__init__(problem)
        kind = _KINDS[recipe.algo]
        if not isinstance(file.spaces[1], gym.spaces.Discrete):
            raise ValueError(f"a policy over {file.spaces[1]} is no plain network over discrete actions")
        found = re.search(r"activation_fn\s*=\s*[\w.]*?(\w+)\s*[,)]", str(recipe.hyperparams.get("policy_kwargs", "")))
        activation = found[1] if found else kind.activation
        if activation not in _ACTIVATIONS:
            raise ValueError(f"the activation {activation} is not known here")
        self._activation = _ACTIVATIONS[activation]
        self._layers = _layers(file.weights, kind.layers)
        self._masked = kind.masked
        self._file = file

    @classmethod
    def load(cls, name: str, problem: Problem, recipe: TrainedRecipe, path: Path) -> Self:
        """Build the agent of a recipe from its policy file; for arguments and ``ConfigError`` see ``PolicyFile.read``.

        Raises:
            ValueError: The policy is no plain network over discrete actions.
        """
        if recipe.algo not in _KINDS:
            raise ValueError(f"a policy of {recipe.algo} is no plain network")
        return cls(problem, recipe, PolicyFile.read(name, problem, recipe, path))

    def act(self, observation: Any, info: Mapping[str, Any], rng: np.random.Generator) -> npt.NDArray[Any]:
        """See ``Agent.act``."""
        values = np.asarray(self._file.shown(observation, info), np.float32)
        *hidden, (last_weight, last_bias) = self._layers
        for weight, bias in hidden:
            values = self._activation(values @ weight.T + bias)
        values = values @ last_weight.T + last_bias
        if values.ndim == 3:  # of each direction; doing nothing has the value 0
            values = np.concatenate([np.zeros((len(values), 1), np.float32), values.reshape(len(values), -1)], axis=1)
        if self._masked:
            values = np.where(info["action_mask"], values, -np.inf)
        chosen: npt.NDArray[Any] = values.argmax(axis=1)
        return chosen


def _layers(weights: Mapping[str, npt.NDArray[Any]], pattern: str) -> list[tuple[Float32, Float32]]:
    """Return weight and bias of each layer, in their order."""
    numbers = {}
    for name in weights:
        layer, _, what = name.rpartition(".")
        matched = re.fullmatch(pattern, layer)
        if matched is None or what not in ("weight", "bias"):
            raise ValueError(f"the weights {name} are of no plain layer")
        numbers[layer] = np.inf if matched[1] is None else int(matched[1])
    return [
        (weights[f"{layer}.weight"], weights[f"{layer}.bias"]) for layer in sorted(numbers, key=numbers.__getitem__)
    ]
