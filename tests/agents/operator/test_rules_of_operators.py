"""What the rules of operators decide on channels put by hand, computed by hand."""

import numpy as np
import pytest

from lnsim_gym.agents import make_agent
from lnsim_gym.agents.operator import FeeAdjuster
from lnsim_gym.agents.operator.revenue_ops import curve_of
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks.config import EnvironmentConfig
from tests.agents.operator.rows import CHANNELS, Board, problem_of

KEEP = [-1] * CHANNELS
NO_REBALANCE = [-1, 0, 0, 0]


def test_channels_are_read_in_plain_units():
    seen = Board("static").seen(local=0.25, fee_rate=321, forwarded_out=3, forwarded_out_amount=123_456, fee_earned=7)
    assert seen.local_sat.tolist() == [[1e6] * CHANNELS]
    assert seen.remote_sat.tolist() == [[3e6] * CHANNELS]
    assert seen.local.tolist() == [[0.25] * CHANNELS]
    assert (seen.fee_rate_ppm == 321).all()
    assert (seen.fee_base_msat == 1000).all()
    assert (seen.forwarded_out == 3).all()
    assert (seen.forwarded_out_sat == 123_456).all()
    assert seen.fee_earned_sat == pytest.approx(7)
    assert (seen.days_since_change == 30).all()
    assert seen.wallet_sat.tolist() == [[2e6]]
    assert seen.sat_per_vbyte == pytest.approx(1)


@pytest.mark.parametrize("observation", ["dict", "flat"])
def test_a_static_rule_sets_one_fee_rate(observation):
    action = Board("static", {"observation": observation}, fee_rate_ppm=400, fee_base_msat=5).act()
    assert action["fee_rate_ppm"] == [400] * CHANNELS
    assert action["fee_base_msat"] == [5] * CHANNELS
    assert action["inbound_fee_rate_ppm"] == [1] * CHANNELS
    assert action["rebalance"] == [NO_REBALANCE] * 2
    assert action["swap"] == [[-1, 0]]


def test_doing_nothing_keeps_everything():
    action = Board("noop").act()
    assert action["fee_rate_ppm"] == action["fee_base_msat"] == action["max_htlc_sat"] == KEEP
    assert action["rebalance"] == [NO_REBALANCE] * 2


def test_charge_lnd_charges_in_proportion_to_what_is_remote():
    action = Board("charge_lnd").act(local=[1.0, 0.75, 0.0, 0.5], fee_rate=[100, 100, 100, 100])
    assert action["fee_rate_ppm"] == [10, 57, 200, -1]  # 105 ppm is less than 10 ppm away from 100


def test_feelancer_integrates_the_error_of_the_inbound_share():
    """One step of 1 day from a node at balance: errors of 0.5 and -0.5 where a channel is empty, or full."""
    board = Board("feelancer", {"step_hours": 24})
    action = board.act(local=[0.0, 1.0, 0.5, 0.5], fee_rate=200)
    fade_i, fade_d = np.exp(-0.04), np.exp(-1.0)
    average = (0.25 - 12.5) + (1 - fade_i) * 12.5 / 0.04
    change = 0.5 - (1 - fade_d) * 0.5
    gain = 1.0 * 0.25 + 4.8 * average + 2.4 * change
    assert gain == pytest.approx(0.70, abs=0.02)
    assert action["fee_rate_ppm"] == KEEP  # by less than 10 ppm in a day
    for _ in range(12):
        action = board.act(local=[0.0, 1.0, 0.5, 0.5], fee_rate=200)
    # The error stays: the average is 0.5 - 12.5 + fade * (average + 12.5 - 0) after a day, and drifts to 0.5
    assert action["fee_rate_ppm"][0] > 209
    assert action["inbound_fee_rate_ppm"][0] == -(action["fee_rate_ppm"][0] - 50)
    assert action["fee_rate_ppm"][2:] == [-1, -1]


