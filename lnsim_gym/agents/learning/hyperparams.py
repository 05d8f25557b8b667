"""Hyperparameters as rl-baselines3-zoo writes them, turned into arguments of stable-baselines3."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from functools import reduce
from operator import or_
from types import NoneType
from typing import Any, Final, get_args, get_origin

import msgspec
import torch
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.utils import LinearSchedule

from lnsim_gym.agents.learning.policy_iteration import DirectPolicyIteration
from lnsim_gym.agents.recipe import AlgorithmName, TrainedRecipe
from lnsim_gym.errors import ConfigError, did_you_mean

__all__ = ["ALGORITHMS", "Hyperparameters"]

ALGORITHMS: Final[dict[AlgorithmName, type[BaseAlgorithm]]] = {
    "ppo": PPO,
    "maskable_ppo": MaskablePPO,
    "ppo_lstm": RecurrentPPO,
    "dqn": DQN,
    "sac": SAC,
    "dpi": DirectPolicyIteration,
}
"""Algorithms by the ``algo`` of a recipe."""

_OWN: Final = ("policy", "n_envs", "n_timesteps", "normalize", "policy_kwargs")
_GIVEN: Final = frozenset(("env", "seed", "device", "verbose", "tensorboard_log", "_init_setup_model"))
_SCHEDULED: Final = ("learning_rate", "clip_range", "clip_range_vf")
_WRITABLE: Final = (bool, int, float, str, NoneType, tuple, dict)


@dataclass(frozen=True)
class Hyperparameters:
    """What a recipe's ``[hyperparams]`` mean."""

    algorithm: type[BaseAlgorithm]
    policy: str
    """A name that the algorithm knows, such as ``MlpPolicy``."""
    policy_kwargs: dict[str, Any]
    """Arguments of the policy."""
    arguments: dict[str, Any]
    """The other arguments of the algorithm."""
    n_envs: int
    """Networks that play at once."""
    n_timesteps: int | None
    """Steps to train for, over all networks."""
    normalize: dict[str, Any] | None
    """Arguments of ``VecNormalize``, or None to do without."""

    @classmethod
    def of(cls, recipe: TrainedRecipe) -> Hyperparameters:
        """Read the hyperparameters of a recipe.

        Raises:
            ConfigError: A key is unknown, or a value of the wrong kind.
        """
        algorithm = ALGORITHMS[recipe.algo]
        values = dict(recipe.hyperparams)
        known = [*_OWN, *(name for name in inspect.signature(algorithm).parameters if name not in {*_GIVEN, *_OWN})]
        for key in values:
            if key not in known:
                raise ConfigError(
                    f"unknown hyperparameter {key!r} of {recipe.algo}.{did_you_mean(key, known)} "
                    f"Known: {', '.join(sorted(known))}"
                )
        policy = _converted("policy", values.pop("policy", ""), str)
        if policy not in algorithm.policy_aliases:
            names = list(algorithm.policy_aliases)
            raise ConfigError(
                f"the hyperparameter policy must be one of {', '.join(names)}, got {policy!r}."
                f"{did_you_mean(policy, names)}"
            )
        own = {"policy_kwargs": {}, "n_envs": 1, "n_timesteps": None, "normalize": False}
        own |= {key: values.pop(key) for key in own if key in values}
        arguments = {key: _argument(algorithm, key, value) for key, value in values.items()}
        return cls(
            algorithm=algorithm,
            policy=policy,
            policy_kwargs=_converted("policy_kwargs", _table(own["policy_kwargs"], "policy_kwargs"), dict),
            arguments=arguments,
            n_envs=_at_least_1("n_envs", own["n_envs"]),
            n_timesteps=None if own["n_timesteps"] is None else _at_least_1("n_timesteps", own["n_timesteps"]),
            normalize=_normalize(own["normalize"], arguments.get("gamma")),
        )

    def make_policy(self, observations: Any, actions: Any) -> BasePolicy:
        """Build the policy for spaces, with fresh weights.

        Raises:
            ConfigError: The policy does not take its arguments, or cannot be for these spaces.
        """
        use_sde = {"use_sde": True} if self.arguments.get("use_sde") else {}
        kind = self.algorithm.policy_aliases[self.policy]
        try:
            return kind(observations, actions, lambda _: 0.0, **use_sde, **self.policy_kwargs)
        except (TypeError, ValueError, AssertionError) as problem:
            raise ConfigError(f"the hyperparameters make no policy: {problem}") from None


def _argument(algorithm: type[BaseAlgorithm], key: str, value: Any) -> Any:
    """Return an argument of an algorithm, schedules and pairs made of what TOML can hold."""
    if key in _SCHEDULED and isinstance(value, str):
        kind, _, start = value.partition("_")
        try:
            if kind == "lin":
                return LinearSchedule(float(start), 0.0, 1.0)
        except ValueError:
            pass
        raise ConfigError(f"the hyperparameter {key} must be a number or as in 'lin_3e-4', got {value!r}")
    annotation = inspect.signature(algorithm).parameters[key].annotation
    kinds = [kind for kind in get_args(annotation) or (annotation,) if (get_origin(kind) or kind) in _WRITABLE]
    return _converted(key, value, reduce(or_, kinds, NoneType))


def _converted(key: str, value: Any, kind: Any) -> Any:
    """Return a value as one of the type that it must have."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as wrong:
        raise ConfigError(f"the hyperparameter {key} does not fit: {wrong}, got {value!r}") from None


def _at_least_1(key: str, value: Any) -> int:
    """Return a count; as in rl-baselines3-zoo it may be written as a float."""
    count = _converted(key, value, float)
    if count < 1 or count != int(count):
        raise ConfigError(f"the hyperparameter {key} must be an integer >= 1, got {value!r}")
    return int(count)


def _normalize(value: Any, gamma: float | None) -> dict[str, Any] | None:
    """Return the arguments of ``VecNormalize``; it discounts as the algorithm does."""
    if value is False:
        return None
    from stable_baselines3.common.vec_env import VecNormalize  # noqa: PLC0415 - an extra

    arguments = {} if value is True else _converted("normalize", _table(value, "normalize"), dict[str, bool | float])
    known = [key for key in inspect.signature(VecNormalize).parameters if key not in ("venv", "training")]
    for key in arguments:
        if key not in known:
            raise ConfigError(
                f"unknown key {key!r} of the hyperparameter normalize.{did_you_mean(key, known)} "
                f"Known: {', '.join(known)}"
            )
    return arguments if gamma is None else {"gamma": gamma, **arguments}


def _table(value: Any, key: str) -> Any:
    """Return a table, also one that is written as Python: ``dict(net_arch=[64, 64], activation_fn=nn.ReLU)``."""
    if not isinstance(value, str):
        return value
    try:
        return _python(ast.parse(value, mode="eval").body)
    except (SyntaxError, ValueError, AttributeError):
        raise ConfigError(
            f"the hyperparameter {key} must be a table or as in 'dict(net_arch=[64, 64], activation_fn=nn.ReLU)', "
            f"got {value!r}"
        ) from None


def _python(node: ast.expr) -> Any:
    """Evaluate literals, calls of ``dict`` and names of ``torch.nn``; nothing else runs."""
    match node:
        case ast.Call(func=ast.Name("dict"), args=[], keywords=keywords):
            return {str(keyword.arg): _python(keyword.value) for keyword in keywords}
        case ast.Attribute(value=ast.Name("nn") | ast.Attribute(value=ast.Name("th" | "torch"), attr="nn"), attr=name):
            return getattr(torch.nn, name)
    return ast.literal_eval(node)
