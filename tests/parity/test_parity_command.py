"""`lnsim bench parity`: a fresh piece of the comparison with real nodes, and how it judges, counts and goes on."""

import json
import random
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from lnsim_gym.backends.lnd import LndSettings
from lnsim_gym.benchmarks.parity.deeds import Deed
from lnsim_gym.benchmarks.parity.drawing import public_network, random_amount_msat, random_route
from lnsim_gym.benchmarks.parity.features import CIRCULAR, IN_PARTS, PAYMENT
from lnsim_gym.benchmarks.parity.possible import Simulated, judge
from lnsim_gym.benchmarks.parity.run import Compared, ParityRun, Wanted, seed_of
from lnsim_gym.benchmarks.parity.table import figures_of, markdown
from lnsim_gym.cli import make_app
from lnsim_gym.errors import ConfigError
from lnsim_gym.payments import PaymentOptions
from tests.parity.drawing import fresh_seed

pytestmark = pytest.mark.slow  # networks with links are compiled for a minute
OPTIONS = PaymentOptions(fee_limit_ppm=500_000)


@pytest.mark.lnd
@pytest.mark.timeout(580)
def test_a_fresh_piece_of_the_comparison_finds_nothing_different(live_launcher, tmp_path):
    seed = fresh_seed().randrange(10**9)
    wanted = ["--payments", "80", "--rebalances", "6", "--in-parts", "0", "--at-once", "2"]
    out = tmp_path / "parity.jsonl"
    arguments = ["bench", "parity", "--seed", str(seed), *wanted, "--out", str(out), "--launcher", live_launcher]
    result = CliRunner().invoke(make_app(), [*arguments, "--json"])
    print(result.output)
    figures = json.loads(result.stdout)
    assert figures["differences"] == []
    assert result.exit_code == 0, result.exception
    counts = {each["what"]: each["compared"] for each in figures["kinds"]}
    assert counts[PAYMENT] >= 80
    assert counts[CIRCULAR] >= 6
    again = CliRunner().invoke(make_app(), arguments)
    assert again.exit_code == 0
    assert f"| {PAYMENT} " in again.stdout


def deeds_of_the_simulator(seed, count):
    """Draw deeds on a network, with what the simulator makes of them by a stream of its own as what was seen."""
    rng = random.Random(seed)
    topology = public_network(rng)
    simulated = Simulated(topology, OPTIONS)
    before = topology.start_balances_msat()
    for _ in range(count):
        source, destination = rng.sample(range(len(topology.nodes)), 2)
        deed = Deed(topology, before, random_amount_msat(rng), source=source, destination=destination)
        if rng.random() < 0.3:
            deed = replace(deed, route=random_route(rng, topology))
        yield replace(deed, seen=simulated.outcome(deed, rng.getrandbits(64)))


def test_what_the_simulator_gives_is_possible_and_a_msat_beside_it_is_not():
    several = 0
    for deed in deeds_of_the_simulator(4, 60):
        judgement = judge(deed, OPTIONS)
        assert judgement.possible
        assert not judgement.tie
        several += not judgement.only
        low, chance = judgement.place(deed.done)
        assert 0 <= low < low + chance <= 1
    assert several > 0
    (first, second), *rest = deed.done.after_msat
    beside = deed.done._replace(after_msat=((first + 1, second - 1), *rest))
    assert not judge(replace(deed, seen=beside), OPTIONS).possible


def test_a_deed_that_was_given_up_is_not_judged():
    (deed,) = deeds_of_the_simulator(4, 1)
    beside = deed.done._replace(attempts=99)
    assert judge(replace(deed, seen=beside), OPTIONS, given_up=lambda: True) is None


def compared(deed, **changes):
    usual = {"network": 0, "kind": PAYMENT, "result": "only", "reason": "NONE", "attempts": 1, "parts": 1}
    return Compared(**usual | {"deed": deed, "features": []} | changes)


def run_of(out, **wanted):
    return ParityRun(7, Wanted(**{"payments": 0, "rebalances": 0, "in_parts": 0} | wanted), LndSettings(), out=out)


def test_a_file_of_comparisons_goes_on_where_it_ended(tmp_path):
    out = tmp_path / "parity.jsonl"
    assert seed_of(out) is None
    first = run_of(out, payments=3)
    for deed in range(3):
        first._take(compared(deed))
    with out.open("ab") as file:
        file.write(b'{"type":"compared","netw')  # cut off, as by a kill
    assert seed_of(out) == 7
    second = run_of(out, payments=3)
    second.run(1, print)
    assert second.compared == first.compared
    with pytest.raises(ConfigError, match="seed 7"):
        ParityRun(8, Wanted(payments=1, rebalances=0, in_parts=0), LndSettings(), out=out)
    out.write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match="file of comparisons"):
        seed_of(out)


def test_the_table_counts_by_kind_and_tells_what_differs(tmp_path):
    run = run_of(None)
    for deed in range(40):
        run._take(compared(deed, result="one of several", outcomes=2, low=deed % 2 / 2, chance=0.5))
    run._take(compared(40, kind=IN_PARTS, result="different", told="this was done\nthat was seen"))
    figures = figures_of(run, 0.0)
    assert figures.failed
    table = markdown(figures)
    assert "different: network 0, deed 40: this was done" in table
    assert [each.compared for each in figures.kinds] == [40, 1]
    assert figures.chances[0].p_value > 0.01


def test_choices_that_fall_on_one_side_are_too_unlikely():
    run = run_of(None)
    for deed in range(60):
        run._take(compared(deed, result="one of several", outcomes=2, low=0.0, chance=0.5))
    assert figures_of(run, 0.0).failed
