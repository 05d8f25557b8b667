"""This code against another checkout of it: both measured by turns, so that a change of the machine's speed meets both.

Every round runs the same benchmark of each in a process of its own, and the order of the two changes from round to
round. What counts is the ratio within a round.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lnsim_gym.benchmarks.checkout import THIS, Checkout
from lnsim_gym.benchmarks.first_step import first_step
from lnsim_gym.benchmarks.report import Report, circumstances, system_load

__all__ = ["Compared", "ComparisonFigures", "compare_environments", "compare_live", "compare_simulators"]


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of this code and of the other."""

    this: float
    """Median over the rounds."""
    other: float
    ratio: float
    """This over the other in the same round, median over the rounds."""
    ratio_low: float
    """Lowest of the rounds."""
    ratio_high: float
    """Highest of the rounds."""

    @classmethod
    def of(cls, this: Sequence[float], other: Sequence[float]) -> Compared:
        """Compare two figures that were measured in the same rounds."""
        ratios = [own / its for own, its in zip(this, other, strict=True)]
        return cls(
            this=statistics.median(this),
            other=statistics.median(other),
            ratio=statistics.median(ratios),
            ratio_low=min(ratios),
            ratio_high=max(ratios),
        )


class ComparisonFigures(Report, frozen=True, kw_only=True):
    """What both reach, by the names of the figures."""

    against: str
    """Folder of the other checkout."""
    rounds: int
    figures: dict[str, Compared]


def compare_simulators(against: Path, graphs: Sequence[str], rounds: int) -> ComparisonFigures:
    """Compare payments per second of CPU time.

    Args:
        against: Folder of the other checkout.
        graphs: Names of the graphs to measure on.
        rounds: How often each is measured.

    Raises:
        ConfigError: There is no checkout in that folder.
        LnsimError: A benchmark failed.
    """

    def measure(checkout: Checkout) -> dict[str, float]:
        report = checkout.bench("simulator", *graphs)["graphs"]
        return {f"payments_per_second on {name}": graph["payments_per_second"] for name, graph in report.items()}

    return _compare(Checkout.at(against), measure, rounds)


def compare_environments(against: Path, num_envs: int, rounds: int, with_first_step: bool = False) -> ComparisonFigures:
    """Compare steps per second of CPU time; CartPole, which is the same for both, shows how much is noise.

    Args:
        against: Folder of the other checkout.
        num_envs: Environments of the vector.
        rounds: How often each is measured.
        with_first_step: Compare the CPU time to the first step, too.

    Raises:
        ConfigError: There is no checkout in that folder.
        LnsimError: A benchmark failed.
    """

    def measure(checkout: Checkout) -> dict[str, float]:
        report = checkout.bench("environment", "--num-envs", str(num_envs))
        rates = {name: float(value) for name, value in report.items() if name.endswith("_steps_per_s")}
        first: dict[str, float] = msgspec.to_builtins(first_step(checkout)) if with_first_step else {}
        return rates | {f"first_step.{name}": value for name, value in first.items()}

    return _compare(Checkout.at(against), measure, rounds)


def compare_live(against: Path, topology: str, launcher: str, rounds: int) -> ComparisonFigures:
    """Compare networks of real nodes: payments per second, bring-up and resets in seconds.

    Args:
        against: Folder of the other checkout.
        topology: Preset, generator call or file.
        launcher: Who runs the nodes.
        rounds: How often each is measured.

    Raises:
        ConfigError: There is no checkout in that folder.
        LnsimError: A benchmark failed.
    """
    file = Path(topology)
    named = str(file.resolve()) if file.is_file() else topology

    def measure(checkout: Checkout) -> dict[str, float]:
        report = checkout.bench("live", "--topology", named, "--launcher", launcher)
        return {name: float(value) for name, value in report.items() if name.endswith("_s")}

    return _compare(Checkout.at(against), measure, rounds)


def _compare(other: Checkout, measure: Callable[[Checkout], dict[str, Any]], rounds: int) -> ComparisonFigures:
    """Measure this code and another by turns."""
    load_before = system_load()
    found: dict[Checkout, list[dict[str, float]]] = {THIS: [], other: []}
    for number in range(rounds):
        for checkout in (THIS, other) if number % 2 else (other, THIS):
            found[checkout].append(measure(checkout))
    names = [name for name in found[THIS][0] if name in found[other][0]]
    return ComparisonFigures(
        against=str(other.folder),
        rounds=rounds,
        figures={name: Compared.of(*([one[name] for one in found[each]] for each in (THIS, other))) for name in names},
        **circumstances(load_before, "numpy", "numba"),
    )
