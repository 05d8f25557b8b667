"""What every environment is made of, whatever its task: settings, typed, with their defaults and ranges.

The settings of a task come on top: each task has a subclass of ``EnvironmentConfig`` with fields of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar

import msgspec

from lnsim_gym.errors import ConfigError, did_you_mean
from lnsim_gym.network import Topology
from lnsim_gym.network.load import load_topology
from lnsim_gym.payments import PaymentOptions
from lnsim_gym.schema import convert
from lnsim_gym.traffic import DriftTraffic, TrafficModel

__all__ = [
    "EnvironmentConfig",
    "StartBalances",
    "Variants",
]

BackendName = Literal["simulator", "lnd"]
C = TypeVar("C", bound="EnvironmentConfig")


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

    task: str = "liquidity"
    """What the agent sees, does and is paid for, by name."""
    backend: BackendName = "simulator"
    """What the episodes run on: the embedded simulator, or real LND nodes."""
    topology: Any = "default"
    """Preset name, path of a file, table of a topology or generator, or a ``Topology`` itself; or a list of them, of
    one shape, each episode on one of them."""
    cut: str | tuple[str, ...] = ()
    """What of the topology is played: ``"around(NODE, hops)"``, ``"core(k)"``, ``"largest(n)"``, ``"component"``,
    ``"min_capacity(sat)"``, or a list of them, done one after the other (``Topology.cut``)."""
    variants: Variants | None = None
    """Policies and demand that vary from episode to episode."""
    start_balances: StartBalances | Literal["topology"] = "topology"
    """Balances at reset where the topology gives none: everything to the initiator, or a random share."""
    traffic: TrafficModel = msgspec.field(default_factory=DriftTraffic)
    """Traffic model: its kind by name, or a table of settings (kind ``drift`` unless it names another)."""
    payments_per_step: int = 20
    """Payments made in each step."""
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

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """Build a config from plain settings: one of the task that they name, with all of its fields.

        Raises:
            ConfigError: A setting is unknown, of the wrong type or out of range.
        """
        plain = dict(settings)
        traffic = plain.get("traffic", {})
        plain["traffic"] = {"kind": traffic} if isinstance(traffic, str) else {"kind": "drift", **traffic}
        if "topology" in plain:
            plain["topology"] = _plain_source(plain["topology"])
        return convert(plain, _config_of_task(plain.get("task", "liquidity"), cls), "the environment")


def _plain_source(source: Any) -> Any:
    """Return what is said of a topology so that configs can be written to files; a list of such likewise."""
    if isinstance(source, (list, tuple)):
        return [_plain_source(one) for one in source]
    if isinstance(source, (str, Mapping, Topology)):
        return source
    return str(source) if isinstance(source, Path) else load_topology(source)


CONFIGS: Final[dict[str, type[EnvironmentConfig]]] = {}
"""The config of each task by the task's name; filled by ``registry.register_task``."""


def _config_of_task(name: object, kind: type[C]) -> type[C]:
    """Return the config of a task, which must be one of a kind."""
    known = {task: config for task, config in CONFIGS.items() if issubclass(config, kind)}
    if not isinstance(name, str) or name not in known:
        raise ConfigError(f"unknown task {name!r}.{did_you_mean(str(name), known)} Known: {', '.join(known)}")
    return known[name]
