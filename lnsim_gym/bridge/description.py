"""The network as clients are told it on request: nodes and channels in the environment's order, fees and balances."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.bridge.messages import NetworkChannels, NetworkData, NetworkNode
from lnsim_gym.bridge.names import WireNames
from lnsim_gym.network import Topology

__all__ = ["Place", "describe_network"]

CHANNELS: Final = 2_500
"""Channels in one message at most: half of the 1 MiB that WebSocket clients take by default."""
_BY_DIRECTION: Final = (
    "fee_base_msat",
    "fee_rate_ppm",
    "time_lock_delta",
    "min_htlc_msat",
    "max_htlc_msat",
    "inbound_fee_base_msat",
    "inbound_fee_rate_ppm",
)


class Place(NamedTuple):
    """Where a network stands."""

    environment: str
    backend: str
    episode: int
    steps: int
    """Steps done in the episode; -1 before the first reset."""
    seed: int
    own: int | None = None
    """The one node that is managed; None when all are, or a record does not say."""


def describe_network(
    names: WireNames, topology: Topology, balances_msat: Int64, place: Place, most: int = CHANNELS
) -> Iterator[NetworkData]:
    """Describe a network, in parts of a bounded size.

    Args:
        names: How its nodes are called.
        topology: The network with its policies of now.
        balances_msat: Its balances, shape (channels, 2).
        place: Where it stands.
        most: Channels in a part at most.
    """
    nodes = [
        NetworkNode(name=name, alias=alias, public_key=key)
        for name, alias, key in zip(names.nodes, topology.aliases or topology.nodes, names.public_keys, strict=True)
    ]
    firsts = range(0, max(len(topology.channels), 1), most)
    for number, first in enumerate(firsts):
        yield NetworkData(
            environment=place.environment,
            backend=place.backend,
            episode=place.episode,
            step=place.steps,
            seed=place.seed,
            own_node=place.own,
            nodes=nodes,
            first_channel=first,
            channels=_columns(topology, balances_msat, slice(first, first + most)),
            part=number + 1,
            parts=len(firsts),
        )


def _columns(topology: Topology, balances_msat: Int64, which: slice) -> NetworkChannels:
    """Return some channels as columns."""
    arrays = topology.arrays

    def pairs(column: Int64) -> list[tuple[int, int]]:
        """Return a column by direction as pairs."""
        chosen: list[tuple[int, int]] = column.reshape(-1, 2)[which].tolist()
        return chosen

    return NetworkChannels(
        initiator=arrays.source[::2][which].tolist(),
        peer=arrays.destination[::2][which].tolist(),
        capacity_sat=arrays.capacity_sat[which].tolist(),
        reserve_sat=(arrays.reserve_msat[which] // 1000).tolist(),
        balances_sat=pairs(balances_msat // 1000),
        disabled=arrays.disabled.astype(np.bool_).reshape(-1, 2)[which].tolist(),
        **{name: pairs(getattr(arrays, name)) for name in _BY_DIRECTION},
    )
