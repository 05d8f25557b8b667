"""A node of one's own, from what its ``lncli`` exports or from itself; nothing here sends but ``applying``.

``exports``, ``spending`` and ``tables`` read the files, ``attached`` takes the same from a node that runs, ``origin``
asks whose they are, ``folder`` keeps what they tell, ``doubts`` says what of it may be wrong, ``profit`` books it by
channel, ``page`` shows the books. ``demand`` fits who pays whom through it, by ``candidates`` tried out (``pilot``) on
its ``past``, ``world`` makes an environment of that, ``backtest`` holds it to what happened.

``advising`` proposes changes (``proposals``), guards them (``guards``), and tries them side by side (``trials``) on
the ``board`` of own channels, in environments of each draw (``worlds``); ``advice`` and ``changes`` are the data,
``record`` keeps it, ``noticing`` and ``scores`` hold it to what came, ``applying`` carries it out on a node that runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lnsim_gym.lazy import imported_when_used
from lnsim_gym.own_node.attached import import_attached
from lnsim_gym.own_node.folder import OwnNode, import_node, load_node
from lnsim_gym.own_node.profit import Books, ChannelBooks, book

if TYPE_CHECKING:
    from lnsim_gym.own_node.backtest import Backtest, backtest_node
    from lnsim_gym.own_node.demand import FittedDemand, fit_demand
    from lnsim_gym.own_node.world import own_environment, own_problem, seeds_of

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
        "Backtest": "lnsim_gym.own_node.backtest",
        "backtest_node": "lnsim_gym.own_node.backtest",
        "FittedDemand": "lnsim_gym.own_node.demand",
        "fit_demand": "lnsim_gym.own_node.demand",
        "own_environment": "lnsim_gym.own_node.world",
        "own_problem": "lnsim_gym.own_node.world",
        "seeds_of": "lnsim_gym.own_node.world",
    },
)
