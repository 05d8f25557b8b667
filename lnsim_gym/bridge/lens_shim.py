"""Runs an unmodified checkout of Lightning Lens, or of its successor platform, with the few coercions it needs.

This file is run by the interpreter that has the requirements of Lightning Lens, which need not have this package, so
it imports nothing of it:

    python lens_shim.py CHECKOUT --uri ws://127.0.0.1:6789

The working directory takes the log files and data that the client writes; the checkout itself is only read. The
coercions are: timestamps become datetimes before they reach the learner (``.dt`` is used on them), without a zone as
its own are, ``capacity`` is kept among the features from which suggestions are made, and ``websocket`` is set as soon
as there is a connection.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

__all__ = ["coerce", "find_client", "load_client", "main"]

_PLACES = {
    "scripts/websocket_client.py": "scripts.websocket_client",
    "Lightning-Lens/lightning_lens/scripts/websocket_client.py": "scripts.websocket_client",
}
"""Where the client lies in a checkout, and its module name seen from the folder above ``scripts``."""
_SUBSCRIBE = '{"type": "subscribe", "kinds": ["transaction", "channel_update", "request_suggestions"]}'
"""Asks for what the client reads. Without it the bridge would not ask for suggestions, on which it fails unmodified."""


def find_client(checkout: Path) -> tuple[Path, str]:
    """Return the folder to import from and the module name of the client.

    Raises:
        FileNotFoundError: The folder holds neither of the two repositories.
    """
    for place, module in _PLACES.items():
        file = checkout / place
        if file.is_file():
            return file.parent.parent, module
    raise FileNotFoundError(f"expected one of {', '.join(_PLACES)} in {checkout}: clone Lightning Lens there")


def load_client(checkout: Path) -> Any:
    """Import the client's module, in a working directory that has what it looks for there."""
    root, name = find_client(checkout.resolve())
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(root))
    for folder in ("logs", "data/models", "data/processed", "data/simulation"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    configs = Path("configs")
    if not configs.exists() and (root / "configs").is_dir():
        configs.symlink_to(root / "configs")
    module: Any = importlib.import_module(name)
    if hasattr(module, "ROOT_DATA_DIR"):
        # The platform's client writes to a folder of its author's disk.
        module.ROOT_DATA_DIR = os.path.abspath("data")
        module.ROOT_CONFIG_DIR = os.path.abspath("configs")
    return module


def coerce(module: Any, client: Any) -> None:
    """Make the coercions on a client.

    Args:
        module: The client's module.
        client: Its ``LightningLensClient``.
    """
    _coerce_timestamps(client.online_learner)
    _keep_capacity(client.feature_processor)
    _set_websocket(module, client)


def _coerce_timestamps(learner: Any) -> None:
    """Let every record reach the learner with a datetime."""
    to_datetime = importlib.import_module("pandas").to_datetime
    add = learner.add_transaction

    def add_transaction(record: dict[str, Any]) -> bool:
        return bool(add({**record, "timestamp": to_datetime(record["timestamp"].removesuffix("Z"))}))

    learner.add_transaction = add_transaction


def _keep_capacity(processor: Any) -> None:
    """Let the features from which suggestions are made keep the capacity; rows are matched by their index."""
    process = processor.process_features

    def process_features(data: Any) -> Any:
        features = process(data)
        features["capacity"] = data["capacity"]
        return features

    processor.process_features = process_features


def _set_websocket(module: Any, client: Any) -> None:
    """Let the client know its connection, and let messages of any size through.

    While it fits, the client reads nothing, pongs included, so it must not take a late one for a lost connection.
    """
    connect = module.websockets.connect

    class Connect:
        """Connects as before, and tells the client."""

        def __init__(self, uri: str, **options: Any) -> None:
            self._connecting = connect(uri, max_size=None, ping_interval=None, **options)

        async def __aenter__(self) -> Any:
            client.websocket = await self._connecting.__aenter__()
            await client.websocket.send(_SUBSCRIBE)
            return client.websocket

        async def __aexit__(self, *problem: Any) -> None:
            await self._connecting.__aexit__(*problem)

    module.websockets = SimpleNamespace(connect=Connect)


def main() -> None:
    """Run the client until the end of time, as its own command does."""
    parser = argparse.ArgumentParser(description="Run an unmodified Lightning Lens against a bridge.")
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--uri", default="ws://127.0.0.1:6789")
    options = parser.parse_args()
    module = load_client(options.checkout)
    client = module.LightningLensClient(websocket_uri=options.uri)
    coerce(module, client)
    try:
        asyncio.run(client.connect())
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
