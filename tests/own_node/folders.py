"""Folders of a node with a history that was simulated, in a small market."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec

from lnsim_gym.network.public import public
from lnsim_gym.own_node.reading import folder as folders
from tests.own_node.histories import History, problem_of, simulate, with_numbers


def small_history(days: int) -> History:
    """Return the days of a node of 8 channels among 120 others, with funding outputs."""
    topology = with_numbers(public(nodes=120, own_channels=8, own_capacity_sat=30_000_000, seed=3, own_seed=1))
    problem = problem_of(topology, traffic={"kind": "market", "payments_per_day": 300})
    history = simulate(problem, "charge_lnd", days, 5)
    channels = tuple(
        msgspec.structs.replace(one, channel_point=f"{place:064x}:0") for place, one in enumerate(history.node.channels)
    )
    return history._replace(node=dataclasses.replace(history.node, channels=channels))


def put_history(folder: Path, days: int) -> None:
    """Write such a node into a folder, as an import does."""
    history = small_history(days)
    folders._write(history.node, history.topology, folder)
