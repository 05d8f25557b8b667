"""The operator's task: run one node of a network for profit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Bool, Int64
from lnsim_gym.backends.base import Backend
from lnsim_gym.backends.interventions import BalanceChange, Intervention, PolicyChange, Rebalance, StatusChange
from lnsim_gym.backends.simulator.engine import compile_network
from lnsim_gym.compiled.memory import copied
from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Policy, Topology
from lnsim_gym.network.limits import max_value_in_flight_msat
from lnsim_gym.payments import MAX_ROUTE_HOPS, REASON_NAMES, PaymentBatch, RebalanceReason, RebalanceResult
from lnsim_gym.tasks.base import RebalanceTally, Task, TaskKernels
from lnsim_gym.tasks.config import EnvironmentConfig, StartBalances
from lnsim_gym.tasks.operator import ledger
from lnsim_gym.tasks.operator.actions import OperatorActions, make_actions
from lnsim_gym.tasks.operator.candidates import with_candidates
from lnsim_gym.tasks.operator.config import DEPLETED, OperatorConfig, swap_terms
from lnsim_gym.tasks.operator.features import KEPT, KEPT_OF_CHANNEL, KEPT_ON_CHAIN
from lnsim_gym.tasks.operator.observations import DictObservations, FlatObservations, OperatorObservations
from lnsim_gym.tasks.operator.others import Others, competitors_at, others_of, restored
from lnsim_gym.tasks.registry import register_task
from lnsim_gym.traffic import FlowsTraffic
from lnsim_gym.traffic.flows import HOUR_MS, FlowProgram, batch_of
from lnsim_gym.traffic.listed import compile_flows
from lnsim_gym.traffic.market import compile_market

__all__ = ["OperatorTask"]

_THERE, _GONE, _, _CAME = range(len(ledger.CHANNEL_CODES))


@register_task
class OperatorTask(Task):
    """One own node among others: announce fees, move liquidity at real cost, and be paid what its funds gain.

    **Step.** A span of simulated time (``step_hours``). At its begin others act (``config.OthersOptions``), then the
    decision is carried out: policies are announced, channels closed and opened, circular rebalances sent, swaps made.
    Then the payments of the market arrive (``traffic.market``), each routed and retried as LND does; senders hear of
    new policies by gossip.

    **Observation.** Only what the own node knows; see ``features.CHANNEL_FEATURES`` and ``features.NODE_FEATURES``.

    **Action.** What ``levers`` switch on, in one of three forms; see ``actions``. Others take a few changes of a
    channel's policy in a row, then one a day; more are refused and counted in ``info["ledger"]``.

    **Channels that come and go.** Where ``levers`` has ``close`` or ``open``, each own channel of the network is a row
    that is there, closing, closed or opening. With ``open``, rows for ``candidates`` come on top, closed when an
    episode begins; the market is drawn as if they were there. A channel is closed by agreement with a peer that is
    online: at once nobody can use it, and when the transaction confirms (``chain.confirmation_hours``; at the begin of
    a step), what the own node held of it lies in the wallet. Who funded a channel pays for its closing, and has its
    commitment fee and anchors back. To open one the wallet must hold its capacity, the fee, and what LND reserves for
    anchors (10,000 sat a channel, 100,000 at most); once confirmed it is there with all of its balance on the own side,
    and the policy that it last had. Only channels that the own node funds can be opened, so none again that a peer
    opened; a row has one capacity. What cannot be done is left, and counted as refused. A channel that is not there is
    inactive in observations, and holds nothing on either side. Others close and open none, and there are no force
    closes.

    **Reward.** What the own funds gained in the step, in sat: own ends of channels and wallet; where channels come and
    go, also what transactions are under way with, and the commitment fees and anchors of channels that the own node
    funded, which otherwise do not change. No HTLC is pending between steps, so that to the millisatoshi

        funds gained = income - rebalance fees - swap fees - chain fees,

    each of which stands in ``info["ledger"]``. What is left in channels counts at par, so that moving it is worth
    nothing by itself. With ``liquidity_value = "replacement_cost"`` the reward is less by what that cost rose,

        replacement cost = replacement_ppm * sum over channels of max(0, balance when it began - balance),

    where a channel began with the episode, or when it was opened, and counts while it is there: what it would cost to
    rebalance back what went out of it. Over an episode of any length that is what is left at the end, at this value.
    """

    name = "operator"
    Config = OperatorConfig
    terms: tuple[str, ...] = ("income_sat", "rebalance_fees_sat", "swap_fees_sat", "chain_fees_sat")
    meanings = {  # noqa: RUF012 - read only, as the base says
        "income_sat": "fees earned by forwarding, in sat",
        "rebalance_fees_sat": "fees paid for circular rebalances, in sat",
        "swap_fees_sat": "fees paid to swap services and for the off-chain way to them, in sat",
        "chain_fees_sat": "fees paid for transactions on the chain, in sat",
        "replacement_sat": "by how much it would cost more to move back what went out of channels, in sat",
    }
    changes_policies = True
    counts_earnings = True
    draws_payments = True
    needs_links = True

    actions: OperatorActions
    observations: OperatorObservations
    config: OperatorConfig

    def __init__(self, config: OperatorConfig, topology: Topology) -> None:
        super().__init__(config, topology)
        arrays = topology.arrays
        if config.own_node not in topology.node_index:
            raise ConfigError(
                f"own_node={config.own_node!r} is no node of the topology: name one of it, or let a generator add one "
                '("public(own_channels = 18)")'
            )
        self.own = topology.node_index[config.own_node]
        """Index of the own node."""
        self.out: Int64 = np.flatnonzero(arrays.source == self.own).astype(np.int64)
        """Directions out of it, one for each own channel, in the order of the channels."""
        if len(self.out) < 2:
            raise ConfigError(f"own_node={config.own_node!r} has {len(self.out)} channels, and needs at least 2")
        self.watched = self.own
        self.warm_up_steps = config.warm_up_steps
        self.step_ms = config.step_ms
        self.most_msat: Int64 = max_value_in_flight_msat(arrays.capacity_sat[self.out // 2]).astype(np.int64)
        """Greatest HTLC that LND lets each channel announce, in msat."""
        capacity_msat = 1000 * arrays.capacity_sat[self.out // 2].astype(np.int64)
        self.actions = make_actions(config, capacity_msat)
        limits = self.actions.limits
        self.decision = limits.decision
        self.idle_decision = self.actions.idle(1).whole[0]
        self.replacement_ppm = config.replacement_ppm if config.liquidity_value == "replacement_cost" else 0
        if self.replacement_ppm:
            self.terms = (*self.terms, "replacement_sat")
        self.books = config.changes_channels or self.replacement_ppm > 0
        """Whether the ledger has entries of ``ledger.CHANNEL_MONEY``."""
        self.ledger = ledger.names(len(self.out), limits.rebalances, limits.swaps, books=self.books)
        kind = DictObservations if config.observation == "dict" else FlatObservations
        self.observations = kind(len(self.out), limits.rows, masks=config.channel_rows > 0)
        self.options = self.actions.options
        of_channels = (KEPT_OF_CHANNEL, KEPT_ON_CHAIN) if self.books else (KEPT_OF_CHANNEL,)
        self.kept = (
            *KEPT,
            *(f"channel_{place}_{name}" for names in of_channels for place in range(len(self.out)) for name in names),
        )

    @classmethod
    def prepared(cls, config: EnvironmentConfig, topology: Topology) -> Topology:
        """See ``Task.prepared``: with the channels that may be opened."""
        assert isinstance(config, OperatorConfig)
        return with_candidates(topology, config.own_node, config.candidates) if "open" in config.levers else topology

    @property
    def candidates(self) -> int:
        """How many of the own channels, the last ones, are not there when an episode begins."""
        options = self.config.candidates
        return (len(options.peers) or options.count) if "open" in self.config.levers else 0

    @property
    def _channels_at(self) -> int:
        """Where the entries of ``ledger.CHANNEL_MONEY`` begin, or would."""
        limits = self.actions.limits
        return ledger.channels_at(len(self.out), limits.rebalances, limits.swaps)

    @property
    def funded(self) -> Bool:
        """Which own channels the own node pays for, shape (channels,)."""
        funded: Bool = self.out % 2 == 0
        return funded

    @cached_property
    def flows(self) -> FlowProgram:
        """The market around the own node."""
        config, traffic = self.config, self.config.traffic
        if isinstance(traffic, FlowsTraffic):
            return compile_flows(traffic, self.topology, config.step_ms)
        return compile_market(traffic, config.payment, self.topology, self.own, config.step_ms)  # type: ignore[arg-type]

    @cached_property
    def others(self) -> Others:
        """What others do."""
        start = self.config.start_balances
        law = start if isinstance(start, StartBalances) else DEPLETED
        return others_of(self.config, self.topology, self.own, (law.low, law.high, law.skew))

    @property
    def kernels(self) -> TaskKernels:
        """See ``Task.kernels``."""
        from lnsim_gym.tasks.operator import kernels  # noqa: PLC0415 - prepares the compiler, which takes a moment

        one = kernels.step_in_parts if self.config.payment.max_parts > 1 else kernels.step
        return TaskKernels(
            kernels.example(), kernels.reset, one, one, one, kernels.observe, kernels.conclude, kernels.plan
        )

    def compiled_state(self, variants: Sequence[OperatorTask]) -> tuple[Any, ...]:
        """See ``Task.compiled_state``."""
        from lnsim_gym.tasks.operator.state import OperatorState  # noqa: PLC0415 - see ``kernels``

        config, swap, limits = self.config, swap_terms(self.config.swap), self.actions.limits
        change_ms, first = round(HOUR_MS * config.fee_change_hours), len(self.out) - self.candidates
        return OperatorState(
            own=copied(np.array([task.own for task in variants]), np.int64),
            out=copied(np.stack([task.out for task in variants]), np.int64),
            most_msat=copied(np.stack([task.most_msat for task in variants]), np.int64),
            candidate=copied(np.stack([np.arange(len(task.out)) >= first for task in variants]), np.int64),
            funded=copied(np.stack([task.funded for task in variants]), np.int64),
            owned_msat=copied(np.stack([task.topology.owned_total_msat[task.out // 2] for task in variants]), np.int64),
            flows=_stacked(_of_one_length([task.flows for task in variants])),
            others=_stacked([task.others for task in variants]),
            step_ms=config.step_ms,
            rebalances=limits.rebalances,
            rebalance_attempts=config.rebalance_attempts,
            swaps=limits.swaps,
            closes=limits.closes,
            opens=limits.opens,
            books=int(self.books),
            replacement_ppm=self.replacement_ppm,
            warm_up_ms=self.warm_up_steps * config.step_ms,
            open_vbytes=config.chain.open_vbytes,
            close_vbytes=config.chain.close_vbytes,
            confirmation_ms=round(HOUR_MS * config.chain.confirmation_hours),
            least_change=float(config.least_change),
            burst_ms=config.fee_changes_burst * change_ms,
            change_ms=change_ms,
            wallet_msat=1000 * config.wallet_sat,
            swap_out_ppm=swap.out_fee_ppm,
            swap_in_ppm=swap.in_fee_ppm,
            swap_routing_ppm=swap.routing_fee_ppm,
            swap_vbytes=swap.transaction_vbytes,
            swap_min_msat=1000 * swap.min_sat,
            swap_max_msat=1000 * swap.max_sat,
            sat_per_vbyte=float(config.chain.sat_per_vbyte),
            spike_share=float(config.chain.spike_share),
            spike_factor=float(config.chain.spike_factor),
        )

    def apply(self, backend: Backend, decision: Int64, noted: Int64) -> tuple[tuple[Intervention, ...], int]:
        """Carry out on a backend what ``plan`` noted of policies, then rebalance; see ``Task.apply``."""
        changes = self._policy_changes(noted)
        backend.set_policies({change.direction: change.policy for change in changes})
        rebalances = []
        asked = self.actions.parts_of(decision[None]).rebalances[0]
        for numbers, entries in zip(asked.tolist(), self._rebalances(noted), strict=True):
            entries[ledger.REBALANCE_ROUTE : ledger.REBALANCE_HOPS], entries[ledger.REBALANCE_HOPS :] = -1, 0
            if numbers[0] >= 0 and numbers[2] > 0:
                rebalances.append(self._rebalance(backend, numbers, entries))
                noted[ledger.REBALANCE_FEE] += rebalances[-1].result.fee_msat
        return (*changes, *rebalances), self.config.payments_per_step

    def _rebalance(self, backend: Backend, numbers: list[int], entries: Int64) -> Rebalance:
        """Send a circular rebalance over a backend, and note what became of it."""
        leave, back, amount_msat, limit_ppm = numbers
        out, into = int(self.out[leave]), int(self.out[back]) ^ 1
        result, route = RebalanceResult(reason=RebalanceReason.NO_ROUTE), tuple[int, ...]()
        if leave != back and not self.topology.arrays.disabled[out]:
            limit_msat = amount_msat * limit_ppm // 1_000_000
            attempts = self.config.rebalance_attempts
            result, route = backend.rebalance_around(out, into, amount_msat, limit_msat, attempts)
        told = amount_msat, result.applied_msat, result.fee_msat, result.reason, result.failure_source_index
        entries[: len(told) + len(route)] = [*told, *route]
        entries[ledger.REBALANCE_HOPS :][: len(result.hop_msat)] = result.hop_msat
        return Rebalance(route or (out, into), amount_msat, result)

    def payments(self, seed: int, episode: int, step: int) -> tuple[PaymentBatch, Int64, Int64]:
        """See ``Task.payments``."""
        return batch_of(self.flows, self.config.payments_per_step, seed, episode, step)

    def happened(self, seed: int, episode: int, step: int) -> tuple[Intervention, ...]:
        """See ``Task.happened``."""
        bits, span = np.uint64(seed % 2**64), self.config.warm_up_steps + step
        initiator_msat = np.empty(len(self.topology.channels), np.int64)
        restored(self.others, bits, episode, span, initiator_msat)
        moved = np.flatnonzero(initiator_msat >= 0).tolist()
        balances = [BalanceChange(channel, int(initiator_msat[channel])) for channel in moved]
        return (*balances, *self._competitors(bits, episode, span))

    def _competitors(self, bits: Any, episode: int, span: int) -> list[Intervention]:
        """Return the policies that changed at the begin of a span."""
        network, first = self._plain_network, span == 0
        now = (network.policy.copy(), network.links.disabled.copy())
        before = (network.policy.copy(), network.links.disabled.copy())
        places, usual = (network.first_incoming, network.incoming), (network.policy, network.links.disabled)
        competitors_at(self.others, places, *usual, bits, episode, span * self.config.step_ms, now)
        if not first:
            competitors_at(self.others, places, *usual, bits, episode, (span - 1) * self.config.step_ms, before)
        changed = np.flatnonzero((now[0]["fee_rate_ppm"] != before[0]["fee_rate_ppm"]) | (now[1] != before[1])).tolist()
        rate_ppm, disabled = now[0]["fee_rate_ppm"].tolist(), now[1].astype(np.bool_).tolist()
        own = set(self.out.tolist())  # their policies are the agent's
        return [
            StatusChange(each, disabled[each])
            if each in own
            else PolicyChange(each, self._policy(each, fee_rate_ppm=rate_ppm[each], disabled=disabled[each]))
            for each in changed
        ]

    @cached_property
    def _plain_network(self) -> Any:
        """The network as the engine reads it, with the topology's policies."""
        return compile_network(self.topology, linked=True)

    def _policy(self, direction: int, **changes: Any) -> Policy:
        """Return the topology's policy of a direction with some numbers changed."""
        usual = self.topology.policy(direction)
        return Policy(**{name: getattr(usual, name) for name in usual.__struct_fields__} | changes)

    def interventions(self, decision: Int64, noted: Int64) -> tuple[Intervention, ...]:
        """See ``Task.interventions``."""
        done: list[Intervention] = [*self._policy_changes(noted), *self._channel_changes(noted)]
        limits = self.actions.limits
        asked = self.actions.parts_of(decision[None]).rebalances[0]
        for (leave, back, *_), entries in zip(asked.tolist(), self._rebalances(noted), strict=True):
            asked_msat, applied_msat, fee_msat, reason, failure_index, *rest = entries.tolist()
            if asked_msat:
                legs = int(self.out[leave]), int(self.out[back]) ^ 1  # all there is where no route was found
                taken = tuple(direction for direction in rest[:MAX_ROUTE_HOPS] if direction >= 0)
                hop_msat = tuple(rest[MAX_ROUTE_HOPS:][: len(taken)]) if applied_msat else ()
                result = RebalanceResult(
                    applied_msat, fee_msat, RebalanceReason(reason), failure_index, hop_msat=hop_msat
                )
                done.append(Rebalance(taken or legs, asked_msat, result))
        at = ledger.swaps_at(len(self.out), limits.rebalances)
        for entries in noted[at : self._channels_at].reshape(limits.swaps, len(ledger.SWAP_NAMES)):
            direction, asked_msat, sent_msat, reason = entries.tolist()
            if direction >= 0:
                result = RebalanceResult(sent_msat, 0, RebalanceReason(reason), -1)
                done.append(Rebalance((direction,), asked_msat, result))
        return tuple(done)

    def _policy_changes(self, noted: Int64) -> list[PolicyChange]:
        """Return the policies that were announced in a step."""
        done = []
        for place, direction in enumerate(self.out.tolist()):
            at = len(ledger.MONEY) + ledger.PER_POLICY * place
            *numbers, announced = noted[at : at + ledger.PER_POLICY].tolist()
            if announced:
                changes = {**dict(zip(ledger.POLICY_NUMBERS, numbers, strict=True)), "disabled": announced > 1}
                done.append(PolicyChange(direction, self._policy(direction, **changes)))
        return done

    def _channel_changes(self, noted: Int64) -> list[Intervention]:
        """Return the channels that went or came in a step, and those that stay away whatever their peers do."""
        if not self.books:
            return []
        done: list[Intervention] = []
        competitor = set(self.others.competitor.tolist())
        codes = noted[self._channels_at + len(ledger.CHANNEL_MONEY) :].tolist()
        for direction, code in zip(self.out.tolist(), codes, strict=True):
            peers_act = int(self.topology.arrays.destination[direction]) in competitor
            if code == _THERE or (code == _GONE and not peers_act):
                continue
            flags = max(code - _CAME, 0) if code >= _CAME else 3
            done += [StatusChange(direction ^ end, disabled=bool(flags >> end & 1)) for end in range(2)]
            if code != _GONE:
                owned_msat = int(self.topology.owned_total_msat[direction // 2]) if code >= _CAME else 0
                done.append(BalanceChange(direction // 2, owned_msat, 0))
        return done

    def add_info(self, info: dict[str, Any], noted: list[int], terms: list[float]) -> None:
        """See ``Task.add_info``."""
        info["ledger"] = dict(zip(ledger.MONEY, noted, strict=False))
        if self.books:
            info["ledger"] |= zip(ledger.CHANNEL_MONEY, noted[self._channels_at :], strict=False)
        info["rebalances"] = [self._told(entries) for entries in self._rebalances(np.array(noted))]
        super().add_info(info, noted, terms)

    def _rebalances(self, noted: Int64) -> Int64:
        """Return the entries of rebalances, shape (..., rebalances, len(REBALANCE_NAMES)); a view."""
        count, at = self.actions.limits.rebalances, ledger.rebalances_at(len(self.out))
        entries = noted[..., at : at + count * len(ledger.REBALANCE_NAMES)]
        return entries.reshape(*noted.shape[:-1], count, len(ledger.REBALANCE_NAMES))

    @staticmethod
    def _told(entries: Int64) -> dict[str, Any]:
        """Return what became of a rebalance, as an info says it."""
        asked_msat, applied_msat, fee_msat, reason = entries[:4].tolist()
        return {
            "requested_sat": asked_msat // 1000,
            "applied_sat": applied_msat // 1000,
            "fee_msat": fee_msat,
            "refused": reason != 0,
            "reason": REASON_NAMES[reason],
        }

    def step_infos(self, noted: Int64, terms: npt.NDArray[np.float64], which: Bool) -> dict[str, Any]:
        """See ``Task.step_infos``."""
        places = dict(enumerate(ledger.MONEY))
        if self.books:
            places |= dict(enumerate(ledger.CHANNEL_MONEY, self._channels_at))
        money = {name: np.ascontiguousarray(noted[:, place]) for place, name in places.items()}
        return {"ledger": money, **super().step_infos(noted, terms, which)}

    def rebalance_tally(self, noted: Int64) -> RebalanceTally:
        """See ``Task.rebalance_tally``."""
        entries = self._rebalances(noted)
        asked = entries[..., 0] > 0
        return RebalanceTally(
            asked=asked.sum(axis=-1),
            refused=(asked & (entries[..., 3] != 0)).sum(axis=-1),
            applied_msat=entries[..., 1].sum(axis=-1),
            fee_msat=entries[..., 2].sum(axis=-1),
        )

    def require_same_shape(self, other: Any, index: int) -> None:
        """See ``Task.require_same_shape``."""
        if len(other.out) != len(self.out):
            raise ConfigError(
                f"variant {index} has {len(other.out)} own channels, the first one {len(self.out)}: expected as many"
            )


def _of_one_length(programs: list[FlowProgram]) -> list[FlowProgram]:
    """Return markets with as many flows each; those behind a market's own have no weight."""
    longest = max(len(program.source) for program in programs)
    return [_padded(program, longest - len(program.source)) for program in programs]


def _padded(program: FlowProgram, more: int) -> FlowProgram:
    """Return a market with flows behind its own that never pay."""
    columns: dict[str, Any] = program._asdict()
    for name in (
        "source",
        "destination",
        "cumulative",
        "median_sat",
        "log_sd",
        "fee_limit_ppm",
        "active_share",
        "spell_ms",
    ):
        columns[name] = np.pad(columns[name], (0, more), mode="edge")
    return FlowProgram(**columns)


def _stacked(rows: Sequence[Any]) -> Any:
    """Stack named tuples of arrays and numbers, numbers as arrays."""
    return type(rows[0])(*(copied(np.stack(field)) for field in zip(*rows, strict=True)))
