"""Turns the events of episodes into the messages that clients read.

A step becomes one transaction per payment, one channel update per channel end whose balance changed, and a step
message, in this order. Who receives them is the business of ``server``.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, Final

import numpy as np

from lnsim_gym.bridge.activity import describe_step, rebalance_status
from lnsim_gym.bridge.channels import ChannelBook
from lnsim_gym.bridge.clock import Clock
from lnsim_gym.bridge.frames import Chunk, encode
from lnsim_gym.bridge.messages import (
    Activity,
    EpisodeEndData,
    EpisodeEnded,
    Payment,
    RebalanceSummary,
    RequestData,
    RequestSuggestions,
    Reset,
    ResetData,
    StateUpdate,
    Step,
    StepData,
)
from lnsim_gym.bridge.names import WireNames
from lnsim_gym.bridge.whole_state import STATE_ENDS, state_parts
from lnsim_gym.payments import (
    DESCRIPTIONS,
    FailureReason,
    PaymentBatch,
    PaymentOutcomes,
)
from lnsim_gym.records.events import StepEvents, balances_per_payment

__all__ = ["Encoder", "StepResult", "describe_payments"]

_FAILURES = ("", *(reason.name for reason in FailureReason if reason))
# Nearly all of a stream is made of two messages. Filled in here they take a third of the time that structures take;
# the tests hold both to the schema.
_TRANSACTION = (
    b'{"type":"transaction","event_type":"transaction","schema":"lightningnet/1","seq":%d,"timestamp":"%b",%b,'
    b'"data":%b,"transaction":%b,"channels":%b}'
)
_CHANNEL_UPDATE = (
    b'{"type":"channel_update","event_type":"channel_state","schema":"lightningnet/1","seq":%d,"timestamp":"%b",%b,'
    b'"data":%b,"channels":%b}'
)
MANY_NUMBERS: Final = 20_000
"""Numbers of an array beyond which messages leave it out: clients take 1 MiB by default."""


@dataclasses.dataclass(frozen=True, slots=True)
class StepResult:
    """What ``step`` returned."""

    observation: Any
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]


def describe_payments(
    names: WireNames, batch: PaymentBatch, outcomes: PaymentOutcomes, episode: int, step: int, seed: int
) -> list[Payment]:
    """Return the payments of a step as clients see them."""
    hashes = outcomes.payment_hash or ("",) * len(batch.source)
    columns = zip(
        *(column.tolist() for column in batch),
        *(getattr(outcomes, name).tolist() for name in ("succeeded", "fee_msat", "hops", "attempts")),
        outcomes.failure_reason.tolist(),
        outcomes.duration_s.tolist(),
        hashes,
        strict=True,
    )
    return [
        Payment(
            sender=names.nodes[source],
            receiver=names.nodes[destination],
            amount=amount_msat // 1000,
            success=succeeded,
            description=DESCRIPTIONS[description],
            amount_msat=amount_msat,
            fee_msat=fee_msat,
            hops=hops,
            attempts=attempts,
            failure_reason=_FAILURES[failure],
            duration_ms=1000 * duration_s,
            payment_hash=payment_hash,
            step=step,
            episode=episode,
            seed=seed,
        )
        for source, destination, amount_msat, description, succeeded, fee_msat, hops, attempts, failure, duration_s, (
            payment_hash
        ) in columns
    ]


def _short(value: Any) -> Any:
    """Return an observation, action or info without its very long arrays."""
    if isinstance(value, dict):
        return {key: _short(entry) for key, entry in value.items()}
    return None if isinstance(value, np.ndarray) and value.size > MANY_NUMBERS else value


class Encoder:
    """Makes the published messages of one environment, with their numbers and timestamps.

    Used by the thread that steps the environment alone.

    Args:
        names: The names of its network.
    """

    def __init__(self, names: WireNames) -> None:
        self.names = names
        self.keep_records = False
        """Whether chunks also carry flat records."""
        self._source: list[int] = names.topology.arrays.source.tolist()
        self._book = ChannelBook(names)
        self._clock = Clock()
        self._seq = 0

    @property
    def seq(self) -> int:
        """Number of the last message made; 0 before the first."""
        return self._seq

    def renamed(self) -> None:
        """Forget the channels, whose names have changed; the next reset reports all of them."""
        self._book = ChannelBook(self.names)

    def reset(self, balances_msat: Any, observation: Any, info: dict[str, Any], takes_suggestions: bool) -> Chunk:
        """Encode the start of an episode: an update of each channel end that changed, or the whole state of many."""
        chunk = self._chunk()
        changed = self._book.set_balances(balances_msat)
        if len(self.names.ends) > STATE_ENDS:
            place = (self._clock.tick().decode(), info["episode_number"], 0)
            for part in state_parts(self._book, place, [], takes_suggestions):
                self._add(chunk, StateUpdate, part, kind="channel_update")
        else:
            for end in changed:
                self._add_update(chunk, end)
        data = ResetData(
            episode=info["episode_number"], seed=info["seed"], observation=_short(observation), info=_short(info)
        )
        self._add(chunk, Reset, data)
        return chunk

    def step(self, event: StepEvents, result: StepResult, activity: bool = False) -> Chunk:
        """Encode a step, with its activity if any client wants that."""
        chunk = self._chunk()
        told = self._book.balances_sat()
        self._book.set_balances(event.balances_served_from_msat)
        self._add_payments(chunk, event)
        self._book.set_balances(event.balances_after_msat)
        for end in np.flatnonzero(told != self._book.balances_sat()).tolist():
            self._add_update(chunk, end)
        self._add(chunk, Step, self._step_data(event, result))
        if activity:
            data = describe_step(event, float(result.reward), result.info["rewards"])
            chunk.add("activity", encode(Activity(seq=self._seq, timestamp=self._clock.tick().decode(), data=data)))
        return chunk

    def ended(self, data: EpisodeEndData) -> Chunk:
        """Encode the end of an episode."""
        chunk = self._chunk()
        self._add(chunk, EpisodeEnded, data)
        return chunk

    def request(self, data: RequestData) -> Chunk:
        """Encode a request for suggestions."""
        chunk = self._chunk()
        self._add(chunk, RequestSuggestions, data)
        return chunk

    def _chunk(self) -> Chunk:
        """Begin a chunk."""
        return Chunk(first_seq=self._seq + 1)

    def _add(self, chunk: Chunk, message_type: Any, data: Any, kind: str | None = None) -> None:
        """Append a message with the next number and timestamp, for the subscribers to a kind, by default its own."""
        self._seq += 1
        message = message_type(seq=self._seq, timestamp=self._clock.tick().decode(), data=data)
        chunk.add(kind or message.type, encode(message))

    def _add_payments(self, chunk: Chunk, event: StepEvents) -> None:
        """Append a transaction for each payment of a step."""
        described = describe_payments(self.names, event.batch, event.outcomes, event.episode, event.step, event.seed)
        nodes = zip(event.batch.source.tolist(), event.batch.destination.tolist(), strict=True)
        balances = balances_per_payment(event.topology, event.balances_served_from_msat, event.outcomes)
        routes = event.outcomes.part_route.tolist()
        for payment, (source, destination), (before, after), parts in zip(
            described, nodes, balances, routes, strict=True
        ):
            if after is not before:
                self._book.update({hop >> 1 for hop in itertools.chain(*parts) if hop >= 0}, after)
            end = parts[0][0] if payment.success else self._book.first_hop(source, destination)
            self._book.count_payment(end, payment.success, payment.amount)
            used = {hop ^ way for hop in itertools.chain(*parts) if hop >= 0 for way in (0, 1)} | {end, end ^ 1}
            channels = self._book.channels_json(source, destination, about=sorted(used))
            self._add_transaction(chunk, payment, end, channels)

    def _add_transaction(self, chunk: Chunk, payment: Payment, end: int, channels: bytes) -> None:
        """Append a transaction."""
        self._seq += 1
        timestamp = self._clock.tick()
        flat = self._book.flat_json(end)
        data = encode(payment)
        chunk.add("transaction", _TRANSACTION % (self._seq, timestamp, flat, data, data, channels))
        if self.keep_records:
            sent = {name: getattr(payment, name) for name in ("sender", "receiver", "amount", "success")}
            self._keep_record(chunk, "transaction", timestamp, end, sent)

    def _add_update(self, chunk: Chunk, end: int) -> None:
        """Append a channel update."""
        self._seq += 1
        timestamp = self._clock.tick()
        flat = self._book.flat_json(end)
        channels = self._book.channels_json(self._source[end], about=(end,))
        chunk.add("channel_update", _CHANNEL_UPDATE % (self._seq, timestamp, flat, channels, channels))
        if self.keep_records:
            self._keep_record(chunk, "channel_state", timestamp, end, {})

    def _keep_record(self, chunk: Chunk, event_type: str, timestamp: bytes, end: int, more: dict[str, Any]) -> None:
        """Append a flat record."""
        flat = self._book.flat(end)
        chunk.records.append({"event_type": event_type, "timestamp": timestamp.decode(), **flat, **more})

    def _step_data(self, event: StepEvents, result: StepResult) -> StepData:
        """Describe a step."""
        return StepData(
            episode=event.episode,
            step=event.step,
            action=_short(event.action),
            rebalance=self._rebalance(event),
            observation=_short(result.observation),
            reward=float(result.reward),
            terminated=result.terminated,
            truncated=result.truncated,
            info=_short(result.info),
        )

    def _rebalance(self, event: StepEvents) -> RebalanceSummary:
        """Describe the first rebalance of a step."""
        if not event.rebalances:
            return RebalanceSummary(status="none", route=[], amount=0, applied=0, fee_msat=0, why="")
        rebalance = event.rebalances[0]
        result = rebalance.result
        status, why = rebalance_status(rebalance.route, result.applied_msat, result.reason, result.detail)
        return RebalanceSummary(
            status=status,
            route=self.names.route(rebalance.route),
            amount=rebalance.amount_msat // 1000,
            applied=rebalance.result.applied_msat // 1000,
            fee_msat=rebalance.result.fee_msat,
            why=why,
        )
