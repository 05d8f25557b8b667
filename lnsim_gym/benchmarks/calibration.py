"""How like real nodes the operator's environment is: what operators report, beside episodes of a fixed policy.

Each band is what published figures of real nodes span; each episode of the environment, all channels at one fee rate,
has one figure for it. The sources are reports that operators wrote about their own databases (see ``BANDS``); nobody
publishes the forwarding history of a node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import gymnasium as gym
import msgspec
import numpy as np

from lnsim_gym.agents.operator.base import Seen
from lnsim_gym.arrays import Bool, Float64, Int64
from lnsim_gym.backends.simulator import SimulatorBackend
from lnsim_gym.benchmarks.report import Report, circumstances, system_load
from lnsim_gym.errors import ConfigError
from lnsim_gym.network.public import placed
from lnsim_gym.network.routes import hop_amounts_msat

__all__ = ["BANDS", "Band", "CalibrationFigures", "Measured", "figures_of", "markdown", "measure", "month_of"]

ENVIRONMENT_ID: Final = "LightningOperator-v0"
FEE_RATE_PPM: Final = 200
"""The reference policy: every channel at this fee rate, without a base fee."""
QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
REFILL_SAT: Final = 100_000
"""Amount that refills are quoted for."""
MONTH_DAYS: Final = 30.0
WEEK_HOURS: Final = 168.0
MEDIAN: Final = QUANTILES.index(0.5)

NEXUS: Final = "nexus-01, 42 days of 2026 (lightning-goats/cl_revenue_ops, docs/audit/contribution/fee-side.md)"


class Band(msgspec.Struct, frozen=True, kw_only=True):
    """What real nodes report of something."""

    what: str
    low: float
    high: float
    unit: str
    source: str
    why: str
    """What in the environment accounts for a miss, where there is one."""


BANDS: Final = {
    "settled_share": Band(
        what="attempts that settle",
        low=4.0,
        high=7.0,
        unit="%",
        source=f"4.8 % of 36,204 attempts: {NEXUS}; 6.5 % of 194,518 over 245 days of the same node",
        why="most attempts that real nodes see are probes and other nodes' rebalances, which the market leaves out",
    ),
    "settled_per_day": Band(
        what="forwards that settle, a day",
        low=40.0,
        high=200.0,
        unit="",
        source="41 and 51 a day: nexus-01, as above; 179 a day on 22 channels: an operator's report of August 2022",
        why="traffic.payments_per_day bounds what arrives, and most pairs pay over cheaper ways",
    ),
    "top_two_share": Band(
        what="share of fees of the best two channels",
        low=50.0,
        high=85.0,
        unit="%",
        source=f"56 and 27 %: {NEXUS}",
        why="it is drawn how unevenly pairs pay (traffic.weight_spread)",
    ),
    "idle_weeks_share": Band(
        what="weeks of channels without income",
        low=65.0,
        high=80.0,
        unit="%",
        source="32 of 45 and 11 of 13 channel-weeks: cl_revenue_ops, docs/audit/contribution/capital-side.md (PA-H1)",
        why="pairs are spread over more, or fewer, of the own channels than those of real nodes",
    ),
    "mean_fee": Band(
        what="mean fee of a forward",
        low=5.0,
        high=25.0,
        unit="sat",
        source="11 sat at 50 to 150 ppm: nexus-01, as above; 14 sat (103,962 at 132 ppm): Diamond Hands, January 2022",
        why="fees go with the fee rate of the reference policy and the amounts of the market",
    ),
    "monthly_yield": Band(
        what="income a month, share of the capacity",
        low=0.02,
        high=0.5,
        unit="%",
        source="0.47 %: Olympus, 5.58 % gross a year; 0.017 %: 1 M sat a year on 5 BTC, a note of May 2025",
        why="income goes with the number of forwards",
    ),
    "dear_refills_share": Band(
        what="channels that sell below what refilling them costs",
        low=50.0,
        high=100.0,
        unit="%",
        source="refills quoted at 685 to 2,923 ppm where 60 to 180 ppm were earned: brln-os-light, 101 channels",
        why="foreign channels are cheap in this direction, or the reference policy is dear",
    ),
    "lopsided_share": Band(
        what="channels beyond 80/20 at the end",
        low=55.0,
        high=80.0,
        unit="%",
        source="about two thirds: net flows deplete all channels but a spanning tree (Lightning-Network-Limitations)",
        why="two thirds begin there (start_balances.depleted_share), and flows of the market drive others there",
    ),
}
"""Bands by the name of their figure."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A band, and the episodes beside it."""

    name: str
    what: str
    unit: str
    low: float
    high: float
    quantiles: tuple[float, ...]
    """Of the episodes that have a figure: 5, 25, 50, 75 and 95 %."""
    within: float
    """Share of the episodes inside the band."""
    met: bool
    """Whether the median is."""
    missed_by: float
    """How far the median lies above the band, or below it if negative; 0 where it is met."""
    source: str
    why: str
    """What accounts for a miss; empty where it is met."""

    @property
    def miss(self) -> str:
        """How far the median lies outside the band, in words."""
        unit = {"%": " points", "": ""}.get(self.unit, f" {self.unit}")
        return f"{abs(self.missed_by):.2g}{unit} {'above' if self.missed_by > 0 else 'below'}"


