"""Playing the rules of operators on surveyed episodes, in the corridor engine."""

from __future__ import annotations

import numpy as np

from lnsim_gym.agents.evaluate import Tally
from lnsim_gym.agents.operator.base import KEEP as UNCHANGED
from lnsim_gym.agents.operator.base import KEEP_INBOUND, OperatorRule, Plan, Seen, quantiles_of
from lnsim_gym.agents.operator.oracle import FeeOracle
from lnsim_gym.arrays import Bool, Float64, Int64
from lnsim_gym.corridor import Corridor
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks.operator.features import KEEP

__all__ = ["SurveyedGraphs", "play_corridor", "tally_corridor"]


class SurveyedGraphs:
    """What a rule may ask of surveyed networks; see ``base.Surroundings``.

    Args:
        corridor: The networks.
    """

    def __init__(self, corridor: Corridor) -> None:
        self._corridor = corridor
        self._pay_ppm: dict[float, Float64] = {}
        self.same_peer: Bool = corridor.peer[:, :, None] == corridor.peer[:, None, :]
        """See ``base.Surroundings.same_peer``."""

    def peers_pay_ppm(self, quantile: float) -> Float64:
        """See ``base.Surroundings.peers_pay_ppm``."""
        if quantile not in self._pay_ppm:
            surveys = self._corridor.surveys
            once = [quantiles_of(np.split(each.paid_ppm, each.paid_first)[1:-1], quantile) for each in surveys]
            self._pay_ppm[quantile] = np.tile(np.stack(once), (self._corridor.copies, 1))
        return self._pay_ppm[quantile]


def play_corridor(rule: OperatorRule, corridor: Corridor, rng: np.random.Generator | None = None) -> Float64:
    """Let a rule play all surveyed episodes to their end.

    Args:
        rule: Who plays; built for an environment with the settings of the surveys, on any network.
        corridor: The episodes, which begin anew.
        rng: Source of any randomness; seeded with 0 by default.

    Returns:
        Income less fees of rebalances of each episode in sat a day, shape (networks,).

    Raises:
        ConfigError: The rule was built for other settings, or knows what no survey holds.
    """
    limits, step_ms = rule.task.actions.limits, corridor.surveys[0].step_ms
    if limits.channels != corridor.channels or rule.task.step_ms != step_ms:
        raise ConfigError(
            f"expected a rule for {corridor.channels} own channels and steps of {step_ms} ms as surveyed, got one for "
            f"{limits.channels} channels and steps of {rule.task.step_ms} ms"
        )
    if isinstance(rule, FeeOracle):
        raise ConfigError(
            "fee_oracle knows what each pair of nodes would pay, which no survey holds: play another rule"
        )
    rng = np.random.default_rng(0) if rng is None else rng
    around = SurveyedGraphs(corridor)
    corridor.begin()
    for step in range(corridor.steps):
        plan = rule.plan(Seen.of(*corridor.observe()), np.full(corridor.networks, step), around, rng)
        corridor.step(_policies(plan), _rebalances(plan))
    return corridor.net_sat_per_day


def tally_corridor(rule: OperatorRule, corridor: Corridor) -> Tally:
    """Let a rule play all surveyed episodes, and sum up each of them as if it had been played in the exact engine.

    Payments of others are not counted, nor rebalances that were refused.

    Raises:
        ConfigError: See ``play_corridor``.
    """
    play_corridor(rule, corridor)
    tally = Tally.zeros(corridor.networks, len(rule.task.terms))
    tally.days[:] = corridor.surveys[0].days  # surveys that are replayed together are of one length
    tally.terms[:, 0], tally.terms[:, 1] = corridor.income_msat / 1000, corridor.paid_msat / 1000
    tally.reward[:] = tally.terms[:, 0] - tally.terms[:, 1]
    began_msat = np.stack([survey.balance_msat[0].sum() for survey in corridor.surveys] * corridor.copies)
    tally.funds_sat[:] = began_msat / 1000 + rule.task.config.wallet_sat
    return tally


def _policies(plan: Plan) -> Int64:
    """Return the policies of a plan as decisions have them."""
    most_msat = np.where(plan.max_htlc_sat == UNCHANGED, KEEP, 1000 * plan.max_htlc_sat)
    return np.stack(
        [
            np.where(plan.fee_rate_ppm == UNCHANGED, KEEP, plan.fee_rate_ppm),
            np.where(plan.fee_base_msat == UNCHANGED, KEEP, plan.fee_base_msat),
            np.where(plan.inbound_fee_rate_ppm == KEEP_INBOUND, KEEP, plan.inbound_fee_rate_ppm),
            most_msat,
        ],
        axis=2,
    )


def _rebalances(plan: Plan) -> Int64:
    """Return the rebalances of a plan as decisions have them."""
    rebalances: Int64 = plan.rebalance * np.array([1, 1, 1000, 1])
    return rebalances
