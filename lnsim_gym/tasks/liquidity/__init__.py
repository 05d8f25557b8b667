"""The liquidity task: one agent moves everybody's liquidity so that payments succeed."""

from lnsim_gym.tasks.liquidity.task import LiquidityTask, as_liquidity

__all__ = ["LiquidityTask", "as_liquidity"]
