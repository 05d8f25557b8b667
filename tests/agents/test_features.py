"""Features of channel ends: each row is about one direction of one network, in the units that its docstring gives."""

import numpy as np
import pytest

from lnsim_gym.agents.features import ChannelFeatures
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks.config import EnvironmentConfig

AVERAGES = {"observation": "averages", "observation_averages": (8, 25)}


def problem(**settings):
    return Problem.of(EnvironmentConfig.of({**AVERAGES, **settings}))


def test_each_row_is_about_one_direction_and_both_its_nodes():
    own = problem(topology="scale_free(nodes=20, channels=40, seed=3)")
    layout = own.task.observations
    arrays = own.topology.arrays
    observation = np.random.default_rng(0).random((2, layout.size)).astype(np.float32)
    features = ChannelFeatures(own)
    rows = features(observation, np.zeros(2, np.int64))
    assert rows.shape == (2, 80, 33) == (2, *features.space.shape)
    assert rows.dtype == np.float32
    capacity = np.repeat(arrays.capacity_sat, 2)
    balance = observation[1, :80]
    last = observation[1, 80 : 80 + layout.features]
    for direction in (0, 17, 79):
        source = arrays.source[direction]
        peer = arrays.destination[direction]
        opposite = direction ^ 1
        ends = arrays.source == source
        held = (balance * capacity)[ends].sum() / capacity[ends].sum()
        row = rows[1, direction]
        expected = [balance[direction], balance[opposite], held]
        assert row[:3] == pytest.approx(expected, rel=1e-5)
        assert row[4:8] == pytest.approx(
            [10 * last[direction], 10 * last[opposite], last[direction] ** 0.5, last[opposite] ** 0.5], rel=1e-5
        )
        failed = [last[80 + source], last[80 + peer], last[100 + source], last[100 + peer]]
        assert row[8:12] == pytest.approx(30 * np.array(failed), rel=1e-5)
        fee_rates = np.log10(1 + arrays.fee_rate_ppm[[direction, opposite]]) / 3
        channels = [np.log(ends.sum()) / 3, np.log((arrays.source == peer).sum()) / 3]
        assert row[28:32] == pytest.approx([*fee_rates, *channels], rel=1e-5)
        assert row[32] == pytest.approx(np.log10(capacity[direction] / np.median(capacity)), abs=1e-5)
    begun = features.begin(np.array([False, True]), observation)
    np.testing.assert_array_equal(begun, rows[1:])


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"observation": "balances"}, "'flows' or 'averages'"),
        ({"observation": "dict"}, "'flows' or 'averages'"),
        ({"variants": {"count": 2, "fee_rate_ppm": [1, 5]}}, "variants"),
        ({"operation": "circular"}, "operation 'push'"),
    ],
)
def test_features_of_channels_need_what_they_are_made_of(settings, complaint):
    with pytest.raises(ConfigError, match=complaint):
        ChannelFeatures(problem(**settings))
