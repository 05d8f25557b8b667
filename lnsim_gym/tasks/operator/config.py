"""The settings of the operator's task, on top of those of every environment."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from lnsim_gym.errors import ConfigError
from lnsim_gym.fields import Range, check_ranges, described
from lnsim_gym.network.gossip import GossipOptions
from lnsim_gym.network.public import OWN_NODE
from lnsim_gym.payments import PaymentOptions
from lnsim_gym.tasks.config import EnvironmentConfig, StartBalances
from lnsim_gym.traffic import FlowsTraffic, MarketTraffic, TrafficModel
from lnsim_gym.traffic.flows import HOUR_MS

__all__ = [
    "DEFAULT_LEVERS",
    "DEPLETED",
    "LEVERS",
    "CandidateOptions",
    "ChainOptions",
    "Lever",
    "OperatorConfig",
    "OthersOptions",
    "SwapOptions",
    "swap_terms",
]

Lever = Literal["fees", "inbound_fees", "max_htlc", "rebalance", "swap", "close", "open"]
LEVERS: Final[tuple[Lever, ...]] = ("fees", "inbound_fees", "max_htlc", "rebalance", "swap", "close", "open")
DEFAULT_LEVERS: Final[tuple[Lever, ...]] = ("fees", "inbound_fees", "max_htlc", "rebalance", "swap")
"""Those that are on unless others are named: what can be taken back."""
ON_CHAIN: Final[tuple[Lever, ...]] = ("close", "open")
"""Those that change which channels there are."""
DEPLETED: Final = StartBalances(low=0.0, high=1.0, depleted_share=0.67)
"""Balances as real channels have them: two thirds have all but their reserve at one end."""
Share = Annotated[float, Range(0, 1)]
Sat = Annotated[int, Range(0, 1_000_000_000)]
Ppm = Annotated[int, Range(0, 1_000_000)]


@described
class SwapOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What it costs to move money between a channel and the chain. The defaults are Loop's, as of its example quote.

    The off-chain leg goes over the chosen channel to its peer, which passes it on for ``routing_fee_ppm``; the way from
    there is not simulated.
    """

    out_fee_ppm: Ppm = 3_260
    """Service fee of a swap out (channel to chain), in millionths of its amount."""
    in_fee_ppm: Ppm = 1_000
    """Service fee of a swap in (chain to channel), in millionths of its amount."""
    routing_fee_ppm: Ppm = 2_524
    """Fee for the off-chain way of a swap out, in millionths of its amount."""
    transaction_vbytes: Annotated[int, Range(1, 100_000)] = 340
    """Size of the transactions that the swapper pays for, HTLC and sweep together."""
    min_sat: Sat = 250_000
    """Least amount of a swap."""
    max_sat: Sat = 25_000_000
    """Greatest amount of a swap."""


_SWAP_PRESETS: Final = {
    "loop": SwapOptions(),
    "boltz": SwapOptions(
        out_fee_ppm=5_000, in_fee_ppm=1_000, routing_fee_ppm=1_000, transaction_vbytes=300, min_sat=100_000
    ),
}
"""Terms of services: Loop's example of 1 M sat (3,260 sat to the server, 2,524 sat off-chain), Boltz' of July 2025."""


def swap_terms(swap: SwapOptions | str) -> SwapOptions:
    """Return the terms of swaps that a setting names or holds."""
    return swap if isinstance(swap, SwapOptions) else _SWAP_PRESETS[swap]


@described
class ChainOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What transactions cost: calm, with days of spikes."""

    sat_per_vbyte: Annotated[float, Range(0.1, 10_000)] = 1.0
    """Fee rate of a calm day; a cooperative close at 203 sat in mid 2026 implies about 1."""
    spike_share: Share = 0.05
    """Share of the days on which it spikes."""
    spike_factor: Annotated[float, Range(1, 10_000)] = 30.0
    """By how much it is higher then."""
    open_vbytes: Annotated[int, Range(1, 100_000)] = 223
    """Size of the transaction that funds a channel; charge-lnd and LNDg reckon with as much."""
    close_vbytes: Annotated[int, Range(1, 100_000)] = 203
    """Size of the transaction that closes one by agreement, paid for by who funded it; from the same close."""
    confirmation_hours: Annotated[float, Range(0, 10_000)] = 1.0
    """Time until a channel that is opened can be used, and the money of one that is closed can be spent: six blocks."""


@described
class CandidateOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Channels that the own node may open, besides those that it opened once and closed."""

    count: Annotated[int, Range(1, 1_000)] = 6
    """How many there are, each to another peer: the nodes of largest capacity that the own node has no channel with."""
    peers: tuple[str, ...] = ()
    """Peers by name, in place of those; the own node may have channels with them."""
    capacity_sat: Annotated[int, Range(20_000, 1_000_000_000)] = 1_000_000
    """Capacity of each, all of it paid by the own node."""


