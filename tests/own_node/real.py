"""Do forecasts hold of nodes that really ran? ``python -m tests.own_node.real 2 4 6``.

Each history is that of one of twelve lnd daemons, its operator's: for three weeks, six hours in each step, the others
pay one another by a market whose law is known, with spells, days and nights, and payments that fail, while a rule sets
the node's fees. Then the node is exported by lncli as its operator would do it, imported, fitted to all weeks but the
last, and that one is foretold; and the last weeks are backtested. Only times are changed in the exports: a step takes
seconds here.

The seeds are the first three of which the node has 20 forwards in the first two weeks, as many as a fit needs, when the
simulator plays them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from lnsim_gym.agents import make_agent
from lnsim_gym.backends.lnd.nodes.programs import find_binaries
from lnsim_gym.backends.lnd.rpc.endpoint import NodeEndpoint
from lnsim_gym.episodes import Problem
from lnsim_gym.episodes.start import open_episodes
from lnsim_gym.network.public import OWN_NODE
from lnsim_gym.own_node import backtest_node, import_node, load_node
from lnsim_gym.own_node.reading.folder import load_network
from lnsim_gym.own_node.reading.history import DAY_NS
from lnsim_gym.tasks.config import EnvironmentConfig
from lnsim_gym.tasks.operator.ledger import INCOME
from tests.own_node.coverage import POLICIES, STEPS, Foretold, foretell
from tests.own_node.histories import BEGIN_NS, History, play_step

WEEKS = 3
STEP_NS = DAY_NS // 4
EXPORTS = {
    "graph": ("describegraph", "--include_unannounced"),
    "channels": ("listchannels",),
    "history": ("fwdinghistory", "--start_time=1", "--max_events=50000"),
    "payments": ("listpayments",),
    "chain": ("listchaintxns",),
}
TIMES = {"timestamp_ns": 1, "creation_time_ns": 1, "attempt_time_ns": 1, "resolve_time_ns": 1, "timestamp": 10**9}
"""Times in exports that are moved, and their units in ns."""


def problem_of(seed: int, backend: str = "lnd", **settings: Any) -> Problem:
    """Return the problem of a node with five channels among eleven others."""
    kwargs = {**gym.spec("LightningOperatorLive-v0").kwargs}
    kwargs.pop("max_episode_steps", None)
    topology = (
        f"public(nodes = 11, channels = 22, seed = {seed}, own_channels = 5, own_capacity_sat = 20_000_000, "
        "parallel_share = 0, disabled_share = 0, inbound_share = 0.1)"
    )
    traffic = {"kind": "market", "payments_per_day": 100, "seed": seed}
    chosen = {"topology": topology, "backend": backend, "action": "dict", "traffic": traffic, "payments_per_step": 80}
    return Problem.of(EnvironmentConfig.of({**kwargs, **chosen, **settings}))


class Clock:
    """What time it was in the market, when it was some time here."""

    def __init__(self) -> None:
        self._here_ns, self._there_ns = list[int](), list[int]()

    def tick(self, step: int) -> None:
        """It is the begin of a step now."""
        self._here_ns.append(time.time_ns())
        self._there_ns.append(BEGIN_NS + step * STEP_NS)

    def moved(self, told: Any) -> Any:
        """Return what lncli printed, with times of the market."""
        if isinstance(told, list):
            return [self.moved(each) for each in told]
        if not isinstance(told, dict):
            return told
        return {
            key: str(self._there(int(value) * TIMES[key]) // TIMES[key]) if key in TIMES else self.moved(value)
            for key, value in told.items()
        }

    def _there(self, here_ns: int) -> int:
        first = self._here_ns[0]
        moved = np.interp(here_ns - first, np.array(self._here_ns) - first, np.array(self._there_ns) - BEGIN_NS)
        return BEGIN_NS + int(moved)


def lncli(endpoint: NodeEndpoint, *arguments: str) -> Any:
    """Run lnd's own client, and return what it prints."""
    binaries = find_binaries()
    assert binaries is not None
    argv = [
        str(binaries.lncli),
        f"--rpcserver={endpoint.host}:{endpoint.port}",
        f"--tlscertpath={endpoint.tls_cert_path}",
        f"--macaroonpath={endpoint.macaroon_path}",
        "--network=regtest",
    ]
    return json.loads(subprocess.run([*argv, *arguments], check=True, capture_output=True, timeout=60).stdout)


