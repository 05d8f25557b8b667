"""What one environment is made of: every setting, typed, with its default and its range."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from lnsim_gym.errors import ConfigError
from lnsim_gym.payments import PaymentOptions
from lnsim_gym.schema import convert
from lnsim_gym.tasks.liquidity.actions import Operation
from lnsim_gym.tasks.liquidity.observations import ObservationName
from lnsim_gym.traffic import DriftTraffic, TrafficModel

__all__ = [
    "ActionName",
    "EnvironmentConfig",
    "StartBalances",
    "Variants",
]

BackendName = Literal["simulator", "lnd"]
ActionName = Literal["discrete", "multidiscrete", "box"]


class StartBalances(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Random start balances: the initiator of each channel gets a uniform share of what both sides own."""

    low: float = 0.2
    high: float = 0.8

    def __post_init__(self) -> None:
        """Refuse an empty or impossible range."""
        if not 0 <= self.low <= self.high <= 1:
            raise ConfigError(f"start_balances needs 0 <= low <= high <= 1, got low {self.low}, high {self.high}")


class Variants(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Domain randomisation: each episode is on one of ``count`` variants of the problem, drawn from its seed.

    Ranges are inclusive; what has none stays as it is. Which variant an episode is on follows from its seed and
    number alone, in a single environment as in a vector.
    """

    count: int = 32
    """How many variants there are; at least as many as topologies in the list."""
    seed: int = 0
    """Seed of the variants themselves."""
    fee_base_msat: tuple[int, int] | None = None
    """Range of every direction's base fee, in msat."""
    fee_rate_ppm: tuple[int, int] | None = None
    """Range of every direction's fee rate, in ppm."""
    traffic: dict[str, tuple[float, float]] = msgspec.field(default_factory=dict)
    """Ranges of numbers of the traffic model, by name."""

    def __post_init__(self) -> None:
        """Refuse empty ranges."""
        if not 1 <= self.count <= 10_000:
            raise ConfigError(f"variants.count must lie in 1..10,000, got {self.count}")
        ranges = {"fee_base_msat": self.fee_base_msat, "fee_rate_ppm": self.fee_rate_ppm, **self.traffic}
        for name, bounds in ranges.items():
            if bounds is not None and not 0 <= bounds[0] <= bounds[1]:
                raise ConfigError(f"variants: the range of {name} needs 0 <= low <= high, got {list(bounds)}")


class EnvironmentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every setting of an environment. Field names are the keys of the TOML files and the keywords of ``gym.make``."""

    backend: BackendName = "simulator"
    """World the episodes run on: the embedded simulator, or real LND nodes."""
    topology: str | dict[str, Any] | list[str | dict[str, Any]] = "default"
    """Preset name, path of a file, or the topology (or generator) itself; or a list of them, of one shape, each
    episode on one of them."""
    variants: Variants | None = None
    """Policies and demand that vary from episode to episode."""
    start_balances: StartBalances | Literal["topology"] = "topology"
    """Balances at reset: those of the topology, or a random share on each channel."""
    traffic: TrafficModel = msgspec.field(default_factory=DriftTraffic)
    """Traffic model: its kind by name, or a table of settings (kind ``drift`` unless it names another)."""
    payments_per_step: int = 20
    """Payments made in each step."""
    operation: Operation = "push"
    """What a rebalance does."""
    circular_max_hops: int = 3
    """Longest cycle of the circular operation, in channels."""
    rebalance_fee_limit_ppm: int = 50_000
    """Most a circular rebalance may pay in fees, in millionths of its amount."""
    action: ActionName = "discrete"
    """Kind of action space."""
    action_sizes: tuple[float, ...] = (0.05, 0.1, 0.2)
    """Amounts an action may choose, as shares of the smallest channel on the route."""
    observation: ObservationName = "balances"
    """Kind of observation."""
    observation_history: int = 4
    """Steps of flows kept by the observations ``flows`` and ``dict``."""
    observation_averages: tuple[int, ...] = (2, 4, 8, 16)
    """Steps over which the observation ``averages`` averages flows."""
    reward: str | dict[str, float] = "success_rate"
    """Reward preset, or weights of reward terms."""
    payment: PaymentOptions = PaymentOptions()
    """How payments are sent."""
    lnd: dict[str, Any] = msgspec.field(default_factory=dict)
    """Settings of real nodes (``LndSettings``); the simulator ignores them."""
    on_fault: Literal["truncate", "raise"] = "truncate"
    """What a step does when the backend is lost: end the episode, or raise ``BackendError``."""

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        if not 1 <= self.payments_per_step <= 1_000_000:
            raise ConfigError(f"payments_per_step must lie in 1..1,000,000, got {self.payments_per_step}")
        if not 3 <= self.circular_max_hops <= 8:
            raise ConfigError(f"circular_max_hops must lie in 3..8, got {self.circular_max_hops}")
        if not 0 <= self.rebalance_fee_limit_ppm <= 1_000_000:
            raise ConfigError(f"rebalance_fee_limit_ppm must lie in 0..1,000,000, got {self.rebalance_fee_limit_ppm}")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> EnvironmentConfig:
        """Build a config from plain settings.

        Raises:
            ConfigError: A setting is unknown, of the wrong type or out of range.
        """
        plain = dict(settings)
        traffic = plain.get("traffic", {})
        plain["traffic"] = {"kind": traffic} if isinstance(traffic, str) else {"kind": "drift", **traffic}
        if isinstance(plain.get("topology"), Path):
            plain["topology"] = str(plain["topology"])
        return convert(plain, cls, "the environment")
