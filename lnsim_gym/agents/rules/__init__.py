"""Rule agents: fixed ideas of how to rebalance, as baselines for anything learned.

A family to a module: ``plain`` looks at no balances, ``original`` has the rules of the simulation scripts that this
package succeeds, ``levels`` plain inventory rules, ``programs`` the rules of programs that node operators use.
"""

from lnsim_gym.agents.rules.base import Rule
from lnsim_gym.agents.rules.levels import MostUnbalanced, Proportional, Threshold
from lnsim_gym.agents.rules.original import Ring, Targeted, TargetTable
from lnsim_gym.agents.rules.plain import NoOp, RandomActions
from lnsim_gym.agents.rules.programs import Autoloop, Lndg, RebalanceLnd, Regolancer

__all__ = [
    "Autoloop",
    "Lndg",
    "MostUnbalanced",
    "NoOp",
    "Proportional",
    "RandomActions",
    "RebalanceLnd",
    "Regolancer",
    "Ring",
    "Rule",
    "TargetTable",
    "Targeted",
    "Threshold",
]
