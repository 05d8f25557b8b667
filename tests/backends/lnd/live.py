"""Balances, batches, processes and policies for the tests on live networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil

from lnsim_gym.backends.lnd.nodes.folders import records
from lnsim_gym.network import Policy, Topology
from lnsim_gym.payments import PaymentBatch


def half_and_half(topology: Topology) -> np.ndarray:
    total = topology.owned_total_msat
    return np.stack([total // 2, total - total // 2], axis=1)


def batch_of(*payments: tuple[int, int, int]) -> PaymentBatch:
    """A batch out of (source, destination, amount in msat)."""
    columns = np.array(payments, np.int64).reshape(-1, 3).T
    return PaymentBatch(columns[0], columns[1], columns[2], np.arange(columns.shape[1]) % 15)


def random_batch(topology: Topology, rng: np.random.Generator, count: int, most_msat: int) -> PaymentBatch:
    """Payments between random nodes, amounts log-uniform from 1 sat."""
    nodes = len(topology.nodes)
    source = rng.integers(0, nodes, count)
    destination = (source + rng.integers(1, nodes, count)) % nodes
    amount = np.exp(rng.uniform(np.log(1000), np.log(most_msat), count)).astype(np.int64)
    return PaymentBatch(source, destination, amount, np.zeros(count, np.int64))


def processes_of(backend) -> dict[str, psutil.Process]:
    """The daemons of a process network by name."""
    record = backend.network_record()
    folder = Path(record[0]["tls_cert_path"]).parent.parent
    found = next(each for each in records() if Path(each.folder) == folder)
    return {name: psutil.Process(int(pid)) for name, (pid, _) in found.details["pids"].items()}


def policies_in_graph_of(lncli, backend, node: str) -> list[Policy]:
    """The policies of all directions as a node's own graph has them."""
    ends = backend.endpoints()
    listed = [(ends[name].pubkey, each) for name in ends for each in lncli(ends[name], "listchannels")["channels"]]
    chan_ids = {each["memo"]: (each["scid"], pubkey) for pubkey, each in listed if each["initiator"]}
    edges = {edge["channel_id"]: edge for edge in lncli(ends[node], "describegraph")["edges"]}
    policies = []
    for index in range(len(backend.topology.channels)):
        chan_id, initiator = chan_ids[f"channels[{index}]"]
        sides = (1, 2) if edges[chan_id]["node1_pub"] == initiator else (2, 1)
        policies += [shown_policy(edges[chan_id][f"node{side}_policy"]) for side in sides]
    return policies


def shown_policy(shown: dict[str, str]) -> Policy:
    """A policy as ``describegraph`` shows it."""
    return Policy(
        fee_base_msat=int(shown["fee_base_msat"]),
        fee_rate_ppm=int(shown["fee_rate_milli_msat"]),
        time_lock_delta=int(shown["time_lock_delta"]),
        min_htlc_msat=int(shown["min_htlc"]),
        max_htlc_msat=int(shown["max_htlc_msat"]),
        inbound_fee_base_msat=int(shown["inbound_fee_base_msat"]),
        inbound_fee_rate_ppm=int(shown["inbound_fee_rate_milli_msat"]),
        disabled=shown["disabled"],
    )


def policies_of(topology: Topology) -> list[Policy]:
    """The policies that the topology has for all directions, in their order."""
    both = [policy for channel in topology.policies for policy in (channel.initiator, channel.peer)]
    return [topology.checked_policy(direction, policy) for direction, policy in enumerate(both)]


def policy_in_graph_of(lncli, backend, node: str, direction: int) -> tuple[int, ...]:
    """The policy of a direction as a node's own graph has it."""
    ends = backend.endpoints()
    nodes = backend.topology.nodes
    arrays = backend.topology.arrays
    pair = [ends[nodes[int(column[direction])]].pubkey for column in (arrays.source, arrays.destination)]
    (edge,) = [e for e in lncli(ends[node], "describegraph")["edges"] if {e["node1_pub"], e["node2_pub"]} == set(pair)]
    shown = edge["node1_policy" if edge["node1_pub"] == pair[0] else "node2_policy"]
    return tuple(
        int(shown[key])
        for key in ("fee_base_msat", "fee_rate_milli_msat", "time_lock_delta", "min_htlc", "max_htlc_msat")
    )


def policy_of(topology, direction: int) -> tuple[int, ...]:
    """The policy that the topology has for a direction."""
    arrays = topology.arrays
    columns = arrays.fee_base_msat, arrays.fee_rate_ppm, arrays.time_lock_delta, arrays.min_htlc_msat
    return tuple(int(column[direction]) for column in (*columns, arrays.max_htlc_msat))