def test_feelancer_averages_and_differences_are_those_of_a_line():
    board = Board("feelancer", {"step_hours": 24}, k_t=0.0, k_p=0.0, k_i=1.0, alpha_i=0.5, k_d=0.0)
    board.act(local=0.5)
    rule = board.rule
    rule._steps, rule._begins = np.array([1]), np.array([False])
    error = np.full((1, CHANNELS), 0.4)
    fine = 100_000
    ewma, integral = 0.0, 0.0
    for place in range(fine):
        ewma += 0.5 * (0.4 * (place + 0.5) / fine - ewma) / fine
        integral += ewma / fine
    assert rule._gain_ppm(error) == pytest.approx(integral, rel=1e-3)
    assert rule._state["error_average"] == pytest.approx(ewma, rel=1e-3)


def test_lndg_moves_fees_by_steps_once_a_day():
    board = Board("lndg_fees", {"step_hours": 24})
    board.act(local=[0.1, 0.96, 0.5, 0.5])
    busy = {"failed_liquidity": [26, 0, 0, 0], "forwarded_in_amount": [0, 1, 1, 0]}
    action = board.act(
        local=[0.1, 0.96, 0.5, 0.5],
        forwarded_out_amount=[0, 0, 8e6, 0],
        fee_sourced=[0, 50, 0, 0],
        inbound_fee_rate=[-10, -30, 0, 0],
        **busy,
    )
    # Empty and wanted: +25; full and only taking in: -25; sold twice its capacity: +10 * (1 + 2).
    assert action["fee_rate_ppm"] == [125, 75, 130, -1]
    # -60 and +60 to no less than -65 % of the fee rate and no more than 0; -25 * (1 + 2).
    assert action["inbound_fee_rate_ppm"] == [-70, 0, -75, 1]


def test_lndg_lowers_fees_of_what_had_no_flow_in_a_week():
    board = Board("lndg_fees", {"step_hours": 24})
    for _ in range(7):
        assert board.act(local=[0.5, 0.97, 0.1, 0.5])["fee_rate_ppm"] == KEEP
    assert board.act(local=[0.5, 0.97, 0.1, 0.5])["fee_rate_ppm"] == [85, 75, -1, 85]
    board.step = 0
    assert board.act(local=[0.5, 0.97, 0.1, 0.5])["fee_rate_ppm"] == KEEP  # another episode


def test_lndg_fills_the_emptiest_from_the_fullest_and_learns_how_much_goes_through():
    board = Board("operator_lndg")
    shown = {"local": [0.95, 0.05, 0.02, 0.5], "fee_rate": [100, 400, 1000, 300], "peer_fee_rate": 200}
    (first, second) = board.act(**shown)["rebalance"]
    assert first == [0, 2, 120_000, 500]  # 3 % of 4 M sat, for 65 % of 1,000 ppm, but 500 at most
    assert second == NO_REBALANCE  # the only source is taken
    (first, _) = board.act(**shown)["rebalance"]
    assert first == [0, 2, 69_420, 500]  # nothing moved: half of it, but no less
    (first, _) = board.act(**{**shown, "local": [0.95 - 0.01736, 0.05, 0.02 + 0.017355, 0.5]})["rebalance"]
    assert first == [0, 2, 83_998, 500]  # it came: 21 % more
    dear = {**shown, "peer_fee_rate": 600}
    assert Board("operator_lndg").act(**dear)["rebalance"] == [NO_REBALANCE] * 2


def test_ln_operator_prices_by_what_is_local_and_by_refusals():
    action = Board("ln_operator").act(local=[0.5, 0.1, 0.9, 0.19], fee_rate=0, failed_liquidity=[0, 1, 0, 0])
    sigmoid = [25 + 225 / (1 + np.exp(8 * (local - 0.5))) for local in (0.5, 0.1, 0.9, 0.19)]
    assert sigmoid[0] == 137.5
    assert action["fee_rate_ppm"] == [137, int(1.4 * sigmoid[1]), int(sigmoid[2]), int(sigmoid[3])]
    assert action["rebalance"][0] == [2, 1, 1_600_000, 500]


