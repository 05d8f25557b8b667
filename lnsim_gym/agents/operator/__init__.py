"""Rules for a node of one's own: what published programs set, rebalance and swap, as baselines for anything learned.

A family to a module: ``fees``, ``revenue_ops``, ``rebalances``, ``swaps``, ``closing``; ``learned`` does as it was
trained to, ``oracle`` knows what none of them does, and ``surveyed`` lets all play surveyed episodes.
"""

from lnsim_gym.agents.operator.base import OperatorRule, Plan, Seen, as_operator
from lnsim_gym.agents.operator.closing import CloseDeadChannels
from lnsim_gym.agents.operator.fees import (
    Autofees,
    BrlnAutofee,
    ChargeLnd,
    Clboss,
    FeeAdjuster,
    Feelancer,
    LndgFees,
    Lndmanage,
    StaticFees,
)
from lnsim_gym.agents.operator.learned import LearnedOperator
from lnsim_gym.agents.operator.oracle import FeeOracle
from lnsim_gym.agents.operator.rebalances import (
    Bos,
    LightningJet,
    LnOperator,
    OperatorLndg,
    OperatorRebalanceLnd,
    OperatorRegolancer,
    Sling,
)
from lnsim_gym.agents.operator.revenue_ops import RevenueOps
from lnsim_gym.agents.operator.swaps import BoltzAutoswap, OperatorAutoloop, SwapOut

__all__ = [
    "Autofees",
    "BoltzAutoswap",
    "Bos",
    "BrlnAutofee",
    "ChargeLnd",
    "Clboss",
    "CloseDeadChannels",
    "FeeAdjuster",
    "FeeOracle",
    "Feelancer",
    "LearnedOperator",
    "LightningJet",
    "LnOperator",
    "LndgFees",
    "Lndmanage",
    "OperatorAutoloop",
    "OperatorLndg",
    "OperatorRebalanceLnd",
    "OperatorRegolancer",
    "OperatorRule",
    "Plan",
    "RevenueOps",
    "Seen",
    "Sling",
    "StaticFees",
    "SwapOut",
    "as_operator",
]
