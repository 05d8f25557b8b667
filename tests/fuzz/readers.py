"""The readers of outside data, and valid data for each to begin with."""

import contextlib
import gzip
import io
import json
import shutil
import tempfile
import warnings
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import msgspec
import numpy as np
from websockets.http11 import Request
from websockets.server import ServerProtocol

import lnsim_gym  # noqa: F401  registers the environments
from lnsim_gym.agents.policy_file import NetworkAgent
from lnsim_gym.agents.recipe import RuleRecipe, read_recipe
from lnsim_gym.agents.registry import build_rule
from lnsim_gym.backends.lnd.nodes.launchers.attach import AttachLauncher
from lnsim_gym.bridge.clock import now
from lnsim_gym.bridge.dialogue import Dialogue
from lnsim_gym.bridge.frames import encode
from lnsim_gym.bridge.names import WireNames
from lnsim_gym.bridge.server import BridgeServer
from lnsim_gym.bridge.settings import BridgeSettings
from lnsim_gym.bridge.suggestions import SuggestionQueue
from lnsim_gym.bridge.token_bucket import TokenBucket
from lnsim_gym.dashboard import Dashboard
from lnsim_gym.dashboard.recordings import open_recording
from lnsim_gym.environment.files import read_environment
from lnsim_gym.network.load import load_topology
from lnsim_gym.network.presets import preset
from lnsim_gym.own_node import import_node
from lnsim_gym.own_node.following.record import RECORD, Given, Outcome, read_record
from lnsim_gym.paths import data_folder
from lnsim_gym.records.events import EpisodeStart
from lnsim_gym.records.parquet import ParquetRecorder
from lnsim_gym.records.trace import read_trace
from lnsim_gym.tasks.config import EnvironmentConfig
from tests.network.importers.formats import CLOTH, simln
from tests.network.importers.test_files import GRAPH, LISTCHANNELS, OWN
from tests.own_node import exports
from tests.own_node.advice.test_guards import REFILL
from tests.own_node.following.test_record import CHANGE, CLOSING, LEFT, advice, taken
from tests.records.ledger import FIVE, START, a_step

DATA = Path(__file__).parents[1] / "data"


@dataclass(frozen=True)
class Reader:
    """A reader of outside data."""

    read: object
    """Takes a folder to work in, and the data as bytes; whatever these are, it raises nothing but our errors."""
    seeds: tuple
    """Valid data."""