def test_ln_operator_pays_more_after_a_failure_and_sells_a_refill_dearer():
    board = Board("ln_operator")
    board.act(local=[0.5, 0.1, 0.9, 0.5])
    assert board.act(local=[0.5, 0.1, 0.9, 0.5])["rebalance"][0] == [2, 1, 800_000, 600]
    # 800,000 sat came for 400 sat, 500 ppm.
    action = board.act(local=[0.5, 0.3, 0.9 - 800_400 / 4e6, 0.5])
    assert action["fee_rate_ppm"][1] == pytest.approx(550, abs=3)
    assert action["rebalance"] == [NO_REBALANCE] * 2


def test_feeadjuster_multiplies_what_others_pay_to_reach_the_peer(monkeypatch):
    monkeypatch.setattr(
        FeeAdjuster, "peers_pay_ppm", lambda rule, quantile: np.array([[100.0, 100.0, np.nan, 6_000.0]])
    )
    board = Board("feeadjuster")
    assert board.act(local=[0.0, 1.0, 0.5, 0.5], fee_rate=0)["fee_rate_ppm"] == [707, 14, 10, 10]
    assert board.act(local=[0.04, 0.94, 0.5, 0.5], fee_rate=0)["fee_rate_ppm"] == [-1, 17, -1, -1]


def test_what_others_pay_to_reach_a_peer_is_what_the_graph_says():
    board = Board("feeadjuster")
    board.act()
    topology, task = board.problem.topology, board.problem.task
    arrays = topology.arrays
    for channel, direction in enumerate(task.out):
        peer = arrays.destination[direction]
        pay = [
            rate
            for source, end, rate, off in zip(
                arrays.source, arrays.destination, arrays.fee_rate_ppm, arrays.disabled, strict=True
            )
            if end == peer and source != task.own and not off
        ]
        expected = np.median(pay) if pay else np.nan
        np.testing.assert_equal(board.rule.peers_pay_ppm(0.5)[0, channel], expected)


def test_lndmanage_steers_the_flow_out_by_the_week():
    board = Board("lndmanage", {"step_hours": 168})
    assert board.act()["fee_rate_ppm"] == [2500] * CHANNELS
    action = board.act(local=[0.5, 0.5, 1.0, 0.1], fee_rate=1000, forwarded_out_amount=[150_003, 100_002, 0, 0])
    # 21,429 sat a day are 1.5 of the target; silent ones fall to their floors: 0.5 where full, 1.05 where empty.
    assert action["fee_rate_ppm"] == [1250, -1, 500, 1050]


def test_autofees_raises_what_sells_more_than_the_best_do_on_average():
    board = Board("autofees", {"step_hours": 72}, best=2)
    assert board.act()["fee_rate_ppm"] == [2500] * CHANNELS
    action = board.act(
        local=[0.5, 0.1, 0.5, 0.5],
        fee_rate=1000,
        forwarded_out_amount=[3e6, 1e6, 0, 0],
        fee_earned=[3000, 1000, 0, 0],
    )
    assert action["fee_rate_ppm"] == [1100, 1200, 900, 900]


def test_brln_autofee_goes_to_its_seed_in_small_steps(monkeypatch):
    monkeypatch.setattr(
        Board("brln_autofee").rule.__class__,
        "peers_pay_ppm",
        lambda rule, quantile: np.array([[975.0, 75.0, 975.0, np.nan]]),
    )
    action = Board("brln_autofee").act(local=0.1, fee_rate=[500, 102, 50, 300])
    assert action["fee_rate_ppm"] == [525, -1, 65, -1]


