"""Where things are in a picture of a network: nodes on a circle when they are few or a ring, else placed by forces."""

from __future__ import annotations

from typing import Final

import numpy as np

from lnsim_gym.arrays import Float64, Int64
from lnsim_gym.network import Topology
from lnsim_gym.rendering.style import short_name

__all__ = ["Layout", "node_positions", "outward"]

_MOST_ON_A_CIRCLE: Final = 12
"""Most nodes that a circle holds without many crossings."""
_ITERATIONS: Final = 200
_MOST_WORK: Final = 1e7
"""Most pairs of nodes to look at, over all iterations: a few seconds."""
_MOST_PLACED: Final = 3_000
"""Most nodes for which all pairs are looked at: more stay where they begin."""

_MOST_ROOMY: Final = 15
"""Most channels between few nodes that leave room for amounts."""
_LONGEST_INSIDE: Final = 3
"""Longest names that fit into the nodes of a large network, in characters."""
_MOST_BESIDE: Final = 60
"""Most nodes on a circle that leave room for the names of all."""
_MOST_INSIDE: Final = 120
"""Most nodes large enough to hold a name."""


class Layout:
    """Places of a topology's nodes and of lines between them, in a square of given size.

    Args:
        topology: What to place.
        pixels: Width and height of the square.
    """

    def __init__(self, topology: Topology, pixels: int) -> None:
        nodes = len(topology.nodes)
        arrays = topology.arrays
        self.zoom = 1.0 if pixels >= 500 else 0.75
        """Factor of sizes of texts and lines."""
        self.scale = min(1.0, float(np.sqrt(_MOST_ON_A_CIRCLE / nodes)))
        """Factor of sizes that shrink as nodes become many."""
        ends = arrays.source[::2], arrays.destination[::2]
        on_circle = nodes <= _MOST_ON_A_CIRCLE or _cycle(nodes, *ends) is not None
        self.beside = on_circle and nodes <= _MOST_BESIDE
        """Whether there is room for names beside the nodes."""
        self.roomy = nodes <= _MOST_ON_A_CIRCLE and len(topology.channels) <= _MOST_ROOMY
        """Whether there is room on and beside the channels too."""
        short = max(map(len, topology.nodes)) <= _LONGEST_INSIDE
        self.names_inside = not self.beside and short and nodes <= _MOST_INSIDE and pixels >= 500
        """Whether nodes are rings around their names."""
        beside = _name_room(topology, self.zoom) / (pixels / 2) if self.beside else 0.0
        self.reach = 1 / (1 - beside) if self.beside else 1.08 if self.names_inside else 1.2
        """Half the width and height of the square; nodes lie within 1."""
        self.pixel = 2 * self.reach / pixels
        """Size of a pixel in units of the positions."""
        self.node_radius = self.zoom * max(13 * self.scale, 11 if self.names_inside else 0.8)
        """Radius of a node in pixels."""
        self.position = node_positions(nodes, *ends)
        """Positions of the nodes, shape (nodes, 2)."""

    def between(self, source: Int64, destination: Int64, gap: float = 0.0) -> tuple[Float64, Float64]:
        """Return where lines between nodes start and stop, shape (lines, 2) each, a gap in pixels away from the nodes.

        Args:
            source: Node indices where the lines start.
            destination: Node indices where they stop.
            gap: Pixels between a node and the line.
        """
        start = self.position[source]
        stop = self.position[destination]
        along = stop - start
        length = np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
        cut = along * np.minimum((self.node_radius + gap) * self.pixel / length, 0.4)
        return start + cut, stop - cut


def _name_room(topology: Topology, zoom: float) -> float:
    """Return the pixels that names beside the nodes need."""
    longest = max(len(short_name(name)) for name in topology.nodes)
    return zoom * max(26 + 9.5 * longest, 64)


def outward(start: Float64, stop: Float64) -> Float64:
    """Return unit vectors across lines, away from the centre of the picture, shape (lines, 2)."""
    along = stop - start
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.linalg.norm(along, axis=1, keepdims=True)
    inward = (across * (start + stop)).sum(axis=1, keepdims=True) < 0
    away: Float64 = np.where(inward, -across, across)
    return away


