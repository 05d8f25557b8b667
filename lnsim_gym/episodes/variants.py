"""Variants of a problem: the same network with policies, demand or neighbours that vary from episode to episode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from lnsim_gym.errors import ConfigError, did_you_mean
from lnsim_gym.network import Channel, ChannelPolicies, Policy, Topology
from lnsim_gym.network.load import load_topology
from lnsim_gym.tasks.config import EnvironmentConfig, Variants
from lnsim_gym.traffic import TrafficModel

__all__ = ["variants_of"]


def variants_of(config: EnvironmentConfig) -> Iterator[tuple[EnvironmentConfig, Topology]]:
    """Yield the config and the topology of each variant that a config asks for; one without any.

    Variant k takes topology k of the list (over and over), and draws of its own within the ranges asked for.

    Raises:
        ConfigError: A topology is impossible, a range is empty, or names no number of the traffic model.
    """
    sources = config.topology if isinstance(config.topology, list) else [config.topology]
    cuts = (config.cut,) if isinstance(config.cut, str) else config.cut
    topologies = [load_topology(source, cuts) for source in sources]
    ranges = config.variants or Variants(count=len(topologies))
    rng = np.random.default_rng(ranges.seed)
    for index in range(max(ranges.count, len(topologies))):
        traffic = _draw_traffic(config.traffic, ranges, rng)
        topology = _draw_policies(topologies[index % len(topologies)], ranges, rng)
        yield msgspec.structs.replace(config, traffic=traffic), topology


def _draw_traffic(model: TrafficModel, ranges: Variants, rng: np.random.Generator) -> TrafficModel:
    """Draw the numbers of a traffic model that have a range."""
    known = [field.name for field in msgspec.structs.fields(model)]
    changes: dict[str, Any] = {}
    for name, (low, high) in ranges.traffic.items():
        if name not in known:
            raise ConfigError(
                f"variants.traffic: unknown number {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}"
            )
        draw = rng.uniform(low, high)
        changes[name] = round(draw) if isinstance(getattr(model, name), int) else draw
    return msgspec.structs.replace(model, **changes)


def _draw_policies(topology: Topology, ranges: Variants, rng: np.random.Generator) -> Topology:
    """Draw the routing fees of every direction, where a range is given; base fees never repeat."""
    if ranges.fee_base_msat is None and ranges.fee_rate_ppm is None:
        return topology
    bases_msat = _distinct(ranges.fee_base_msat, 2 * len(topology.channels), rng)
    channels: list[Channel] = []
    for index, (channel, policies) in enumerate(zip(topology.channels, topology.policies, strict=True)):
        ends: dict[str, Policy] = {}
        for side, end in enumerate(("initiator", "peer")):
            changes: dict[str, int] = {}
            if bases_msat is not None:
                changes["fee_base_msat"] = bases_msat[2 * index + side]
            if ranges.fee_rate_ppm is not None:
                changes["fee_rate_ppm"] = int(rng.integers(ranges.fee_rate_ppm[0], ranges.fee_rate_ppm[1] + 1))
            ends[end] = msgspec.structs.replace(getattr(policies, end), **changes)
        channels.append(msgspec.structs.replace(channel, policies=ChannelPolicies(**ends)))
    return msgspec.structs.replace(topology, channels=tuple(channels))


def _distinct(bounds: tuple[int, int] | None, count: int, rng: np.random.Generator) -> list[int] | None:
    """Draw different integers out of a range."""
    if bounds is None:
        return None
    low, high = bounds
    if high - low + 1 < count:
        raise ConfigError(f"variants.fee_base_msat must span at least {count} values, got {low}..{high}")
    return [int(low + draw) for draw in rng.choice(high - low + 1, size=count, replace=False)]
