"""Surveys of episodes: what the payments of an operator's environment would pay to pass through the own node.

An episode is played in the exact engine under one fixed fee rate, for the balances that others have at the begin of
each step. All that depends on them is worked out once (``search``), so that ``replay`` needs no network any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Bool, Float32, Float64, Int64
from lnsim_gym.backends.simulator.engine import compile_network
from lnsim_gym.corridor.search import Found, Labels, quote, survey_payments
from lnsim_gym.episodes import Problem
from lnsim_gym.episodes.start import open_episodes
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks.operator.features import CHANNEL_FEATURES, PER_CHANNEL
from lnsim_gym.tasks.operator.others import competitors_at, restored
from lnsim_gym.tasks.operator.task import OperatorTask
from lnsim_gym.traffic.flows import HOUR_MS

__all__ = ["PEER_FEATURES", "REFERENCE_PPM", "Survey", "require_surveyable", "survey_episode"]

REFERENCE_PPM: Final = 400
"""Fee rate of all own channels while an episode is surveyed."""
QUOTED_SAT: Final = (50_000, 300_000)
"""Amounts that circular rebalances are quoted for."""
QUOTE_HOURS: Final = 24.0
"""How often they are quoted."""
PEER_FEATURES: Final = (
    "active",
    "peer_fee_rate",
    "peer_fee_base",
    "peer_inbound_fee_rate",
    "peer_max_htlc",
)
"""What is observed of a channel that the own node does not decide."""


class Survey(NamedTuple):
    """One surveyed episode; arrays of channels are in the order of the own channels."""

    topology: str
    """The network, as the setting of the environment names it."""
    seed: int
    step_ms: int
    change_ms: int
    """Time after which others take one more change of a policy; 0 for no limit."""
    burst_ms: int
    """Time that is saved up for changes at most."""
    least_change: float
    """Share by which a number of a policy must change to be announced."""
    reference_ppm: int
    """Fee rate of all own channels while it was surveyed."""
    reference_income_msat: int
    """Income of the episode in the exact engine then."""
    peer: Int64  # (channels,) node index
    capacity_msat: Int64  # (channels,)
    balance_msat: Int64  # (2, channels) when the episode begins: own and peer's
    keep_msat: Int64  # (2, channels) what each end cannot spend
    most_msat: Int64  # (channels,) greatest HTLC that may be announced
    least_msat: Int64  # (channels,) least HTLC that is announced
    policy: Int64  # (channels, 4) when the episode begins: POLICY_NUMBERS, amounts in msat
    inbound_base_msat: Int64  # (channels,) base of the inbound fee, which nobody changes
    paid_ppm: Int64  # others' fee rates towards the peers, channel after channel, at the begin
    paid_first: Int64  # (channels + 1,) where those of each channel begin
    peers_seen: Float32  # (steps + 1, channels, len(PEER_FEATURES)) as observations have them
    node_seen: Float32  # (steps + 1, len(NODE_FEATURES)) likewise
    enabled: Bool  # (steps, 2, channels) own and peer's end while the payments of a step are made
    quotes_ppm: Float32  # (quotes, 2, channels, channels) by channel to leave and to come back by
    quoted_msat: Int64  # (2,)
    quote_steps: int
    """Steps that quotes hold for."""
    first: Int64  # (steps + 1,) the first payment of each step
    amount_msat: Int64  # (payments,) and so on: see ``search.Found``
    limit_msat: Int64
    around: Float64
    attempt_msat: Float64
    to_us_fee: Float32  # (payments, channels)
    to_us_weight: Float32
    to_us_hops: npt.NDArray[np.int8]
    onward_fee: Float32
    onward_weight: Float32
    onward_hops: npt.NDArray[np.int8]

    @property
    def steps(self) -> int:
        """Steps of the episode."""
        return len(self.enabled)

    @property
    def days(self) -> float:
        """Its length in days of simulated time."""
        return self.steps * self.step_ms / HOUR_MS / 24


def require_surveyable(problem: Problem) -> OperatorTask:
    """Return the task of a problem that can be surveyed.

    Raises:
        ConfigError: It is another task than the operator's, on real nodes or several networks, or has payments in
            several parts or channels that come and go.
    """
    task, config = problem.task, problem.config
    if not isinstance(task, OperatorTask):
        raise ConfigError(f"a survey needs an environment with task 'operator', got task {task.name!r}")
    if config.backend != "simulator" or len(problem.variants) > 1:
        raise ConfigError(
            f"a survey is of one simulated network, got backend {config.backend!r} and "
            f"{len(problem.variants)} variants: survey them one by one in the simulator"
        )
    if config.payment.max_parts > 1 or task.books:
        raise ConfigError(
            "a survey knows neither payments in several parts nor channels that come and go: set max_parts=1, leave "
            "'close' and 'open' out of levers, and count liquidity at par"
        )
    return task


def survey_episode(
    problem: Problem,
    seed: int,
    steps: int,
    reference_ppm: int = REFERENCE_PPM,
    told: Callable[[int], None] = lambda _: None,
) -> Survey:
    """Survey one episode; takes some seconds for a month on a thousand nodes.

    Args:
        problem: What is to be done.
        seed: Seed of the episode.
        steps: Steps of it.
        reference_ppm: Fee rate of all own channels meanwhile.
        told: Called with the number of steps that are done.

    Raises:
        ConfigError: The problem cannot be surveyed (``require_surveyable``), or there is no step.
    """
    task = require_surveyable(problem)
    if steps < 1:
        raise ConfigError(f"expected at least one step to survey, got {steps}")
    surveyor = _Surveyor(problem, task, seed)
    episodes = open_episodes(problem)
    try:
        episodes.seed(0, seed)
        episodes.begin(np.ones(1, np.bool_))
        decision = _fixed_fees(task, reference_ppm)
        columns = episodes.columns
        surveyor.look(columns.observation[0])
        balances_msat = columns.balances_msat[0].reshape(-1).copy()
        began_msat, income_sat = balances_msat.copy(), 0.0
        for step in range(steps):
            surveyor.survey(step, balances_msat)
            episodes.step(np.ones(1, np.bool_), decision)
            surveyor.look(columns.observation[0])
            balances_msat = columns.balances_msat[0].reshape(-1).copy()
            income_sat += float(columns.terms[0, 0])
            told(step + 1)
    finally:
        episodes.close()
    return surveyor.result(began_msat, reference_ppm, round(1000 * income_sat))


def _fixed_fees(task: OperatorTask, rate_ppm: int) -> Int64:
    """Return the decision that sets one fee rate for all channels, without a base fee, shape (1, decision)."""
    decision = np.array(task.idle_decision, np.int64)[None]
    policies = decision[0, : PER_CHANNEL * len(task.out)].reshape(-1, PER_CHANNEL)
    policies[:, 0], policies[:, 1] = rate_ppm, 0
    return decision


class _Surveyor:
    """Gathers what a survey holds, step by step."""

    def __init__(self, problem: Problem, task: OperatorTask, seed: int) -> None:
        self.problem, self.task, self.seed = problem, task, seed
        self.network = compile_network(problem.topology, linked=True)
        nodes, directions = len(problem.topology.nodes), len(self.network.source)
        self.labels = Labels.of(nodes, directions)
        self.found = Found.of(task.config.payments_per_step, len(task.out))
        self.is_peer = np.zeros(nodes, np.int64)
        self.is_peer[self.network.destination[task.out]] = 1
        self.quote_steps = max(1, round(QUOTE_HOURS / task.config.step_hours))
        self.payments: list[tuple[npt.NDArray[Any], ...]] = []
        self.quotes_ppm: list[Float32] = []
        self.enabled: list[Bool] = []
        self.seen: list[tuple[Float32, Float32]] = []

    def look(self, observation: Float32) -> None:
        """Note what is observed between two steps."""
        scheme = self.task.observations
        places = [CHANNEL_FEATURES.index(name) for name in PEER_FEATURES]
        self.seen.append((scheme.by_channel(observation)[:, places].copy(), scheme.of_node(observation).copy()))

    def survey(self, step: int, balances_msat: Int64) -> None:
        """Survey the payments of a step, given the balances before it."""
        span = self.task.config.warm_up_steps + step
        network, balances_msat = self._network_at(span), self._balances_at(span, balances_msat)
        task, payment = self.task, self.task.config.payment
        self.enabled.append(network.links.disabled[np.stack([task.out, task.out ^ 1])] == 0)
        batch, _, limit_ppm = task.payments(self.seed, 0, span)
        limit_msat = payment.fee_limit_msat(batch.amount_msat, limit_ppm)
        ends = batch.source.astype(np.int64), batch.destination.astype(np.int64)
        costs = 1000.0 * payment.attempt_cost_sat, payment.attempt_cost_ppm * 1e-6
        place = network, balances_msat, task.out, self.is_peer
        asked = (*ends, batch.amount_msat, limit_msat)
        kept = survey_payments(*place, asked, costs, self.labels, self.found)
        numbers = (*self.found[:4], *self.found.to_us, *self.found.onward)
        self.payments.append(tuple(column[:kept].copy() for column in numbers))
        if step % self.quote_steps == 0:
            quotes_ppm = np.empty((len(QUOTED_SAT), len(task.out), len(task.out)))
            for row, amount_sat in zip(quotes_ppm, QUOTED_SAT, strict=True):
                quote(*place, 1000 * amount_sat, costs[0] + costs[1] * 1000 * amount_sat, self.labels, row)
            self.quotes_ppm.append(quotes_ppm.astype(np.float32))

    def result(self, began_msat: Int64, reference_ppm: int, income_msat: int) -> Survey:
        """Return the survey."""
        task, network, config = self.task, self.network, self.task.config
        out, rows, inbound = task.out, network.policy[task.out], network.links.inbound[task.out]
        policy = (rows["fee_rate_ppm"], rows["fee_base_msat"], inbound["fee_rate_ppm"], rows["max_htlc_msat"])
        paid_ppm = _paid_ppm(task)
        change_ms = round(HOUR_MS * config.fee_change_hours)
        return Survey(
            str(config.topology),
            self.seed,
            config.step_ms,
            change_ms,
            config.fee_changes_burst * change_ms,
            config.least_change,
            reference_ppm,
            income_msat,
            network.destination[out].astype(np.int64),
            rows["capacity_msat"].copy(),
            np.stack([began_msat[out], began_msat[out ^ 1]]),
            np.stack([rows["keep_msat"], network.policy["keep_msat"][out ^ 1]]),
            task.most_msat,
            rows["min_htlc_msat"].copy(),
            np.stack(policy, axis=1),
            inbound["fee_base_msat"].copy(),
            np.concatenate(paid_ppm),
            np.cumsum([0, *(len(rates) for rates in paid_ppm)]),
            np.stack([peers for peers, _ in self.seen]),
            np.stack([node for _, node in self.seen]),
            np.stack(self.enabled),
            np.stack(self.quotes_ppm),
            1000 * np.array(QUOTED_SAT),
            self.quote_steps,
            np.cumsum([0, *(len(columns[0]) for columns in self.payments)]),
            *(np.concatenate(columns) for columns in zip(*self.payments, strict=True)),
        )

    def _network_at(self, span: int) -> Any:
        """Return the network with what competitors do in a span."""
        network, task = self.network, self.task
        usual = network.policy, network.links.disabled
        now = network.policy.copy(), network.links.disabled.copy()
        places = network.first_incoming, network.incoming
        begin = np.uint64(self.seed % 2**64), 0, span * task.step_ms
        competitors_at(task.others, places, *usual, *begin, now)
        return network._replace(policy=now[0], links=network.links._replace(disabled=now[1]))

    def _balances_at(self, span: int, balances_msat: Int64) -> Int64:
        """Return balances after those that foreign channels get anew."""
        task, now = self.task, balances_msat.copy()
        initiator_msat = np.empty(len(balances_msat) // 2, np.int64)
        restored(task.others, np.uint64(self.seed % 2**64), 0, span, initiator_msat)
        fresh = initiator_msat >= 0
        now[0::2][fresh] = initiator_msat[fresh]
        now[1::2][fresh] = task.others.owned_total_msat[fresh] - initiator_msat[fresh]
        return now


def _paid_ppm(task: OperatorTask) -> list[Int64]:
    """Return the fee rates of others' channels to the peer of each own channel, as the graph has them."""
    arrays = task.topology.arrays
    others = (arrays.source != task.own) & (arrays.disabled == 0)
    peers = arrays.destination[task.out].tolist()
    return [arrays.fee_rate_ppm[others & (arrays.destination == peer)] for peer in peers]
