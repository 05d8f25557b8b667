"""One sender's mission control with the a-priori estimator.

Literal to LND's routing/probability_apriori.go and missioncontrol_state.go. Time is in ms. Pairs are
``(from node, to node)``.
"""

from dataclasses import dataclass

from lnsim_gym.compiled.elementary import exp, exp2

APRIORI = 0.6
PREVIOUS_SUCCESS = 0.95
APRIORI_WEIGHT = 0.5
HALF_LIFE_HOURS = 1.0
CAPACITY_FRACTION = 0.9999
SMEARING_FRACTION = 0.025
MIN_FACTOR = 0.5
RELAX_INTERVAL_MS = 60_000
SECOND_CHANCE_INTERVAL_MS = 60_000


@dataclass
class PairResult:
    """``TimedPairResult``."""

    fail_ms: int | None = None
    fail_amount: int = 0
    success_amount: int = 0


def capacity_factor(amount, capacity_msat):
    if amount > capacity_msat:
        return 0.0
    cutoff = CAPACITY_FRACTION * capacity_msat
    smearing = SMEARING_FRACTION * capacity_msat
    exponent = -(amount - cutoff) / smearing
    if exponent > 38:  # what would be subtracted is lost in rounding
        return 1.0
    return 1 - (1 - MIN_FACTOR) / (1 + float(exp(exponent)))


def failure_weight(age_ms):
    return float(exp2(-(age_ms / 3_600_000.0) / HALF_LIFE_HOURS))


class MissionControl:
    def __init__(self, self_node):
        self.self_node = self_node
        self.results = {}
        """``results[from][to]``: ``PairResult``."""
        self.second_chances = {}
        """When a pair was last given one, by pair."""

    def probability(self, origin, to, amount, capacity_msat, now_ms):
        """``GetProbability``."""
        results = self.results.get(origin, {})
        if origin == self.self_node:
            return self._pair(results, PREVIOUS_SUCCESS, to, 2**63, now_ms)
        return self._pair(results, self._node(results, amount, capacity_msat, now_ms), to, amount, now_ms)

    def _node(self, results, amount, capacity_msat, now_ms):
        """``getNodeProbability``; pairs are summed in the order of their names, which LND leaves to chance."""
        apriori = APRIORI * capacity_factor(amount, capacity_msat)
        if not results:
            return apriori
        factor = 1 / (1 - APRIORI_WEIGHT) - 1
        total = apriori * factor
        weight = factor
        for _, result in sorted(results.items()):
            if amount <= result.success_amount:
                weight += 1
                total += PREVIOUS_SUCCESS
            elif result.fail_ms is not None and amount >= result.fail_amount:
                weight += failure_weight(now_ms - result.fail_ms)
        return total / weight

    def _pair(self, results, node_probability, to, amount, now_ms):
        """``calculateProbability``."""
        last = results.get(to)
        if last is None:
            return node_probability
        if amount <= last.success_amount:
            return PREVIOUS_SUCCESS
        if last.fail_ms is None or amount < last.fail_amount:
            return node_probability
        return node_probability * (1 - failure_weight(now_ms - last.fail_ms))

    def report_success(self, origin, to, amount):
        """``setLastPairResult`` with a success."""
        last = self.results.setdefault(origin, {}).setdefault(to, PairResult())
        last.success_amount = max(last.success_amount, amount)
        if last.fail_ms is not None and amount >= last.fail_amount:
            last.fail_amount = amount + 1

    def report_failure(self, origin, to, amount, now_ms):
        """``setLastPairResult`` with a failure, of a balance or (amount 0) whatever the amount."""
        last = self.results.setdefault(origin, {}).setdefault(to, PairResult())
        recent = last.fail_ms is not None and now_ms - last.fail_ms < RELAX_INTERVAL_MS
        if amount > last.fail_amount and recent:
            return
        last.fail_ms = now_ms
        last.fail_amount = amount
        if amount == 0:
            last.success_amount = 0
        elif amount <= last.success_amount:
            last.success_amount = amount - 1

    def report_pair_failure(self, origin, to, now_ms):
        """``failPair``: both directions, whatever the amount."""
        self.report_failure(origin, to, 0, now_ms)
        self.report_failure(to, origin, 0, now_ms)

    def report_node_failure(self, node, now_ms):
        """``setAllFail``."""
        for origin, results in self.results.items():
            for to in results:
                if node in (origin, to):
                    results[to] = PairResult(fail_ms=now_ms)

    def request_second_chance(self, origin, to, now_ms):
        """``requestSecondChance``."""
        last = self.second_chances.get((origin, to))
        if last is None or now_ms - last > SECOND_CHANCE_INTERVAL_MS:
            self.second_chances[origin, to] = now_ms
            return True
        return False
