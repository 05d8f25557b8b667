"""The whole network in plain Python: channels, senders' mission control, payments and pinned routes.

This is what the compiled engine is held to. It follows LND's payment loop (routing/payment_lifecycle.go,
routing/payment_session.go), the switch's forwarding decision and ``result_interpretation.go``; every number is a
Python integer in msat or a float where LND has one.
"""

from dataclasses import dataclass, field, fields

from lnsim_gym.payments import FailureReason, RebalanceReason
from lnsim_gym.traffic.random import PURPOSE_FORWARD as FORWARD_STREAM
from tests.oracle.channel import OracleChannel
from tests.oracle.gossip import OracleGossip
from tests.oracle.mission_control import MissionControl
from tests.oracle.pathfinding import (
    BLOCK_PADDING,
    CLTV_LIMIT,
    FINAL_CLTV_DELTA,
    InsufficientBalance,
    NoPathFound,
    find_path,
    hop_amounts,
)

MIN_SHARD_MSAT = 10_000_000
LAUNCH_MS = 5
FORWARD_MS = 40


@dataclass(frozen=True)
class OraclePolicy:
    fee_base_msat: int
    fee_rate_ppm: int
    time_lock_delta: int
    min_htlc_msat: int
    max_htlc_msat: int
    inbound_fee_base_msat: int
    inbound_fee_rate_ppm: int
    disabled: int

    @classmethod
    def of(cls, policy):
        """Take over a ``Policy`` whose largest HTLC is filled in."""
        return cls(*(getattr(policy, one.name) for one in fields(cls)))

    def fee(self, amount):
        """``ComputeFee``, in 64 bits as LND has it."""
        return self.fee_base_msat + amount * self.fee_rate_ppm % 2**64 // 1_000_000

    def inbound_fee(self, amount):
        """``InboundFee.CalcFee``, in 64 bits as LND has it: what the node adds for the reverse direction."""
        rate = min(max(self.inbound_fee_rate_ppm, -(10**7)), 10**7)
        product = (rate * amount + 2**63) % 2**64 - 2**63
        share = abs(product) // 1_000_000
        return self.inbound_fee_base_msat + (share if product > 0 else -share)


@dataclass
class OraclePayment:
    succeeded: bool = False
    reason: FailureReason = FailureReason.NONE
    attempts: int = 0
    fee_msat: int = 0
    parts: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    """Amount delivered and directions of each settled part."""


@dataclass
class Shard:
    """A part under way. It moves one hop every ``FORWARD_MS``, and back as fast once a forwarder refused it."""

    route: list[int]
    """Directions: those it took, then those the sender asks for."""
    amounts: list[int]
    deltas: list[int]
    """Blocks that the forwarder into each hop is given."""
    next_ms: int
    reached: int = 1
    """Hops that carry its HTLC."""
    refused: int | None = None
    failure: str = ""
    """BOLT 4 failure of the refusal."""
    update: int | None = None
    """Direction whose ``channel_update`` it holds."""
    arrived: bool = False

    @property
    def moving(self):
        return not self.arrived and not self.back

    @property
    def back(self):
        return self.refused is not None and self.reached == 0

    @property
    def delivered(self):
        return self.amounts[-1]

    @property
    def fee(self):
        return self.amounts[0] - self.amounts[-1]


class SeededChoice:
    """Draws among the channels that will do as the compiled engine does: a stream for each payment (SplitMix64)."""

    GAMMA = 0x9E3779B97F4A7C15

    def __init__(self, seed=None, episode=0):
        """Start as an episode of an environment with a seed does, or as a backend does."""
        self.payments = self.state = 0
        if seed is not None:
            state = self._word(seed + self.GAMMA)
            for part in (episode, 0, int(FORWARD_STREAM)):
                state = self._word((state ^ part) + self.GAMMA)
            self.payments = state

    @staticmethod
    def _word(state):
        state %= 2**64
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
        return state ^ state >> 31

    def begin(self):
        """Begin the stream of the next payment."""
        self.payments = (self.payments + self.GAMMA) % 2**64
        self.state = self.start = self._word(self.payments)

    def rank(self, direction):
        """Order the sender's own parallel channels of equal bandwidth for the payment: the highest is taken."""
        return self._word((self.start ^ direction) + self.GAMMA)

    def __call__(self, willing):
        self.state = (self.state + self.GAMMA) % 2**64
        return willing[(self._word(self.state) >> 32) % len(willing)]


