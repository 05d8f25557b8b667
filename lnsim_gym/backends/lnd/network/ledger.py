"""Balances to the msat, kept from the routes of settled payments, and held to what LND says to the satoshi."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.backends.lnd.network.live import channel_name
from lnsim_gym.backends.lnd.rpc.proto import lightning_pb2
from lnsim_gym.errors import LedgerMismatch
from lnsim_gym.network import Topology

__all__ = ["Ledger"]


class Ledger:
    """Balances of every channel in msat.

    LND reports balances in whole sat only, but settles in msat: what it does not say is known from the routes.

    Args:
        topology: The network.
        balances_msat: Balances now, shape (channels, 2), initiator first.
    """

    def __init__(self, topology: Topology, balances_msat: Int64) -> None:
        self._topology = topology
        self._balances_msat = balances_msat.astype(np.int64, copy=True)

    @property
    def balances_msat(self) -> Int64:
        """A copy of the balances in msat, shape (channels, 2), initiator first."""
        return self._balances_msat.copy()

    def settle(self, directions: Sequence[int], route: lightning_pb2.Route) -> None:
        """Book a settled HTLC: what each hop carries leaves one side of its channel and reaches the other.

        Args:
            directions: Direction index of each hop that it made.
            route: As its sender chose it; its first hop carries the total with all fees, each further hop what the one
                before was told to forward.
        """
        carried_msat = [route.total_amt_msat, *(hop.amt_to_forward_msat for hop in route.hops)]
        flat = self._balances_msat.reshape(-1)
        for direction, amount_msat in zip(directions, carried_msat, strict=False):
            flat[direction] -= amount_msat
            flat[direction ^ 1] += amount_msat

    def correct(self, channel: int, fraction_msat: int) -> None:
        """Move a fraction of a sat from the peer to the initiator, once it is known that LND has it there."""
        self._balances_msat[channel] += (fraction_msat, -fraction_msat)

    def check(self, balances_sat: Int64, channels: Sequence[int] | None = None) -> None:
        """Compare with what LND reports.

        Args:
            balances_sat: Balances in sat, one row for each of ``channels``, initiator first.
            channels: Channel indices; by default all of them.

        Raises:
            LedgerMismatch: A balance differs; the text names the channel and both figures.
        """
        chosen = list(range(len(self._balances_msat)) if channels is None else channels)
        booked_sat = self._balances_msat[chosen] // 1000
        wrong = np.flatnonzero((booked_sat != balances_sat).any(axis=1))
        if wrong.size:
            row = int(wrong[0])
            raise LedgerMismatch(
                f"{channel_name(self._topology, chosen[row])}: expected {_pair(booked_sat[row])} sat from the routes "
                f"of settled payments, LND reports {_pair(balances_sat[row])}: payments were made from outside, "
                "or an outcome was lost; reset it"
            )


def _pair(balances: Int64) -> str:
    return f"{int(balances[0]):,} and {int(balances[1]):,}"
