"""What may become of a deed by the oracle, and what real nodes' own figures must add up to."""

from lnsim_gym.benchmarks.parity.deeds import Deed, Outcome, balance_pairs
from lnsim_gym.payments import PaymentOptions
from tests.oracle.network import OracleNetwork
from tests.parity.drawing import fee_limit_msat
from tests.parity.forwarding import assert_legal_route


def assert_adds_up(deed: Deed) -> None:
    """Hold the balances after a deed to its routes, as records rebuild them."""
    after = deed.before_msat.copy().reshape(-1)
    for route, sent_msat in deed.carried:
        for direction, amount_msat in zip(route, sent_msat, strict=True):
            after[direction] -= amount_msat
            after[direction ^ 1] += amount_msat
    assert balance_pairs(after.reshape(-1, 2)) == deed.seen.after_msat
    assert deed.seen.fee_msat == sum(sent_msat[0] - sent_msat[-1] for _, sent_msat in deed.carried)


def assert_legal(deed: Deed, drawn=None) -> None:
    """Hold what every forwarder did to what LND allows; of payments in one part, whose balances are known."""
    if len(deed.carried) == 1:
        ((route, sent_msat),) = deed.carried
        assert_legal_route(deed.topology, deed.before_msat, route, sent_msat, drawn)


class Script:
    """Chooses among parallel channels by place, as written down, and the first where nothing is written."""

    def __init__(self, places=()):
        self.places = list(places)
        self.made = []
        """Place taken and number of channels at each choice."""

    def begin(self):
        """A payment begins."""

    def __call__(self, willing):
        place = self.places[len(self.made)] if len(self.made) < len(self.places) else 0
        self.made.append((place, len(willing)))
        return willing[place]

    def others(self):
        """Return the scripts of the choices that were left open."""
        taken = [place for place, _ in self.made]
        for at in range(len(self.places), len(self.made)):
            for place in range(1, self.made[at][1]):
                yield Script([*taken[:at], place])


MOST_SCRIPTS = 500


def possible_outcomes(deed: Deed, options: PaymentOptions) -> set[Outcome] | None:
    """Return all that may become of a deed by the oracle, whatever forwarders choose.

    None when that is not known: when LND meets two equally good ways, of which it takes one at random, or when there
    is too much to choose.
    """
    found = set()
    open_scripts = [Script()]
    for _ in range(MOST_SCRIPTS):
        if not open_scripts:
            return found
        script = open_scripts.pop()
        oracle = OracleNetwork(deed.topology, deed.before_msat, max_parts=options.max_parts, choose=script)
        found.add(_by_oracle(deed, oracle, options))
        if oracle.ties:
            return None
        open_scripts += script.others()
    return None


def _by_oracle(deed: Deed, oracle: OracleNetwork, options: PaymentOptions) -> Outcome:
    if deed.route:
        reason, fee_msat, position = oracle.send_over(list(deed.route), deed.amount_msat)
        parts = () if reason else ((deed.amount_msat, oracle.carried_by),)
        return Outcome(reason.name, position, fee_msat, parts, balance_pairs(oracle.balances_msat()))
    limit_msat = fee_limit_msat(options, deed.amount_msat)
    payment = oracle.pay(deed.source, deed.destination, deed.amount_msat, limit_msat)
    parts = tuple(sorted((amount, tuple(route)) for amount, route in payment.parts))
    return Outcome(
        payment.reason.name, payment.attempts, payment.fee_msat, parts, balance_pairs(oracle.balances_msat())
    )
