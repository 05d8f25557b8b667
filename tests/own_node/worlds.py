"""A node of one's own in a small public network, with its history and its environments, all of it known."""

from __future__ import annotations

import msgspec
import numpy as np

from lnsim_gym.episodes import Problem
from lnsim_gym.network import Policy
from lnsim_gym.network.public import OWN_NODE, public
from lnsim_gym.own_node import OwnNode
from lnsim_gym.own_node.reading.channels import Channel
from lnsim_gym.own_node.reading.history import DAY_NS, Failures, Forwards, Refills
from lnsim_gym.tasks.config import EnvironmentConfig

NOW_NS = 1_700_000_000 * 10**9
PAYMENTS_PER_DAY = 120


def network(fee_rate_ppm=None):
    """Return a public network, with channel ids; all fee rates of the own node may be given."""
    topology = public(nodes=60, own_channels=6, own_capacity_sat=20_000_000, seed=3, own_seed=1)
    channels = []
    for index, channel in enumerate(topology.channels):
        policies = channel.policies
        if fee_rate_ppm is not None and OWN_NODE in (channel.initiator, channel.peer):
            end = "initiator" if channel.initiator == OWN_NODE else "peer"
            policies = msgspec.structs.replace(policies, **{end: Policy(fee_base_msat=0, fee_rate_ppm=fee_rate_ppm)})
        channels.append(msgspec.structs.replace(channel, chan_id=(700_000 - 1_000 * index) << 40, policies=policies))
    return msgspec.structs.replace(topology, channels=tuple(channels))


def own_node(topology, *, dead=(), inactive=()):
    """Return the own node of a network; forwards have gone over all of its channels but the dead ones, lately."""
    direction = np.flatnonzero(topology.arrays.source == topology.node_index[OWN_NODE])
    balances_msat = topology.start_balances_msat().ravel()[direction]
    channels = [
        Channel(
            remote_pubkey=f"02{int(topology.arrays.destination[out]):064x}",
            capacity=topology.channels[out // 2].capacity_sat,
            local_balance=int(balances_msat[place] // 1000),
            remote_balance=int(topology.channels[out // 2].capacity_sat - balances_msat[place] // 1000),
            chan_id=topology.channels[out // 2].chan_id,
            channel_point=f"{place:064x}:1",
            peer_alias=topology.nodes[topology.arrays.destination[out]],
            active=place not in inactive,
        )
        for place, out in enumerate(direction.tolist())
    ]
    alive = [one.number for place, one in enumerate(channels) if place not in dead]
    rows = [
        (NOW_NS - days * DAY_NS, alive[0], other, 100_000_000 + 5_000, 100_000_000)
        for days in (1, 40)
        for other in alive[1:]
    ]
    return OwnNode(
        name=OWN_NODE,
        public_key="02" + "ab" * 32,
        imported_ns=NOW_NS,
        channels=tuple(channels),
        forwards=Forwards.of(rows),
        failures=Failures.of([]),
        refills=Refills.of([]),
        chain_fees={},
        told=("payments", "chain"),
        left_out={},
    )


def worlds(topology):
    """Return the environments of the own node: the market of the public network, balances of others drawn by seeds."""

    def world(draw, **settings):
        del draw
        chosen = {
            "task": "operator",
            "topology": topology,
            "own_node": OWN_NODE,
            "action": "dict",
            "observation": "dict",
            "warm_up_days": 0.0,
            "payments_per_step": 100,
            "traffic": {"kind": "market", "payments_per_day": PAYMENTS_PER_DAY},
            **settings,
        }
        return Problem.of(EnvironmentConfig.of(chosen))

    return world
