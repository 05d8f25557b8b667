"""Training the learned operator: survey episodes, then evolve its weights on them until the time is up."""

from __future__ import annotations

import io
import multiprocessing
import signal
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from lnsim_gym.agents.evolution.search import SearchState, candidates_of, stepped
from lnsim_gym.agents.evolution.surveys import make_surveys, place_of, problem_at
from lnsim_gym.agents.operator.learned import INPUTS, OUTPUTS, LearnedOperator, PerChannel, write_weights
from lnsim_gym.agents.operator.surveyed import play_corridor
from lnsim_gym.agents.recipe import Evolution
from lnsim_gym.arrays import Float64
from lnsim_gym.corridor import Corridor, Survey, read_survey
from lnsim_gym.errors import ConfigError
from lnsim_gym.paths import write_private
from lnsim_gym.records.provenance import machine, versions

__all__ = ["CurvePoint", "EvolutionFolder", "EvolutionReport", "evolve"]

EVERY: Final = 25
"""Generations from one validation, with its checkpoint, to the next."""
VALIDATION_SHARE: Final = 0.2
"""Share of the surveys that are not trained on."""
WORTH_SAT: Final = 150.0
"""Added to what a place earns a day: the net of an episode counts by the square root of that, so that rich ones do not
decide everything."""
FIRST_BIAS: Final = (0.2, -1.5, -1.0, 1.0)
FIRST_LEAN: Final = -0.4
"""The first policy: near the usual fee rate, lower where more is local, hardly a discount, few refills."""


class CurvePoint(msgspec.Struct, frozen=True, kw_only=True):
    """A validation on surveys that are not trained on."""

    generation: int
    seconds: float
    """Since the evolution began."""
    net_sat_per_day: float
    """Mean over these surveys, in the corridor engine."""
    reference_sat_per_day: float
    """What one fixed fee rate earned in the same episodes, in the exact engine."""


class EvolutionReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a training did."""

    agent: str
    seed: int
    command: str
    training: Evolution
    surveys: int
    generations: int
    wall_time_s: float
    """Duration of the evolution over all parts of a training that was resumed; surveys left out."""
    curve: list[CurvePoint]
    machine: str
    versions: dict[str, str]


class _Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint holds beside arrays."""

    seed: int
    training: Evolution
    seconds: float
    curve: list[CurvePoint]


@dataclass(frozen=True)
class EvolutionFolder:
    """The folder of a training."""

    path: Path

    @property
    def surveys(self) -> Path:
        """Folder of the surveys."""
        return self.path / "surveys"

    @property
    def checkpoint(self) -> Path:
        """Where the search stands."""
        return self.path / "checkpoint.npz"

    @property
    def policy(self) -> Path:
        """The weights that are kept."""
        return self.path / "policy.npz"

    @property
    def report(self) -> Path:
        """The report, as JSON."""
        return self.path / "report.json"

    def save(self, state: SearchState, progress: _Progress) -> None:
        """Write checkpoint and weights, each whole or not at all."""
        content = io.BytesIO()
        np.savez(content, progress=np.array(msgspec.json.encode(progress).decode()), **state._asdict())
        write_private(self.checkpoint, content.getvalue())
        write_weights(self.policy, state.mean)

    def load(self) -> tuple[SearchState, _Progress]:
        """Read the checkpoint.

        Raises:
            ConfigError: There is none, or it is damaged or of another network.
        """
        try:
            with np.load(self.checkpoint, allow_pickle=False) as archive:
                arrays = dict(archive)
            progress = msgspec.json.decode(str(arrays.pop("progress")), type=_Progress)
            state = SearchState(**{**arrays, "generation": int(arrays["generation"])})
        except FileNotFoundError:
            raise ConfigError(f"expected a checkpoint in {self.path} to --resume from, found none") from None
        except Exception as problem:  # a damaged archive fails in many ways
            raise ConfigError(f"expected a checkpoint, got {self.checkpoint}, which is none: {problem}") from None
        if state.weights.shape != (PerChannel.size(),):
            raise ConfigError(
                f"expected a checkpoint of {PerChannel.size()} weights, got {state.weights.size} in {self.checkpoint}: "
                "train anew with this version"
            )
        return state, progress