def node_positions(nodes: int, source: Int64, destination: Int64) -> Float64:
    """Return where to draw each node.

    Args:
        nodes: Number of nodes.
        source: Node index of one end of each channel.
        destination: Node index of the other end.

    Returns:
        Positions in [-1, 1], shape (nodes, 2), the same for the same network.
    """
    order = _cycle(nodes, source, destination)
    if nodes <= _MOST_ON_A_CIRCLE or order is not None:
        place = np.arange(nodes) if order is None else order.argsort()
        angle = np.pi / 2 - 2 * np.pi * place / nodes
        positions = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        centred: Float64 = positions - (positions.max(axis=0) + positions.min(axis=0)) / 2
        return centred
    positions = _sunflower(np.bincount(np.concatenate([source, destination]), minlength=nodes))
    return _separate(_fill_disc(_relax(positions, source, destination)))


def _cycle(nodes: int, source: Int64, destination: Int64) -> Int64 | None:
    """Return the nodes in the order in which one ring leads through all of them, or None where none does."""
    neighbours: list[set[int]] = [set() for _ in range(nodes)]
    for one, other in zip(source.tolist(), destination.tolist(), strict=True):
        neighbours[one].add(other)
        neighbours[other].add(one)
    if nodes < 3 or any(len(around) != 2 for around in neighbours):
        return None
    walk = [0, min(neighbours[0])]
    while len(walk) <= nodes and walk[-1] != 0:
        walk.append(next(iter(neighbours[walk[-1]] - {walk[-2]})))
    return np.array(walk[:-1]) if len(walk) == nodes + 1 else None


def _sunflower(degree: Int64) -> Float64:
    """Place nodes evenly on a disc, the best connected in the centre."""
    rank = np.empty(len(degree))
    rank[np.argsort(-degree, kind="stable")] = np.arange(len(degree))
    radius = np.sqrt((rank + 0.5) / len(degree))
    angle = rank * np.pi * (3 - np.sqrt(5))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _relax(positions: Float64, source: Int64, destination: Int64) -> Float64:
    """Let channels pull and all nodes push each other (Fruchterman and Reingold, 1991)."""
    nodes = len(positions)
    rest = 1.6 / np.sqrt(nodes)
    iterations = _affordable(_ITERATIONS, nodes)
    for iteration in range(iterations):
        force = _pushed(positions, rest**2 / _squared_distances(positions))
        along = positions[source] - positions[destination]
        pull = along * np.linalg.norm(along, axis=1, keepdims=True) / rest
        np.add.at(force, source, -pull)
        np.add.at(force, destination, pull)
        force -= positions  # or parts that no channel joins would fly apart
        length = np.linalg.norm(force, axis=1, keepdims=True) + 1e-9
        positions = positions + force / length * np.minimum(length, 0.1 * (1 - iteration / iterations))
    return positions


def _squared_distances(positions: Float64) -> Float64:
    """Return the squared distances between all nodes, never 0, shape (nodes, nodes)."""
    squared = (positions**2).sum(axis=1)
    distances: Float64 = np.maximum(squared[:, None] + squared - 2 * positions @ positions.T, 1e-9)
    return distances


def _pushed(positions: Float64, weights: Float64) -> Float64:
    """Return the sum over all other nodes of the vectors from there, weighted, shape (nodes, 2)."""
    away: Float64 = positions * weights.sum(axis=1, keepdims=True) - weights @ positions
    return away


def _affordable(iterations: int, nodes: int) -> int:
    """Return how many iterations over all pairs of nodes to make."""
    return min(iterations, int(_MOST_WORK / nodes**2)) if nodes <= _MOST_PLACED else 0


def _fill_disc(positions: Float64) -> Float64:
    """Move nodes along their radius so that the disc is filled evenly: forces crowd the well connected."""
    positions = positions - positions.mean(axis=0)
    radius = np.linalg.norm(positions, axis=1)
    rank = np.empty(len(positions))
    rank[radius.argsort(kind="stable")] = np.arange(len(positions))
    even: Float64 = positions * (np.sqrt((rank + 0.5) / len(positions)) / np.maximum(radius, 1e-9))[:, None]
    return even


def _separate(positions: Float64) -> Float64:
    """Push nodes apart that are closer than the room there is for each."""
    room = 1.5 / np.sqrt(len(positions))
    for _ in range(_affordable(50, len(positions))):
        distance = np.sqrt(_squared_distances(positions))
        positions = positions + 0.25 * _pushed(positions, np.maximum(room / distance - 1, 0))
        outside = np.linalg.norm(positions, axis=1, keepdims=True)
        positions = positions / np.maximum(outside, 1)
    return positions
