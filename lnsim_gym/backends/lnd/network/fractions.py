"""Finding the msat that LND does not report, on channels that were paid over before.

LND reports whole sat. A channel whose two balances add up to one sat less than it holds has a fraction on either
side; small pushes, and looking at which of them moves the reported balance by a sat more, find it by bisection.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.backends.lnd.network.ledger import Ledger
from lnsim_gym.backends.lnd.network.live import LiveNetwork
from lnsim_gym.backends.lnd.network.rebalance import Rebalancer
from lnsim_gym.backends.lnd.rpc.thread import gather
from lnsim_gym.errors import BackendError

__all__ = ["find_fractions", "read_exact"]

_QUIET_S: Final = 10.0


def read_exact(network: LiveNetwork, balances_sat: Int64) -> tuple[Int64, list[int]]:
    """Turn reported balances into msat as far as they determine it.

    Args:
        network: The network.
        balances_sat: Balances in sat, shape (channels, 2), initiator first.

    Returns:
        Balances in msat, the fraction given to the peers, and the channels where that is a guess.

    Raises:
        BackendError: A channel does not hold what its capacity and fee rate say.
    """
    total_msat = network.topology.owned_total_msat
    missing_sat = total_msat // 1000 - balances_sat.sum(axis=1)
    impossible = (missing_sat < 0) | (missing_sat > 1) | (balances_sat < 0).any(axis=1)
    for index in np.flatnonzero(impossible).tolist():
        raise BackendError(
            f"expected {network.describe(index)} to hold {total_msat[index] // 1000:,} sat, LND reports "
            f"{balances_sat[index].tolist()}: its commitment fee is another, or HTLCs are stuck; rebuild the network"
        )
    initiator_msat = 1000 * balances_sat[:, 0]
    return np.stack([initiator_msat, total_msat - initiator_msat], axis=1), np.flatnonzero(missing_sat).tolist()


async def find_fractions(network: LiveNetwork, ledger: Ledger, rebalancer: Rebalancer, channels: list[int]) -> None:
    """Correct the ledger by the fraction of a sat that the initiators of some channels own beyond it.

    Raises:
        BackendError: A channel has too little on both sides to be tried with pushes.
    """
    await gather(_find_fraction(network, ledger, rebalancer, channel) for channel in channels)


async def _find_fraction(network: LiveNetwork, ledger: Ledger, rebalancer: Rebalancer, channel: int) -> None:
    """Bisect the fraction of one channel; the ledger is ``fraction`` msat too low at the initiator."""
    low = 1
    high = 999
    while low < high:
        middle = (low + high + 1) // 2
        await _push_to_edge(network, ledger, rebalancer, channel, middle)
        ends = await network.quiet(_QUIET_S, [channel])
        at_least_middle = (int(ledger.balances_msat[channel, 0]) + middle) // 1000
        if ends[channel].initiator.local_balance >= at_least_middle:
            low = middle
        else:
            high = middle - 1
    ledger.correct(channel, low)


async def _push_to_edge(
    network: LiveNetwork, ledger: Ledger, rebalancer: Rebalancer, channel: int, middle: int
) -> None:
    """Push such an amount that, with a fraction of ``middle``, the initiator would own whole sat."""
    topology = network.topology
    balances = ledger.balances_msat
    over = (int(balances[channel, 0]) + middle) % 1000
    spendable = topology.spendable_msat(balances)[channel]
    for side, remainder in ((0, over), (1, -over % 1000)):
        smallest = int(topology.arrays.min_htlc_msat[2 * channel + side])
        amount_msat = smallest + (remainder - smallest) % 1000
        # The ledger may be a sat off, hence the margin.
        if amount_msat + 1000 <= spendable[side]:
            result = await rebalancer.transfer((2 * channel + side,), amount_msat)
            if result.applied_msat == amount_msat:
                return
    raise BackendError(
        f"expected {network.describe(channel)} to have a few sat to spend on one side, to find the fraction of "
        f" a sat that LND does not report, it has {spendable.tolist()} msat: rebalance it, or take a network of our own"
    )
