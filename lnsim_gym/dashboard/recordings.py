"""Opening what was recorded: traces, beside their simulation where that is asked for, and folders of Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.backends.interventions import Rebalance
from lnsim_gym.backends.simulator import SimulatorBackend
from lnsim_gym.bridge.activity import StepPlace, changed_sat, describe_activity, rebalance_status
from lnsim_gym.bridge.description import Place, describe_network
from lnsim_gym.bridge.messages import (
    ActivityData,
    ActivityPart,
    ActivityPayment,
    ActivityRebalance,
    FieldDifference,
    NetworkData,
    RecordingData,
)
from lnsim_gym.bridge.names import WireNames
from lnsim_gym.dashboard.positions import positions_of
from lnsim_gym.errors import RecordError
from lnsim_gym.network import Policy, Topology
from lnsim_gym.payments import PaymentBatch, PaymentOutcomes, RebalanceReason, RebalanceResult
from lnsim_gym.records.lines import InterventionRecord, StepLine, payment_record, rebalance_record
from lnsim_gym.records.parquet_reader import RecordedEpisode, RecordedStep, read_episode, recorded_episodes, whole
from lnsim_gym.records.replay import replay
from lnsim_gym.records.trace import Trace, TraceEpisode, read_trace
from lnsim_gym.tasks.config import EnvironmentConfig
from lnsim_gym.traffic import compile_traffic

__all__ = ["open_recording"]

Episode = TypeVar("Episode")


def open_recording(path: Path, episode: int | None, simulate: bool) -> Iterator[RecordingData]:
    """Yield an episode of a trace or of a folder of Parquet files, and its simulation where that is asked for.

    Args:
        path: The trace, or the folder.
        episode: Number of the episode; None for the first.
        simulate: Whether to play it on the simulator too.

    Raises:
        RecordError: It cannot be read, holds no such episode, or not what a simulation needs.
        MissingDependency: It needs pyarrow, which is not installed.
    """
    if path.is_dir():
        if simulate:
            raise RecordError("Parquet files do not hold routing policies, which a simulation needs: record a trace")
        with whole(path):
            shown = _of_parquet(path, episode)
        yield shown
        return
    trace = read_trace(path)
    wanted = _choose({one.start.episode: one for one in trace.episodes}, episode, path)
    panes = 2 if simulate else 1
    steps = list(_steps(trace, wanted))
    yield _shown(trace, wanted, (0, panes, f"{path.name}, recorded on {trace.header.backend}"), steps, [])
    if simulate:
        steps, differences = _simulated(trace, wanted)
        yield _shown(trace, wanted, (1, panes, "the same on the simulator"), steps, differences)


def _choose(episodes: dict[int, Episode], number: int | None, path: Path) -> Episode:
    """Return the episode of a number, the first for None."""
    chosen = next(iter(episodes), None) if number is None else number
    if chosen is None or chosen not in episodes:
        known = ", ".join(map(str, list(episodes)[:20])) or "none"
        raise RecordError(f"expected one of the episodes of {path.name} ({known}), got {number}")
    return episodes[chosen]


def _network(topology: Topology, balances_msat: Int64, place: Place) -> NetworkData:
    """Describe a network in one piece."""
    return next(describe_network(WireNames(topology), topology, balances_msat, place, most=len(topology.channels) or 1))


def _shown(
    trace: Trace,
    episode: TraceEpisode,
    shown: tuple[int, int, str],
    steps: list[ActivityData],
    differences: list[FieldDifference],
) -> RecordingData:
    """Describe an episode of a trace."""
    topology = trace.topology_of(episode)
    start = episode.start
    backend = trace.header.backend if shown[0] == 0 else "simulator"
    place = Place(trace.header.environment, backend, start.episode, 0, start.seed)
    return RecordingData(
        pane=shown[0],
        panes=shown[1],
        title=shown[2],
        network=_network(topology, np.array(start.start_balances_msat, np.int64), place),
        positions=positions_of(topology),
        episodes=[one.start.episode for one in trace.episodes],
        steps=steps,
        differences=differences,
    )


def _steps(trace: Trace, episode: TraceEpisode) -> Iterator[ActivityData]:
    """Yield the steps of an episode of a trace."""
    topology = trace.topology_of(episode)
    before_msat = np.array(episode.start.start_balances_msat, np.int64)
    for line in episode.steps:
        topology_before, topology = topology, _with_policies(topology, line)
        _, after_msat = line.balances(before_msat)
        yield describe_activity(
            (topology_before, topology),
            StepPlace(episode.start.episode, line.step, None, {}),
            list(line.done),
            list(line.payments),
            changed_sat(before_msat, after_msat),
        )
        before_msat = after_msat


def _with_policies(topology: Topology, line: StepLine) -> Topology:
    """Return a topology with the policies that a step changed."""
    changes = (done.policy_change for done in line.done)
    return topology.with_policies({change.direction: change.policy for change in changes if change is not None})


@dataclass(slots=True)
class _Made:
    """What the simulator made of a step."""

    rebalances: list[Rebalance]
    batch: PaymentBatch
    outcomes: PaymentOutcomes
    topology: Topology
    after_msat: Int64


class _KeepingSimulator(SimulatorBackend):
    """A simulator that keeps what it made of every step of a replay, which ends with the step's payments."""

    def __init__(self, trace: Trace) -> None:
        traffic = EnvironmentConfig.of(trace.header.config).traffic
        payment_ms = compile_traffic(traffic, trace.topology).payment_ms
        super().__init__(trace.topology, trace.header.payment, payment_ms=payment_ms)
        self.made: list[_Made] = []
        self._now = trace.topology
        self._rebalances: list[Rebalance] = []

    def rebalance(self, route: tuple[int, ...], amount_msat: int) -> RebalanceResult:
        """Keep a rebalance."""
        result = super().rebalance(route, amount_msat)
        self._rebalances.append(Rebalance(route, amount_msat, result))
        return result

    def set_policy(self, direction: int, policy: Policy) -> None:
        """Keep a change of policy."""
        super().set_policy(direction, policy)
        self._now = self._now.with_policy(direction, policy)

    def pay(
        self, batch: PaymentBatch, time_ms: Int64 | None = None, fee_limit_msat: Int64 | None = None
    ) -> PaymentOutcomes:
        """Keep the payments of a step."""
        outcomes = super().pay(batch, time_ms, fee_limit_msat)
        self.made.append(_Made(self._rebalances, batch, outcomes, self._now, self.balances_msat()))
        self._rebalances = []
        return outcomes


