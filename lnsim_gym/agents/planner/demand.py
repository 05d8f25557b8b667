"""What node weights mean for channels: the payments to expect in each direction."""

from __future__ import annotations

import numpy as np

from lnsim_gym.agents.networks import require_network_for_load
from lnsim_gym.arrays import Float64, Int64
from lnsim_gym.network import Topology
from lnsim_gym.traffic.kernels import TrafficProgram
from lnsim_gym.traffic.source import draw_weights

__all__ = ["ExpectedLoad", "drawn_demand", "log_weights", "of_log_weights"]


def drawn_demand(program: TrafficProgram, seed: int, episode: int, regime: int) -> Float64:
    """Return the weights that a demand regime is drawn with, as ``draw_weights`` gives them, shape (2, nodes)."""
    cumulative = np.empty((2, program.nodes))
    draw_weights(program, np.uint64(seed % 2**64), episode, regime, cumulative)
    return cumulative


def log_weights(cumulative: Float64) -> Float64:
    """Return the logarithms of the senders' and the receivers' weights, each with mean 0, shape (..., 2, nodes).

    The means are lost on purpose: scaling all weights leaves every payment as likely as it was.
    """
    received = np.diff(cumulative[..., 1, :], prepend=0.0, axis=-1)
    others = received.sum(axis=-1, keepdims=True) - received
    sent = np.diff(cumulative[..., 0, :], prepend=0.0, axis=-1) / others
    logs = np.log(np.stack([sent, received], axis=-2))
    centred: Float64 = logs - logs.mean(axis=-1, keepdims=True)
    return centred


def of_log_weights(logs: Float64) -> Float64:
    """Return running sums of weights, as ``draw_weights`` gives them, the reverse of ``log_weights``."""
    sent = np.exp(logs[..., 0, :])
    received = np.exp(logs[..., 1, :])
    others = received.sum(axis=-1, keepdims=True) - received
    return np.stack([np.cumsum(sent * others, axis=-1), np.cumsum(received, axis=-1)], axis=-2)


class ExpectedLoad:
    """Expected share of the payments that go over each direction, were every channel full both ways.

    A payment takes a shortest path by hops; where there are several, each is as likely.

    Args:
        topology: The network.

    Raises:
        ConfigError: The network is too large.
    """

    def __init__(self, topology: Topology) -> None:
        nodes = len(topology.nodes)
        arrays = topology.arrays
        require_network_for_load(topology)
        hops, paths = _shortest_paths(topology)
        source = arrays.source
        destination = arrays.destination
        on_path = hops[:, None, source] + 1 + hops.T[None, :, destination] == hops[:, :, None]
        share = paths[:, None, source] * paths.T[None, :, destination] / np.maximum(paths, 1)[:, :, None]
        self._usage: Float64 = np.where(on_path, share, 0.0).reshape(nodes * nodes, -1)
        self._nodes = nodes

    def __call__(self, cumulative: Float64) -> Float64:
        """Return the load of each direction, shape (..., directions), for weights of shape (..., 2, nodes)."""
        pairs = self._pair_shares(cumulative)
        load: Float64 = pairs.reshape(*pairs.shape[:-2], -1) @ self._usage
        return load

    def _pair_shares(self, cumulative: Float64) -> Float64:
        """Return how likely a payment goes from one node to another, shape (..., nodes, nodes)."""
        weights = np.exp(log_weights(cumulative))
        pairs = weights[..., 0, :, None] * weights[..., 1, None, :]
        pairs[..., np.arange(self._nodes), np.arange(self._nodes)] = 0.0
        shares: Float64 = pairs / pairs.sum(axis=(-2, -1), keepdims=True)
        return shares


def _shortest_paths(topology: Topology) -> tuple[Int64, Float64]:
    """Return hops between any two nodes (out of reach: more than there are nodes) and how many paths are so short."""
    nodes = len(topology.nodes)
    arrays = topology.arrays
    joined = np.zeros((nodes, nodes))
    joined[arrays.source, arrays.destination] = 1.0
    hops = np.full((nodes, nodes), 2 * nodes)
    paths = np.zeros((nodes, nodes))
    walks = np.eye(nodes)
    for length in range(nodes):
        fresh = (walks > 0) & (hops == 2 * nodes)
        hops[fresh] = length
        paths[fresh] = walks[fresh]
        if not fresh.any():
            break
        walks = np.where(fresh, walks, 0.0) @ joined
    return hops, paths
