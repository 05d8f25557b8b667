"""Recipes: the TOML files in ``agents/`` that name an agent, its settings, and how it sees the environment.

The recipe of a rule has its ``policy``, the settings of that policy, and perhaps a ``[view]``, or ``[views.TASK]``::

    policy = "targeted"
    low = 0.3
    high = 0.7

A rule with weights names their file, and a class of one's own that of the class (``policy = "flat.py:Flat"``), both
relative to the recipe. How weights are found is said in ``[training]``.

That of an agent that learns has its ``algo`` and ``env``, perhaps ``[env_kwargs]``, and ``[hyperparams]`` as in
rl-baselines3-zoo. ``lnsim train`` copies the recipe beside the policy and fills in ``[trained]``; the copy plays::

    algo = "ppo"
    env = "LightningNet-v0"
    env_kwargs = { observation = "flows" }

    [hyperparams]
    n_timesteps = 400_000
    policy = "MlpPolicy"
    n_envs = 64
    learning_rate = "lin_1e-3"

    [trained]
    weights = "seed-0/policy.npz"
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import gymnasium as gym
import msgspec
from gymnasium.envs.registration import EnvSpec

from lnsim_gym.agents.own import is_own, own_class, seen_from
from lnsim_gym.environment.files import environment_files
from lnsim_gym.errors import ConfigError, did_you_mean
from lnsim_gym.paths import data_folder
from lnsim_gym.schema import convert, read_toml
from lnsim_gym.tasks.config import EnvironmentConfig
from lnsim_gym.tasks.liquidity import LiquidityTask
from lnsim_gym.tasks.liquidity.config import ActionName
from lnsim_gym.tasks.liquidity.observations import ObservationName

__all__ = [
    "AlgorithmName",
    "Evolution",
    "FeaturesName",
    "RuleRecipe",
    "Trained",
    "TrainedRecipe",
    "View",
    "known_agents",
    "read_recipe",
    "recipe_path",
    "summary_of",
    "view_of",
]

AlgorithmName = Literal["ppo", "maskable_ppo", "ppo_lstm", "dqn", "sac", "dpi"]
"""Algorithms of stable-baselines3 and sb3-contrib, as rl-baselines3-zoo names them, and direct policy iteration."""
FeaturesName = Literal["demand", "channels"]
"""What a recipe may call features."""


class View(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of an environment that only concern what an agent sees of it, and how its actions are written."""

    observation: ObservationName | Literal["flat"] | msgspec.UnsetType = msgspec.UNSET
    observation_history: int | msgspec.UnsetType = msgspec.UNSET
    observation_averages: tuple[int, ...] | msgspec.UnsetType = msgspec.UNSET
    action: ActionName | Literal["dict"] | msgspec.UnsetType = msgspec.UNSET
    action_sizes: tuple[float, ...] | msgspec.UnsetType = msgspec.UNSET


