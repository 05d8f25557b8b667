"""A node of one's own, from what its ``lncli`` exports or from itself: read only, nothing here can send.

``exports`` reads the files, ``attached`` takes the same from a node that runs, ``folder`` keeps what they tell,
``profit`` books it by channel, ``page`` shows the books.
"""

from __future__ import annotations

from lnsim_gym.own_node.attached import import_attached
from lnsim_gym.own_node.folder import OwnNode, import_node, load_node
from lnsim_gym.own_node.profit import Books, ChannelBooks, book

__all__ = ["Books", "ChannelBooks", "OwnNode", "book", "import_attached", "import_node", "load_node"]
