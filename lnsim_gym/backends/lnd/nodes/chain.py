"""The chain behind the nodes: a small btcd RPC client, and coins for every node.

Block rewards are spendable by anyone (``flags``), so coins reach all nodes in one transaction without a wallet.
Nothing here knows of channels.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import struct
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from lnsim_gym.backends.lnd.nodes.flags import MINING_ADDRESS
from lnsim_gym.backends.lnd.nodes.record import CHAIN, ChainEndpoint
from lnsim_gym.errors import BackendError, BackendLost, BackendTimeout

__all__ = ["ChainClient"]

MATURE_HEIGHT: Final = 450
"""Blocks of a fresh chain: btcd's regtest has segwit from 432 on, and a coinbase is spendable after 100."""
_COIN: Final = 100_000_000
_FEE_SAT_PER_VBYTE: Final = 50
_OP_TRUE_WITNESS: Final = b"\1\1\x51"
_BECH32: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


class ChainClient:
    """Blocking JSON-RPC client of one btcd; safe to share between threads.

    Args:
        endpoint: Where btcd's RPC is.
        timeout_s: Deadline of every call, in seconds.
    """

    def __init__(self, endpoint: ChainEndpoint, timeout_s: float = 10.0) -> None:
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        token = base64.b64encode(f"{endpoint.user}:{endpoint.password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}

    def call(self, method: str, *params: Any) -> Any:
        """Call one RPC method and return its result.

        Raises:
            BackendTimeout: btcd did not answer in time.
            BackendLost: btcd is gone.
            BackendError: btcd refused the call.
        """
        answer = self._ask({"jsonrpc": "1.0", "id": 1, "method": method, "params": params}, method)
        return _result(answer, method)

    def call_each(self, method: str, calls: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Call one RPC method once for each tuple of parameters, in a single request; raises as ``call`` does."""
        requests = [
            {"jsonrpc": "2.0", "id": index, "method": method, "params": params} for index, params in enumerate(calls)
        ]
        answers = self._ask(requests, method) if requests else []
        return [_result(answer, method) for answer in sorted(answers, key=lambda answer: int(answer["id"]))]

    def _ask(self, request: Any, method: str) -> Any:
        """Send one request, or a list of them, and return what came back."""
        with self._lock:
            raw = self._post(json.dumps(request))
        try:
            return json.loads(raw)
        except ValueError:
            raise BackendError(
                f"expected JSON from {CHAIN} for {method}, got {raw[:80]!r}: check user and password"
            ) from None

    def _post(self, body: str) -> bytes:
        """Send one request over a connection of its own."""
        try:
            context = ssl.create_default_context(cafile=self._endpoint.cert_path)
            connection = http.client.HTTPSConnection(
                self._endpoint.host, self._endpoint.port, timeout=self._timeout_s, context=context
            )
            try:
                connection.request("POST", "/", body, self._headers)
                return connection.getresponse().read()
            finally:
                connection.close()
        except TimeoutError:
            raise BackendTimeout(
                f"expected {CHAIN} to answer within {self._timeout_s:g} s, it did not: reset the network"
            ) from None
        except (OSError, http.client.HTTPException) as problem:
            raise BackendLost(f"expected {CHAIN} to answer, got {problem}: reset the network") from None

    def height(self) -> int:
        """Return the height of the chain."""
        return int(self.call("getblockcount"))

    def generate(self, blocks: int) -> int:
        """Mine blocks and return the new height."""
        self.call("generate", blocks)
        return self.height()

    def mature(self) -> None:
        """Mine until segwit is active and rewards are spendable, and at least one block, so that the tip is fresh."""
        self.generate(max(1, MATURE_HEIGHT - self.height()))

    def mempool_size(self) -> int:
        """Return the number of transactions that wait to be mined."""
        return len(self.call("getrawmempool"))

    def fund(self, outputs_sat: Mapping[str, int]) -> str:
        """Pay every address its amount in one transaction out of block rewards; the caller mines it.

        Args:
            outputs_sat: Amount in sat for each address.

        Returns:
            The transaction id in hex.
        """
        inputs, total_sat = self._rewards(sum(outputs_sat.values()) + _COIN)
        fee_sat = _FEE_SAT_PER_VBYTE * (60 + 43 * len(inputs) + 43 * len(outputs_sat))
        change_sat = total_sat - sum(outputs_sat.values()) - fee_sat
        amounts = {**outputs_sat, MINING_ADDRESS: change_sat}
        return str(self.call("sendrawtransaction", _spend_rewards(inputs, amounts).hex()))

    def _rewards(self, needed_sat: int) -> tuple[list[str], int]:
        """Choose unspent mature block rewards, oldest first, until they add up; return their txids and their sum."""
        txids: list[str] = []
        total_sat = 0
        for height in range(1, self.height() - 99):
            txid = self.call("getblock", self.call("getblockhash", height), 1)["tx"][0]
            reward = self.call("gettxout", txid, 0)
            if reward is not None:
                txids.append(txid)
                total_sat += round(reward["value"] * _COIN)
            if total_sat >= needed_sat:
                return txids, total_sat
        raise BackendError(f"expected {needed_sat:,} sat of mature rewards, found {total_sat:,}: mine more blocks")


def _result(answer: Mapping[str, Any], method: str) -> Any:
    """Return the result of an answer.

    Raises:
        BackendError: btcd refused the call.
    """
    if answer.get("error"):
        raise BackendError(f"{CHAIN} refused {method}: {answer['error'].get('message')}")
    return answer["result"]


def _spend_rewards(txids: Sequence[str], amounts_sat: Mapping[str, int]) -> bytes:
    """Serialize a segwit transaction that spends block rewards to addresses (BIP 144)."""
    inputs = b"".join(bytes.fromhex(txid)[::-1] + bytes(4) + b"\0" + b"\xff" * 4 for txid in txids)
    outputs = b"".join(
        struct.pack("<q", sat) + bytes([len(script)]) + script
        for sat, script in ((sat, _script_of(address)) for address, sat in amounts_sat.items())
    )
    return b"".join(
        (
            struct.pack("<i", 2),
            b"\0\1",
            _compact_size(len(txids)),
            inputs,
            _compact_size(len(amounts_sat)),
            outputs,
            _OP_TRUE_WITNESS * len(txids),
            bytes(4),
        )
    )


def _compact_size(count: int) -> bytes:
    """Serialize a count as Bitcoin does (one byte below 253, else a mark and two bytes)."""
    return bytes([count]) if count < 253 else b"\xfd" + struct.pack("<H", count)


def _script_of(address: str) -> bytes:
    """Return the output script of a segwit address (BIP 173); the checksum is left to what made the address."""
    version, *symbols = (_BECH32.index(letter) for letter in address.rpartition("1")[2][:-6])
    bits = "".join(f"{symbol:05b}" for symbol in symbols)
    program = bytes(int(bits[start : start + 8], 2) for start in range(0, len(bits) - 7, 8))
    return bytes([version and 0x50 + version, len(program)]) + program
