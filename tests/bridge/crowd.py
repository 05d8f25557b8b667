"""Crowds of clients in a process of their own: honest ones, and those who mean harm.

``python -m tests.bridge.crowd honest PORT COUNT`` reads until the stream closes, and prints what its clients missed.
``python -m tests.bridge.crowd hostile PORT COUNT`` goes on until it is ended.
"""

import asyncio
import contextlib
import json
import random
import re
import resource
import socket
import sys
import zlib

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from lnsim_gym.bridge.messages import KINDS

HEADERS = (
    "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n"
)
AT_ONCE = 32
"""Honest clients that connect at a time: more would not be let in soon enough on a busy machine."""
MASK = bytes(4)
"""Masks nothing."""


async def honest(port, door):
    """Read everything; return how many messages were missed or came twice, and how many there were."""
    seen, wrong = None, 0
    count = 0
    async with door:
        connection = await connect(
            f"ws://127.0.0.1:{port}/", max_size=None, compression=None, ping_interval=None, open_timeout=None
        )
    async with connection:
        with contextlib.suppress(ConnectionClosed):
            while True:
                text = await connection.recv(decode=False)
                kind = re.search(rb'"type":"(\w+)"', text)[1]
                number = int(re.search(rb'"seq":(\d+)', text)[1])
                if kind == b"state_update":
                    wrong += seen is not None
                    seen = number
                elif kind.decode() in KINDS:
                    wrong += number != seen + 1
                    seen = number
                    count += 1
                wrong += kind == b"dropped"
    return wrong, count


def frame(first, payload, length=None):
    """Return a masked frame; ``length`` says another one than it has."""
    length = len(payload) if length is None else length
    return bytes([first, 0xFF]) + length.to_bytes(8, "big") + MASK + payload


async def opened(port, headers=""):
    """Open a connection with little room for what comes back, and do the handshake."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=4096)
    writer.write(f"{HEADERS.format(port=port)}{headers}\r\n".encode())
    await writer.drain()
    return reader, writer


async def sleep_on(port, rng):
    """Subscribe to kinds that hardly anybody else does, and never read; come again when that was surely noticed."""
    _, writer = await opened(port)
    kinds = rng.sample(KINDS, rng.randint(1, len(KINDS)))
    writer.write(frame(0x81, json.dumps({"type": "subscribe", "kinds": kinds}).encode()))
    await asyncio.sleep(90)
    writer.transport.abort()


async def flood(port, rng):
    """Ask without end, and never read."""
    _, writer = await opened(port)
    question = frame(0x81, json.dumps({"type": "request_network"}).encode())
    while True:
        writer.write(question * 20)
        await writer.drain()
        await asyncio.sleep(0.01)


async def come_and_go(port, rng):
    """Connect, and go without a word."""
    _, writer = await opened(port)
    await asyncio.sleep(0.01 * rng.random())
    writer.transport.abort()


async def oversize(port, rng):
    """Announce a message of a terabyte, and begin to send it."""
    _, writer = await opened(port)
    writer.write(frame(0x81, bytes(2**16), 2**40))
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.close()


async def fragment(port, rng):
    """Send a message in fragments without end."""
    _, writer = await opened(port)
    writer.write(frame(0x01, b"x"))
    for _ in range(1000):
        writer.write(frame(0x00, b"x" * rng.choice((0, 1, 1000))))
        await writer.drain()
    writer.close()


async def bomb(port, rng):
    """Send what compression makes small, whether it was agreed on or not."""
    _, writer = await opened(port, "Sec-WebSocket-Extensions: permessage-deflate\r\n")
    writer.write(frame(0xC1, zlib.compress(bytes(2**24))[2:-4]))
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.close()


async def dawdle(port, rng):
    """Never finish the handshake."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nX: ")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.1)


DEEDS = (sleep_on, flood, come_and_go, oversize, fragment, bomb, dawdle)


async def hostile(port, number):
    """Do one of the deeds, over and over."""
    rng = random.Random(number)
    while True:
        with contextlib.suppress(OSError):
            await DEEDS[number % len(DEEDS)](port, rng)
        await asyncio.sleep(0.05)


async def main(kind, port, count):
    """Be a crowd."""
    if kind == "hostile":
        await asyncio.gather(*(hostile(port, number) for number in range(count)))
    door = asyncio.Semaphore(AT_ONCE)
    print(json.dumps(await asyncio.gather(*(honest(port, door) for _ in range(count)))))


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