def test_clboss_tries_price_levels_and_keeps_the_best(monkeypatch):
    board = Board("clboss", {"step_hours": 48})
    monkeypatch.setattr(type(board.rule), "peers_pay_ppm", lambda rule, quantile: np.full((1, CHANNELS), 100.0))
    middle = 100 * 50.0 ** (0.5 - 0.55)  # one half lies in the bin from 0.5 to 0.6
    prices = {int(middle * factor) for factor in (0.64, 0.8, 1.0, 1.2, 1.44)}
    tried = []
    for _ in range(5):
        tried.append(board.act(fee_rate=0, fee_earned=1.0 if tried and tried[-1] == int(middle * 1.44) else 0.0))
        tried[-1] = tried[-1]["fee_rate_ppm"][0]
    assert set(tried) == prices
    after = {board.act(fee_rate=0, fee_earned=float(tried[-1] == int(middle * 1.44)))["fee_rate_ppm"][0]}
    after |= {board.act(fee_rate=0)["fee_rate_ppm"][0] for _ in range(4)}
    assert after == {int(middle * 1.2**level) for level in range(5)}


def test_regolancer_moves_for_a_share_of_what_the_taker_charges():
    shown = {"local": [0.9, 0.2, 0.5, 0.5], "fee_rate": [100, 1000, 100, 100]}
    assert Board("operator_regolancer").act(**shown)["rebalance"][0] == [0, 1, 1_200_000, 650]
    lost = Board("operator_regolancer", lost_profit=True).act(**shown)["rebalance"][0]
    assert lost == [0, 1, 1_200_000, 550]


def test_rebalance_lnd_pays_what_the_move_gains():
    shown = {"local": [0.9, 0.1, 0.3, 0.75], "fee_rate": [100, 1000, 400, 300]}
    assert Board("operator_rebalance_lnd").act(**shown)["rebalance"] == [[0, 1, 1_600_000, 900], [3, 2, 800_000, 100]]
    shown["fee_rate"] = [1000, 100, 100, 1000]
    assert Board("operator_rebalance_lnd").act(**shown)["rebalance"] == [NO_REBALANCE] * 2


def test_bos_leaves_by_what_can_receive_little_and_comes_back_by_what_can_receive_much():
    shown = {
        "capacity": 20e6,
        "local_balance": [19e6, 5e6, 10e6, 0.1e6],
        "remote_balance": [1e6, 15e6, 10e6, 19.9e6],
        "peer_fee_rate": [0, 100, 249, 250],  # the last one is too dear, and the third not in the better half
    }
    for _ in range(5):
        first, second = Board("bos").act(**shown)["rebalance"]
        assert first[:2] == [0, 1]
        assert 200_000 <= first[2] <= 400_000
        assert first[3] == 250
        assert second == NO_REBALANCE
    (first, _) = Board("bos", max_fee_sat=20).act(**shown)["rebalance"]
    assert first[3] == 20_000_000 // first[2]
    shown["active"] = [1, 0, 1, 1]
    assert Board("bos").act(**shown)["rebalance"][0][:2] == [0, 2]
    assert Board("bos").act(**{**shown, "local_balance": 0.1e6})["rebalance"] == [NO_REBALANCE] * 2


def test_bos_takes_every_pair_now_and_then():
    board = Board("bos", out_sat=2_500_000, in_sat=1_000_000)
    info = {name: np.zeros(1, np.int64) for name in ("seed", "episode_number", "step")}
    shown = board.problem.task.observations.present(board.row(local=[0.9, 0.5, 0.5, 0.5], peer_fee_rate=0))
    rng = np.random.default_rng(0)
    seen = {tuple(board.rule.act(shown, info, rng)[0]["rebalance"][0][:2].tolist()) for _ in range(200)}
    # Three can be come back by from the first, two from the others: the first two of them, in the order of channels.
    assert seen == {(0, 1), (0, 2), (1, 2), (2, 1), (3, 1)}


