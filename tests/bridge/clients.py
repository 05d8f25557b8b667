"""Clients for the tests of the bridge, all over real sockets, and readers that do what Lightning Lens does."""

from __future__ import annotations

import json
import socket
from typing import Any

import gymnasium as gym
import jsonschema
from websockets.sync.client import ClientConnection, connect

from lnsim_gym.bridge import StreamEpisodes
from lnsim_gym.bridge.messages import KINDS
from lnsim_gym.bridge.schema import schema_json
from tests.blocks import marked

SCHEMA = jsonschema.Draft202012Validator(json.loads(schema_json()))


def streamed(payments_per_step: int = 20, env_id: str = "LightningNet-v0", **settings: Any) -> StreamEpisodes:
    env = gym.make(env_id, backend="simulator", payments_per_step=payments_per_step)
    return StreamEpisodes(env, **{"port": 0, **settings})


class Client:
    """An ordinary client that keeps every message it received; on entry it is one of the bridge's listeners.

    It holds every answer to the schema; the many messages of the episodes have a test of their own.
    """

    def __init__(self, env: StreamEpisodes, path: str = "/", **options: Any) -> None:
        uri = f"ws://127.0.0.1:{env.bridge.port}{path}"
        self._connecting = connect(uri, max_size=None, max_queue=None, **options)
        self.connection: ClientConnection
        self.messages: list[dict[str, Any]] = []
        self._greeting: list[str | bytes] = []

    def __enter__(self) -> Client:
        self.connection = self._connecting.__enter__()
        self._greeting.append(self.connection.recv(20))
        return self

    def __exit__(self, *problem: Any) -> None:
        self._connecting.__exit__(*problem)

    def send(self, message: Any) -> None:
        self.connection.send(message if isinstance(message, (str, bytes)) else json.dumps(message))

    def receive(self, timeout: float = 20) -> dict[str, Any]:
        message = json.loads(self._greeting.pop() if self._greeting else self.connection.recv(timeout))
        if message["type"] not in KINDS or message["type"] == "rebalance_suggestion":
            SCHEMA.validate(message)
        self.messages.append(message)
        return message

    def until(self, kind: str) -> dict[str, Any]:
        """Receive until a message of a type comes."""
        while (message := self.receive())["type"] != kind:
            pass
        return message

    def ask(self, message: Any, kind: str) -> dict[str, Any]:
        self.send(message)
        return self.until(kind)

    def caught_up(self) -> list[dict[str, Any]]:
        """Receive everything that was published before now."""
        self.ask({"type": "connection_test", "data": len(self.messages)}, "connection_test_response")
        return self.messages

    def published(self) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] in KINDS]


def raw_socket(env: StreamEpisodes, headers: str = "") -> socket.socket:
    """Open a connection and do the opening handshake by hand."""
    peer = socket.create_connection(("127.0.0.1", env.bridge.port), timeout=20)
    peer.sendall(
        (
            f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{env.bridge.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
        ).encode()
    )
    return peer


class LensReader:
    """Does with a message what the WebSocket client of Lightning Lens does, and what its learner needs.

    It looks at ``event_type`` alone, iterates ``channels`` as lists of channels, casts their numbers with ``int``, and
    keeps whole messages as records, which all must have the learner's columns.
    """

    COLUMNS = ("timestamp", "channel_id", "capacity", "local_balance", "remote_balance", "balance_ratio")

    def __init__(self) -> None:
        self.channel_data: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.buffer: list[dict[str, Any]] = []

    def process_message(self, data: dict[str, Any]) -> None:
        event_type = data.get("event_type")
        if event_type == "transaction":
            self.channel_data |= data.get("channels", {})
            transaction = data["transaction"]
            names = ("sender", "receiver", "amount", "success")
            self.history.append({"timestamp": data["timestamp"], **{name: transaction[name] for name in names}})
            self.buffer.append(data)
        elif event_type == "channel_state":
            self.channel_data |= data.get("channels", {})
            self.buffer.append(data)

    def rows(self) -> list[dict[str, Any]]:
        """Read the channels as ``prepare_features`` does."""
        return [
            {
                "channel_id": f"{node}_{channel.get('remote_pubkey', '')[:8]}",
                **{name: int(channel.get(name, 0)) for name in ("capacity", "local_balance", "remote_balance")},
            }
            for node, channels in self.channel_data.items()
            for channel in channels
        ]


class PlatformReader(LensReader):
    """The same for the successor platform: ``type`` comes first, ``data`` stands in, and two more types are read."""

    def process_message(self, data: dict[str, Any]) -> None:
        message_type = data.get("type", data.get("event_type", "unknown"))
        if message_type == "transaction":
            transaction = data.get("transaction", data.get("data", {}))
            self.channel_data |= data["channels"]
            self.history.append({"sender": transaction.get("sender"), "amount": transaction.get("amount", 0)})
            self.buffer.append(data)
        elif message_type in ("channel_update", "channel_state"):
            self.channel_data |= data.get("channels", data.get("data", {}))
            self.buffer.append(data)
        elif message_type == "state_update":
            self.channel_data |= data["data"]["channels"]
            self.history = data["data"]["transactions"][-100:]
        elif message_type == "connection_status":
            assert data["data"]["status"] == "connected"


def original_reader(message: dict[str, Any]) -> tuple[Any, ...] | None:
    """Read a message as the README of the original simulation describes it."""
    if message["type"] == "transaction":
        data = message["data"]
        return tuple(data[name] for name in ("sender", "receiver", "amount", "success", "description"))
    if message["type"] == "channel_update":
        names = ("remote_pubkey", "capacity", "local_balance", "remote_balance")
        return tuple(tuple(channel[name] for name in names) for ends in message["data"].values() for channel in ends)
    return None


def readme_client() -> str:
    """The client that the documentation prints, as a program."""
    return marked("client").code
