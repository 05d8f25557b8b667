"""What the page is told that people may suggest."""

from __future__ import annotations

import gymnasium as gym
import pytest

from lnsim_gym.dashboard.by_hand import by_hand


@pytest.mark.parametrize(
    ("settings", "operation", "longest"),
    [
        ({}, "push", 1),
        ({"operation": "circular", "circular_max_hops": 3}, "circular", 3),
        ({"operation": "circular", "circular_routes": "found"}, "circular", 0),
    ],
)
def test_what_may_be_suggested_is_what_the_task_offers(settings, operation, longest):
    env = gym.make("LightningNet-v0", **settings)
    told = by_hand(env.unwrapped.problem.task)
    assert (told.operation, told.longest, told.channels) == (operation, longest, [])


def test_where_nobody_acts_nothing_may_be_suggested():
    assert by_hand(None).operation == "none"
