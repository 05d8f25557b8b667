"""A reference client: learns from the stream which channel ends will run dry, and suggests pushes that prevent it.

It needs numpy and websockets and nothing else of this package. What it predicts is not among its inputs: from what is
known before a step (how full an end is once the step's push is done, and how fast it drained lately) it predicts
whether the end is depleted after the step.

    python -m lnsim_gym.bridge.reference --uri ws://127.0.0.1:6789
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any

import numpy as np
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from lnsim_gym.arrays import Float64

__all__ = ["DepletionModel", "Observer", "main", "play_along"]

DEPLETED = 0.1
"""Share of the capacity below which an end counts as depleted."""
MEMORY = 0.8
"""Share of the drain estimate that survives a step."""
MOST_OF_CAPACITY = 0.2
"""Largest push, as a share of the capacity."""
LIKELY = 0.2
"""Probability of depletion from which a push is suggested."""

End = tuple[str, str]
"""A channel end, as its node and its peer."""


class DepletionModel:
    """Logistic regression, trained online: the probability that an end is depleted after the next step.

    Inputs are the end's share of the capacity, its mean net outflow per step of late, and their expected difference.
    """

    def __init__(self, learning_rate: float = 0.5, kept: int = 2_000) -> None:
        # A start that knows no more than that a low end is in danger; a few steps of data replace it.
        self.weights = np.array([1.0, -10.0, 0.0, 0.0])
        self._rate = learning_rate
        self._inputs: Float64 = np.empty((0, 4))
        self._depleted: Float64 = np.empty(0)
        self._kept = kept

    @staticmethod
    def inputs(share: Float64, outflow: Float64) -> Float64:
        """Return the inputs of ends, shape (ends, 4)."""
        return np.stack([np.ones_like(share), share, outflow, share - outflow], axis=1)

    def predict(self, inputs: Float64) -> Float64:
        """Return probabilities of depletion, shape (ends,)."""
        probabilities: Float64 = 1.0 / (1.0 + np.exp(-np.clip(inputs @ self.weights, -30, 30)))
        return probabilities

    def learn(self, inputs: Float64, depleted: Float64) -> None:
        """Take in what became of some ends, and improve the weights by a few passes over what is kept."""
        self._inputs = np.concatenate([self._inputs, inputs])[-self._kept :]
        self._depleted = np.concatenate([self._depleted, depleted])[-self._kept :]
        for _ in range(20):
            error = self._depleted - self.predict(self._inputs)
            self.weights += self._rate * (error @ self._inputs) / len(error)


class Observer:
    """Follows the channels from the messages of the bridge, teaches the model, and finds suggestions."""

    def __init__(self) -> None:
        self.model = DepletionModel()
        self.acknowledged: dict[str, int] = {}
        """Acknowledgements by status."""
        self._capacity: dict[End, int] = {}
        self._local: dict[End, int] = {}
        self._before: dict[End, int] = {}
        self._outflow: dict[End, float] = {}

    def take(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """Take in a message and return the answer to it, if it wants one."""
        kind = message["type"]
        if kind == "state_update":
            self._read(message["data"]["channels"])
        elif kind == "channel_update":
            self._read(message["channels"])
        elif kind == "reset":
            self._before = dict(self._local)
            self._outflow = dict.fromkeys(self._local, 0.0)
        elif kind == "step":
            self._learn(message["data"]["rebalance"])
        elif kind == "suggestion_ack":
            status = message["data"]["status"]
            self.acknowledged[status] = self.acknowledged.get(status, 0) + 1
        elif kind == "request_suggestions":
            return {"type": "suggestions", "client": "reference", "suggestions": self.suggest()}
        return None

    def suggest(self) -> list[dict[str, Any]]:
        """Return a push to the end most likely to be depleted, or nothing when none is in danger."""
        ends = list(self._local)
        if not ends:
            return []
        dangers = self.model.predict(self._inputs(ends, self._local))
        place = int(dangers.argmax())
        node, peer = ends[place]
        spare = (self._local[(peer, node)] - self._local[(node, peer)]) // 2
        amount = min(spare, int(MOST_OF_CAPACITY * self._capacity[(node, peer)]))
        if dangers[place] < LIKELY or amount < 1:
            return []
        reason = f"{node} runs dry towards {peer}"
        confidence = round(float(dangers[place]), 3)
        return [{"from_node": peer, "to_node": node, "amount": amount, "confidence": confidence, "reason": reason}]

    def _read(self, channels: dict[str, list[dict[str, Any]]]) -> None:
        """Take over balances."""
        for node, ends in channels.items():
            for end in ends:
                key = (node, end["remote_alias"])
                self._capacity[key] = end["capacity"]
                self._local[key] = end["local_balance"]
                self._outflow.setdefault(key, 0.0)

    def _learn(self, rebalance: dict[str, Any]) -> None:
        """Compare the balances after a step with those after its push, before its payments."""
        start = {end: self._before.get(end, local) for end, local in self._local.items()}
        if rebalance["applied"]:
            source = rebalance["route"][0]
            destination = rebalance["route"][-1]
            start[(source, destination)] -= rebalance["applied"]
            start[(destination, source)] += rebalance["applied"]
        ends = list(self._local)
        capacity = np.array([self._capacity[end] for end in ends], np.float64)
        after = np.array([self._local[end] for end in ends]) / capacity
        self.model.learn(self._inputs(ends, start), (after < DEPLETED).astype(np.float64))
        for end, share in zip(ends, after.tolist(), strict=True):
            drained = start[end] / self._capacity[end] - share
            self._outflow[end] = MEMORY * self._outflow[end] + (1 - MEMORY) * drained
        self._before = dict(self._local)

    def _inputs(self, ends: list[End], local: dict[End, int]) -> Float64:
        """Return the model's inputs for some ends with some balances."""
        share = np.array([local[end] / self._capacity[end] for end in ends])
        return self.model.inputs(share, np.array([self._outflow[end] for end in ends]))


async def play_along(uri: str) -> Observer:
    """Answer requests for suggestions until the connection ends."""
    observer = Observer()
    async with connect(uri, compression=None, max_size=None) as connection:
        kinds = ["channel_update", "reset", "step", "request_suggestions"]
        await connection.send(json.dumps({"type": "subscribe", "kinds": kinds}))
        try:
            async for raw in connection:
                answer = observer.take(json.loads(raw))
                if answer is not None:
                    await connection.send(json.dumps(answer))
        except ConnectionClosed:
            pass
    return observer


def main() -> None:
    """Run the client that the command line describes."""
    parser = argparse.ArgumentParser(description="Suggest rebalances to a bridge.")
    parser.add_argument("--uri", default="ws://127.0.0.1:6789")
    uri = parser.parse_args().uri
    try:
        observer = asyncio.run(play_along(uri))
    except (OSError, WebSocketException) as problem:
        sys.exit(f"error: expected a bridge at {uri}, got {problem}: start one with 'lnsim stream'")
    except KeyboardInterrupt:
        sys.exit(130)
    print("acknowledged:", observer.acknowledged)


if __name__ == "__main__":
    main()
