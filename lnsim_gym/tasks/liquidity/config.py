"""The settings of the liquidity task, on top of those of every environment."""

from __future__ import annotations

from typing import Annotated, Literal

from lnsim_gym.errors import ConfigError
from lnsim_gym.fields import Range
from lnsim_gym.tasks.config import EnvironmentConfig
from lnsim_gym.tasks.liquidity.observations import MAX_AVERAGED_STEPS, MAX_HISTORY, ObservationName
from lnsim_gym.tasks.liquidity.routes import CircularRoutes, Operation

__all__ = ["ActionName", "LiquidityConfig"]

ActionName = Literal["discrete", "multidiscrete", "box", "dict"]


class LiquidityConfig(EnvironmentConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every setting of an environment with the liquidity task."""

    operation: Operation = "push"
    """What a rebalance does: one end of a channel pays the other, or a node pays itself over a cycle."""
    circular_max_hops: Annotated[int, Range(3, 8)] = 3
    """Longest cycle of the circular operation, in channels; found ones may be as long as LND's longest route."""
    circular_routes: CircularRoutes = "listed"
    """Whether each cycle is a route of its own, or each pair of channels of one node is one, closed by pathfinding when
    it is taken: by the search of LND's payments with the first and the last channel given."""
    circular_attempts: Annotated[int, Range(1, 1_000)] = 10
    """Routes that a found circular rebalance tries at most, each the best after what the failures before it taught."""
    own_node: str | None = None
    """The only node that pays circular rebalances, by name; by default every node does."""
    rebalance_fee_limit_ppm: Annotated[int, Range(0, 1_000_000)] = 50_000
    """Most a circular rebalance may pay in fees, in millionths of its amount."""
    action: ActionName = "discrete"
    """Kind of action space."""
    action_sizes: Annotated[tuple[float, ...], Range(0, 1, above=True)] = (0.05, 0.1, 0.2)
    """Amounts an action may choose, increasing, as shares of the smallest channel on the route."""
    observation: ObservationName = "balances"
    """Kind of observation."""
    observation_history: Annotated[int, Range(1, MAX_HISTORY)] = 4
    """Steps of flows kept by the observations ``flows`` and ``dict``."""
    observation_averages: Annotated[tuple[int, ...], Range(2, MAX_AVERAGED_STEPS)] = (2, 4, 8, 16)
    """Steps over which the observation ``averages`` averages flows."""
    reward: str | dict[str, float] = "success_rate"
    """``success_rate``, ``volume`` or ``profit``, or weights of the terms of a reward."""

    def __post_init__(self) -> None:
        """Refuse settings that exclude each other, and numbers out of range."""
        super().__post_init__()
        if self.operation != "circular" and (self.own_node is not None or self.circular_routes != "listed"):
            raise ConfigError("own_node and circular_routes are about operation 'circular': set it, or leave them out")
        if self.finds_routes and self.backend != "simulator":
            raise ConfigError(
                f"circular_routes='found' plays on backend 'simulator' only, got {self.backend!r}: use 'listed'"
            )

    @property
    def finds_routes(self) -> bool:
        """Whether rebalances go over routes that are found when they are taken."""
        return self.operation == "circular" and self.circular_routes == "found"
