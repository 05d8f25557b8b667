"""Flows that are listed one by one, compiled: what is known of the demand around one node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from lnsim_gym.errors import ConfigError, did_you_mean
from lnsim_gym.fields import check_ranges
from lnsim_gym.network import Topology
from lnsim_gym.schema import convert
from lnsim_gym.traffic.flows import DAY_MS, HOUR_MS, FlowProgram
from lnsim_gym.traffic.kernels import TABLE_CELLS
from lnsim_gym.traffic.models import Flow, FlowsTraffic
from lnsim_gym.traffic.normal import normal_table

__all__ = ["compile_flows", "read_flows"]


def read_flows(source: str | Sequence[Flow]) -> tuple[Flow, ...]:
    """Return flows that are listed, or that a JSON file lists.

    Raises:
        ConfigError: The file cannot be read, or an entry is not what it should be.
    """
    if not isinstance(source, str):
        flows = tuple(source)
    else:
        try:
            listed = msgspec.json.decode(Path(source).expanduser().read_bytes())
        except (OSError, msgspec.DecodeError) as problem:
            raise ConfigError(
                f"traffic: expected a JSON file with a list of flows, got {source}: "
                f"{getattr(problem, 'strerror', None) or problem}"
            ) from None
        flows = convert({"flows": listed}, _File, f"traffic: {source}").flows
    for index, flow in enumerate(flows):
        check_ranges(flow, f"traffic: flows[{index}].")
    return flows


class _File(msgspec.Struct, frozen=True):
    """What a file of flows holds, under a name for errors to say."""

    flows: tuple[Flow, ...]


def compile_flows(model: FlowsTraffic, topology: Topology, step_ms: int) -> FlowProgram:
    """Compile flows that are listed.

    Args:
        model: Settings.
        topology: The network.
        step_ms: Length of a step in ms of simulated time.

    Raises:
        ConfigError: There are none, one is of a node that the network lacks, or of a node to itself.
    """
    check_ranges(model, "traffic: ")
    flows = read_flows(model.flows)
    active = np.array([flow.active_share for flow in flows])
    weight = np.array([flow.payments_per_day for flow in flows]) / np.maximum(active, 1e-300)
    if not weight.sum() > 0:
        raise ConfigError("traffic 'flows' needs a flow with payments_per_day above 0: list some under traffic.flows")
    ends = np.array([_ends(flow, index, topology) for index, flow in enumerate(flows)], np.int64)
    return FlowProgram(
        source=ends[:, 0].copy(),
        destination=ends[:, 1].copy(),
        cumulative=np.cumsum(weight),
        median_sat=np.array([flow.median_amount_sat for flow in flows], np.float64),
        log_sd=np.array([flow.amount_log_sd for flow in flows], np.float64),
        fee_limit_ppm=np.array([flow.fee_limit_ppm for flow in flows], np.int64),
        active_share=active,
        spell_ms=np.array([max(1, round(HOUR_MS * flow.spell_hours)) for flow in flows], np.int64),
        normal_table=normal_table(TABLE_CELLS).copy(),
        arrivals_per_ms=float(weight.sum()) * (1.0 + model.day_swing) / DAY_MS,
        day_swing=float(model.day_swing),
        max_amount_sat=model.max_amount_sat,
        step_ms=step_ms,
    )


def _ends(flow: Flow, index: int, topology: Topology) -> tuple[int, int]:
    """Return the node indices of a flow's sender and receiver."""
    known = topology.node_index
    for name in (flow.sender, flow.receiver):
        if name not in known:
            raise ConfigError(
                f"traffic: flows[{index}] is of a node {name!r} that the network lacks.{did_you_mean(name, known)}"
            )
    if flow.sender == flow.receiver:
        raise ConfigError(f"traffic: flows[{index}] leads from {flow.sender!r} to itself: name two nodes")
    return known[flow.sender], known[flow.receiver]