def test_lightning_jet_moves_from_inbound_to_outbound_channels_for_what_these_charge():
    shown = {
        "local": [0.8, 0.2, 0.4, 0.65],
        "forwarded_in_amount": [1e6, 0, 0, 0],
        "forwarded_out_amount": [0, 1e6, 0, 0],
        "fee_rate": [100, 600, 300, 300],
        "peer_fee_rate": 200,
    }
    first, second = Board("lightning_jet").act(**shown)["rebalance"]
    assert first == [0, 1, 1_000_000, 601]  # a quarter of a channel with plenty; base fee and rate
    assert second == [3, 2, 100_000, 301]  # a quarter of what it lacks
    (first, _) = Board("lightning_jet").act(**{**shown, "local": [0.7, 0.2, 0.4, 0.5]})["rebalance"]
    assert first == [0, 1, 400_000, 601]
    (first, _) = Board("lightning_jet").act(**{**shown, "local": [0.29, 0.2, 0.4, 0.7]})["rebalance"]
    assert first == [3, 1, 200_000, 601]  # a quarter of what it has above one half
    dear = {**shown, "peer_fee_rate": [0, 601, 301, 301]}
    assert Board("lightning_jet").act(**dear)["rebalance"] == [NO_REBALANCE] * 2
    high = {**shown, "fee_rate": [100, 5_499, 300, 300]}
    assert Board("lightning_jet").act(**high)["rebalance"][0] != first  # eleven times the limit is meant to hoard
    (first, _) = Board("lightning_jet").act(**{**shown, "forwarded_out_amount": [2e6, 1e6, 0, 0]})["rebalance"]
    assert first == [3, 1, 150_000, 601]  # more leaves by the first than comes in


def test_revenue_ops_keeps_to_bounds_by_balance_and_by_silence():
    board = Board("revenue_ops", {"step_hours": 24}, prior_ppm=0, prior_sd_ppm=1)
    assert board.act(local=[0.05, 0.2, 0.5, 0.9], fee_rate=9)["fee_rate_ppm"] == [500, 200, 10, 10]
    board = Board("revenue_ops", {"step_hours": 24}, prior_ppm=9_000, prior_sd_ppm=1)
    for day in range(8):
        shown = board.act(local=0.5, forwarded_out=[0, 0, 1, 1], fee_rate=4_000)["fee_rate_ppm"]
        if day < 4:
            assert shown == [3_750 if day == 3 else 5_000] * 2 + [5_000] * 2
    assert shown[:2] == [2_500] * 2


def test_revenue_ops_averages_fee_rates_that_are_close_together():
    weight = np.array([[0.5, 0.5]])
    curve = curve_of(np.array([[300.0, 304.0]]), np.zeros((1, 2)), weight, np.array([1000.0]), 200.0, 100.0)
    assert not curve.fits[0]
    # Variance 4, taken for 100: precision 0.01 at 302, against 0.0001 at 200 before.
    assert curve.mean_ppm[0] == pytest.approx((0.0001 * 200 + 0.01 * 302) / 0.0101)
    assert curve.sd_ppm[0] == pytest.approx(max(10, 0.0101**-0.5))
    nothing = curve_of(np.zeros((1, 2)), np.zeros((1, 2)), np.zeros((1, 2)), np.array([1000.0]), 200.0, 100.0)
    assert (nothing.mean_ppm[0], nothing.sd_ppm[0]) == (200, 100)


def test_revenue_ops_finds_the_peak_of_a_parabola():
    fee_ppm = np.array([[100.0, 200.0, 300.0, 400.0]])
    rate = 50 - (fee_ppm - 240) ** 2 / 500
    weight = np.full((1, 4), 1e6)  # so many observations that what was believed before is of no account
    curve = curve_of(fee_ppm, rate, weight, np.array([10.0]), 200.0, 100.0)
    assert curve.fits[0]
    assert curve.mean_ppm[0] == pytest.approx(240, abs=0.1)
    assert curve.sd_ppm[0] == 10
    assert curve.noise[0] == 10
    rising = curve_of(fee_ppm, fee_ppm**2 / 100, weight, np.array([10.0]), 200.0, 100.0)
    assert rising.mean_ppm[0] == 400
    assert rising.sd_ppm[0] == 75


