"""The liquidity task: one agent moves everybody's liquidity so that payments succeed; or every node its own."""

from lnsim_gym.tasks.liquidity.every_node import EveryNodeTask
from lnsim_gym.tasks.liquidity.task import LiquidityTask, as_liquidity

__all__ = ["EveryNodeTask", "LiquidityTask", "as_liquidity"]