Count = Annotated[int, msgspec.Meta(ge=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Span = tuple[Annotated[int, msgspec.Meta(ge=0)], Annotated[int, msgspec.Meta(ge=0)]]


class Evolution(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the weights of a rule are found: on which surveyed episodes, by which search (``agents.evolution``)."""

    env: str = "LightningOperator-v0"
    """Id of the environment; its topology must be a call of the generator ``public``."""
    graphs: Span
    """Seeds of the graphs, the second left out; those from 500 on are held out, for comparisons."""
    positions: Span
    """Seeds of the own node's places in them, likewise."""
    seeds: Span
    """Seeds of the episodes, likewise."""
    surveys: Annotated[int, msgspec.Meta(ge=2)] = 160
    """Episodes to survey, each at a place and with a seed of its own."""
    steps: Count = 120
    """Steps of each."""
    batch: Count = 16
    """Surveys that each generation plays."""
    pairs: Count = 24
    """Antithetic pairs of candidates of each generation."""
    noise: Positive = 0.08
    """Standard deviation of the candidates around the weights."""
    step_size: Positive = 0.015
    """Step size of Adam."""
    minutes: Positive = 45.0
    """How long it evolves, surveys left out."""

    def __post_init__(self) -> None:
        """Refuse spans with nothing in them."""
        for name in ("graphs", "positions", "seeds"):
            first, last = getattr(self, name)
            if first >= last:
                raise ConfigError(f"training: {name} must be [first, last], last left out, got [{first}, {last}]")


class RuleRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rule and its settings; in the file, the settings stand beside ``policy``."""

    policy: str
    """Name of the agent's class: one of ``registry.POLICIES``, or one of one's own as ``own.own_class`` takes it."""
    settings: dict[str, Any]
    """Arguments of the agent's class."""
    view: View = View()
    views: dict[str, View] = msgspec.field(default_factory=dict)
    """Views for tasks by name, in place of ``view``, where an agent plays several."""
    training: Evolution | None = None
    """How its weights are found, where it has some."""


class _Views(msgspec.Struct, frozen=True):
    """Views by task, as they stand in the file of a rule."""

    views: dict[str, View]


class Trained(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What came out of training."""

    weights: str
    """File of the policy, relative to the recipe's folder."""
    seeds: list[int] = msgspec.field(default_factory=list)
    """Seeds that were trained; ``weights`` are those of the first."""
    command: str = ""
    """The command that trained it."""
    wall_time_s: float | None = None
    """Duration of training one seed."""
    success_rate: float | None = None
    """Mean share of payments that settled, over the evaluation seeds."""


class TrainedRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An algorithm, what it trains on, and the policy that came out of it."""

    algo: AlgorithmName
    env: str
    """Id of the environment it trains on."""
    env_kwargs: dict[str, Any] = msgspec.field(default_factory=dict)
    """Settings of that environment that differ from the registered ones."""
    features: FeaturesName | None = None
    """What it looks at besides or instead of observations: ``demand`` puts an estimate of the demand behind them
    (``DemandFeatures``), ``channels`` makes a row for each channel end of them (``ChannelFeatures``)."""
    hyperparams: dict[str, Any] = msgspec.field(default_factory=dict)
    """Hyperparameters, with the keys and values of rl-baselines3-zoo."""
    trained: Trained | None = None
    """The policy, once there is one."""

    @property
    def view(self) -> View:
        """What the environment it trains on shows, in full, so that it sees the same in any other."""
        config = self.config
        return View(**{field: getattr(config, field) for field in View.__struct_fields__ if hasattr(config, field)})

    @property
    def views(self) -> dict[str, View]:
        """See ``RuleRecipe.views``: it has learnt one task."""
        return {}

    @property
    def config(self) -> EnvironmentConfig:
        """The settings of the environment it trains on.

        Raises:
            ConfigError: There is no such environment, or a setting is unknown, of the wrong type or out of range.
        """
        settings = {**self._spec.kwargs, **self.env_kwargs}
        settings.pop("max_episode_steps", None)
        return EnvironmentConfig.of(settings)

    @property
    def max_episode_steps(self) -> int:
        """Steps of an episode of that environment."""
        return int(self.env_kwargs.get("max_episode_steps", self._spec.max_episode_steps or 100))

    @property
    def _spec(self) -> EnvSpec:
        """What is registered under the id of that environment."""
        try:
            return gym.spec(self.env)
        except gym.error.Error as unknown:
            known = [file.id for file in environment_files()]
            raise ConfigError(f"{unknown} Known: {', '.join(known)}") from None


def known_agents() -> list[str]:
    """Return the names of the recipes that ship with the package."""
    return sorted(path.stem for path in data_folder("agents").glob("*.toml"))


def summary_of(name: str) -> str:
    """Return what the recipe of an agent says of it: its first comment, up to a full stop.

    Raises:
        ConfigError: There is no such recipe.
    """
    first = recipe_path(name).read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip().rstrip(".") if first.startswith("#") else ""


def recipe_path(name: str) -> Path:
    """Return the file of a recipe.

    Args:
        name: Name of a recipe that ships with the package, or path of a TOML file.

    Raises:
        ConfigError: There is no such recipe.
    """
    path = Path(name) if name.endswith(".toml") else data_folder("agents") / f"{name}.toml"
    if not path.is_file():
        known = known_agents()
        raise ConfigError(
            f"unknown agent {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}, or a .toml file, or a "
            "class of yours as module:Class or file.py:Class"
        )
    return path


def read_recipe(name: str) -> RuleRecipe | TrainedRecipe:
    """Read a recipe, or make that of a class of one's own.

    Args:
        name: Name of a recipe that ships with the package, path of a TOML file, or a class as ``own.own_class`` takes
            it, which has the settings that it has by default.

    Raises:
        ConfigError: There is no such recipe, or it does not have the form of one.
    """
    if is_own(name):
        view = convert(dict(own_class(name).VIEW), View, f"agent {name!r}, VIEW,")
        return RuleRecipe(policy=name, settings={}, view=view)
    data = _read_file(name)
    if "algo" in data:
        return convert(data, TrainedRecipe, f"agent {name!r}")
    policy = str(data.pop("policy", ""))
    if not policy:
        raise ConfigError(f"agent {name!r}: a recipe needs a policy (a rule's name) or an algo (what learns)")
    folder = recipe_path(name).parent
    usual: Mapping[str, Any] = {}
    if is_own(policy):
        policy = seen_from(folder, policy)
        usual = own_class(policy).VIEW
    view = convert(data.pop("view", dict(usual)), View, f"agent {name!r}, view,")
    by_task = convert({"views": data.pop("views", {})}, _Views, f"agent {name!r},")
    training = convert(data.pop("training"), Evolution, f"agent {name!r}, training,") if "training" in data else None
    if isinstance(data.get("weights"), str):
        data["weights"] = str(folder / data["weights"])
    return RuleRecipe(policy=policy, settings=data, view=view, views=by_task.views, training=training)


def view_of(name: str, task: str = LiquidityTask.name) -> dict[str, Any]:
    """Return the settings of an environment that an agent needs, to see it and to act in its own way.

    They take precedence over the environment's own settings.

    Args:
        name: As for ``read_recipe``.
        task: The environment's task, by name.

    Raises:
        ConfigError: There is no such recipe, or it does not have the form of one.
    """
    recipe = read_recipe(name)
    view: dict[str, Any] = msgspec.to_builtins(recipe.views.get(task, recipe.view))
    return view


def _read_file(name: str) -> dict[str, Any]:
    """Read the TOML file of a recipe by name or path."""
    return read_toml(recipe_path(name), f"agent {name!r}")