def test_sling_pulls_from_cheap_channels_into_dear_ones():
    shown = {"local": [0.9, 0.1, 0.21, 0.4], "fee_rate": [50, 1000, 50, 250]}
    assert Board("sling").act(**shown)["rebalance"] == [[0, 1, 100_000, 300], NO_REBALANCE]


def test_swapping_out_brings_full_channels_to_one_half():
    assert Board("swap_out").act(local=[0.95, 0.91, 0.5, 0.1])["swap"] == [[0, 1_800_000]]
    assert Board("swap_out", budget_sat=1_000).act(local=0.95)["swap"] == [[-1, 0]]
    assert Board("swap_out", max_fee=0.001).act(local=0.95)["swap"] == [[-1, 0]]


def test_swaps_of_a_week_stay_within_the_budget():
    """A swap out of 1.8 M sat costs 3,260 + 2,524 ppm and 340 sat: 10,751 sat."""
    board = Board("swap_out", {"step_hours": 24}, budget_sat=25_000)
    swaps = [board.act(local=[0.95, 0.5, 0.5, 0.5])["swap"][0][0] for _ in range(9)]
    assert swaps == [0, 0, -1, -1, -1, -1, -1, 0, 0]


def test_autoloop_swaps_to_the_middle_of_what_is_allowed():
    assert Board("operator_autoloop").act(local=[0.9, 0.8, 0.74, 0.0])["swap"] == [[0, 1_600_000]]
    assert Board("operator_autoloop", outgoing=0.74).act(local=0.76)["swap"] == [[-1, 0]]  # 60,000 sat are too few


def test_boltz_swaps_on_both_sides():
    assert Board("boltz_autoswap").act(local=[0.1, 0.5, 0.7, 0.3])["swap"] == [[0, -1_600_000]]
    assert Board("boltz_autoswap").act(local=[0.5, 0.8, 0.7, 0.3])["swap"] == [[1, 1_200_000]]


DEAD = {"step_hours": 24, "levers": ["close"]}


def test_channels_are_dead_after_a_week_without_a_forward_and_go_one_by_one_the_fullest_first():
    board = Board("close_dead_channels", DEAD, weeks=1, keep_channels=1)
    shown = {"local": [0.25, 0.5, 0.75, 1.0], "forwarded_out": [0, 0, 0, 1]}
    assert [board.act(**shown)["close"] for _ in range(7)] == [[-1]] * 7  # not known for a week yet
    assert board.act(**shown)["close"] == [2]
    gone = {**shown, "local_balance": [1e6, 2e6, 0, 4e6], "remote_balance": [3e6, 2e6, 0, 0], "active": [1, 1, 0, 1]}
    assert board.act(**gone)["close"] == [1]
    gone["local_balance"], gone["remote_balance"], gone["active"] = [1e6, 0, 0, 4e6], [3e6, 0, 0, 0], [1, 0, 0, 1]
    assert board.act(**gone)["close"] == [0]


def test_a_forward_keeps_a_channel_for_a_week_in_either_direction():
    board = Board("close_dead_channels", {**DEAD, "closes_per_step": 4}, weeks=1)
    for _ in range(7):
        board.act()
    board.act(forwarded_out=[1, 0, 0, 0], forwarded_in=[0, 1, 0, 0])
    closes = [board.act()["close"] for _ in range(7)]
    assert closes[:6] == [[2, 3, -1, -1]] * 6  # a board on which what is closed stays
    assert closes[6] == [0, 1, -1, -1]  # and two are to stay of four