@described
class OthersOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What happens between others that the payments of the market don't say.

    Their own rebalances and swaps, and all payments that never come near the own node, move the balances of foreign
    channels: each is drawn anew, by the law of ``start_balances``, at random times. Competitors are the largest nodes
    within two channels of the own one; senders hear of what they do at once.
    """

    restore_days: Annotated[float, Range(0, 100_000)] = 2.0
    """Mean time until a foreign channel has a fresh balance; 0 for never, as on real nodes."""
    competitors: Annotated[int, Range(0, 10_000)] = 20
    """How many nodes change their fees, and go offline."""
    fee_change_days: Annotated[float, Range(0.1, 100_000)] = 10.0
    """How long a competitor keeps its fees."""
    fee_change_log_sd: Annotated[float, Range(0, 5)] = 0.4
    """Standard deviation of the logarithm of what it then multiplies its usual fee rates by."""
    offline_share: Share = 0.02
    """Share of the days that a competitor is offline."""


class OperatorConfig(EnvironmentConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every setting of an environment with the operator's task."""

    task: str = "operator"
    """What the agent sees, does and is paid for, by name."""
    topology: Any = "public(own_channels = 18)"
    """Preset name, path of a file, table of a topology or generator, or a ``Topology`` itself; or a list of them, of
    one shape, each episode on one of them."""
    own_node: str = OWN_NODE
    """The own node, by name."""
    step_hours: Annotated[float, Range(1 / 6, 168)] = 6.0
    """Simulated time of a step."""
    warm_up_days: Annotated[float, Range(0, 100)] = 2.0
    """Days of payments before an episode, with the topology's own fees, in which own channels find their balance."""
    start_balances: StartBalances | Literal["topology"] = DEPLETED
    """Balances before the warm-up where the topology gives none: everything to the initiator, or a random share."""
    traffic: TrafficModel = MarketTraffic()
    """Who would pay whom through the own node."""
    payments_per_step: Annotated[int, Range(1, 1_000_000)] = 400
    """Room for the payments of a step; those beyond it are left out."""
    payment: PaymentOptions = PaymentOptions(timeout_seconds=1, attempt_cost_sat=8, attempt_cost_ppm=79)
    """How payments are sent. The time-out bounds the attempts of one. Attempts cost what they would to LND's senders
    who have used the network before: a hop that is known to forward counts as much as 0.079 untried ones, as
    (1 / 0.95 - 1) / (1 / 0.6 - 1). With LND's own 100 sat and 1,000 ppm, which are for senders that know nothing, each
    hop saved would be worth thousands of ppm."""
    gossip: GossipOptions | Literal["at_once", "lnd"] = "lnd"
    """When senders hear of policies that the own node changes: as late as LND's gossip brings them, or at once; a table
    for delays of one's own. Real nodes go on when all have heard."""
    levers: tuple[Lever, ...] = DEFAULT_LEVERS
    """What the agent decides: fees (base and rate), inbound fees, greatest HTLC, circular rebalances, swaps; and, where
    that is named, which channels to ``close`` and to ``open``."""
    action: Literal["box", "multidiscrete", "dict"] = "box"
    """Kind of action space."""
    observation: Literal["dict", "flat"] = "dict"
    """Kind of observation: a dict of rows by channel, or all in one row."""
    channel_rows: Annotated[int, Range(0, 10_000)] = 0
    """Rows of channels in observations and actions, at least as many as there are own channels; those beyond them are
    0, and nothing comes of their actions. 0 for one of each channel."""
    max_fee_rate_ppm: Annotated[int, Range(1, 1_000_000)] = 5_000
    """Greatest fee rate that the agent may set, and greatest inbound discount, in ppm."""
    max_fee_base_msat: Annotated[int, Range(0, 10_000_000)] = 5_000
    """Greatest base fee that the agent may set."""
    least_change: Share = 0.05
    """Changes of a fee rate or a greatest HTLC by less than this share are not announced."""
    fee_changes_burst: Annotated[int, Range(1, 1_000)] = 4
    """Changes of a channel's policy that others take in a row."""
    fee_change_hours: Annotated[float, Range(0, 10_000)] = 24.0
    """Hours after which they take one more; further changes are refused. 0 for no limit."""
    rebalances_per_step: Annotated[int, Range(1, 100)] = 2
    """Circular rebalances that one action holds at most."""
    rebalance_attempts: Annotated[int, Range(1, 1_000)] = 10
    """Routes that a rebalance tries at most."""
    swaps_per_step: Annotated[int, Range(1, 100)] = 1
    """Swaps that one action holds at most."""
    closes_per_step: Annotated[int, Range(1, 100)] = 1
    """Channels that one action closes at most."""
    opens_per_step: Annotated[int, Range(1, 100)] = 1
    """Channels that one action opens at most."""
    candidates: CandidateOptions = CandidateOptions()
    """Channels that may be opened, where ``levers`` has ``open``."""
    liquidity_value: Literal["par", "replacement_cost"] = "par"
    """What balances of channels count for in the reward: their amount, or that less what it would cost to move back
    what went out of channels since the episode began, ``replacement_ppm`` for each."""
    replacement_ppm: Ppm = 375
    """Price of moving liquidity back, in ppm of the amount: what rebalances cost a node of 101 channels on average."""
    swap: SwapOptions | Literal["loop", "boltz"] = "loop"
    """Terms of swaps: those of a service, or a table of one's own."""
    chain: ChainOptions = ChainOptions()
    """What transactions cost."""
    wallet_sat: Sat = 2_000_000
    """Money on the chain when an episode begins."""
    others: OthersOptions = OthersOptions()
    """What happens between others that the payments don't say."""

    def __post_init__(self) -> None:
        """Refuse settings that exclude each other, and numbers out of range."""
        super().__post_init__()
        for name in ("traffic", "chain", "others", "swap", "candidates"):
            if isinstance(getattr(self, name), msgspec.Struct):
                check_ranges(getattr(self, name), f"{name}.")
        if not self.levers or len(set(self.levers)) < len(self.levers):
            raise ConfigError(f"levers needs at least one of {', '.join(LEVERS)}, each once, got {list(self.levers)}")
        if self.variants is not None and (self.variants.fee_base_msat or self.variants.fee_rate_ppm):
            raise ConfigError("task 'operator' takes variants of the traffic only: give a list of topologies instead")
        if not isinstance(self.traffic, MarketTraffic | FlowsTraffic):
            raise ConfigError(f"task 'operator' needs traffic of kind 'market' or 'flows', got {self.traffic}")
        if self.backend != "simulator":
            self._refuse_simulated()

    def _refuse_simulated(self) -> None:
        """Refuse what only a simulated network has.

        Raises:
            ConfigError: Swaps, channels to close or open, what others do on their own, or delays of gossip are asked
                for.
        """
        if self.changes_channels:
            raise ConfigError(
                f"backend {self.backend!r} keeps the channels that it has: leave 'close' and 'open' out of levers"
            )
        if "swap" in self.levers:
            raise ConfigError(
                f"backend {self.backend!r} has no swap service and no price of transactions: leave 'swap' out of levers"
            )
        if self.others.restore_days or self.others.competitors:
            raise ConfigError(
                f"backend {self.backend!r} has nobody who acts but the own node: "
                "set others={'restore_days': 0, 'competitors': 0}"
            )
        if self.gossip_options is not None:
            raise ConfigError(
                f"backend {self.backend!r} goes on when all nodes have heard of a policy: set gossip='at_once'"
            )

    @property
    def changes_channels(self) -> bool:
        """Whether the agent may close or open channels."""
        return any(lever in self.levers for lever in ON_CHAIN)

    @property
    def step_ms(self) -> int:
        """Length of a step in ms of simulated time."""
        return round(HOUR_MS * self.step_hours)

    @property
    def warm_up_steps(self) -> int:
        """Steps of payments before an episode."""
        return round(24 * self.warm_up_days / self.step_hours)
