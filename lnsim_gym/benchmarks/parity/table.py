"""What a comparison found, as tables in Markdown: how many deeds of which kind, how many equal, and how chance fell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Final

import msgspec
import numpy as np

from lnsim_gym.benchmarks.parity.features import FEATURES, IN_PARTS, KINDS
from lnsim_gym.benchmarks.parity.run import Compared, ParityRun
from lnsim_gym.benchmarks.report import Report, circumstances

__all__ = ["Chances", "Count", "ParityFigures", "figures_of", "markdown"]

UNLIKELY: Final = 1e-4
"""Probability below which the choices of real nodes count as others than the simulator's."""
SIMULATIONS: Final = 100_000
MOST_BINS: Final = 10
LEAST_IN_BIN: Final = 5


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """How deeds of some kind, or with some feature, compared."""

    what: str
    compared: int
    only: int
    """Equal to the simulator's only outcome."""
    one_of_several: int
    """Equal to one of the outcomes that the simulator draws from."""
    tie: int
    """Equal to one of the outcomes of equally good ways."""
    different: int


class Chances(msgspec.Struct, frozen=True, kw_only=True):
    """Whether real nodes draw among several outcomes as often as the simulator."""

    what: str
    deeds: int
    chi_square: float
    freedom: int
    p_value: float


class ParityFigures(Report, frozen=True, kw_only=True):
    """What was found."""

    seed: int
    date: str
    networks: int
    lost: list[str]
    """Networks that could not be compared to their end, and why."""
    differences: list[str]
    """Where real nodes did what the simulator does not give."""
    kinds: list[Count]
    features: list[Count]
    reasons: list[Count]
    chances: list[Chances]

    @property
    def failed(self) -> bool:
        """Whether anything differed, was lost, or fell too unlikely."""
        unlikely = any(each.p_value < UNLIKELY for each in self.chances)
        return unlikely or bool(self.lost) or any(each.different for each in self.kinds)


def figures_of(run: ParityRun, load_before: float) -> ParityFigures:
    """Sum up what a run has compared so far.

    Args:
        run: The run.
        load_before: What ``system_load`` returned before it.
    """
    described = circumstances(load_before, "numpy", "numba")
    described["versions"] |= {"lnd": run.lnd_version.split()[0]} if run.lnd_version else {}
    return ParityFigures(
        seed=run.seed,
        date=datetime.now(UTC).date().isoformat(),
        networks=len({each.network for each in run.compared}),
        lost=[f"network {each.network}: {each.why}" for each in run.lost],
        differences=[f"network {d.network}, deed {d.deed}: {d.told}" for d in run.compared if d.told],
        chances=_chances_of(run.compared, run.seed),
        kinds=_counts(KINDS, [(each.kind, each) for each in run.compared]),
        features=_counts(FEATURES, [(name, each) for each in run.compared for name in each.features]),
        reasons=_reasons(run.compared),
        **described,
    )


def _reasons(compared: Sequence[Compared]) -> list[Count]:
    """Count by kind and outcome."""
    named = [(f"{each.kind}: {each.reason}", each) for each in compared]
    return _counts(sorted({name for name, _ in named}), named)


def _counts(names: Sequence[str], named: Sequence[tuple[str, Compared]]) -> list[Count]:
    """Count what bears each name; names that nothing bears are left out."""
    results: dict[str, list[str]] = {name: [] for name in names}
    for name, each in named:
        results[name].append(each.result)
    return [
        Count(
            what=name,
            compared=len(those),
            only=those.count("only"),
            one_of_several=those.count("one of several"),
            tie=those.count("tie"),
            different=those.count("different"),
        )
        for name, those in results.items()
        if those
    ]


def _chances_of(compared: Iterable[Compared], seed: int) -> list[Chances]:
    """Hold the choices of real nodes to the simulator's frequencies.

    The outcomes of a deed are put in an order; the share of the simulator's chances up to what was seen, a point drawn
    within its own, is then spread evenly over 0..1, whatever the deed (probability integral transform). Payments in
    several parts are left out: their times are drawn to meet all outcomes, not with the frequencies of real nodes.

    Args:
        compared: Deeds.
        seed: Draws the points.
    """
    drawn = [each for each in compared if each.result == "one of several" and each.kind != IN_PARTS]
    groups = {
        "two outcomes": [each for each in drawn if each.outcomes == 2],
        "three outcomes or more": [each for each in drawn if each.outcomes > 2],
        "all": drawn,
    }
    return [
        _chances(what, list(_points(deeds, seed))) for what, deeds in groups.items() if len(deeds) >= 2 * LEAST_IN_BIN
    ]


def _points(deeds: Iterable[Compared], seed: int) -> Iterator[float]:
    for each in deeds:
        yield each.low + each.chance * Random(f"{seed}/{each.network}/{each.deed}").random()


def _chances(what: str, points: list[float]) -> Chances:
    """Return the chi-square statistic of points that should be even, and how often chance alone gives as much."""
    bins = min(MOST_BINS, len(points) // LEAST_IN_BIN)
    expected = len(points) / bins
    seen, _ = np.histogram(points, bins=bins, range=(0, 1))
    even = np.random.default_rng(0).multinomial(len(points), np.full(bins, 1 / bins), SIMULATIONS)
    statistic = float(((seen - expected) ** 2).sum() / expected)
    by_chance = ((even - expected) ** 2).sum(axis=1) / expected
    as_much = int((by_chance >= statistic - 1e-9).sum())
    return Chances(
        what=what,
        deeds=len(points),
        chi_square=round(statistic, 1),
        freedom=bins - 1,
        p_value=(1 + as_much) / (1 + SIMULATIONS),
    )


def markdown(figures: ParityFigures) -> str:
    """Return the tables."""
    versions = ", ".join(f"{name} {version}" for name, version in figures.versions.items())
    lines = [f"{figures.date}, seed {figures.seed}, {figures.networks} networks; {versions}", ""]
    heads = ("compared", "equal", "only outcome", "one of several", "equally good ways", "different")
    for title, counts in (("what", figures.kinds), ("with", figures.features), ("outcome", figures.reasons)):
        lines += _table((title, *heads), [_cells(count) for count in counts])
    chances = [
        (each.what, f"{each.deeds:,}", f"{each.chi_square:.1f}", str(each.freedom), f"{each.p_value:.3f}")
        for each in figures.chances
    ]
    lines += _table(("choices with", "deeds", "chi-square", "degrees of freedom", "p"), chances)
    lines += [f"lost: {why}" for why in figures.lost] + [f"different: {what}" for what in figures.differences]
    return "\n".join(lines).rstrip()


def _cells(count: Count) -> tuple[str, ...]:
    equal = count.compared - count.different
    numbers = (count.compared, equal, count.only, count.one_of_several, count.tie, count.different)
    return count.what, *(f"{number:,}" for number in numbers)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, its first column to the left and the others to the right; none without rows."""
    if not rows:
        return []
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = cells
        padded = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * widths[0], *(f"{'-' * (width - 1)}:" for width in widths[1:])]
    return [line(heads), line(rule), *map(line, rows), ""]