class CalibrationFigures(Report, frozen=True, kw_only=True):
    """What was measured."""

    environment: str
    fee_rate_ppm: int
    days: float
    positions: int
    """Places of the own node in the network."""
    seeds: int
    """Episodes at each of them."""
    bands: list[Measured]
    episodes: dict[str, list[float]]
    """The figure of every episode by band, NaN where it has none; seeds one after the other, position by position."""


def measure(
    positions: Sequence[int],
    seeds: Sequence[int],
    fee_rate_ppm: int = FEE_RATE_PPM,
    days: float = MONTH_DAYS,
    settings: dict[str, Any] | None = None,
    told: Callable[[int], None] = lambda _: None,
) -> CalibrationFigures:
    """Play episodes of the reference policy and hold them to the bands.

    Args:
        positions: Places of the own node in the default network, as its generator numbers them (``own_seed``).
        seeds: Seeds of the episodes at each of them.
        fee_rate_ppm: Fee rate of all channels.
        days: Length of an episode in days of simulated time.
        settings: Settings of the environment besides.
        told: Called with the number of episodes that are done.

    Raises:
        ConfigError: There is no episode to play, or one is shorter than a week; or the settings are impossible.
    """
    if not positions or not seeds or days * 24 < WEEK_HOURS:
        raise ConfigError(f"expected episodes of 7 days or more, got {len(positions)} x {len(seeds)} of {days:g} days")
    load_before = system_load()
    found: list[dict[str, float]] = []
    for position in positions:
        env = gym.make(ENVIRONMENT_ID, **_settings(position, settings or {}))
        try:
            for seed in seeds:
                found.append(month_of(env, seed, fee_rate_ppm, days))
                told(len(found))
        finally:
            env.close()
    episodes = {name: [figures[name] for figures in found] for name in BANDS}
    return CalibrationFigures(
        environment=ENVIRONMENT_ID,
        fee_rate_ppm=fee_rate_ppm,
        days=days,
        positions=len(positions),
        seeds=len(seeds),
        bands=figures_of(episodes),
        episodes=episodes,
        **circumstances(load_before, "gymnasium", "numpy", "numba"),
    )


def figures_of(episodes: dict[str, list[float]]) -> list[Measured]:
    """Hold figures of episodes to their bands; NaN counts for none."""
    measured = []
    for name, band in BANDS.items():
        values = np.array(episodes[name], np.float64)
        values = values[~np.isnan(values)]
        quantiles = np.quantile(values, QUANTILES) if len(values) else np.full(len(QUANTILES), np.nan)
        median = float(quantiles[MEDIAN])
        met = band.low <= median <= band.high
        outside = median - (band.high if median > band.high else band.low)
        measured.append(
            Measured(
                name=name,
                what=band.what,
                unit=band.unit,
                low=band.low,
                high=band.high,
                quantiles=tuple(quantiles.tolist()),
                within=float(((values >= band.low) & (values <= band.high)).mean()) if len(values) else 0.0,
                met=met,
                missed_by=0.0 if met else outside,
                source=band.source,
                why="" if met else band.why,
            )
        )
    return measured


def month_of(env: gym.Env[Any, Any], seed: int, fee_rate_ppm: int, days: float) -> dict[str, float]:
    """Play one episode of the reference policy, and return its figure for each band, NaN where it has none.

    Args:
        env: An environment of the operator's task with actions of the kind ``dict``.
        seed: Seed of the episode.
        fee_rate_ppm: Fee rate of all channels.
        days: Its length in days of simulated time.
    """
    inner: Any = env.unwrapped
    task = inner.problem.task
    channels, steps = len(task.out), round(days * 24 / task.config.step_hours)
    fees = {"fee_rate_ppm": [fee_rate_ppm] * channels, "fee_base_msat": [0] * channels}
    inner.reset(seed=seed)
    shown = [
        Seen.of(seen["channels"][None], seen["node"][None]) for seen in (inner.step(fees)[0] for _ in range(steps))
    ]
    earned_sat = np.concatenate([each.fee_earned_sat for each in shown])  # (steps, channels)
    sold_sat = np.concatenate([each.forwarded_out_sat for each in shown]).sum(axis=0)
    settled = sum(float(each.forwarded_out.sum()) for each in shown)
    failed = sum(float(part.sum()) for each in shown for part in each[_FIRST_FAILURE:_LAST_FAILURE])
    income_sat, by_channel_sat = float(earned_sat.sum()), np.sort(earned_sat.sum(axis=0))
    last = shown[-1]
    return {
        "settled_share": _percent(settled, settled + failed),
        "settled_per_day": settled / days,
        "top_two_share": _percent(float(by_channel_sat[-2:].sum()), income_sat),
        "idle_weeks_share": 100 * float((_by_week(earned_sat, task.config.step_hours) == 0).mean()),
        "mean_fee": income_sat / settled if settled else np.nan,
        "monthly_yield": 100 * income_sat * MONTH_DAYS / days / float(last.capacity_sat.sum()),
        "dear_refills_share": _dear_refills(inner, sold_sat, earned_sat.sum(axis=0)),
        "lopsided_share": 100 * float(((last.local < 0.2) | (last.local > 0.8)).mean()),
    }