def test_what_frees_little_is_dear_or_offline_or_came_of_late_is_not_closed():
    for settings, shown, closed in (
        ({"least_sat": 2_000_000}, {"local": [0.49, 0.5, 0.1, 0.1]}, 1),
        ({"max_sat_per_vbyte": 0.9}, {}, -1),
        ({}, {"active": [0, 0, 1, 0]}, 2),
        ({"keep_channels": 4}, {}, -1),
    ):
        board = Board("close_dead_channels", DEAD, weeks=1, **settings)
        assert [board.act(**shown)["close"] for _ in range(8)][-1] == [closed]
    board = Board("close_dead_channels", DEAD, weeks=1)
    opening = {"local_balance": [4e6, 1e6, 1e6, 1e6], "remote_balance": [0, 3e6, 3e6, 3e6]}
    board.act(local_balance=[0, 1e6, 1e6, 1e6], remote_balance=[0, 3e6, 3e6, 3e6])
    assert [board.act(**opening)["close"] for _ in range(7)][-1] == [0]  # the first day is over a week ago
    board = Board("close_dead_channels", DEAD, weeks=1)
    for _ in range(7):
        board.act(local_balance=[0, 1e6, 1e6, 1e6], remote_balance=[0, 3e6, 3e6, 3e6])
    assert board.act(**opening)["close"] == [1]


def test_channels_to_one_peer_share_a_price_and_never_refill_each_other(monkeypatch):
    board = Board("charge_lnd")
    same = np.eye(CHANNELS, dtype=bool)
    same[0, 1] = same[1, 0] = True
    monkeypatch.setitem(board.rule.graphs.__dict__, "_same_peer", same[None])
    assert board.act(local=[1.0, 0.0, 0.0, 1.0])["fee_rate_ppm"] == [-1, -1, 200, 10]  # 105 ppm for both
    board = Board("operator_rebalance_lnd")
    monkeypatch.setitem(board.rule.graphs.__dict__, "_same_peer", same[None])
    assert board.act(local=[0.9, 0.1, 0.5, 0.5], fee_rate=[1, 900, 1, 1])["rebalance"] == [NO_REBALANCE] * 2


def test_what_is_offline_is_left_alone():
    off = {"active": [0, 1, 1, 1], "local": [0.95, 0.05, 0.5, 0.5], "fee_rate": [1, 900, 1, 1]}
    assert Board("operator_rebalance_lnd").act(**off)["rebalance"] == [NO_REBALANCE] * 2
    assert Board("swap_out").act(**off)["swap"] == [[-1, 0]]


def test_an_agent_of_another_task_is_refused_with_one_clear_error():
    with pytest.raises(
        ConfigError, match=r"StaticFees needs an environment with task 'operator'.*got task 'liquidity'"
    ):
        make_agent("static", Problem.of(EnvironmentConfig.of({})))
    with pytest.raises(ConfigError, match="Targeted needs an environment with task 'liquidity', got task 'operator'"):
        make_agent("targeted", problem_of())
    with pytest.raises(ConfigError, match="needs action 'dict', got 'box': set action=dict"):
        make_agent("static", problem_of(action="box"))
    with pytest.raises(ConfigError, match=r"OperatorLndg needs the lever 'rebalance', got levers \['fees'\]"):
        make_agent("operator_lndg", problem_of(levers=["fees"]))


@pytest.mark.parametrize(
    ("policy", "settings", "said"),
    [
        ("static", {"fee_rate_ppm": -1}, "expected fee_rate_ppm of at least 0, got -1"),
        ("charge_lnd", {"min_fee_ppm": 300}, "expected 0 <= min_fee_ppm <= max_fee_ppm, got 300 and 200"),
        ("feelancer", {"alpha_i": 0.0}, "alpha_i"),
        ("ln_operator", {"low_ppm": 300}, "low_ppm <= top_ppm"),
        ("sling", {"target": 2.0}, "expected target in 0..1, got 2.0"),
        ("swap_out", {"target": 1.0}, "target <= high"),
        ("operator_autoloop", {"incoming": 0.9}, "sum below 1"),
        ("boltz_autoswap", {"threshold": 0.6}, "threshold in 0..0.5"),
        ("close_dead_channels", {}, "needs the lever 'close'"),
        ("close_dead_channels", {"weeks": 0, "config": {"levers": ["close"]}}, "weeks and max_sat_per_vbyte above 0"),
    ],
)
def test_impossible_settings_are_refused(policy, settings, said):
    with pytest.raises(ConfigError, match=said):
        Board(policy, **settings)