class OracleNetwork:
    """A network with balances.

    ``remember`` keeps mission control between payments; ``choose`` takes one of the channels that a forwarder may use;
    ``gossip`` says how changes of policies spread (``GossipOptions``), without it all know them at once.
    """

    def __init__(
        self,
        topology,
        balances_msat,
        *,
        max_parts=1,
        remember=False,
        timeout_ms=30_000,
        choose=None,
        gossip=None,
        gossip_key=0,
        attempt_cost=(100, 1_000),
    ):
        self.attempt_cost = attempt_cost
        self.choose = choose or SeededChoice()
        arrays = topology.arrays
        self.source = arrays.source.tolist()
        self.destination = arrays.destination.tolist()
        self.policy = [
            OraclePolicy(*row)
            for row in zip(
                arrays.fee_base_msat.tolist(),
                arrays.fee_rate_ppm.tolist(),
                arrays.time_lock_delta.tolist(),
                arrays.min_htlc_msat.tolist(),
                arrays.max_htlc_msat.tolist(),
                arrays.inbound_fee_base_msat.tolist(),
                arrays.inbound_fee_rate_ppm.tolist(),
                arrays.disabled.tolist(),
                strict=True,
            )
        ]
        self.known = self.policy
        """The policies as the node knows them that pays at the moment."""
        self.gossip = gossip and OracleGossip(gossip, self.source, self.destination, gossip_key)
        self.capacity_msat = [1000 * sat for sat in arrays.capacity_sat.repeat(2).tolist()]
        self.incoming = [[] for _ in topology.nodes]
        for direction, node in enumerate(self.destination):
            self.incoming[node].append(direction)
        self.channels = [
            OracleChannel.with_balances(capacity, rate, list(both))
            for capacity, rate, both in zip(
                arrays.capacity_sat.tolist(), arrays.fee_per_kw.tolist(), balances_msat.tolist(), strict=True
            )
        ]
        self.max_parts = max_parts
        self.remember = remember
        self.timeout_ms = timeout_ms
        self.memories = {}
        self.carried_by = ()
        """Directions that the last settled rebalance went over."""
        self.ties = 0
        """Pairs of equally good ways met so far: LND takes the one that its maps happen to list first."""

    def rank(self, direction):
        """Order directions that are equally good to LND, which takes the one that its maps list last."""
        return self.choose.rank(direction) if isinstance(self.choose, SeededChoice) else direction

    def balances_msat(self):
        return [channel.local_msat() for channel in self.channels]

    def bandwidth(self, direction, amount):
        return self.channels[direction // 2].bandwidth(direction % 2, amount)

    def set_policy(self, direction, policy, now_ms=0):
        """A node sets the policy of a direction: its link asks for it at once, others hear of it later."""
        if self.gossip:
            self.gossip.announce(direction, self.policy[direction], policy, now_ms)
        self.policy[direction] = policy

    def _look(self, node, now_ms):
        """Take the view of a node."""
        if self.gossip:
            self.known = self.gossip.known(node, self.policy, now_ms)

    def pay(self, source, target, amount, fee_limit, now_ms=0):
        """Make one payment, as ``SendPaymentV2`` does."""
        payment = OraclePayment()
        if source == target or amount <= 0:
            payment.reason = FailureReason.ERROR
            return payment
        self.choose.begin()
        mission_control = self._mission_control(source)
        shards = []
        remaining = amount
        clock = 0
        while True:
            if remaining > 0 and payment.reason == FailureReason.NONE:
                if clock >= self.timeout_ms:
                    payment.reason = FailureReason.TIMEOUT
                    continue
                self._run(shards, lambda shard, clock=clock: shard.next_ms <= clock)
                budget = fee_limit - sum(shard.fee for shard in shards)
                self._look(source, now_ms)
                try:
                    route, part = self._request_route(
                        mission_control, source, target, remaining, budget, len(shards), now_ms
                    )
                except NoPathFound:
                    payment.reason = FailureReason.NO_ROUTE
                except InsufficientBalance:
                    payment.reason = FailureReason.INSUFFICIENT_BALANCE
                else:
                    asked = [edge.direction for edge in route]
                    deltas = [edge.time_lock_delta for edge in route]
                    shards.append(self._launch(asked, hop_amounts(self, asked, part), deltas, clock))
                    clock += LAUNCH_MS
                    payment.attempts += 1
                    remaining -= part
                continue
            self._run(shards, lambda shard: not any(other.back for other in shards))
            returned = [shard for shard in shards if shard.back]
            if not returned:
                self._finish(payment, shards, mission_control)
                return payment
            first = min(returned, key=lambda shard: shard.next_ms)
            shards.remove(first)
            clock = max(clock, first.next_ms)
            remaining += first.delivered
            self._interpret_refusal(mission_control, first, now_ms)

    def send_over(self, route, amount, now_ms=0):
        """Send over a pinned route: ``BuildRoute`` and ``SendToRouteV2``; return reason, fee, failing position."""
        self._look(self.source[route[0]], now_ms)
        amounts = hop_amounts(self, route, amount)
        for position in reversed(range(len(route))):
            policy = self.known[route[position]]
            if not policy.min_htlc_msat <= amounts[position] <= policy.max_htlc_msat:
                return RebalanceReason.AMOUNT_OUT_OF_RANGE, 0, -1
        blocks = sum(self.known[direction].time_lock_delta for direction in route[1:])
        if blocks + FINAL_CLTV_DELTA + BLOCK_PADDING > CLTV_LIMIT:
            return RebalanceReason.OTHER, 0, 0
        if amounts[0] > self.bandwidth(route[0], amounts[0]):
            return RebalanceReason.INSUFFICIENT_LOCAL_BALANCE, 0, -1
        self.choose.begin()
        deltas = [self.known[direction].time_lock_delta for direction in route]
        shard = self._launch(list(route), amounts, deltas)
        self._run([shard], lambda _: True)
        mission_control = self._mission_control(self.source[route[0]])
        if shard.back:
            self._interpret_refusal(mission_control, shard, now_ms)
            known = shard.failure == "TEMPORARY_CHANNEL_FAILURE"
            return RebalanceReason.TEMPORARY_CHANNEL_FAILURE if known else RebalanceReason.OTHER, 0, shard.refused
        self._settle(shard)
        self.carried_by = tuple(shard.route)
        self._interpret_success(mission_control, route, amounts, len(route))
        return RebalanceReason.NONE, shard.fee, -1

    def _mission_control(self, node):
        if not self.remember:
            return MissionControl(node)
        return self.memories.setdefault(node, MissionControl(node))

    def _request_route(self, mission_control, source, target, remaining, budget, active, now_ms):
        """``RequestRoute``: the full remainder, else half of it, and so on."""
        amount = remaining
        while True:
            try:
                return find_path(self, mission_control, source, target, amount, budget, now_ms), amount
            except NoPathFound:
                amount //= 2
                if active + 1 >= self.max_parts or amount < MIN_SHARD_MSAT:
                    raise

    def _launch(self, route, amounts, deltas, clock=0):
        """Send an HTLC over the first hop of a route."""
        self.channels[route[0] // 2].add(route[0] % 2, amounts[0])
        return Shard(route, amounts, deltas, clock + FORWARD_MS)

    def _run(self, shards, due):
        """Move the shard whose turn is next, as long as it is due."""
        while moving := [shard for shard in shards if shard.moving]:
            shard = min(moving, key=lambda shard: shard.next_ms)
            if not due(shard):
                return
            self._move(shard)

    def _move(self, shard):
        """Forward an HTLC over its next hop, or take it back over its last one."""
        if shard.refused is not None:
            shard.reached -= 1
            direction = shard.route[shard.reached]
            self.channels[direction // 2].fail(direction % 2, shard.amounts[shard.reached])
            shard.next_ms += FORWARD_MS * (shard.reached > 0)
        elif shard.reached == len(shard.route):
            shard.arrived = True
        else:
            shard.failure, direction = self._forward(shard)
            if shard.failure:
                shard.refused = shard.reached
                shard.update = direction
            else:
                self.channels[direction // 2].add(direction % 2, shard.amounts[shard.reached])
                shard.route[shard.reached] = direction
                shard.reached += 1
            shard.next_ms += FORWARD_MS

    def _forward(self, shard):
        """``handlePacketAdd``: the failure and the direction whose update it holds, or nothing and the direction taken.

        A link's failure holds the last update of that link, whatever is wrong (``createFailureWithUpdate``).
        """
        asked, incoming = shard.route[shard.reached], shard.route[shard.reached - 1]
        if asked == incoming ^ 1:  # checkCircularForward
            return "TEMPORARY_CHANNEL_FAILURE", None
        ends = (self.source[asked], self.destination[asked])
        links = [d for d in self.incoming[ends[1]] if self.source[d] == ends[0]]
        failures = {direction: self._check_htlc_forward(shard, incoming, direction) for direction in links}
        willing = [direction for direction in links if not failures[direction]]
        if not willing:
            return failures[asked], asked
        taken = willing[0] if len(willing) == 1 else self.choose(willing)
        if not self.channels[taken // 2].accepts(taken % 2, shard.amounts[shard.reached]):
            return "TEMPORARY_CHANNEL_FAILURE", taken
        return "", taken

    def _check_htlc_forward(self, shard, incoming, direction):
        """``CheckHtlcForward``: the failure of a link, or nothing."""
        policy = self.policy[direction]
        received, amount = shard.amounts[shard.reached - 1], shard.amounts[shard.reached]
        outbound_fee = policy.fee(amount)
        fee = outbound_fee + self.policy[incoming ^ 1].inbound_fee(amount + outbound_fee)
        if received < amount or received - amount < fee:
            return "FEE_INSUFFICIENT"
        if amount < policy.min_htlc_msat:
            return "AMOUNT_BELOW_MINIMUM"
        if amount > policy.max_htlc_msat:
            return "TEMPORARY_CHANNEL_FAILURE"
        if amount > self.channels[direction // 2].available_balance(direction % 2):
            return "TEMPORARY_CHANNEL_FAILURE"
        return "" if shard.deltas[shard.reached] >= policy.time_lock_delta else "INCORRECT_CLTV_EXPIRY"

    def _carried(self, shard):
        for direction, amount in list(zip(shard.route, shard.amounts, strict=True))[: shard.reached]:
            yield self.channels[direction // 2], direction % 2, amount

    def _take_back(self, shard):
        for channel, side, amount in self._carried(shard):
            channel.fail(side, amount)

    def _settle(self, shard):
        for channel, side, amount in self._carried(shard):
            channel.settle(side, amount)

    def _interpret_success(self, mission_control, route, amounts, count):
        for direction, amount in list(zip(route, amounts, strict=True))[:count]:
            mission_control.report_success(self.source[direction], self.destination[direction], amount)

    def _interpret_refusal(self, mission_control, shard, now_ms):
        """``handleFailureMessage``, then ``processPaymentOutcomeIntermediate``."""
        if self.gossip and shard.update is not None:
            self.gossip.tell(self.source[shard.route[0]], shard.update)
        route, amounts, position = shard.route, shard.amounts, shard.refused
        pairs = [(self.source[direction], self.destination[direction]) for direction in route]
        if shard.failure == "TEMPORARY_CHANNEL_FAILURE":  # the pairs before did well, the refusing node's did not
            self._interpret_success(mission_control, route, amounts, position)
            mission_control.report_failure(*pairs[position], amounts[position], now_ms)
        elif mission_control.request_second_chance(*pairs[position], now_ms):
            return
        elif position == 1:  # reportIncoming of the sender's own peer: failNode
            mission_control.report_node_failure(pairs[1][0], now_ms)
            mission_control.report_pair_failure(*pairs[0], now_ms)
            mission_control.report_pair_failure(*pairs[1], now_ms)
        else:
            mission_control.report_pair_failure(*pairs[position - 1], now_ms)
            self._interpret_success(mission_control, route, amounts, position - 1)

    def _finish(self, payment, shards, mission_control):
        """Settle a complete set; release an incomplete one, whose parts all reached the receiver."""
        payment.succeeded = payment.reason == FailureReason.NONE
        for shard in shards:
            self._interpret_success(mission_control, shard.route, shard.amounts, len(shard.route))
            if payment.succeeded:
                self._settle(shard)
                payment.fee_msat += shard.fee
                payment.parts.append((shard.delivered, tuple(shard.route)))
            else:
                self._take_back(shard)
