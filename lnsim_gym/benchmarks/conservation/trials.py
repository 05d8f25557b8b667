"""Random networks that payments are made on, each drawn from a seed and a number, and held to their books."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final, Literal, cast

import gymnasium as gym
import msgspec
import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.backends.interventions import balances_after, topology_after
from lnsim_gym.backends.simulator.backend import SimulatorBackend
from lnsim_gym.benchmarks.conservation.books import faults_of_balances, faults_of_payments
from lnsim_gym.benchmarks.parity.drawing import public_network, public_policy, random_amount_msat, random_route
from lnsim_gym.environment.single import LightningNetEnv
from lnsim_gym.environment.vector import LightningNetVectorEnv
from lnsim_gym.errors import ConfigError, LnsimError
from lnsim_gym.network import Topology
from lnsim_gym.network.gossip import GossipOptions
from lnsim_gym.network.public import public
from lnsim_gym.network.routes import hop_amounts_msat
from lnsim_gym.payments import MAX_PARTS, PaymentBatch, PaymentOptions

__all__ = ["KINDS", "Kind", "Trial", "kind_of", "trial"]

Kind = Literal["one part", "several parts", "operator", "vector"]
KINDS: Final[tuple[Kind, ...]] = (*5 * ("one part",), *2 * ("several parts",), "operator", *2 * ("vector",))
"""Kind of each number, over and over."""
ROUNDS: Final = 20
"""Batches on a network; between them policies change, and rebalances are made."""
PAYMENTS: Final = {"one part": 4_000, "several parts": 400}
"""Payments of a batch."""
OPERATOR_STEPS: Final = 40
VECTOR_STEPS: Final = 200
VECTOR_ENVS: Final = 128
TRAFFIC: Final = ("drift", "card", "classic", "simln")


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A network and what became of it."""

    number: int
    kind: Kind
    payments: int
    settled: int
    moved_sat: int
    """Amounts of those that settled."""
    seconds: float = 0.0
    wrong: str = ""
    """What should not be; empty when all is well."""


def kind_of(number: int) -> Kind:
    """Return what is done on the network of a number."""
    return KINDS[number % len(KINDS)]


def trial(seed: int, number: int) -> Trial:
    """Make payments on the network of a number, and hold all balances to them.

    Args:
        seed: Seed of the run.
        number: Of the network; decides everything, with the seed.
    """
    rng = Random(f"{seed}/{number}")
    kind = kind_of(number)
    counts = np.zeros(3, np.int64)
    wrong = ""
    try:
        for payments, settled, moved_sat, faults in _PLAYS[kind](rng):
            counts += payments, settled, moved_sat
            wrong = "; ".join(faults)
            if wrong:
                break
    except (ArithmeticError, LnsimError, LookupError, ValueError) as problem:
        wrong = f"{type(problem).__name__}: {problem}"
    payments, settled, moved_sat = counts.tolist()
    return Trial(number=number, kind=kind, payments=payments, settled=settled, moved_sat=moved_sat, wrong=wrong)


Played = Iterator[tuple[int, int, int, list[str]]]
"""Payments, those that settled, their amounts in sat, and what is wrong, piece by piece."""


def _one_part(rng: Random) -> Played:
    """Pay in one part."""
    return _on_backend(rng, 1, PAYMENTS["one part"])


def _several_parts(rng: Random) -> Played:
    """Pay in several parts."""
    return _on_backend(rng, MAX_PARTS, PAYMENTS["several parts"])


