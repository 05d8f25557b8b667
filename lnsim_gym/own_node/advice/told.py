"""Advice as data: what to change of a node, what it is expected to bring, what is left as it is, and forecasts."""

from __future__ import annotations

from typing import Final

import msgspec

from lnsim_gym.own_node.advice.changes import Change

__all__ = ["LEVELS", "Advice", "Advised", "ChannelForecast", "Forecast", "Gain", "Left"]

LEVELS: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles that a forecast tells."""


class Gain(msgspec.Struct, frozen=True, kw_only=True):
    """What a change brings against none, in the same simulated days."""

    sat_per_day: float
    """Mean over draws of what is not known."""
    low: float
    """Ends of the 95 % bootstrap interval of that mean."""
    high: float
    ahead: int = 0
    """Draws in which it brings more than none."""
    behind: int = 0
    """Draws in which it brings less; in the others it makes no difference."""

    @property
    def ahead_share(self) -> float:
        """Share of the draws in which it brings more, of those in which it makes a difference."""
        return self.ahead / max(self.ahead + self.behind, 1)


class Advised(msgspec.Struct, frozen=True, kw_only=True):
    """A change that pays."""

    change: Change
    gain: Gain | None
    """None for the end of a channel, which no simulation tells."""
    idle: str
    """What happens if nothing is done."""
    commands: tuple[str, ...]
    """Command lines that make it."""


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """Channels to a peer that are left as they are."""

    peer: str
    """What the peer calls itself, else its public key."""
    chan_ids: tuple[int, ...]
    why: str
    """Why nothing is changed, in words."""
    idle: str
    """What is expected of them."""


class ChannelForecast(msgspec.Struct, frozen=True, kw_only=True):
    """What a channel earns in the time ahead; quantiles at ``LEVELS``, in sat."""

    chan_id: int
    left_sat: tuple[float, ...]
    """If nothing is done."""
    done_sat: tuple[float, ...]
    """If all that is advised is done."""


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What forwards earn in the time ahead; quantiles at ``LEVELS`` of what may happen, in sat."""

    begin_ns: int
    """Begin of that time, in nanoseconds since 1970."""
    days: float
    """Its length."""
    left_sat: tuple[float, ...]
    """If nothing is done."""
    done_sat: tuple[float, ...]
    """If all that is advised is done."""
    channels: tuple[ChannelForecast, ...]


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """What to change of a node at one time."""

    name: str
    """The node."""
    public_key: str
    time_ns: int
    """When the node was as the advice takes it, in nanoseconds since 1970."""
    agent: str
    """Who proposed the changes."""
    draws: int
    """How many draws of what is not known the gains are means of."""
    advised: tuple[Advised, ...]
    """The best gain first."""
    left: tuple[Left, ...]
    together: Gain | None
    """What all changes bring together; None where there is none."""
    forecast: Forecast
    notes: tuple[str, ...] = ()
    """What else a reader must know, in words."""
    reproduced: bool | None = None
    """Whether the simulation reproduces what the node earned in the weeks before; None where that is not known."""
