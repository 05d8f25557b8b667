"""The chain of a named network, kept in a file: btcd deletes its regtest database whenever it starts.

Without its blocks a stopped network could not go on: its nodes know channels that were funded in them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from lnsim_gym.backends.lnd.nodes.chain import ChainClient
from lnsim_gym.backends.lnd.nodes.record import NetworkRecord
from lnsim_gym.paths import write_private

__all__ = ["BLOCKS_FILE", "load_chain", "save_chain"]

BLOCKS_FILE: Final = "blocks.json"
"""Name of the file in a network's folder."""
_EXTRA_BLOCKS: Final = 20
"""More than a program may have mined after the blocks were saved: lnd waits for ever on a chain that is shorter
than the one it knew, and follows a longer one."""


def save_chain(record: NetworkRecord) -> None:
    """Write every block of a network's chain into its folder.

    Raises:
        BackendLost: btcd is gone; what was saved before stays.
    """
    if record.chain is None:
        return
    chain = ChainClient(record.chain)
    hashes = chain.call_each("getblockhash", ((height,) for height in range(1, chain.height() + 1)))
    blocks = chain.call_each("getblock", ((block_hash, 0) for block_hash in hashes))
    write_private(Path(record.folder) / BLOCKS_FILE, msgspec.json.encode(blocks))


def load_chain(record: NetworkRecord) -> None:
    """Give a btcd that was restarted the blocks that were saved; harmless when it has them.

    Raises:
        BackendError: btcd refused a block.
    """
    saved = Path(record.folder) / BLOCKS_FILE
    if record.chain is None or not saved.exists():
        return
    chain = ChainClient(record.chain)
    blocks: list[str] = msgspec.json.decode(saved.read_bytes())
    missing = blocks[chain.height() :]
    if missing:
        chain.call_each("submitblock", ((block,) for block in missing))
        chain.generate(_EXTRA_BLOCKS)
