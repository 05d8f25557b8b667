"""One LND channel: whose balance is what, which HTLCs are in flight, and what either side may add.

Literal to LND's lnwallet/channel.go for anchor channels with zero-fee HTLC transactions. Amounts are Python
integers in msat; side 0 is the initiator.
"""

from dataclasses import dataclass, field

ANCHORS_MSAT = 660_000
BASE_WEIGHT = 1124
HTLC_WEIGHT = 172
DUST_LIMIT_SAT = 354


def fee_for_weight_msat(fee_per_kw, weight):
    """``FeeForWeight``: floored to whole satoshis."""
    return 1000 * (fee_per_kw * weight // 1000)


def fee_buffer_msat(fee_per_kw, weight):
    """``CalcFeeBuffer``: twice the fee rate, and one more HTLC."""
    return fee_for_weight_msat(2 * fee_per_kw, weight + HTLC_WEIGHT)


@dataclass
class OracleChannel:
    capacity_sat: int
    fee_per_kw: int
    before_fee_msat: list[int]
    """Settled balances before the initiator pays the commitment fee, less the HTLCs each side has in flight."""
    htlcs: list[tuple[int, int]] = field(default_factory=list)
    """HTLCs in flight: side that offered it, amount."""

    @classmethod
    def with_balances(cls, capacity_sat, fee_per_kw, local_msat):
        """Make an idle channel from its ``ListChannels`` balances, initiator first."""
        fee = fee_for_weight_msat(fee_per_kw, BASE_WEIGHT)
        assert sum(local_msat) + fee + ANCHORS_MSAT == 1000 * capacity_sat
        return cls(capacity_sat, fee_per_kw, [local_msat[0] + fee, local_msat[1]])

    @property
    def reserve_msat(self):
        return 1000 * max(self.capacity_sat // 100, DUST_LIMIT_SAT)

    def weight(self, htlcs):
        return BASE_WEIGHT + HTLC_WEIGHT * sum(amount // 1000 >= DUST_LIMIT_SAT for _, amount in htlcs)

    def local_msat(self):
        """Balances as ``ListChannels`` shows them, initiator first."""
        fee = fee_for_weight_msat(self.fee_per_kw, self.weight(self.htlcs))
        return [self.before_fee_msat[0] - fee, self.before_fee_msat[1]]

    def available_balance(self, side):
        """``availableCommitmentBalance`` with a fee buffer."""
        ours = max(self.before_fee_msat[side] - self.reserve_msat, 0)
        weight = self.weight(self.htlcs)
        if side == 0:
            buffer = fee_buffer_msat(self.fee_per_kw, weight + HTLC_WEIGHT)
            return ours - buffer if buffer < ours else 0
        theirs = max(self.before_fee_msat[0] - self.reserve_msat, 0)
        additional = fee_for_weight_msat(self.fee_per_kw, HTLC_WEIGHT)
        if theirs < fee_for_weight_msat(self.fee_per_kw, weight) + additional and ours >= 1000 * DUST_LIMIT_SAT:
            return 1000 * DUST_LIMIT_SAT - 1
        return ours

    def sane_with(self, side, amount):
        """``validateCommitmentSanity`` with one more HTLC."""
        weight = self.weight([*self.htlcs, (side, amount)])
        balance = self.before_fee_msat[side] - amount
        initiator = balance if side == 0 else self.before_fee_msat[0]
        taken = (fee_buffer_msat if side == 0 else fee_for_weight_msat)(self.fee_per_kw, weight)
        if taken >= initiator:
            return False
        initiator_before = self.local_msat()[0]
        if initiator - taken < initiator_before and initiator - taken < self.reserve_msat:
            return False
        if side == 1 and balance < self.reserve_msat:
            return False
        in_flight = [a for s, a in self.htlcs if s == side] + [amount]
        return sum(in_flight) <= 1000 * (self.capacity_sat - self.capacity_sat // 100) and len(in_flight) <= 483

    def bandwidth(self, side, amount):
        """What ``availableChanBandwidth`` answers: 0 when a trial add of the amount (or of 1 msat) fails."""
        return self.available_balance(side) if self.sane_with(side, amount or 1) else 0

    def accepts(self, side, amount):
        """Whether the link of a side adds an HTLC: its bandwidth allows it, and the commitment stays sane."""
        return amount <= self.available_balance(side) and self.sane_with(side, amount)

    def add(self, side, amount):
        self.before_fee_msat[side] -= amount
        self.htlcs.append((side, amount))

    def fail(self, side, amount):
        self.htlcs.remove((side, amount))
        self.before_fee_msat[side] += amount

    def settle(self, side, amount):
        self.htlcs.remove((side, amount))
        self.before_fee_msat[1 - side] += amount