def _on_backend(rng: Random, max_parts: int, count: int) -> Played:
    """Pay on a network such as the public one whose policies change, with rebalances in between."""
    topology = public_network(rng)
    options = PaymentOptions(
        max_parts=max_parts,
        fee_limit_ppm=rng.choice([5_000, 50_000, 500_000]),
        mission_control=rng.choice(["per_payment", "per_episode"]),
        timeout_seconds=rng.choice([1, 30]),
    )
    gossip = rng.choice([None, GossipOptions(), GossipOptions(trickle_seconds=5, sub_batch_seconds=1)])
    backend = SimulatorBackend(topology, options, gossip=gossip)
    backend.draw_as(rng.getrandbits(32), 0)
    balances_msat = _start_msat(rng, topology)
    backend.reset(balances_msat)
    for _ in range(ROUNDS):
        for direction in rng.sample(range(2 * len(topology.channels)), 2):
            policy = public_policy(rng, topology.channels[direction // 2].capacity_sat)
            backend.set_policy(direction, policy)
            topology = topology.with_policy(direction, policy)
        faults = list(_rebalanced(rng, backend, topology, balances_msat))
        before_msat = backend.balances_msat()
        batch = _batch(rng, topology, count, 1_000_000_000 * (4 if max_parts > 1 else 1))
        outcomes = backend.pay(batch)
        balances_msat = backend.balances_msat()
        faults += faults_of_payments(topology, options, batch, outcomes, before_msat, balances_msat)
        settled = outcomes.succeeded
        yield count, int(settled.sum()), int(batch.amount_msat[settled].sum()) // 1000, faults


def _rebalanced(rng: Random, backend: SimulatorBackend, topology: Topology, before_msat: Int64) -> Iterator[str]:
    """Rebalance over a random route; yield what is wrong with what that made of the balances."""
    route, amount_msat = random_route(rng, topology), random_amount_msat(rng)
    result = backend.rebalance(route, amount_msat)
    wanted_msat = before_msat.copy().reshape(-1)
    if result.applied_msat:
        sent_msat = result.hop_msat or hop_amounts_msat(topology, route, result.applied_msat)
        for direction, hop_msat in zip(result.carried_by or route, sent_msat, strict=True):
            wanted_msat[direction] -= hop_msat
            wanted_msat[direction ^ 1] += hop_msat
        if sent_msat[0] != result.applied_msat + result.fee_msat:
            yield f"a rebalance over {route} did not cost its fee"
    after_msat = backend.balances_msat()
    if (after_msat.reshape(-1) != wanted_msat).any():
        yield f"balances after a rebalance over {route} of {amount_msat} msat do not follow from it"
    yield from faults_of_balances(topology, after_msat)


def _operator(rng: Random) -> Played:
    """Run a node of one's own by random actions, and hold its funds to what it earned and paid, too."""
    env = _operator_env(rng)
    network = cast("LightningNetEnv", env.unwrapped)
    own: Int64 = cast("Any", network.problem.task).out
    env.action_space.seed(rng.getrandbits(30))
    env.reset(seed=rng.getrandbits(30))
    funds_msat = int(network.balances_msat().ravel()[own].sum()) + 1000 * cast("Any", network.config).wallet_sat
    for _ in range(OPERATOR_STEPS):
        at_first, before_msat = network.topology, network.balances_msat()
        _, _, _, truncated, info = env.step(env.action_space.sample())
        done = network.interventions()
        paid_from_msat = balances_after(at_first, before_msat, done)
        batch, outcomes, after_msat = network.last_batch(), network.last_outcomes(), network.balances_msat()
        now = topology_after(at_first, done)
        faults = list(faults_of_payments(now, network.config.payment, batch, outcomes, paid_from_msat, after_msat))
        money = info["ledger"]
        costs_msat = sum(money[name] for name in ("rebalance_fee_msat", "swap_fee_msat", "chain_fee_msat"))
        funds_msat += money["income_msat"] - costs_msat
        if money["funds_msat"] != funds_msat:
            faults.append(f"own funds are {money['funds_msat']} msat, earned and paid make {funds_msat}")
        if money["funds_msat"] != int(after_msat.ravel()[own].sum()) + money["wallet_msat"]:
            faults.append("own funds are not those of the channels and the wallet")
        settled = outcomes.succeeded
        yield len(settled), int(settled.sum()), int(batch.amount_msat[settled].sum()) // 1000, faults
        if truncated:
            break
    env.close()


def _operator_env(rng: Random) -> gym.Env[Any, Any]:
    """Make the environment of a node somewhere in a random network, where there are some who would pay through it."""
    while True:
        topology = public(
            nodes=rng.choice([40, 60, 100]),
            own_channels=rng.randint(3, 8),
            seed=rng.getrandbits(20),
            own_capacity_sat=10**8,
        )
        try:
            return gym.make(
                "LightningOperator-v0",
                topology=topology.to_dict(),
                action=rng.choice(["box", "multidiscrete", "dict"]),
                gossip=rng.choice(["at_once", "lnd"]),
            )
        except ConfigError:  # nobody would: it lies beside all ways
            continue


def _vector(rng: Random) -> Played:
    """Step a vector of environments by random actions; of its payments there are sums only."""
    topology = public_network(rng)
    envs = LightningNetVectorEnv(
        VECTOR_ENVS,
        max_episode_steps=100,
        topology=topology,
        action=rng.choice(["discrete", "multidiscrete"]),
        traffic={"kind": rng.choice(TRAFFIC)},
        payment={"max_parts": rng.choice([1, 1, 1, 4])},
        start_balances={"low": 0.1, "high": 0.9},
    )
    envs.action_space.seed(rng.getrandbits(30))
    envs.reset(seed=rng.getrandbits(30))
    for _ in range(VECTOR_STEPS):
        _, _, _, _, infos = envs.step(envs.action_space.sample())
        faults = list(faults_of_balances(topology, envs.balances_msat()))
        yield int(infos["payments"].sum()), int(infos["succeeded"].sum()), int(infos["volume_sat"].sum()), faults
    envs.close()


def _start_msat(rng: Random, topology: Topology) -> Int64:
    """Draw balances that a network can be reset to: the topology's, now and then others."""
    start_msat = topology.start_balances_msat()
    if rng.random() < 0.5:
        return start_msat
    shares = np.array([rng.random() for _ in start_msat])
    initiator_msat = start_msat[:, 0] + (shares * start_msat[:, 1]).astype(np.int64)
    return np.stack([initiator_msat, topology.owned_total_msat - initiator_msat], axis=1)


def _batch(rng: Random, topology: Topology, count: int, largest_msat: int) -> PaymentBatch:
    """Draw payments between any two nodes: of some msat, of whole sat, or of anything."""
    draws = np.random.default_rng(rng.getrandbits(64))
    nodes = len(topology.nodes)
    source = draws.integers(0, nodes, count)
    destination = (source + draws.integers(1, nodes, count)) % nodes
    kinds = draws.integers(0, 4, count)
    amount_msat = np.choose(
        kinds,
        [
            draws.integers(1, 1_000_000, count),
            1000 * draws.integers(1, 100_000, count),
            draws.integers(1, largest_msat, count),
            np.exp(draws.uniform(np.log(10_000), np.log(largest_msat), count)).astype(np.int64),
        ],
    )
    return PaymentBatch(source, destination, amount_msat.astype(np.int64), np.zeros(count, np.int64))


_PLAYS: Final[dict[Kind, Callable[[Random], Played]]] = {
    "one part": _one_part,
    "several parts": _several_parts,
    "operator": _operator,
    "vector": _vector,
}
