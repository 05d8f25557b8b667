"""A node as it was imported: a folder that only its owner can read, with the network around it and its history."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from lnsim_gym.arrays import UInt64
from lnsim_gym.errors import ConfigError, TopologyError
from lnsim_gym.network import Topology
from lnsim_gym.network.importers.channels import announce
from lnsim_gym.network.load import load_topology, read_network
from lnsim_gym.network.topology import unconnected_is_fine
from lnsim_gym.own_node.reading.channels import Channel, implementation_of, read_channels
from lnsim_gym.own_node.reading.files import read_documents
from lnsim_gym.own_node.reading.forwards import read_failures, read_history
from lnsim_gym.own_node.reading.history import DAY_NS, Failures, Forwards, Refills
from lnsim_gym.own_node.reading.origin import foreign_forwards, require_own, told_until_ns
from lnsim_gym.own_node.reading.spending import read_chain_fees, read_refills

__all__ = ["KEPT", "NETWORK", "OwnNode", "import_node", "load_network", "load_node"]

NETWORK: Final = "network.json"
"""File with the network, which environments take as their topology."""
KEPT: Final = ("record.jsonl",)
"""Files of a node's folder that outlive a further import."""
_NODE: Final = "node.json"
_HISTORY: Final = "history.npz"
_DAMAGED: Final = (ValueError, KeyError, TypeError, EOFError, OverflowError, zipfile.BadZipFile, zlib.error)
"""What NumPy raises where a file of its own is not whole."""


class _Stored(msgspec.Struct, kw_only=True):
    """What ``node.json`` holds: fields of ``OwnNode``, without its history."""

    name: str
    public_key: str
    imported_ns: int
    channels: tuple[Channel, ...]
    chain_fees: dict[str, tuple[int, int]]
    told: tuple[str, ...]
    left_out: dict[str, int]
    implementation: str = "lnd"
    told_until_ns: int = 0
    foreign_forwards: int = 0


@dataclass(frozen=True)
class OwnNode:
    """One node, its channels and what is known of its past."""

    name: str
    """As the node is called in the network."""
    public_key: str
    imported_ns: int
    """When it was imported, in nanoseconds since 1970."""
    channels: tuple[Channel, ...]
    """Channels that it had then."""
    forwards: Forwards
    failures: Failures
    refills: Refills
    chain_fees: dict[str, tuple[int, int]]
    """By transaction id of the wallet: time in ns, and fee in sat."""
    told: tuple[str, ...]
    """Kinds of exports that were given besides the graph and the channels; what is not among them is unknown, not 0."""
    left_out: dict[str, int]
    """How much of the exports was not taken, by cause."""
    implementation: str = "lnd"
    """What the node runs: ``"lnd"`` or ``"core_lightning"``."""
    told_until_ns: int = 0
    """Until when the history surely tells, in nanoseconds since 1970: it may be an old export. 0 where not known."""
    foreign_forwards: int = 0
    """Forwards that seem to be another node's; see ``foreign_forwards``."""


def import_node(
    graph: Path,
    channels: Path,
    history: Sequence[Path],
    out: Path,
    *,
    payments: Sequence[Path] = (),
    chain: Sequence[Path] = (),
    failures: Path | None = None,
    cuts: Sequence[str] = (),
    now_ns: int | None = None,
    live: bool = False,
) -> OwnNode:
    """Read a node's exports and keep them in a folder of their own.

    Args:
        graph: ``lncli describegraph``, or Core Lightning's ``listchannels`` and ``listnodes``, one after the other.
        channels: ``lncli listchannels`` of the node, or Core Lightning's ``listpeerchannels``.
        history: ``lncli fwdinghistory``, or another that ``read_history`` knows, in as many files as it took.
        out: Folder to make, for its owner only; one of the same node is replaced.
        payments: ``lncli listpayments``, for refills.
        chain: ``lncli listchaintxns``, for fees of transactions.
        failures: Failed forwards, as ``read_failures`` knows them.
        cuts: What of the network is kept; see ``Topology.cut``.
        now_ns: When the exports were made, in nanoseconds since 1970; by default now.
        live: Whether the node told all of it just now, so that days without a forward are not those of an old export.

    Raises:
        ConfigError: A file is not what it should be, the files are of different nodes, or ``out`` is something else.
    """
    now_ns = time.time_ns() if now_ns is None else now_ns
    latest_ns = now_ns + DAY_NS
    left_out: Counter[str] = Counter()
    around, listed = read_documents(graph), read_documents(channels)  # once, as both may be pipes
    held = read_channels(listed, channels, left_out)
    try:
        with unconnected_is_fine():
            topology, report = read_network({"files": [*around, *listed]})
    except TopologyError as problem:
        raise ConfigError(f"{graph}: {problem}") from None
    own = _own_node(topology, held, graph, channels)
    whole, topology = topology, topology.cut(*cuts)
    key = topology.public_keys[topology.nodes.index(own)] if own in topology.nodes else ""
    if not key:
        raise ConfigError(f"expected cuts that keep the own node {own}, got {', '.join(cuts)}")
    announce(str(graph), topology, report)
    forwards, failed = read_history(history, latest_ns, left_out)
    refills = read_refills(payments, key, latest_ns, left_out)
    foreign = foreign_forwards(forwards, held, refills, whole, own)
    require_own(foreign, forwards, history)
    if failures is not None:
        failed = read_failures(failures, latest_ns, left_out)
    node = OwnNode(
        name=own,
        public_key=key,
        imported_ns=now_ns,
        channels=_with_aliases(held, topology),
        forwards=forwards,
        failures=failed,
        refills=refills,
        chain_fees=read_chain_fees(chain, left_out),
        told=tuple(
            kind
            for kind, given in (("failures", failures or len(failed)), ("payments", payments), ("chain", chain))
            if given
        ),
        left_out=dict(left_out),
        implementation=implementation_of(listed),
        told_until_ns=now_ns if live else told_until_ns(forwards, now_ns),
        foreign_forwards=foreign,
    )
    _write(node, topology, out)
    return node


