"""How payments will end, by the simulator: what it takes to know beforehand which of them cannot meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lnsim_gym.arrays import Int64
from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Topology
from lnsim_gym.payments import PaymentBatch, PaymentOptions, PaymentOutcomes

if TYPE_CHECKING:
    from lnsim_gym.backends.simulator import SimulatorBackend

__all__ = ["Forecaster"]


class Forecaster:
    """Says how payments will end that are made one after another by senders that forget.

    Args:
        options: How payments are sent.
    """

    def __init__(self, options: PaymentOptions) -> None:
        self._options = options
        self._simulator: SimulatorBackend | None = None

    def outcomes(
        self, topology: Topology, balances_msat: Int64, batch: PaymentBatch, fee_limit_msat: Int64
    ) -> PaymentOutcomes | None:
        """Return how the payments of a batch will end, None from balances that the simulator does not take.

        Args:
            topology: The network, with the policies of now.
            balances_msat: Balances before the batch, shape (channels, 2), initiator first.
            batch: The payments.
            fee_limit_msat: Most that each may pay in fees, shape (payments,).
        """
        from lnsim_gym.backends.simulator import SimulatorBackend  # noqa: PLC0415 - prepares the compiler

        if self._simulator is None or self._simulator.topology is not topology:
            self._simulator = SimulatorBackend(topology, self._options)
        try:
            self._simulator.reset(balances_msat)
        except ConfigError:
            return None
        return self._simulator.pay(batch, fee_limit_msat=fee_limit_msat)