def _simulated(trace: Trace, episode: TraceEpisode) -> tuple[list[ActivityData], list[FieldDifference]]:
    """Play an episode of a trace on the simulator, and return its steps and what came out differently."""
    backend = _KeepingSimulator(trace)
    found = replay(Trace(trace.header, [episode]), backend)
    steps = []
    before_msat = np.array(episode.start.start_balances_msat, np.int64)
    for line, made in zip(episode.steps, backend.made, strict=True):
        done = [InterventionRecord(rebalance=rebalance_record(rebalance)) for rebalance in made.rebalances]
        payments = [
            payment_record(made.topology, made.batch, made.outcomes, index) for index in range(len(made.batch.source))
        ]
        place = StepPlace(episode.start.episode, line.step, None, {})
        changed = changed_sat(before_msat, made.after_msat)
        steps.append(describe_activity((made.topology, made.topology), place, done, payments, changed))
        before_msat = made.after_msat
    differences = [
        FieldDifference(step=one.step, payment=one.payment, field=one.field, expected=one.expected, got=one.got)
        for one in found
    ]
    return steps, differences


def _of_parquet(folder: Path, number: int | None) -> RecordingData:
    """Describe an episode of a folder of Parquet files."""
    numbers = recorded_episodes(folder)
    episode = read_episode(folder, _choose({one: one for one in numbers}, number, folder))
    place = Place("", "", episode.episode, 0, episode.seed)
    return RecordingData(
        pane=0,
        panes=1,
        title=f"{folder.name}, recorded as Parquet",
        network=_network(episode.topology, episode.start_balances_msat, place),
        positions=positions_of(episode.topology),
        episodes=numbers,
        steps=list(_steps_of_rows(episode)),
        differences=[],
    )


def _steps_of_rows(episode: RecordedEpisode) -> Iterator[ActivityData]:
    """Yield the steps of an episode of Parquet files."""
    before_msat = episode.start_balances_msat
    for step in episode.steps:
        yield _step_of_rows(episode, step, changed_sat(before_msat, step.balances_after_msat))
        before_msat = step.balances_after_msat


def _step_of_rows(
    episode: RecordedEpisode, step: RecordedStep, balances_sat: list[tuple[int, int, int]]
) -> ActivityData:
    """Describe a step of Parquet files."""
    index = episode.topology.node_index
    return ActivityData(
        episode=episode.episode,
        step=step.step,
        reward=None,
        rewards={},
        rebalances=[_rebalance_of(row, episode.topology) for row in step.events if row["type"] == "rebalance"],
        policies=[],
        payments=[_payment_of(row, index) for row in step.events if row["type"] == "payment"],
        balances_sat=balances_sat,
    )


def _rebalance_of(row: dict[str, Any], topology: Topology) -> ActivityRebalance:
    """Describe the row of a rebalance; the files hold the whole way of those only that were applied."""
    part = row["parts"][0] if row["parts"] else None
    ends = [topology.node_index[row[end]] for end in ("source", "destination")]
    arrays = topology.arrays
    direct = np.flatnonzero((arrays.source == ends[0]) & (arrays.destination == ends[1]))[:1].tolist()
    applied_msat = part["amount_msat"] if part else 0
    asked = (0,)  # a row stands for a rebalance that was asked for, its way known or not
    status, why = rebalance_status(asked, applied_msat, RebalanceReason[row["reason"]], row["description"])
    return ActivityRebalance(
        status=status,
        route=part["route"] if part else direct,
        amount_msat=row["amount_msat"],
        applied_msat=applied_msat,
        fee_msat=row["fee_msat"],
        why=why,
    )


def _payment_of(row: dict[str, Any], index: dict[str, int]) -> ActivityPayment:
    """Describe the row of a payment; what each hop carried is known but for the fees."""
    return ActivityPayment(
        sender=index[row["source"]],
        receiver=index[row["destination"]],
        amount_msat=row["amount_msat"],
        fee_msat=row["fee_msat"],
        success=row["succeeded"],
        failure_reason="" if row["succeeded"] else row["reason"],
        attempts=row["attempts"],
        description=row["description"],
        duration_ms=1000 * row["duration_s"],
        parts=[
            ActivityPart(route=part["route"], hop_msat=[part["amount_msat"]] * len(part["route"]))
            for part in row["parts"]
        ],
    )