def evolve(
    name: str,
    plan: Evolution,
    seed: int,
    folder: EvolutionFolder,
    *,
    resume: bool = False,
    processes: int = 1,
    command: str = "",
    surveyed: Callable[[int], None] = lambda _: None,
    evolved: Callable[[CurvePoint], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> EvolutionReport | None:
    """Train the learned operator, and keep the running mean of its weights.

    Equal seeds give equal weights after as many generations with as many processes; how many there are in the time
    depends on the machine.

    Args:
        name: How to call the agent.
        plan: What to train on, and how.
        seed: Seed of the first weights and of the search.
        folder: Where everything goes.
        resume: Go on with the surveys there, and from the checkpoint if there is one.
        processes: Processes that survey and play.
        command: What was asked for, for the report.
        surveyed: Called with the number of surveys that there are.
        evolved: Called after each validation.
        stopped: Asked repeatedly whether to stop, with a checkpoint.

    Returns:
        The report, or None when the training was stopped.

    Raises:
        ConfigError: The environment cannot be surveyed, or a file is damaged or cannot be written.
    """
    state, progress = _begin(plan, seed)
    if resume and folder.checkpoint.exists():
        state, progress = folder.load()
        if progress.seed != seed or msgspec.structs.replace(progress.training, minutes=plan.minutes) != plan:
            raise ConfigError(
                f"{folder.path} holds a training of seed {progress.seed} with other settings: name another"
            )
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _ignore_interrupts) as workers:
        paths = make_surveys(plan, folder.surveys, workers, surveyed, stopped)
        if paths is None:
            return None
        search = _Search(plan, seed, paths, workers, processes)
        state, progress, is_over = _run(search, state, progress, folder, evolved, stopped)
    if not is_over:
        return None
    report = EvolutionReport(
        agent=name,
        seed=seed,
        command=command,
        training=plan,
        surveys=len(paths),
        generations=state.generation,
        wall_time_s=progress.seconds,
        curve=progress.curve,
        machine=machine(),
        versions=versions("numpy", "numba"),
    )
    write_private(folder.report, msgspec.json.format(msgspec.json.encode(report), indent=2))
    return report


def _run(
    search: _Search,
    state: SearchState,
    progress: _Progress,
    folder: EvolutionFolder,
    evolved: Callable[[CurvePoint], None],
    stopped: Callable[[], bool],
) -> tuple[SearchState, _Progress, bool]:
    """Evolve until the time is up, or it is to stop; the last value says which."""
    begin_s = time.monotonic() - progress.seconds

    def noted(progress: _Progress) -> _Progress:
        seconds = time.monotonic() - begin_s
        point = search.validated(state, seconds)
        evolved(point)
        return msgspec.structs.replace(progress, seconds=seconds, curve=[*progress.curve, point])

    while time.monotonic() - begin_s < 60 * search.plan.minutes:
        if stopped():
            folder.save(state, msgspec.structs.replace(progress, seconds=time.monotonic() - begin_s))
            return state, progress, False
        if state.generation % EVERY == 0:
            progress = noted(progress)
            folder.save(state, progress)
        state = search.step(state)
    progress = noted(progress)
    folder.save(state, progress)
    return state, progress, True


class _Search:
    """Plays candidates on surveys with the help of other processes."""

    def __init__(
        self, plan: Evolution, seed: int, paths: list[Path], workers: ProcessPoolExecutor, shares: int
    ) -> None:
        self.plan, self._seed, self._workers, self._shares = plan, seed, workers, shares
        held_out = max(1, round(VALIDATION_SHARE * len(paths)))
        self._trained, self._validated = tuple(paths[:-held_out]), tuple(paths[-held_out:])
        self._place = place_of(plan, 0)[:2]
        self._reference_sat = {path: _reference_sat(read_survey(path)) for path in paths}

    def step(self, state: SearchState) -> SearchState:
        """Return the state after one more generation."""
        plan = self.plan
        rng = np.random.default_rng([self._seed, state.generation, 1])
        count = min(plan.batch, len(self._trained))
        chosen = tuple(self._trained[place] for place in sorted(rng.choice(len(self._trained), count, replace=False)))
        candidates, directions = candidates_of(state, plan.pairs, plan.noise, self._seed)
        shares = np.array_split(candidates, self._shares)
        jobs = [self._workers.submit(_played, plan, self._place, chosen, share) for share in shares if len(share)]
        net_sat = np.concatenate([job.result() for job in jobs])
        worth = 1 / np.sqrt(np.array([self._reference_sat[path] for path in chosen]) + WORTH_SAT)
        return stepped(state, directions, (net_sat * worth).mean(axis=1), plan.noise, plan.step_size)

    def validated(self, state: SearchState, seconds: float) -> CurvePoint:
        """Return what the running mean earns where it was not trained."""
        played = self._workers.submit(_played, self.plan, self._place, self._validated, state.mean[None])
        return CurvePoint(
            generation=state.generation,
            seconds=round(seconds, 1),
            net_sat_per_day=float(played.result().mean()),
            reference_sat_per_day=float(np.mean([self._reference_sat[path] for path in self._validated])),
        )


def _begin(plan: Evolution, seed: int) -> tuple[SearchState, _Progress]:
    """Return where a training begins."""
    shown, told = len(INPUTS), len(OUTPUTS)
    network = PerChannel(np.zeros(PerChannel.size()))
    network.hidden[:] = np.random.default_rng(seed).normal(0, 1 / np.sqrt(shown), network.hidden.shape)
    network.direct[INPUTS.index("local"), OUTPUTS.index("fee_rate")] = FIRST_LEAN
    network.bias[:] = np.reshape(FIRST_BIAS, (1, told))
    return SearchState.at(network.flat()), _Progress(seed=seed, training=plan, seconds=0.0, curve=[])


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to the process that trains."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@lru_cache(maxsize=1_000)
def _survey(path: Path) -> Survey:
    """Read a survey once."""
    return read_survey(path)


def _reference_sat(survey: Survey) -> float:
    """Return what the fixed fee rate earned in an episode, in sat a day."""
    return survey.reference_income_msat / 1000 / survey.days


@lru_cache(maxsize=1)
def _problem(plan: Evolution, place: tuple[int, int]) -> Any:
    """Return the problem that rules are built for."""
    return problem_at(plan, *place)


def _played(plan: Evolution, place: tuple[int, int], paths: tuple[Path, ...], candidates: Float64) -> Float64:
    """Play candidates on surveys, and return their net sat a day, shape (candidates, surveys)."""
    corridor = Corridor([_survey(path) for path in paths], copies=len(candidates))
    network = PerChannel(candidates.astype(np.float32))  # float64 takes twice as long, for nothing
    rule = LearnedOperator.playing(_problem(plan, place), network)
    return play_corridor(rule, corridor).reshape(len(candidates), len(paths))
