"""A shared live network, networks of one's own, and LND's own command-line client as an independent witness."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from lnsim_gym.backends.lnd import LndBackend, LndSettings
from lnsim_gym.backends.lnd.nodes.programs import Binaries
from lnsim_gym.backends.lnd.rpc.endpoint import NodeEndpoint
from lnsim_gym.network import Channel, Topology
from lnsim_gym.network.presets import preset
from lnsim_gym.payments import PaymentOptions
from tests.backends.lnd.live import half_and_half

Lncli = Callable[..., Any]
MakeBackend = Callable[..., LndBackend]


@pytest.fixture(scope="session")
def topology() -> Topology:
    return preset("default")


@pytest.fixture(scope="session")
def two_nodes() -> Topology:
    """The smallest network, the quickest to bring up."""
    channel = Channel(initiator="initiator", peer="peer", capacity_sat=1_000_000)
    return Topology(nodes=("initiator", "peer"), channels=(channel,))


@pytest.fixture(scope="session")
def triangle() -> Topology:
    """The smallest network with two ways between any two nodes."""
    pairs = ("alice bob", "bob carol", "carol alice")
    return Topology(
        nodes=("alice", "bob", "carol"),
        channels=tuple(Channel(initiator=a, peer=b, capacity_sat=1_000_000) for a, b in map(str.split, pairs)),
    )


@pytest.fixture
def middle(topology):
    """Balances of about half and half, all of them reachable by payments."""
    return half_and_half(topology)


@pytest.fixture(scope="session")
def shared_backend(lnd_binaries: Binaries, topology: Topology) -> Iterator[LndBackend]:
    """One network for all tests that leave it whole."""
    with LndBackend(topology, settings=LndSettings(launcher="process")) as backend:
        yield backend


@pytest.fixture
def backend(shared_backend: LndBackend, middle) -> LndBackend:
    """The shared network, balances half and half."""
    shared_backend.reset(middle)
    return shared_backend


@pytest.fixture
def make_backend(lnd_binaries: Binaries) -> Iterator[MakeBackend]:
    """Make backends that are closed after the test; deadlines are short."""
    made: list[LndBackend] = []

    def make(topology: Topology, options: PaymentOptions | None = None, **settings: Any) -> LndBackend:
        chosen = {"launcher": "process", "idle_timeout_s": 1.0, "probe_timeout_s": 2.0, **settings}
        made.append(LndBackend(topology, options, LndSettings(**chosen)))
        return made[-1]

    yield make
    for backend in made:
        backend.close()


@pytest.fixture(scope="session")
def lncli(lnd_binaries: Binaries) -> Lncli:
    """Run LND's own client against an endpoint and return the JSON it prints."""

    def call(endpoint: NodeEndpoint, *arguments: str) -> Any:
        argv = [
            str(lnd_binaries.lncli),
            f"--rpcserver={endpoint.host}:{endpoint.port}",
            f"--tlscertpath={endpoint.tls_cert_path}",
            f"--macaroonpath={endpoint.macaroon_path}",
            "--network=regtest",
            *arguments,
        ]
        return json.loads(subprocess.run(argv, check=True, capture_output=True, timeout=30).stdout)

    return call


@pytest.fixture(scope="session")
def reported_sat(lncli: Lncli) -> Callable[[LndBackend], np.ndarray]:
    """Read balances in sat, shape (channels, 2), as both ends of every channel report them to lncli."""

    def read(backend: LndBackend) -> np.ndarray:
        endpoints = backend.endpoints()
        with ThreadPoolExecutor() as pool:
            listings = list(pool.map(lambda name: lncli(endpoints[name], "listchannels"), endpoints))
        listed = [
            (name, channel)
            for name, listing in zip(endpoints, listings, strict=True)
            for channel in listing["channels"]
        ]
        own = {(name, channel["chan_id"]): int(channel["local_balance"]) for name, channel in listed}
        chan_ids = {channel["memo"]: channel["chan_id"] for _, channel in listed if channel["initiator"]}
        rows = [
            [own[name, chan_ids[f"channels[{index}]"]] for name in (channel.initiator, channel.peer)]
            for index, channel in enumerate(backend.topology.channels)
        ]
        return np.array(rows, np.int64).reshape(-1, 2)

    return read
