"""What every environment is made of, whatever its task: settings, typed, with their defaults and ranges.

The settings of a task come on top: each task has a subclass of ``EnvironmentConfig`` with fields of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar

import msgspec

from lnsim_gym.compiled.elementary import log
from lnsim_gym.errors import ConfigError, UnknownSetting, did_you_mean
from lnsim_gym.fields import Range, check_ranges, described
from lnsim_gym.network import Topology
from lnsim_gym.network.gossip import GossipOptions
from lnsim_gym.network.load import load_topology
from lnsim_gym.payments import PaymentOptions
from lnsim_gym.schema import convert, hint, plain
from lnsim_gym.traffic import DriftTraffic, TrafficModel

__all__ = [
    "plain_settings",
    "EnvironmentConfig",
    "StartBalances",
    "Variants",
]

BackendName = Literal["simulator", "lnd"]
C = TypeVar("C", bound="EnvironmentConfig")


@described
class StartBalances(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Random start balances: the initiator of each channel gets a share of what both sides own, uniform or depleted."""

    low: Annotated[float, Range(0, 1)] = 0.2
    """Least share of the initiator."""
    high: Annotated[float, Range(0, 1)] = 0.8
    """Greatest share of the initiator, at least ``low``."""
    depleted_share: Annotated[float, Range(0.4, 0.99)] | None = None
    """Share of channels with more than four fifths of the range at one end; by default all shares are equally likely,
    and 0.4 of the channels are so. Of channels that carry net flows two thirds and more are."""

    def __post_init__(self) -> None:
        """Refuse an empty or impossible range."""
        if not 0 <= self.low <= self.high <= 1:
            raise ConfigError(f"start_balances needs 0 <= low <= high <= 1, got low {self.low}, high {self.high}")
        check_ranges(self, "start_balances.")

    @property
    def skew(self) -> float:
        """The power that drives uniform shares to both ends; see ``traffic.kernels.draw_balance_msat``."""
        return 1.0 if self.depleted_share is None else float(log(0.4) / log(self.depleted_share))


@described
class Variants(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Domain randomisation: each episode is on one of ``count`` variants of the problem, drawn from its seed.

    Ranges are inclusive; what has none stays as it is. Which variant an episode is on follows from its seed and
    number alone, in a single environment as in a vector.
    """

    count: Annotated[int, Range(1, 10_000)] = 32
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
        check_ranges(self, "variants.")
        ranges = {"fee_base_msat": self.fee_base_msat, "fee_rate_ppm": self.fee_rate_ppm, **self.traffic}
        for name, bounds in ranges.items():
            if bounds is not None and not 0 <= bounds[0] <= bounds[1]:
                raise ConfigError(f"variants: the range of {name} needs 0 <= low <= high, got {list(bounds)}")


@described
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
    """Traffic model: its kind by name, or a table of settings (of the default's kind unless it names another)."""
    payments_per_step: Annotated[int, Range(1, 1_000_000)] = 20
    """Payments made in each step."""
    payment: PaymentOptions = PaymentOptions()
    """How payments are sent."""
    gossip: GossipOptions | Literal["at_once", "lnd"] = "at_once"
    """When senders hear of policies that change: at once, or as late as LND's gossip brings them; a table for delays of
    one's own. Real nodes go on when all have heard."""
    mask_in_observation: bool | Literal["rllib", "tianshou"] = False
    """Whether observations hold the mask of the actions too, under ``action_mask``; or which library's keys they have
    then (``observations`` and ``action_mask``, ``obs`` and ``mask``)."""
    lnd: dict[str, Any] = msgspec.field(default_factory=dict)
    """Settings of real nodes (``LndSettings``); the simulator ignores them."""
    on_fault: Literal["truncate", "raise"] = "truncate"
    """What a step does when the backend is lost: end the episode, or raise ``BackendError``."""

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        check_ranges(self)

    @property
    def gossip_options(self) -> GossipOptions | None:
        """How changes of policies spread, None where senders hear of them at once."""
        if isinstance(self.gossip, GossipOptions):
            return self.gossip
        return GossipOptions() if self.gossip == "lnd" else None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """Build a config from settings: one of the task that they name, with all of its fields.

        Raises:
            UnknownSetting: A setting is unknown.
            ConfigError: One is of the wrong type or out of range.
        """
        given = plain_settings(settings)
        kind = _config_of_task(given.get("task", "liquidity"), cls)
        for name in given:
            if name not in kind.__struct_fields__:
                about = hint(f"unknown field `{name}`", kind)
                raise UnknownSetting(f"the environment got an unexpected keyword argument {name!r}{about}")
        traffic = given.get("traffic", {})
        if isinstance(traffic, str):
            given["traffic"] = {"kind": traffic}
        elif isinstance(traffic, dict):
            given["traffic"] = {"kind": _default_traffic(kind), **traffic}
        return convert(given, kind, "the environment")


def _default_traffic(kind: type[EnvironmentConfig]) -> str:
    """Return the kind of traffic that an environment has unless it names another."""
    field = next(field for field in msgspec.structs.fields(kind) if field.name == "traffic")
    model = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    return str(model.__struct_config__.tag)


def plain_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as plain data; topologies that are objects stay objects.

    Raises:
        ConfigError: Something is no data.
    """
    given = plain({name: value for name, value in settings.items() if name != "topology"})
    if "topology" in settings:
        given["topology"] = _source(settings["topology"])
    return dict(given)


def _source(source: Any) -> Any:
    """Return a topology, or what says where it comes from as plain data; a list of such likewise."""
    if isinstance(source, (list, tuple)):
        return [_source(one) for one in source]
    if isinstance(source, Topology):
        return source
    if isinstance(source, (str, Path, Mapping)) or (isinstance(source, Sequence) and not hasattr(source, "nodes")):
        return plain(source)
    return load_topology(source)


CONFIGS: Final[dict[str, type[EnvironmentConfig]]] = {}
"""The config of each task by the task's name; filled by ``registry.register_task``."""


def _config_of_task(name: object, kind: type[C]) -> type[C]:
    """Return the config of a task, which must be one of a kind."""
    known = {task: config for task, config in CONFIGS.items() if issubclass(config, kind)}
    if not isinstance(name, str) or name not in known:
        raise ConfigError(f"unknown task {name!r}.{did_you_mean(str(name), known)} Known: {', '.join(known)}")
    return known[name]
