"""Connections between nodes: making them, and getting back those whose loss left channels inactive.

LND keeps a channel open while its two ends are not connected, but sends nothing over it: payments take other routes, or
fail, without a word. So an inactive channel counts as a loss wherever balances are read.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Final

from lnsim_gym.backends.lnd.network.live import LiveNetwork
from lnsim_gym.backends.lnd.rpc import calls as rpc
from lnsim_gym.backends.lnd.rpc.client import NodeClient, RpcRefused
from lnsim_gym.backends.lnd.rpc.proto import lightning_pb2
from lnsim_gym.backends.lnd.rpc.thread import gather
from lnsim_gym.errors import BackendLost

__all__ = ["connect_again", "introduce"]

_POLL_S: Final = 0.1


async def introduce(one: NodeClient, other: NodeClient) -> None:
    """Connect two nodes unless they are.

    Raises:
        RpcRefused: The first one cannot.
    """
    address = lightning_pb2.LightningAddress(pubkey=other.endpoint.pubkey, host=other.endpoint.peer_address)
    try:
        await one.call(rpc.CONNECT_PEER, lightning_pb2.ConnectPeerRequest(addr=address, perm=True))
    except RpcRefused as problem:
        if "already connected" not in problem.details:
            raise


async def connect_again(network: LiveNetwork, timeout_s: float) -> None:
    """Connect the ends of inactive channels where their addresses are known, and wait until all channels are active.

    Args:
        network: The network.
        timeout_s: Longest wait in seconds.

    Raises:
        BackendLost: A node is gone, or a channel stays inactive.
    """
    deadline = time.monotonic() + timeout_s
    while inactive := [index for index, both in (await network.ends()).items() if not both.is_active]:
        if time.monotonic() > deadline:
            raise BackendLost(
                f"expected all channels to be active within {timeout_s:g} s, "
                f"{', '.join(map(network.describe, inactive))} stayed inactive: "
                "see that both nodes run and can reach each other (lncli connect)"
            )
        await gather(_connect_ends(network, index) for index in inactive)
        await asyncio.sleep(_POLL_S)


async def _connect_ends(network: LiveNetwork, channel: int) -> None:
    """Connect the two ends of a channel, if it can be done now."""
    one, other = (network.clients[node] for node in network.topology.arrays.source[2 * channel : 2 * channel + 2])
    if other.endpoint.peer_address:
        with suppress(RpcRefused):  # it may be connecting already, or still be starting
            await introduce(one, other)