_FIRST_FAILURE: Final = Seen._fields.index("failed_liquidity")
_LAST_FAILURE: Final = Seen._fields.index("failed_afterwards") + 1


def _settings(position: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of the environment with the own node at a position."""
    topology = settings.get("topology", gym.spec(ENVIRONMENT_ID).kwargs["topology"])
    there = placed(topology, position=position)
    fixed = {"action": "dict", "observation": "dict", "levers": ["fees"], "topology": there}
    return {**settings, **fixed, "max_episode_steps": 10**9}


def _percent(part: float, whole: float) -> float:
    """Return a share in percent, NaN of nothing."""
    return 100 * part / whole if whole else float("nan")


def _by_week(earned_sat: Float64, step_hours: float) -> Float64:
    """Return what channels earned in each whole week, shape (weeks, channels), given that of each step."""
    steps = round(WEEK_HOURS / step_hours)
    weeks = len(earned_sat) // steps
    by_week: Float64 = earned_sat[: weeks * steps].reshape(weeks, steps, -1).sum(axis=1)
    return by_week


def _dear_refills(inner: Any, sold_sat: Float64, earned_sat: Float64) -> float:
    """Return the share in percent of channels that sold for less than the best quote for refilling them.

    The quote is the fee of the route that LND would try first, out of whichever own channel it is least; there may be
    none at any price.
    """
    task, topology, balances_msat = inner.problem.task, inner.topology, inner.balances_msat()
    sells: Bool = sold_sat > 0
    if not sells.any():
        return float("nan")
    backend = SimulatorBackend(topology, inner.config.payment)
    realised_ppm = 1e6 * earned_sat[sells] / sold_sat[sells]
    quotes_ppm = [_best_quote_ppm(backend, task.out, place, balances_msat) for place in np.flatnonzero(sells).tolist()]
    return 100 * float((np.array(quotes_ppm) > realised_ppm).mean())


def _best_quote_ppm(backend: SimulatorBackend, out: Int64, back: int, balances_msat: Int64) -> float:
    """Return the least fee rate at which an own channel could be refilled, infinite where no route leads into it."""
    amount_msat, best_ppm = 1000 * REFILL_SAT, float("inf")
    for leave in range(len(out)):
        if leave == back:
            continue
        backend.reset(balances_msat)
        _, route = backend.rebalance_around(int(out[leave]), int(out[back]) ^ 1, amount_msat, amount_msat, 1)
        if route:
            sent_msat = hop_amounts_msat(backend.topology, route, amount_msat)[0]
            best_ppm = min(best_ppm, 1e6 * (sent_msat - amount_msat) / amount_msat)
    return best_ppm


def markdown(figures: CalibrationFigures) -> str:
    """Return the bands as a table in Markdown, with what was measured and why a band was missed."""
    lines = [
        f"{figures.environment}, all channels at {figures.fee_rate_ppm} ppm for {figures.days:g} days: "
        f"{figures.positions} positions with {figures.seeds} seeds each.",
        "",
        "| | reported | 5 / 25 / 50 / 75 / 95 % of episodes | within | median |",
        "| --- | --- | --- | ---: | --- |",
    ]
    for each in figures.bands:
        unit = f" {each.unit}" if each.unit else ""
        quantiles = " / ".join(f"{value:.3g}" for value in each.quantiles)
        verdict = "met" if each.met else each.miss
        span = f"{each.low:g} to {each.high:g}{unit}"
        lines.append(f"| {each.what} | {span} | {quantiles}{unit} | {100 * each.within:.0f} % | {verdict} |")
    missed = [f"- {each.what}: {each.why}." for each in figures.bands if not each.met]
    return "\n".join([*lines, *(["", "What accounts for a miss:", ""] if missed else []), *missed])