def _own_node(topology: Topology, held: Sequence[Channel], graph: Path, channels: Path) -> str:
    """Return the name of the node whose channels are listed.

    Raises:
        ConfigError: The graph has none of them, or they are of several nodes.
    """
    keys = dict(zip(topology.nodes, topology.public_keys, strict=True)) if topology.public_keys else {}
    by_number = {one.chan_id: one for one in topology.channels}
    found: Counter[str] = Counter()
    for channel in held:
        edge = by_number.get(channel.number)
        if edge is None:
            continue
        ends = (edge.initiator, edge.peer)
        found.update(end for end in ends if keys.get(end) != channel.remote_pubkey and len(set(ends)) == 2)
    if not found:
        raise ConfigError(f"none of the channels of {channels} is in {graph}: are both of one node, and of one time?")
    if len(found) > 1:
        names = " and ".join(repr(name) for name, _ in found.most_common(2))
        raise ConfigError(f"{channels} lists channels of more than one node ({names}): give those of one")
    return next(iter(found))


def _with_aliases(held: Sequence[Channel], topology: Topology) -> tuple[Channel, ...]:
    """Return channels with the aliases that the graph knows where they have none."""
    aliases = dict(zip(topology.public_keys, topology.aliases or topology.nodes, strict=True))
    return tuple(
        msgspec.structs.replace(one, peer_alias=one.peer_alias or aliases.get(one.remote_pubkey, "")) for one in held
    )


def _write(node: OwnNode, topology: Topology, out: Path) -> None:
    """Write the folder beside its place, then put it there; a link is followed."""
    stored = _Stored(**{name: getattr(node, name) for name in _Stored.__struct_fields__})
    try:
        out = out.expanduser().resolve(strict=False)
        if out.exists() and (not out.is_dir() or any(out.iterdir())) and _key_in(out) != node.public_key:
            raise ConfigError(f"{out} is there and holds something else than this node: name another folder")
        out.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        try:
            (fresh / NETWORK).write_bytes(msgspec.json.encode(topology.to_dict()))
            (fresh / _NODE).write_bytes(msgspec.json.encode(stored))
            history = {kind: getattr(node, kind).rows() for kind in ("forwards", "failures", "refills")}
            np.savez_compressed(fresh / _HISTORY, **history)
            for kept in filter(Path.is_file, (out / name for name in KEPT)):
                shutil.copyfile(kept, fresh / kept.name)
            for path in fresh.iterdir():
                path.chmod(0o600)
            _put(fresh, out)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except (OSError, RuntimeError) as problem:  # links that lead in a circle are a RuntimeError
        raise ConfigError(f"cannot write {out}: {getattr(problem, 'strerror', None) or problem}") from None


def _put(fresh: Path, out: Path) -> None:
    """Put a folder in the place of another, which is there until the new one is."""
    if not out.exists():
        os.replace(fresh, out)
        return
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent, ignore_cleanup_errors=True) as aside:
        former = Path(aside, out.name)
        os.replace(out, former)
        try:
            os.replace(fresh, out)
        except BaseException:
            if not out.exists():
                os.replace(former, out)
            raise


def _key_in(folder: Path) -> str:
    """Return the public key of the node in a folder; empty when there is none."""
    try:
        return msgspec.json.decode((folder / _NODE).read_bytes(), type=_Stored).public_key
    except (OSError, msgspec.MsgspecError):
        return ""


def load_node(folder: Path) -> OwnNode:
    """Return a node that was imported.

    Raises:
        ConfigError: The folder holds none, or is damaged.
    """
    place = folder.expanduser()
    try:
        stored = msgspec.json.decode((place / _NODE).read_bytes(), type=_Stored)
        with np.load(place / _HISTORY, allow_pickle=False) as columns:
            forwards = Forwards.of(_rows(columns["forwards"]))
            failures = Failures.of(_rows(columns["failures"]))
            refills = Refills.of(_rows(columns["refills"]))
    except (FileNotFoundError, NotADirectoryError) as problem:
        missing = Path(problem.filename).name if place.is_dir() else _NODE
        raise ConfigError(f"{folder} holds no {missing}: is it a folder that `lnsim node import` made?") from None
    except OSError as problem:
        raise ConfigError(
            f"expected a folder that `lnsim node import` made, got {folder}: {problem.strerror or problem}"
        ) from None
    except (msgspec.MsgspecError, *_DAMAGED) as problem:
        raise ConfigError(f"{folder} is damaged ({problem}): import the node again") from None
    return OwnNode(**msgspec.structs.asdict(stored), forwards=forwards, failures=failures, refills=refills)


def load_network(folder: Path) -> Topology:
    """Return the network around a node that was imported, with its balances.

    Raises:
        ConfigError: The folder holds none, or is damaged.
    """
    with unconnected_is_fine():
        return load_topology(folder.expanduser() / NETWORK)


def _rows(table: UInt64) -> list[tuple[int, ...]]:
    """Return a stored table as rows."""
    return list(map(tuple, table.tolist()))
