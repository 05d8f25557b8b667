"""Searching settings of a recipe with Ray Tune."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import optuna
import ray
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from lnsim_gym.agents.evaluate import Score, evaluate
from lnsim_gym.agents.recipe import RuleRecipe, TrainedRecipe
from lnsim_gym.agents.registry import build_rule
from lnsim_gym.agents.search import Trial
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError

__all__ = ["Space", "search_on_cluster"]

WIDE: Final = 100
"""Range from which on values are drawn by their logarithm: the upper end over the lower."""

Space = Mapping[str, list[Any] | tuple[float, float]]
"""What to try of each setting: values, or the ends of a range, both included."""


def search_on_cluster(
    name: str,
    recipe: RuleRecipe | TrainedRecipe,
    space: Space,
    problem: Problem,
    seeds: range,
    steps: int,
    trials: int,
    training_steps: int | None = None,
    tell: Callable[[int, int], None] = lambda *_: None,
) -> list[Trial]:
    """Search settings of a rule, or hyperparameters of what learns, with Optuna's tree-structured Parzen estimator.

    A trial plays the seeds with a choice of settings, after training where the recipe learns. One whose worker dies
    starts anew.

    Args:
        name: How to call the agent.
        recipe: What to tune; settings outside the space stay as it has them.
        space: What to try.
        problem: The problem of the environment to play.
        seeds: Seeds, one episode each, the same for every trial.
        steps: Steps of an episode.
        trials: Choices to try.
        training_steps: Steps of each training; by default those of the recipe.
        tell: Called after each trial with the number of those done, and of those to do.

    Returns:
        Trials that could be played, best objective first.

    Raises:
        ConfigError: None could be played.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    shared = ray.put((name, recipe, problem, seeds, steps, training_steps))

    def objective(config: dict[str, Any]) -> dict[str, Any]:
        return _play_trial(config, *ray.get(shared))

    with tempfile.TemporaryDirectory(prefix="lnsim-tune-") as folder:
        tuner = tune.Tuner(
            objective,
            param_space={setting: _domain(setting, values) for setting, values in space.items()},
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearch(metric="objective", mode="max", sampler=optuna.samplers.TPESampler(seed=0)),
                num_samples=trials,
            ),
            run_config=tune.RunConfig(
                storage_path=Path(folder).as_posix(),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=2),
                callbacks=[_Teller(tell, trials)],
            ),
        )
        results = tuner.fit()
    played = [result.metrics for result in results if result.error is None and result.metrics]
    scored = [metrics for metrics in played if metrics["score"] is not None]
    if not scored:
        reasons = [metrics["refusal"] for metrics in played] or [str(error) for error in results.errors]
        raise ConfigError(f"no choice of settings could be played: {reasons[0] if reasons else 'nothing to try'}")
    return sorted(
        (
            Trial(with_settings(recipe, metrics["config"]), msgspec.convert(metrics["score"], Score))
            for metrics in scored
        ),
        key=lambda trial: -trial.score.objective,
    )


def with_settings(recipe: RuleRecipe | TrainedRecipe, settings: Mapping[str, Any]) -> Any:
    """Return a recipe with other settings, or hyperparameters where it learns."""
    if isinstance(recipe, RuleRecipe):
        return msgspec.structs.replace(recipe, settings={**recipe.settings, **settings})
    return msgspec.structs.replace(recipe, hyperparams={**recipe.hyperparams, **settings}, trained=None)


def _play_trial(
    config: dict[str, Any],
    name: str,
    recipe: RuleRecipe | TrainedRecipe,
    problem: Problem,
    seeds: range,
    steps: int,
    training_steps: int | None,
) -> dict[str, Any]:
    """Play one choice of settings; on a worker."""
    called = ", ".join(f"{setting} {value}" for setting, value in config.items())
    tried = with_settings(recipe, config)
    try:
        if isinstance(tried, RuleRecipe):
            score = evaluate(called, build_rule(name, tried, problem), seeds, steps)
        else:
            score = _trained_score(called, tried, seeds, training_steps)
    except ConfigError as refused:
        return {"objective": 0.0, "score": None, "refusal": str(refused)}
    return {"objective": score.objective, "score": msgspec.to_builtins(score), "refusal": ""}


def _trained_score(called: str, recipe: TrainedRecipe, seeds: range, training_steps: int | None) -> Score:
    """Train a recipe and return what it reaches on the seeds."""
    from lnsim_gym.agents.learning.training.folder import TrainingFolder  # noqa: PLC0415 - torch is an extra
    from lnsim_gym.agents.learning.training.train import train  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="lnsim-trial-") as folder:
        report = train(called, recipe, 0, TrainingFolder(Path(folder)), steps=training_steps, every=2**62, seeds=seeds)
    assert report is not None, "nothing stops it"
    return report.score


def _domain(setting: str, values: list[Any] | tuple[float, float]) -> Any:
    """Return what Ray Tune draws values of a setting from."""
    if isinstance(values, list):
        return tune.choice(values)
    low, high = values
    if not low < high:
        raise ConfigError(f"expected --try {setting}=LOW:HIGH with LOW < HIGH, got {low}:{high}")
    by_logarithm = low > 0 and high / low >= WIDE
    if isinstance(low, int) and isinstance(high, int):
        return tune.lograndint(low, high + 1) if by_logarithm else tune.randint(low, high + 1)
    return tune.loguniform(low, high) if by_logarithm else tune.uniform(low, high)


class _Teller(tune.Callback):  # type: ignore[misc]
    """Counts the trials that are done."""

    def __init__(self, tell: Callable[[int, int], None], trials: int) -> None:
        self._tell = tell
        self._trials = trials
        self._done = 0

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what only this process can do: Ray keeps a copy of a search on disk."""
        return {"_tell": None, "_trials": self._trials, "_done": self._done}

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """See ``ray.tune.Callback``."""
        del iteration, trials, trial, info
        self._done += 1
        self._tell(self._done, self._trials)
