"""A node of one's own, from what its ``lncli`` exports or from itself; nothing here sends but ``following.applying``.

- ``reading``: exports read, or taken from a node that runs, doubted, and kept in a folder;
- ``books``: what each channel earned and cost;
- ``demand``: who pays whom through the node, fitted to its past, and environments of that;
- ``backtest``: the fitted demand held to what happened, and other policies tried in its place;
- ``advice``: what to change, guarded and tried side by side with doing nothing;
- ``following``: advice carried out or noticed, kept in a record, and held to what came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lnsim_gym.lazy import imported_when_used
from lnsim_gym.own_node.books.profit import Books, ChannelBooks, book
from lnsim_gym.own_node.reading.attached import import_attached
from lnsim_gym.own_node.reading.folder import OwnNode, import_node, load_node

if TYPE_CHECKING:
    from lnsim_gym.own_node.backtest.told import Backtest
    from lnsim_gym.own_node.backtest.weeks import backtest_node
    from lnsim_gym.own_node.demand.fit import fit_demand
    from lnsim_gym.own_node.demand.fitted import FittedDemand
    from lnsim_gym.own_node.demand.world import own_environment, own_problem, seeds_of

__all__ = [
    "Backtest",
    "Books",
    "ChannelBooks",
    "FittedDemand",
    "OwnNode",
    "backtest_node",
    "book",
    "fit_demand",
    "import_attached",
    "import_node",
    "load_node",
    "own_environment",
    "own_problem",
    "seeds_of",
]

# Books need none of what simulating does.
__getattr__ = imported_when_used(
    __name__,
    {
        "Backtest": "lnsim_gym.own_node.backtest.told",
        "backtest_node": "lnsim_gym.own_node.backtest.weeks",
        "FittedDemand": "lnsim_gym.own_node.demand.fitted",
        "fit_demand": "lnsim_gym.own_node.demand.fit",
        "own_environment": "lnsim_gym.own_node.demand.world",
        "own_problem": "lnsim_gym.own_node.demand.world",
        "seeds_of": "lnsim_gym.own_node.demand.world",
    },
)
