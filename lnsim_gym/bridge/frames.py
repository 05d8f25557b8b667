"""WebSocket frames made once and sent to every client.

Frames from a server are not masked, and the bridge negotiates no extension, so the bytes of a message are the same
for all clients. The frames of a step travel together, as one chunk.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np

from lnsim_gym.bridge.messages import KINDS, KINDS_ON_REQUEST

__all__ = ["EVERY_KIND", "Chunk", "encode", "kinds_mask", "text_frame"]

_KIND_BIT: Final = {kind: 1 << place for place, kind in enumerate((*KINDS, *KINDS_ON_REQUEST))}
EVERY_KIND: Final = (1 << len(KINDS)) - 1
"""Mask of a client that receives everything that need not be asked for."""


def kinds_mask(kinds: list[str]) -> int:
    """Return the mask of a set of kinds."""
    return functools.reduce(lambda mask, kind: mask | _KIND_BIT[kind], kinds, 0)


def text_frame(payload: bytes) -> bytes:
    """Return a whole unmasked text frame (RFC 6455, section 5.2)."""
    length = len(payload)
    if length < 126:
        return bytes((0x81, length)) + payload
    if length < 65536:
        return b"\x81\x7e" + length.to_bytes(2, "big") + payload
    return b"\x81\x7f" + length.to_bytes(8, "big") + payload


def _plain(value: Any) -> Any:
    """Turn numpy values into what JSON has, and what wrappers may have put into an info into text."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    return repr(value)


encode = msgspec.json.Encoder(enc_hook=_plain).encode
"""Encode a message, numpy values included, as JSON."""


@dataclass(slots=True)
class Chunk:
    """Published messages that travel together, in order."""

    first_seq: int
    """Number of its first message."""
    timeless: bool = False
    """Whether its messages are no part of the episodes, and so repeat a number."""
    frames: list[bytes] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    """Flat records of the transactions and channel updates among them, when they are wanted."""
    numbered: int = 0
    """How many of its messages have a number of their own."""
    _present: int = 0
    _bits: list[int] = field(default_factory=list)
    _selections: dict[int, tuple[bytes, int]] = field(default_factory=dict)

    @property
    def last_seq(self) -> int:
        """Number of the last message, ``first_seq - 1`` when there is none."""
        return self.first_seq + self.numbered - 1

    def add(self, kind: str, payload: bytes) -> None:
        """Append an encoded message of a kind; those of ``KINDS_ON_REQUEST`` repeat the number before them."""
        bit = _KIND_BIT[kind]
        self.frames.append(text_frame(payload))
        self._bits.append(bit)
        self._present |= bit
        self.numbered += bit <= EVERY_KIND

    def select(self, mask: int) -> tuple[bytes, int]:
        """Return the frames of some kinds as one string of bytes, and how many they are."""
        if mask not in self._selections:
            chosen = self.frames
            if self._present & ~mask:
                chosen = list(itertools.compress(self.frames, (bit & mask for bit in self._bits)))
            self._selections[mask] = b"".join(chosen), len(chosen)
        return self._selections[mask]
