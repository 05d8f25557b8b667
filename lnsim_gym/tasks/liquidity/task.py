"""The liquidity task: one agent moves everybody's liquidity, one rebalance a step, so that payments succeed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Bool, Float64, Int64
from lnsim_gym.backends.base import Backend
from lnsim_gym.backends.interventions import Intervention, Rebalance
from lnsim_gym.compiled.memory import copied, filled
from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Topology
from lnsim_gym.network.routes import hop_amounts_msat
from lnsim_gym.payments import MAX_ROUTE_HOPS, REASON_NAMES, RebalanceReason, RebalanceResult
from lnsim_gym.tasks.base import RebalanceTally, Task, TaskKernels
from lnsim_gym.tasks.liquidity import ledger
from lnsim_gym.tasks.liquidity.actions import RebalanceActions, make_actions
from lnsim_gym.tasks.liquidity.config import LiquidityConfig
from lnsim_gym.tasks.liquidity.observations import ObservationLayout
from lnsim_gym.tasks.liquidity.pairs import make_pair_actions
from lnsim_gym.tasks.liquidity.rewards import MEANINGS, TERMS, reward_weights
from lnsim_gym.tasks.liquidity.routes import (
    NO_OP,
    ChannelPairs,
    RebalanceRoutes,
    exceeds_fee_limit,
    node_of_name,
    rebalance_routes,
)
from lnsim_gym.tasks.registry import register_task

__all__ = ["NEVER_ALLOWED_MSAT", "LiquidityTask", "as_liquidity"]

NEVER_ALLOWED_MSAT = np.iinfo(np.int64).max
"""Stands for the balance needed by a rebalance that no balance allows."""
WORTH_LOOKING_AGAIN: Final = 40
"""Channel ends for each payment of a step above which looking at used channels costs less than looking at all."""
_REASONS = np.array(REASON_NAMES, dtype=object)
_NO_ROUTES: Final = RebalanceRoutes(np.full((1, 1), -1, np.int32), np.zeros(1, np.int64), np.ones(1, np.int64))
"""Stands for listed routes where routes are found."""


@register_task
class LiquidityTask(Task):
    """One rebalance a step over one of the operation's routes; the reward weighs the terms of ``rewards.TERMS``."""

    name = "liquidity"
    Config = LiquidityConfig
    decision: tuple[str, ...] = ("row", "amount_msat")
    terms = TERMS
    meanings = MEANINGS

    actions: RebalanceActions
    observations: ObservationLayout
    config: LiquidityConfig

    def __init__(self, config: LiquidityConfig, topology: Topology) -> None:
        super().__init__(config, topology)
        own_node = None if config.own_node is None else node_of_name(topology, config.own_node, "own_node")
        self.pairs: ChannelPairs | None = ChannelPairs(topology, own_node) if config.finds_routes else None
        """The pairs of channels that rebalances go around, where their routes are found when they are taken."""
        self._routes: RebalanceRoutes | None = None
        if self.pairs is not None:
            self.ledger = ledger.NAMES_WITH_HOPS
            self.actions = make_pair_actions(config.action, self.pairs, config.action_sizes)
            first_direction, needed_msat = self.pairs.ends, self.actions.amounts_msat
        else:
            self.ledger = ledger.NAMES_WITH_ROUTE if config.operation == "circular" else ledger.NAMES
            self._routes = rebalance_routes(config.operation, topology, config.circular_max_hops, own_node)
            self.actions = make_actions(config.action, self._routes, config.action_sizes)
            first_direction = self._routes.directions[:, 0].astype(np.int64)
            needed_msat = _needed_msat(topology, self._routes, self.actions.amounts_msat)
        self.observations = ObservationLayout.of(
            config.observation, topology, config.observation_history, config.observation_averages
        )
        self.weights: Float64 = reward_weights(config.reward)
        """Reward weights, shape (terms,)."""
        self.pays_success_rate = np.array_equal(self.weights, reward_weights("success_rate"))
        self.per_capacity: Float64 = np.repeat(1.0 / (1000.0 * topology.arrays.capacity_sat), 2)
        """1 / capacity in msat, shape (directions,)."""
        self.first_direction: Int64 = np.repeat(first_direction, len(config.action_sizes))
        """First direction of each option, (row, size) of routes or (end, size) of pairs, shape (options - 1,)."""
        self.needed_msat: Int64 = needed_msat.ravel()
        """Spendable balance that it needs there, shape (options - 1,): amount and fees; of pairs the least amount."""
        self.options = 1 + len(self.needed_msat)

    @property
    def routes(self) -> RebalanceRoutes:
        """The routes of the operation, where they are listed.

        Raises:
            ConfigError: They are found when they are taken.
        """
        if self._routes is None:
            raise ConfigError("expected routes that are known beforehand: set circular_routes='listed'")
        return self._routes

    @property
    def kernels(self) -> TaskKernels:
        """See ``Task.kernels``."""
        from lnsim_gym.tasks.liquidity import kernels  # noqa: PLC0415 - prepares the compiler, which takes a moment

        around = self.pairs is not None
        return TaskKernels(
            example=kernels.example(),
            reset=kernels.reset,
            step=kernels.step_around if around else kernels.step,
            step_in_parts=kernels.step_around_in_parts if around else kernels.step_in_parts,
            step_linked=kernels.step_around_linked if around else kernels.step_linked,
            observe=kernels.observe,
            conclude=kernels.conclude,
        )

    def compiled_state(self, variants: Sequence[LiquidityTask]) -> tuple[Any, ...]:
        """See ``Task.compiled_state``."""
        from lnsim_gym.tasks.liquidity.kernels import LiquidityState  # noqa: PLC0415 - see ``kernels``

        def column(*values: npt.NDArray[Any], dtype: npt.DTypeLike = np.int64) -> npt.NDArray[Any]:
            return copied(np.stack(values), dtype)

        routes = [_NO_ROUTES if task.pairs else task.routes for task in variants]
        directions = self.observations.directions
        orders = [np.argsort(task.first_direction, kind="stable") for task in variants]
        return LiquidityState(
            route=column(*(each.directions for each in routes), dtype=np.int32),
            route_hops=column(*(each.hops for each in routes)),
            route_unit_msat=column(*(1000 * each.smallest_capacity_sat for each in routes)),
            first_direction=column(*(task.first_direction for task in variants)),
            needed_msat=column(*(task.needed_msat for task in variants)),
            option=column(*orders),
            first_option=column(
                *(
                    np.searchsorted(task.first_direction[order], np.arange(directions + 1))
                    for task, order in zip(variants, orders, strict=True)
                )
            ),
            per_capacity=column(*(task.per_capacity for task in variants), dtype=np.float64),
            fee_limit_ppm=filled(len(variants), self.config.rebalance_fee_limit_ppm, np.int64),
            weights=copied(self.weights),
            nodes=self.observations.nodes,
            history=self.observations.history,
            averaging=copied(self.observations.averaging),
            attempts=self.config.circular_attempts if self.pairs else 0,
            looks_again=int(directions > WORTH_LOOKING_AGAIN * self.config.payments_per_step),
        )

    def apply(self, backend: Backend, decision: Int64, noted: Int64) -> tuple[tuple[Intervention, ...], int]:
        """See ``Task.apply``."""
        done = []
        for (row, amount_msat), entries in self._deeds(decision, noted):
            route = self.routes.route(row)
            result = self._rebalance(backend, route, amount_msat) if route else RebalanceResult()
            entries[ledger.REQUESTED] = amount_msat
            entries[ledger.APPLIED] = result.applied_msat
            entries[ledger.FEE] = result.fee_msat
            entries[ledger.REASON] = result.reason
            entries[ledger.FAILURE_INDEX] = result.failure_source_index
            carrying = (result.carried_by or route) if result.applied_msat else ()
            entries[ledger.ROUTE :] = [*carrying, *[-1] * MAX_ROUTE_HOPS][: len(entries) - ledger.ROUTE]
            if route:
                done.append(Rebalance(route, amount_msat, result))
        return tuple(done), self.config.payments_per_step

    def interventions(self, decision: Int64, noted: Int64) -> tuple[Intervention, ...]:
        """See ``Task.interventions``."""
        done = []
        for (row, amount_msat), entries in self._deeds(decision, noted):
            if row == NO_OP:
                continue
            _, applied_msat, fee_msat, reason, failure_index, *_ = entries.tolist()
            carrying = tuple(direction for direction in entries[ledger.ROUTE : ledger.HOPS].tolist() if direction >= 0)
            carried_by: tuple[int, ...] = ()
            hop_msat: tuple[int, ...] = ()
            if self.pairs is None:
                route = self.routes.route(row)
                carried_by = carrying if applied_msat and carrying != route else ()
            else:  # where no route was found, the two channels that were asked for
                route = carrying or self.pairs.legs(row)
                sent_msat = entries[ledger.HOPS :][: len(carrying)].tolist()
                if applied_msat and sent_msat != hop_amounts_msat(self.topology, route, applied_msat):
                    hop_msat = tuple(sent_msat)
            result = RebalanceResult(
                applied_msat,
                fee_msat,
                RebalanceReason(reason),
                failure_index,
                carried_by=carried_by,
                hop_msat=hop_msat,
            )
            done.append(Rebalance(route, amount_msat, result))
        return tuple(done)

    def add_info(self, info: dict[str, Any], noted: list[int], terms: list[float]) -> None:
        """See ``Task.add_info``; written out, as every step of a single environment comes here."""
        requested_msat, applied_msat, fee_msat, reason, *_ = noted
        success_rate, volume_rate, routing_fees_sat, rebalance_fees_sat, rebalanced_share = terms
        info["rebalance"] = {
            "requested_sat": requested_msat // 1000,
            "applied_sat": applied_msat // 1000,
            "fee_msat": fee_msat,
            "refused": reason != 0,
            "reason": REASON_NAMES[reason],
        }
        info["rewards"] = {
            "success_rate": success_rate,
            "volume_rate": volume_rate,
            "routing_fees_sat": routing_fees_sat,
            "rebalance_fees_sat": rebalance_fees_sat,
            "rebalanced_share": rebalanced_share,
        }

    def step_infos(self, noted: Int64, terms: Float64, which: Bool) -> dict[str, Any]:
        """See ``Task.step_infos``."""
        requested_msat, applied_msat, fee_msat, reason, *_ = np.ascontiguousarray(noted.T)
        names = _REASONS[reason]
        names[~which] = None
        rebalance = {
            "requested_sat": requested_msat // 1000,
            "applied_sat": applied_msat // 1000,
            "fee_msat": fee_msat,
            "refused": reason != 0,
            "reason": names,
        }
        return {"rebalance": rebalance, **super().step_infos(noted, terms, which)}

    def short_infos(self, noted: Int64, terms: Float64) -> list[dict[str, Any]]:
        """See ``Task.short_infos``; written out, as every step of many networks comes here."""
        return [
            {
                "success_rate": row[0],
                "volume_rate": row[1],
                "routing_fees_sat": row[2],
                "rebalance_fees_sat": row[3],
                "rebalanced_share": row[4],
                "rebalance_reason": REASON_NAMES[reason],
            }
            for row, reason in zip(terms.tolist(), noted[:, ledger.REASON].tolist(), strict=True)
        ]

    def rebalance_tally(self, noted: Int64) -> RebalanceTally:
        """See ``Task.rebalance_tally``."""
        deeds = noted.reshape(len(noted), len(self.decision) // 2, -1)
        refused = deeds[:, :, ledger.REASON] != 0
        asked = refused | (deeds[:, :, ledger.REQUESTED] > 0)
        moved, paid = deeds[:, :, ledger.APPLIED], deeds[:, :, ledger.FEE]
        return RebalanceTally(*(values.sum(axis=1, dtype=np.int64) for values in (asked, refused, moved, paid)))

    def _deeds(self, decision: Int64, noted: Int64) -> Iterator[tuple[list[int], Int64]]:
        """Yield row and amount of each rebalance of a decision, with its part of the ledger, a view."""
        deeds = decision.reshape(-1, 2)
        return zip(deeds.tolist(), noted.reshape(len(deeds), -1), strict=True)

    def _rebalance(self, backend: Backend, route: tuple[int, ...], amount_msat: int) -> RebalanceResult:
        """Rebalance on a backend, unless that costs too much."""
        fee_msat = hop_amounts_msat(self.topology, route, amount_msat)[0] - amount_msat
        if exceeds_fee_limit(fee_msat, amount_msat, self.config.rebalance_fee_limit_ppm):
            return RebalanceResult(reason=RebalanceReason.FEE_LIMIT_EXCEEDED)
        return backend.rebalance(route, amount_msat)

    def require_same_shape(self, other: LiquidityTask, index: int) -> None:
        """See ``Task.require_same_shape``."""
        if self.pairs is not None and other.pairs is not None:
            own: tuple[int, ...] = (len(self.pairs.ends), self.pairs.width)
            its: tuple[int, ...] = (len(other.pairs.ends), other.pairs.width)
            same_units = np.array_equal(self.topology.arrays.capacity_sat, other.topology.arrays.capacity_sat)
        else:
            own, its = self.routes.directions.shape, other.routes.directions.shape
            same_units = np.array_equal(self.routes.smallest_capacity_sat, other.routes.smallest_capacity_sat)
        if own != its:
            raise ConfigError(
                f"variants must be of one shape: rebalance routes of the first are {own}, of number {index} {its}"
            )
        if not same_units:
            raise ConfigError(f"variants must have equal capacities, channel by channel; number {index} differs")


def as_liquidity(task: Task, who: str) -> LiquidityTask:
    """Return a task that is the liquidity task, on behalf of what knows no other.

    Raises:
        ConfigError: It is another one.
    """
    if not isinstance(task, LiquidityTask) or task.name != LiquidityTask.name:
        raise ConfigError(f"{who} needs an environment with task 'liquidity', got task {task.name!r}")
    return task


def _needed_msat(topology: Topology, routes: RebalanceRoutes, amounts_msat: Int64) -> Int64:
    """Spendable balance that each (row, size) needs at the paying node, shape (rows, sizes)."""
    arrays = topology.arrays
    needed = amounts_msat.copy()  # over a single channel there are no fees
    for row in np.flatnonzero(routes.hops > 1).tolist():
        needed[row] = hop_amounts_msat(topology, routes.route(row), amounts_msat[row])[0]
    hops = routes.directions
    least_msat = np.where(hops >= 0, arrays.min_htlc_msat[hops], 0).max(axis=1, keepdims=True)
    most_msat = np.where(hops >= 0, arrays.max_htlc_msat[hops], NEVER_ALLOWED_MSAT).min(axis=1, keepdims=True)
    needed[(amounts_msat < least_msat) | (needed > most_msat)] = NEVER_ALLOWED_MSAT
    return needed
