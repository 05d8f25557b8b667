"""Channels of a node as its program lists them: ``lncli listchannels``, or Core Lightning's ``listpeerchannels``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from lnsim_gym.errors import ConfigError
from lnsim_gym.network.importers.core_lightning import PeerChannel, is_peer_channels
from lnsim_gym.network.importers.documents import Document, decode_entries, entries_of
from lnsim_gym.own_node.reading.files import ALL_MSAT, counting, lists_in
from lnsim_gym.own_node.reading.history import as_chan_id

__all__ = ["Channel", "implementation_of", "read_channels"]

_OWN_CHANNELS: Final = "lncli listchannels or lightning-cli listpeerchannels"


class Channel(msgspec.Struct):
    """``lnrpc.Channel``, as far as it is used; numbers may be written as text."""

    remote_pubkey: str
    capacity: int
    local_balance: int
    remote_balance: int
    chan_id: str | int = ""
    scid: str | int = ""
    """Since lnd 0.19 lncli tells the short channel id here, and a hash as ``chan_id``."""
    channel_point: str = ""
    peer_alias: str = ""
    active: bool = True
    private: bool = False
    initiator: bool = False
    commit_fee: int = 0
    lifetime: int = 0
    """Seconds that the channel has been known to the node since this started."""
    alias_scids: list[str | int] = []

    @classmethod
    def of_core_lightning(cls, channel: PeerChannel) -> Channel:
        """Return a channel of Core Lightning as LND would tell it."""
        return cls(
            remote_pubkey=channel.peer_id,
            capacity=channel.capacity_sat,
            local_balance=channel.local_sat,
            remote_balance=channel.remote_sat,
            chan_id=channel.number or 0,
            channel_point=channel.funding,
            active=channel.peer_connected,
            private=bool(channel.private),
            initiator=channel.opener == "local",
            commit_fee=channel.commit_fee_sat,
        )

    @property
    def number(self) -> int:
        """Short channel id; 0 when it has none yet."""
        return as_chan_id(self.scid) or as_chan_id(self.chan_id)

    @property
    def is_possible(self) -> bool:
        """Whether its amounts can be true."""
        return all(0 <= sat <= ALL_MSAT // 1000 for sat in (self.capacity, self.local_balance, self.remote_balance))


def read_channels(documents: Iterable[Document], path: Path, left_out: Counter[str]) -> list[Channel]:
    """Read ``lncli listchannels``, or Core Lightning's ``listpeerchannels``.

    Args:
        documents: What ``read_documents`` returned of it.
        path: The file, for messages.
        left_out: Counts what is not taken, by cause.

    Raises:
        ConfigError: It is no such file, or holds no channel.
    """
    channels: dict[int, Channel] = {}
    for document in documents:
        for channel in _listed(document, path, left_out):
            number = channel.number
            if not number:
                left_out["channels without an id"] += 1
            elif number in channels:
                left_out["channels listed twice"] += 1
            elif not channel.is_possible:
                left_out["channels whose amounts cannot be true"] += 1
            else:
                channels[number] = channel
    if not channels:
        raise ConfigError(f"{path}: expected the output of {_OWN_CHANNELS} with at least one open channel, got none")
    return list(channels.values())


def _listed(document: Document, path: Path, left_out: Counter[str]) -> Iterator[Channel]:
    """Yield the open channels that a document lists."""
    odd = counting(left_out, "channels that cannot be read")
    ((key, entries),) = lists_in(document, path, ["channels"], _OWN_CHANNELS)
    if not is_peer_channels(entries):
        yield from decode_entries(entries, Channel, key, odd)
        return
    for channel in decode_entries(entries, PeerChannel, key, odd):
        if channel.is_open:
            yield Channel.of_core_lightning(channel)
        else:
            left_out["channels that are not open"] += 1


def implementation_of(documents: Iterable[Document]) -> str:
    """Return which node listed its channels: ``"lnd"`` or ``"core_lightning"``."""
    listed = (entries_of(document, "channels", _OWN_CHANNELS) for document in documents)
    return "core_lightning" if any(map(is_peer_channels, listed)) else "lnd"
