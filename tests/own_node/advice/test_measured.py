"""What changes bring against doing nothing, by sums that a hand can make."""

import numpy as np
import pytest

from lnsim_gym.own_node.advice.measured import Measured
from lnsim_gym.own_node.advice.reasons import held_in


def test_a_gain_says_in_how_many_draws_it_is_one():
    net_sat = np.array([[5.0, 15.0, 5.0], [5.0, 1.0, 5.0], [0.0, 0.0, 0.0], [2.0, 22.0, 2.0]])
    measured = Measured(2.0, net_sat, net_sat, *(np.zeros((4, 3, 1)),) * 3)
    gain = measured.gain(1)
    assert (gain.sat_per_day, gain.ahead, gain.behind) == (pytest.approx(26 / 8), 2, 1)
    assert gain.ahead_share == pytest.approx(2 / 3)
    assert gain.low < gain.sat_per_day < gain.high
    assert held_in(gain, 4) == "more in 2, less in 1 of 4 draws"
    nothing = measured.gain(2)
    assert (nothing.sat_per_day, nothing.ahead_share, held_in(nothing, 4)) == (0, 0, "")
    assert measured.only(1).net_sat.tolist() == net_sat[:, :2].tolist()
    assert measured.only(1).gain(1) == gain