def zipped(files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return packed.getvalue()


def read_network(folder, data):
    file = folder / "network"
    file.write_bytes(data)
    load_topology(file)


def read_cloth(folder, data):
    """One file of CLoTH's three was changed; a line of dashes parts them."""
    place = folder / "cloth"
    place.mkdir(exist_ok=True)
    for name, text in zip(CLOTH, data.split(b"\n---\n", 2), strict=False):
        (place / f"{name}.csv").write_bytes(text)
    load_topology(place)


def read_settings(folder, data):
    file = folder / "Some-v0.toml"
    file.write_bytes(data)
    settings = read_environment(file).settings
    EnvironmentConfig.of(settings)


def read_a_trace(folder, data):
    file = folder / "trace.jsonl"
    file.write_bytes(data)
    read_trace(file)


def show_a_trace(folder, data):
    file = folder / "trace.jsonl"
    file.write_bytes(data)
    for shown in open_recording(file, None, simulate=False):
        encode(shown)


def replay_a_trace(folder, data):
    file = folder / "trace.jsonl"
    file.write_bytes(data)
    for shown in open_recording(file, None, simulate=True):
        encode(shown)


@cache
def problem():
    return gym.make("LightningNet-v0").unwrapped.problem


def read_a_recipe(folder, data):
    file = folder / "agent.toml"
    file.write_bytes(data)
    recipe = read_recipe(str(file))
    if isinstance(recipe, RuleRecipe):
        build_rule("agent", recipe, problem())
    else:
        _ = recipe.view, recipe.max_episode_steps


def read_a_policy(folder, data):
    file = folder / "policy.npz"
    file.write_bytes(data)
    recipe = read_recipe("dpi")
    with contextlib.suppress(ValueError):  # the way to say that it is no plain network
        NetworkAgent.load("dpi", problem(), recipe, file)


def attach_to_nodes(folder, data):
    file = folder / "nodes.toml"
    file.write_bytes(data)
    AttachLauncher("theirs", file)


def read_parquet(folder, data):
    """One of the two files of a run, both of which follow each other in the data."""
    place = folder / "parquet"
    place.mkdir(exist_ok=True)
    at = data.rfind(b"PAR1PAR1") + 4
    for name, part in (("events", data[:at]), ("balances", data[at:])):
        (place / f"{name}-00000.parquet").write_bytes(part)
    for shown in open_recording(place, None, simulate=False):
        encode(shown)


class Answers:
    """Stands for a client's session and keeps nothing."""

    number, control_refusal, subscribed, mask = 1, "", False, 0

    def may_talk(self):
        return True

    def reply(self, kind, **fields):
        encode(kind(seq=0, timestamp=now(), **fields))


@cache
def dialogue():
    queue = SuggestionQueue(30.0, lambda *_: None)
    names = WireNames(preset("default"))
    host = SimpleNamespace(controls=None, desk=None, describe_network=lambda: (), answerer=lambda _: None)
    made = Dialogue(names, queue, lambda _: None, lambda _: None, host)
    made._relays = TokenBucket(1e9, 1e9)
    return made


def answer_a_message(folder, data):
    dialogue().answer(Answers(), data)


@cache
def web_server():
    """Return the bridge's server with a dashboard, which answers requests without listening."""
    queue = SuggestionQueue(30.0, lambda *_: None)
    server = BridgeServer(BridgeSettings(), WireNames(preset("default")), None, queue, None)
    server._loop.close()
    server.desk = Dashboard(preset("default"), ["noop"], lambda _: None, ())
    server._requests = server._joins = TokenBucket(1e9, 1e9)
    return server


def answer_a_request(folder, data):
    """Bytes of a connection up to the end of the first request, as the server takes them."""
    protocol = ServerProtocol()
    protocol.receive_data(data)
    protocol.receive_eof()
    for event in protocol.events_received():
        if isinstance(event, Request):
            web_server()._admit(SimpleNamespace(respond=protocol.reject), event)


def import_a_node(folder, data):
    """What an lnd answers, as its command line writes it; of five answers, parted by dashes, one was changed."""
    files = []
    for number, text in enumerate(data.split(b"\n---\n", 4)):
        files.append(folder / f"answer-{number}.json")
        files[-1].write_bytes(text)
    graph, channels, *rest = [*files, *[folder / "missing"] * 2][: max(2, len(files))]
    out = folder / "node"
    shutil.rmtree(out, ignore_errors=True)
    import_node(graph, channels, rest[:1], out, payments=rest[1:2], chain=rest[2:], now_ns=exports.NOW_NS)


def recorded_parquet():
    """Return the two files of a step, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        recorder = ParquetRecorder(Path(folder), FIVE, started=START)
        recorder.episode_started(
            EpisodeStart(episode=0, seed=11, start_balances_msat=FIVE.start_balances_msat(), timestamp=START)
        )
        recorder.stepped(a_step())
        recorder.close()
        return b"".join((recorder.path / f"{name}-00000.parquet").read_bytes() for name in ("events", "balances"))


TOPOLOGY = msgspec.json.encode(preset("default"))
GRAPHML = b"""<?xml version='1.0' encoding='utf-8'?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns"><key id="d0" for="edge" attr.name="capacity" attr.type="long"/>
<graph edgedefault="undirected"><node id="a"/><node id="b"/><node id="c"/>
<edge source="a" target="b"><data key="d0">1000000</data></edge>
<edge source="b" target="c"><data key="d0">2000000</data></edge></graph></graphml>
"""
NODE_LINK = {
    "directed": False,
    "multigraph": False,
    "graph": {},
    "nodes": [{"id": "a"}, {"id": "b"}],
    "edges": [{"source": "a", "target": "b", "capacity": 1_000_000}],
}
JSONS = (GRAPH, LISTCHANNELS, simln(("anna", "bert", 10**9), ("bert", "cleo", 10**9)), NODE_LINK)
MESSAGES = (
    {"type": "ping"},
    {"type": "heartbeat"},
    {"type": "register", "client": "lightning_lens"},
    {"type": "connection_test", "data": [1, {"a": 2}]},
    {"type": "subscribe", "kinds": ["transaction", "activity"]},
    {"type": "rebalance_suggestion", "suggestion": {"from_node": "alice", "to_node": "bob", "amount": 1000, "id": "1"}},
    {"type": "suggestions", "suggestions": [{"from_node": "alice", "to_node": "bob", "amount": 1, "priority": 0.5}]},
    {"type": "rebalance_suggestion", "data": {"route": [0, 2, 4], "amount": 10, "id": "r"}},
    {"type": "request_suggestions"},
    {"type": "request_network"},
    {"type": "reset", "seed": 3},
    {"type": "step", "action": 1},
    {"type": "set_speed", "steps_per_second": 2.0},
    {"type": "choose_agent", "agent": "noop"},
    {"event_type": "pause"},
)
ATTACH = b"""[[nodes]]
name = "alice"
host = "127.0.0.1"
port = 1
tls_cert = "nodes.toml"
macaroon = "nodes.toml"
[[nodes]]
name = "bob"
host = "localhost"
port = 2
tls_cert = "nodes.toml"
macaroon = "~/nodes.toml"
"""


REQUESTS = tuple(
    b"GET %b HTTP/1.1\r\nHost: 127.0.0.1:6789\r\n%b\r\n" % (path, more)
    for path, more in (
        (b"/", b""),
        (b"/index.html?token=a%20b", b"Origin: http://127.0.0.1:6789\r\n"),
        (b"/api/suggestions", b"Authorization: Bearer x\r\nAccept: */*\r\n"),
        (b"/api/schema", b"Origin: http://[::1]:6789\r\n"),
        (b"/../../etc/passwd", b""),
        (
            b"/ws",
            b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n",
        ),
    )
)


def node_answers():
    """Return what a node tells of itself, as its owner exports it."""
    with tempfile.TemporaryDirectory() as folder:
        files = exports.write(Path(folder))
        names = ("graph", "channels", "history", "payments", "chain")
        return b"\n---\n".join(files[name].read_bytes() for name in names)


def read_a_record(folder, data):
    (folder / RECORD).write_bytes(data)
    read_record(folder)


def record_lines():
    """Return a record: advice, an action, and an outcome."""
    entries = [Given(advice=advice(CHANGE, REFILL, CLOSING)), taken(REFILL)]
    outcome = Outcome(advice_ns=1, was_done=True, levels=LEFT, earned_sat=1.0, channels=((5, LEFT, 0.5),))
    return b"\n".join(map(msgspec.json.encode, [*entries, outcome]))


def core_answers():
    """Return the same as Core Lightning tells it."""
    channels = {"channels": [exports.peer_channel("bert", "700000x0x0", 100_000_000)]}
    history = {"in_channel": "700001x0x0", "out_channel": "700000x0x0", "received_time": 1.6e9, "status": "settled"}
    documents = (channels, {"forwards": [{**history, "in_msat": "5001msat", "out_msat": 5000}]})
    return b"\n---\n".join([exports.core_graph().encode(), *(json.dumps(one).encode() for one in documents)])


READERS = (
    "networks",
    "cloth",
    "generators",
    "settings",
    "traces",
    "shown_traces",
    "replayed_traces",
    "recipes",
    "policies",
    "attach_files",
    "messages",
    "parquet",
    "requests",
    "node_answers",
    "node_records",
)


@cache
def readers():
    """Return all readers by name."""
    dumped = tuple(json.dumps(one).encode() for one in JSONS)
    networks = (
        *dumped,
        dumped[0] + b"\n" + json.dumps(OWN).encode(),
        TOPOLOGY,
        GRAPHML,
        gzip.compress(dumped[0]),
        zipped({f"{name}.csv": text for name, text in CLOTH.items()}),
        dumped[0].decode().encode("utf-16"),
        (DATA / "seven_nodes.toml").read_bytes(),
        b'generator = "scale_free"\nnodes = 20\nchannels = 40\nseed = 7\n',
    )
    traces = tuple((DATA / name).read_bytes() for name in ("default_push.jsonl", "seven_nodes_circular.jsonl"))
    short = tuple(b"\n".join(trace.splitlines()[:4]) for trace in traces)
    recipes = tuple(path.read_bytes() for path in sorted(data_folder("agents").glob("*.toml")))
    return {
        "networks": Reader(read_network, networks),
        "cloth": Reader(read_cloth, ("\n---\n".join(CLOTH.values()).encode(),)),
        "generators": Reader(
            lambda folder, data: load_topology(data.decode(errors="replace")),
            (
                b"scale_free(nodes = 20, channels = 40, seed = 7)",
                b"ring(nodes = 5)",
                b"complete(nodes = 4)",
                b"default",
            ),
        ),
        "settings": Reader(
            read_settings, tuple(path.read_bytes() for path in sorted(data_folder("envs").glob("*.toml")))
        ),
        "traces": Reader(read_a_trace, short),
        "shown_traces": Reader(show_a_trace, short),
        "replayed_traces": Reader(replay_a_trace, short),
        "recipes": Reader(read_a_recipe, recipes),
        "policies": Reader(read_a_policy, ((data_folder("agents") / "dpi.npz").read_bytes(),)),
        "attach_files": Reader(attach_to_nodes, (ATTACH,)),
        "messages": Reader(answer_a_message, tuple(json.dumps(message).encode() for message in MESSAGES)),
        "parquet": Reader(read_parquet, (recorded_parquet(),)),
        "requests": Reader(answer_a_request, REQUESTS),
        "node_answers": Reader(import_a_node, (node_answers(), core_answers())),
        "node_records": Reader(read_a_record, (record_lines(),)),
    }


@contextlib.contextmanager
def workplace():
    """Give a folder to work in, in memory where there is one; warnings are no failure."""
    room = "/dev/shm" if Path("/dev/shm").is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="lnsim-fuzz-", dir=room))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            yield folder
        finally:
            shutil.rmtree(folder)