def live(seed: int, policy: str, out: Path, tell: Callable[[int], None] = lambda _: None) -> History:
    """Let a rule run a real node for some weeks, and import what lncli exports of it.

    Args:
        seed: Seed of the network, of the market and of what is drawn.
        policy: The rule.
        out: Folder to import into.
        tell: Called with the steps done.
    """
    problem = problem_of(seed)
    agent, episodes, rng, clock = (
        make_agent(policy, problem),
        open_episodes(problem),
        np.random.default_rng(seed),
        Clock(),
    )
    income_sat = []
    try:
        episodes.seed(0, seed)
        episodes.begin(np.ones(1, np.bool_))
        for step in range(STEPS * WEEKS):
            clock.tick(step)
            play_step(agent, episodes, rng)
            income_sat.append(episodes.columns.ledger[0, INCOME] / 1000)
            tell(step + 1)
        clock.tick(STEPS * WEEKS)
        endpoint = episodes.backend.endpoints()[OWN_NODE]
        files = {}
        for name, arguments in EXPORTS.items():
            files[name] = out.parent / f"{out.name}_{name}.json"
            files[name].write_text(json.dumps(clock.moved(lncli(endpoint, *arguments))))
    finally:
        episodes.close()
    import_node(
        files["graph"],
        files["channels"],
        [files["history"]],
        out,
        payments=[files["payments"]],
        chain=[files["chain"]],
        now_ns=BEGIN_NS + WEEKS * STEPS * STEP_NS,
    )
    return History(load_node(out), load_network(out), problem, np.array(income_sat))


def rows(seeds: Sequence[int], folder: Path) -> Iterator[str]:
    """Yield what came of each history, and of all."""
    inside: dict[str, list[bool]] = {}
    for seed in seeds:
        policy = POLICIES[seed % len(POLICIES)]
        known = live(
            seed, policy, folder / f"node{seed}", lambda step: print(step, end=" ", file=sys.stderr, flush=True)
        )
        fees_msat = known.node.forwards.in_msat.astype(np.int64) - known.node.forwards.out_msat.astype(np.int64)
        yield (
            f"{seed} {policy}: {len(known.node.forwards)} forwards told {fees_msat.sum() / 1000:,.0f} sat, "
            f"the environment {known.income_sat.sum():,.0f}"
        )
        week = foretell(known)
        for name, each in week.items():
            busy = (each.happened > 0) | (each.draws.max(axis=0) > 0)
            inside.setdefault(name, []).extend(each.inside()[busy].tolist())
        yield f"  {_line(week)}"
        found = backtest_node(known.node, known.topology, [], weeks=WEEKS - 1)
        told = f"{found.foretold:.0f} ({found.foretold_low:.0f}..{found.foretold_high:.0f})"
        yield f"  backtest: {found.income:.0f} sat a day of {told} foretold"
    yield ", ".join(f"{name}: {sum(found)} of {len(found)}" for name, found in inside.items())


def _line(week: dict[str, Foretold]) -> str:
    """Say what a week was, and what was foretold of it."""
    return ", ".join(
        f"{name} {each.happened.sum():.0f} of {each.draws.sum(axis=1).mean():.0f}, "
        f"{int(each.inside().sum())} of {each.inside().size} inside"
        for name, each in week.items()
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for row in rows([int(part) for part in sys.argv[1:]], Path(scratch)):
            print(row, flush=True)
