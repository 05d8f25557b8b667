"""Cuts: which channels of a network stay, so that a large one can be played in part.

Cuts are written as text, ``"around(NODE, hops)"``, ``"core(k)"``, ``"largest(n)"``, ``"component"`` and
``"min_capacity(sat)"``; ``Topology.cut`` applies them. Everything here works on columns: ``ends``, the two node indices
of each channel, shape (channels, 2), and returns a mask of shape (channels,).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import numpy as np

from lnsim_gym.arrays import Bool, Int64
from lnsim_gym.errors import TopologyError, did_you_mean

__all__ = ["Cut", "around", "component_of", "core", "largest", "parse_cut"]

_FORMS: Final = {
    "around": "around(NODE, hops)",
    "core": "core(k)",
    "largest": "largest(n)",
    "component": "component",
    "min_capacity": "min_capacity(sat)",
}


class Cut(NamedTuple):
    """A cut as it was asked for."""

    name: str
    node: str
    """Name, public key or alias of a node; empty for cuts that need none."""
    number: int
    """Hops, degree, nodes or sat; 0 for cuts that need none."""


def parse_cut(text: str) -> Cut:
    """Read a cut.

    Raises:
        TopologyError: It is none of the known ones, or its arguments are.
    """
    call = re.fullmatch(r"\s*(\w+)\s*(?:\((.*)\))?\s*", text, re.DOTALL)
    name = call[1] if call else ""
    if call is None or name not in _FORMS:
        raise TopologyError(
            f"unknown cut {text!r:.100}.{did_you_mean(name, _FORMS)} Known: {', '.join(_FORMS.values())}"
        )
    arguments = (call[2] or "").strip()
    node = ""
    if name == "component" and not arguments:
        return Cut(name, node, 0)
    if name == "around":
        # The node comes first and may hold commas and brackets of its own.
        node, _, arguments = arguments.rpartition(",")
        node = re.sub(r"^(['\"])(.*)\1$", r"\2", node.strip())
    number = re.fullmatch(r"\s*(?:\w+\s*=\s*)?([0-9_]+)\s*", arguments)
    if number is None or name == "component" or (name == "around" and not node):
        raise TopologyError(f"cannot read the cut {text!r:.100}: write it as {_FORMS[name]}")
    return Cut(name, node, int(number[1]))


def around(ends: Int64, nodes: int, center: int, hops: int) -> Bool:
    """Return the channels between nodes that lie at most some hops from one of them."""
    reached = np.zeros(nodes, np.bool_)
    reached[center] = True
    for _ in range(min(hops, nodes)):
        touched = reached[ends].any(axis=1)
        before = reached.sum()
        reached[ends[touched]] = True
        if reached.sum() == before:
            break
    return _between(ends, reached)


def core(ends: Int64, nodes: int, degree: int) -> Bool:
    """Return the channels of the k-core: between nodes that have at least ``degree`` peers among themselves."""
    pairs = np.unique(np.sort(ends, axis=1), axis=0)
    stays = np.ones(nodes, np.bool_)
    while True:
        pairs = pairs[_between(pairs, stays)]
        enough = np.bincount(pairs.ravel(), minlength=nodes) >= degree
        if np.array_equal(enough & stays, stays):
            return _between(ends, stays)
        stays &= enough


def largest(ends: Int64, nodes: int, count: int, capacity_sat: Int64) -> Bool:
    """Return the channels between the nodes of largest capacity, all their channels added up; the first of equals."""
    total_sat = np.bincount(ends.ravel(), np.repeat(capacity_sat, 2), minlength=nodes)
    chosen = np.zeros(nodes, np.bool_)
    chosen[np.argsort(-total_sat, kind="stable")[:count]] = True
    return _between(ends, chosen)


def component_of(ends: Int64, nodes: int) -> Int64:
    """Return for each node the smallest index of a node that it can reach, shape (nodes,)."""
    smallest = np.arange(nodes)
    while True:
        near = smallest[ends].min(axis=1)
        fresh = smallest.copy()
        for side in (0, 1):
            np.minimum.at(fresh, ends[:, side], near)
            np.minimum.at(fresh, smallest[ends[:, side]], near)
        fresh = fresh[fresh]
        if np.array_equal(fresh, smallest):
            return smallest
        smallest = fresh


def _between(ends: Int64, chosen: Bool) -> Bool:
    """Return the channels whose two ends are both chosen."""
    both: Bool = chosen[ends[:, 0]] & chosen[ends[:, 1]]
    return both
