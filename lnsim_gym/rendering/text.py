"""A scene as text: one line per channel, its two balances as a bar."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from lnsim_gym.rendering.scene import DRY, Rebalance, Scene

__all__ = ["rebalance_text", "scene_text"]

MOST_CHANNELS: Final = 20
"""Most channels that are shown; of larger networks the most one-sided ones."""
_BAR: Final = 24
_STEPS: Final = 60
_LEVELS: Final = "▁▂▃▄▅▆▇█"


def scene_text(scene: Scene) -> str:
    """Return a scene as lines of text, without colours."""
    return "\n".join([*_header(scene), "", *_channels(scene)])


def rebalance_text(rebalance: Rebalance | None) -> str:
    """Return a rebalance as one phrase."""
    if rebalance is None:
        return "none"
    what = f"{' → '.join(rebalance.nodes)}, {rebalance.amount_sat:,} sat"
    if rebalance.refused:
        return f"{what}, refused: {rebalance.why}"
    return f"{what}, fee {rebalance.fee_msat / 1000:,.3f} sat" if rebalance.fee_msat else what


def _header(scene: Scene) -> Iterator[str]:
    """Yield the lines above the channels."""
    yield f"seed {scene.seed}, episode {scene.episode}, step {scene.step}"
    if scene.succeeded:
        rates = "".join(_LEVELS[int(rate * (len(_LEVELS) - 1) + 0.5)] for rate in scene.rates[-_STEPS:].tolist())
        last = f"{scene.succeeded[-1]} of {scene.sent[-1]}"
        yield f"success rate  {scene.rates_so_far[-1]:.1%}, {last} in the last step  {rates}"
    yield f"rebalance     {rebalance_text(scene.rebalance)}"
    yield from (f"new policy    {change}" for change in scene.policy_changes)
    if scene.own is not None:
        in_last_sat = scene.profit_sat[-1:].sum()
        yield f"profit        {scene.profit_sat.sum():,.0f} sat, {in_last_sat:,.0f} in the last step"
        return
    yield f"dry ends      {scene.dry_ends:,} of {scene.balances_sat.size:,} below {DRY:.0%}"


def _channels(scene: Scene) -> Iterator[str]:
    """Yield a line for each channel that is shown."""
    topology = scene.topology
    shares = scene.shares
    shown = np.arange(len(shares))
    if scene.own is not None:
        out, local_sat, remote_sat = scene.own_channels()
        shown = out[np.argsort(-local_sat / np.maximum(local_sat + remote_sat, 1), kind="stable")] // 2
    elif len(shares) > MOST_CHANNELS:
        touched = [direction >> 1 for direction in scene.rebalance.route] if scene.rebalance else []
        one_sided = np.abs(shares - 0.5)
        one_sided[touched] = 1.0
        shown = one_sided.argsort(kind="stable")[::-1][:MOST_CHANNELS]
        yield f"{MOST_CHANNELS} of {len(shares):,} channels: those of the rebalance, then the most one-sided"
    channels = [topology.channels[index] for index in shown]
    initiators = max(len(channel.initiator) for channel in channels)
    peers = max(len(channel.peer) for channel in channels)
    digits = len(f"{scene.balances_sat[shown].max():,}")
    for index, channel in zip(shown.tolist(), channels, strict=True):
        own, other = scene.balances_sat[index].tolist()
        filled = round(float(shares[index]) * _BAR)
        yield (
            f"{channel.initiator:>{initiators}} {own:>{digits},} {'█' * filled}{'░' * (_BAR - filled)} "
            f"{other:>{digits},} {channel.peer:<{peers}} {_mark(scene.rebalance, index)}"
        ).rstrip()


def _mark(rebalance: Rebalance | None, channel: int) -> str:
    """Return what the rebalance did to a channel."""
    for direction in rebalance.route if rebalance else ():
        if direction >> 1 == channel:
            arrow = "←" if direction & 1 else "→"
            return f"{arrow} {'refused' if rebalance and rebalance.refused else 'rebalanced'}"
    return ""
