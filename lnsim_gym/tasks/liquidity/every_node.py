"""The liquidity task in the hands of its nodes: each may do one rebalance a step, from its own channel ends."""

from __future__ import annotations

from typing import Any, Final

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Bool, Float64, Int8, Int64
from lnsim_gym.errors import ConfigError, InvalidAction
from lnsim_gym.network import Topology
from lnsim_gym.tasks.base import as_array
from lnsim_gym.tasks.columns import StepColumns
from lnsim_gym.tasks.liquidity import ledger
from lnsim_gym.tasks.liquidity.actions import ExactRebalance, ListedActions, MaskedMultiDiscrete
from lnsim_gym.tasks.liquidity.config import LiquidityConfig
from lnsim_gym.tasks.liquidity.rewards import TERMS
from lnsim_gym.tasks.liquidity.routes import NO_OP, RebalanceRoutes
from lnsim_gym.tasks.liquidity.task import LiquidityTask
from lnsim_gym.tasks.registry import register_task

__all__ = ["EveryNodeConfig", "EveryNodeTask", "NodeActions"]

_FIXED: Final = {"action": "discrete", "circular_routes": "listed", "own_node": None}
"""Settings of the liquidity task that have one value only where every node acts."""


class EveryNodeConfig(LiquidityConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every setting of an environment in which every node acts."""

    def __post_init__(self) -> None:
        """Refuse settings that leave some nodes out, or write actions otherwise."""
        super().__post_init__()
        for name, value in _FIXED.items():
            if getattr(self, name) != value:
                raise ConfigError(
                    f"task 'every_node' needs {name}={value!r}, got {getattr(self, name)!r}: leave it out"
                )


class NodeActions(ListedActions):
    """``MultiDiscrete([1 + longest * sizes] * nodes)``: what each node does; ``longest`` rows are the most of any node.

    For each node 0 does nothing, and ``1 + place * sizes + size`` sends that size over the row at that place among
    those that the node pays, in the order of the routes. Where it pays fewer, what lies beyond does nothing and is
    masked.

    Args:
        routes: The routes of the operation.
        sizes: See ``RebalanceActions``.
        topology: The network.
    """

    space: gym.spaces.MultiDiscrete

    def __init__(self, routes: RebalanceRoutes, sizes: tuple[float, ...], topology: Topology) -> None:
        super().__init__(routes, sizes)
        self._payer: Int64 = topology.arrays.source[routes.directions[:, 0]].astype(np.int64)
        nodes = len(topology.nodes)
        order = np.argsort(self._payer, kind="stable")
        first = np.searchsorted(self._payer[order], np.arange(nodes))
        self._place = np.empty(len(order), np.int64)
        self._place[order] = np.arange(len(order)) - first[self._payer[order]]
        self.choices = 1 + int(self._place.max() + 1) * len(sizes)
        """Actions of one node."""
        row, size = (grid.ravel() for grid in np.indices(self.amounts_msat.shape))
        at = self._payer[row], 1 + self._place[row] * len(sizes) + size
        self._row: Int64 = np.full((nodes, self.choices), NO_OP, np.int64)
        self._amount_msat: Int64 = np.zeros((nodes, self.choices), np.int64)
        self._option: Int64 = np.zeros((nodes, self.choices), np.int64)
        self._row[at], self._amount_msat[at], self._option[at] = row, self.amounts_msat.ravel(), 1 + np.arange(len(row))
        self._offered: Bool = self._row != NO_OP
        self._offered[:, 0] = True
        self.space = MaskedMultiDiscrete(np.full(nodes, self.choices, np.int64))

    def decode(self, actions: Any) -> Int64:
        """See ``ActionScheme.decode``."""
        choices = as_array(actions)
        nodes = len(self._row)
        fits = choices.dtype.kind in "iu" and choices.ndim == 2 and choices.shape[1] == nodes
        if not fits or ((choices < 0) | (choices >= self.choices)).any():
            raise InvalidAction(f"expected rows of {nodes} integers in 0..{self.choices - 1}, got {actions!r}")
        every = np.arange(nodes)
        deeds: Int64 = np.stack([self._row[every, choices], self._amount_msat[every, choices]], axis=2)
        return deeds.reshape(len(choices), -1)

    def encode(self, row: Int64, size: Int64) -> npt.NDArray[Any]:
        """See ``ActionScheme.encode``: the node that pays a rebalance does it, the others nothing."""
        actions = np.zeros((len(row), len(self._row)), np.int64)
        acting = np.flatnonzero(row != NO_OP)
        place = self._place[row[acting]]
        actions[acting, self._payer[row[acting]]] = 1 + place * len(self.sizes) + size[acting]
        return actions

    def mask(self, allowed: Int8) -> Int8:
        """See ``ActionScheme.mask``: the masks of all nodes one after the other, as sb3-contrib reads them."""
        return (allowed[:, self._option] * self._offered).reshape(len(allowed), -1)

    def _exact(self, rebalance: ExactRebalance) -> memoryview:
        """Return the decision of the node that pays an exact rebalance, the others do nothing."""
        rebalance.check(self.routes)
        deeds = np.tile(np.array([NO_OP, 0], np.int64), (len(self._row), 1))
        deeds[self._payer[rebalance.row]] = rebalance.row, rebalance.amount_msat
        decision: memoryview = deeds.ravel().data
        return decision


@register_task
class EveryNodeTask(LiquidityTask):
    """One rebalance a step for every node, done in the order of the nodes before the payments.

    Actions are those of all nodes; observations and reward are those of the liquidity task.
    """

    name = "every_node"
    Config = EveryNodeConfig
    counts_earnings = True

    actions: NodeActions

    def __init__(self, config: EveryNodeConfig, topology: Topology) -> None:
        super().__init__(config, topology)
        nodes = topology.nodes
        self.decision = tuple(f"{what} of {node}" for node in nodes for what in LiquidityTask.decision)
        self.ledger = tuple(f"{what} of {node}" for node in nodes for what in self.ledger)
        self.actions = NodeActions(self.routes, config.action_sizes, topology)

    def noted_by_node(self, noted: Int64) -> Int64:
        """Return what was noted of each node's rebalance, shape (..., nodes, entries of ``ledger``); a view.

        Args:
            noted: Shape (..., len(ledger)).
        """
        return noted.reshape(*noted.shape[:-1], len(self.topology.nodes), -1)

    def terms_by_node(self, columns: StepColumns, network: int) -> Float64:
        """Return the share of each node in the terms of the last step, shape (nodes, terms).

        ``success_rate`` and ``volume_rate`` count the payments that the node sent, ``routing_fees_sat`` is what it
        earned by forwarding payments and rebalances, the others are about its own rebalance. The nodes' entries add up
        to the network's terms, but for routing fees where rebalances pay some too.

        Args:
            columns: What the runner filled.
            network: Index of the network.
        """
        due = int(columns.due[network])
        source, settled = columns.source[network, :due], columns.succeeded[network, :due]
        amount_msat = columns.amount_msat[network, :due]
        noted = self.noted_by_node(columns.ledger[network])
        row = columns.decision[network].reshape(-1, 2)[:, 0]
        unit_msat = np.where(row == NO_OP, 1, 1000 * self.routes.smallest_capacity_sat[row])
        terms = {
            "success_rate": self._by_node(source, settled / due),
            "volume_rate": self._by_node(source, settled * amount_msat / amount_msat.sum()),
            "routing_fees_sat": columns.earned_msat[network] / 1000,
            "rebalance_fees_sat": noted[:, ledger.FEE] / 1000,
            "rebalanced_share": noted[:, ledger.APPLIED] / unit_msat,
        }
        return np.stack([terms[name] for name in TERMS], axis=1)

    def add_info(self, info: dict[str, Any], noted: list[int], terms: list[float]) -> None:
        """See ``Task.add_info``."""
        tally = self.rebalance_tally(np.array([noted], np.int64))
        info["rebalances"] = {name: int(values[0]) for name, values in tally._asdict().items()}
        super(LiquidityTask, self).add_info(info, noted, terms)

    def short_infos(self, noted: Int64, terms: Float64) -> list[dict[str, Any]]:
        """See ``Task.short_infos``."""
        return super(LiquidityTask, self).short_infos(noted, terms)

    def step_infos(self, noted: Int64, terms: Float64, which: Bool) -> dict[str, Any]:
        """See ``Task.step_infos``."""
        tally = self.rebalance_tally(noted)._asdict()
        return {"rebalances": tally, **super(LiquidityTask, self).step_infos(noted, terms, which)}

    def _by_node(self, source: Int64, values: Float64) -> Float64:
        """Return the sums of values by sender, shape (nodes,)."""
        sums: Float64 = np.bincount(source, values, minlength=len(self.topology.nodes)).astype(np.float64)
        return sums
