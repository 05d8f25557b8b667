"""Networks written down in the formats of other programs, by hand and from a topology."""

import json
from pathlib import Path

KEYS = {name: f"02{index:064x}" for index, name in enumerate(("anna", "bert", "cleo"))}


def describegraph_policy(**changes):
    """A policy as LND prints it."""
    return {
        "time_lock_delta": 40,
        "min_htlc": "1000",
        "fee_base_msat": "1500",
        "fee_rate_milli_msat": "250",
        "disabled": False,
        "max_htlc_msat": "495000000",
        "last_update": 1700000000,
        "custom_records": {},
        "inbound_fee_base_msat": 0,
        "inbound_fee_rate_milli_msat": 0,
        **changes,
    }


def describegraph_edge(first, second, capacity, **changes):
    """A channel as LND prints it."""
    return {
        "channel_id": "836478493818912769",
        "chan_point": "ab" * 32 + ":1",
        "last_update": 1700000000,
        "node1_pub": KEYS[first],
        "node2_pub": KEYS[second],
        "capacity": capacity,
        "node1_policy": describegraph_policy(),
        "node2_policy": describegraph_policy(fee_base_msat="0", fee_rate_milli_msat="7", time_lock_delta=144),
        "custom_records": {},
        **changes,
    }


def describegraph(*edges):
    """A graph as LND prints it."""
    nodes = [
        {"last_update": 0, "pub_key": key, "alias": alias, "addresses": [], "color": "#3399ff", "features": {}}
        for alias, key in KEYS.items()
    ]
    return {"nodes": nodes, "edges": list(edges)}


def simln_end(name, **changes):
    """One end of a sim-ln channel."""
    return {
        "pubkey": KEYS[name],
        "alias": name,
        "max_htlc_count": 483,
        "max_in_flight_msat": 500_000_000,
        "min_htlc_size_msat": 1,
        "max_htlc_size_msat": 400_000_000,
        "cltv_expiry_delta": 40,
        "base_fee": 1750,
        "fee_rate_prop": 100,
        **changes,
    }


def simln(*channels):
    """A sim-ln configuration of channels (first, second, capacity_msat)."""
    return {
        "sim_network": [
            {"scid": index, "capacity_msat": msat, "node_1": simln_end(first), "node_2": simln_end(second)}
            for index, (first, second, msat) in enumerate(channels)
        ]
    }


CLOTH_EDGES = (
    "id,channel_id,counter_edge_id,from_node_id,to_node_id,balance(millisat),fee_base(millisat),fee_proportional,"
    "min_htlc(millisat),timelock"
)
CLOTH = {
    "nodes": "id\n0\n1\n2\n",
    "channels": "id,edge1_id,edge2_id,node1_id,node2_id,capacity(millisat)\n"
    "0,0,1,0,1,500000000\n1,2,3,1,2,2000000000\n",
    "edges": f"{CLOTH_EDGES}\n"
    "0,0,1,0,1,400000000,1000,10,1000,40\n"
    "1,0,0,1,0,100000000,2000,20,0,80\n"
    "2,1,3,1,2,500000000,3000,30,1000,100\n"
    "3,1,2,2,1,1500000000,4000,40,1000,144\n",
}


def write_cloth(folder, **changes):
    """Write CLoTH's three files."""
    for stem, text in {**CLOTH, **changes}.items():
        (Path(folder) / f"{stem}.csv").write_text(text, encoding="utf-8")
    return folder


def as_simln(topology):
    """Write a topology as a sim-ln configuration."""
    return {
        "sim_network": [
            {
                "scid": index,
                "capacity_msat": 1000 * channel.capacity_sat,
                "node_1": as_simln_end(channel.initiator, both.initiator, channel),
                "node_2": as_simln_end(channel.peer, both.peer, channel),
            }
            for index, (channel, both) in enumerate(zip(topology.channels, topology.policies, strict=True))
        ]
    }


def as_simln_end(name, policy, channel):
    """Write one end of a channel as sim-ln does."""
    return {
        "pubkey": name,
        "min_htlc_size_msat": policy.min_htlc_msat,
        "max_htlc_size_msat": policy.max_htlc_msat or 1000 * (channel.capacity_sat - channel.capacity_sat // 100),
        "cltv_expiry_delta": policy.time_lock_delta,
        "base_fee": policy.fee_base_msat,
        "fee_rate_prop": policy.fee_rate_ppm,
    }


def as_cloth(folder, topology):
    """Write a topology, balances included, as CLoTH's three files."""
    number = {name: index for index, name in enumerate(topology.nodes)}
    balances = topology.start_balances_msat().tolist()
    channels = ["id,edge1_id,edge2_id,node1_id,node2_id,capacity"]
    edges = [
        "id,channel_id,counter_edge_id,from_node_id,to_node_id,balance,fee_base,fee_proportional,min_htlc,timelock"
    ]
    for index, (channel, both) in enumerate(zip(topology.channels, topology.policies, strict=True)):
        ends = (number[channel.initiator], number[channel.peer])
        channels.append(f"{index},{2 * index},{2 * index + 1},{ends[0]},{ends[1]},{1000 * channel.capacity_sat}")
        for side, policy in enumerate((both.initiator, both.peer)):
            here = 2 * index + side
            there = 2 * index + 1 - side
            edges.append(
                f"{here},{index},{there},{ends[side]},{ends[1 - side]},{balances[index][side]},{policy.fee_base_msat},"
                f"{policy.fee_rate_ppm},{policy.min_htlc_msat},{policy.time_lock_delta}"
            )
    nodes = ["id", *map(str, number.values())]
    return write_cloth(folder, nodes="\n".join(nodes), channels="\n".join(channels), edges="\n".join(edges))


def write_json(path, data):
    """Write a JSON file."""
    path.write_text(json.dumps(data), encoding="utf-8")
    return path
