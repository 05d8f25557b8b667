"""The clients of the bridge's benchmark, many in one process of their own.

``python -m lnsim_gym.benchmarks.bridge_clients MODE PORT CLIENTS`` connects, prints a line when all are connected,
and prints what they received, as JSON, once the server has closed all connections. Mode ``latency`` takes messages one
by one with an ordinary WebSocket client, mode ``count`` reads as fast as it can. Mode ``watch`` answers each line of
its input with what came in since the last, until its input ends.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import signal
import socket
import sys
import time
from datetime import datetime
from typing import Final

import msgspec
from websockets.asyncio.client import connect

__all__ = ["main"]

_MARK: Final = b'"schema":"lightningnet/1"'  # stands in every message once
_UPGRADE: Final = (
    "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_PUBLISHED: Final = (b'{"type":"transaction"', b'{"type":"channel_update"', b'{"type":"step"')


async def _take_messages(port: int, clients: int) -> dict[str, object]:
    """Receive messages one by one, and note how old each is."""
    ages_s: list[float] = []
    connected = asyncio.Semaphore(0)

    async def client() -> int:
        received = 0
        async with connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None, max_queue=None) as connection:
            await connection.recv(decode=False)
            connected.release()
            async for message in connection:
                raw = message.encode() if isinstance(message, str) else message
                if raw.startswith(_PUBLISHED):
                    received += 1
                    ages_s.append(time.time() - _sent_s(raw))
        return received

    tasks = [asyncio.create_task(client()) for _ in range(clients)]
    for _ in tasks:
        await connected.acquire()
    print("connected", flush=True)
    counts = await asyncio.gather(*tasks)
    ages_s.sort()
    return {"received": counts, "p50_s": _quantile(ages_s, 0.5), "p99_s": _quantile(ages_s, 0.99)}


class _Envelope(msgspec.Struct):
    """What all messages have."""

    seq: int
    timestamp: str


class _Window:
    """What clients received since they were last asked."""

    def __init__(self) -> None:
        self.lost = 0
        self._began_s = time.monotonic()
        self._ages_s: list[float] = []

    def take(self, raw: str | bytes, last_seq: int) -> int:
        """Count a message that was published; return the number of the last one so far."""
        message = msgspec.json.decode(raw, type=_Envelope)
        if message.seq <= last_seq:  # an answer repeats the number of the last
            return last_seq
        self.lost += message.seq - last_seq - 1 if last_seq >= 0 else 0
        self._ages_s.append(time.time() - datetime.fromisoformat(message.timestamp).timestamp())
        return message.seq

    def told(self) -> dict[str, float]:
        """Return what came in, and begin anew."""
        now_s = time.monotonic()
        ages_ms = sorted(1000 * age_s for age_s in self._ages_s)
        rate = len(ages_ms) / max(now_s - self._began_s, 1e-9)
        self._began_s = now_s
        self._ages_s.clear()
        return {
            "messages_per_s": rate,
            "message_median_ms": _quantile(ages_ms, 0.5),
            "message_p99_ms": _quantile(ages_ms, 0.99),
            "lost": self.lost,
        }


async def _watch(port: int, clients: int) -> None:
    """Receive messages, and tell on demand of those since the last time."""
    window = _Window()
    connected = asyncio.Semaphore(0)

    async def client() -> None:
        last_seq = -1
        async with connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None) as connection:
            connected.release()
            async for message in connection:
                last_seq = window.take(message, last_seq)

    tasks = [asyncio.create_task(client()) for _ in range(clients)]
    for _ in tasks:
        await connected.acquire()
    print("connected", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(window.told()), flush=True)
    for task in tasks:
        task.cancel()


def _sent_s(raw: bytes) -> float:
    """Return the timestamp of a message, in seconds since the epoch."""
    start = raw.index(b'"timestamp":"') + 13
    return datetime.fromisoformat(raw[start : start + 27].decode()).timestamp()


def _quantile(ordered: list[float], share: float) -> float:
    """Return a quantile of an ordered list; 0 of an empty one."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


def _count_messages(port: int, clients: int) -> dict[str, object]:
    """Read whatever comes and count messages by a mark that each has once."""
    selector = selectors.DefaultSelector()
    counts = [0] * clients
    received_bytes = 0
    tails = [b""] * clients
    for number in range(clients):
        reader = socket.create_connection(("127.0.0.1", port))
        reader.sendall(_UPGRADE.format(port=port).encode())
        selector.register(reader, selectors.EVENT_READ, (number, reader))
    print("connected", flush=True)
    buffer = bytearray(2**20)
    while selector.get_map():
        for key, _ in selector.select():
            number, reader = key.data
            length = reader.recv_into(buffer)
            if not length:
                selector.unregister(reader)
                reader.close()
                continue
            received_bytes += length
            # A mark may be cut in two by the end of a read, so its last bytes are looked at again with the next.
            text = tails[number] + buffer[:length]
            counts[number] += text.count(_MARK)
            keep = min(len(_MARK) - 1, len(text))
            tails[number] = bytes(text[-keep:]) if not text.endswith(_MARK) else b""
    return {"received": counts, "bytes": received_bytes}


def main() -> None:
    """Run the mode that the command line names."""
    mode = sys.argv[1]
    port = int(sys.argv[2])
    clients = int(sys.argv[3])
    if mode == "watch":
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that asks
        asyncio.run(_watch(port, clients))
        return
    result = asyncio.run(_take_messages(port, clients)) if mode == "latency" else _count_messages(port, clients)
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
