"""What pictures and texts show is what happened."""

import re
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest

from lnsim_gym.environment import LightningNetEnv
from lnsim_gym.network.load import load_topology
from lnsim_gym.rendering.layout import node_positions
from lnsim_gym.rendering.style import APPLIED, DRY_END, EMPTIER, FULLER, REFUSED, line_width, short_amount

pytest.importorskip("matplotlib", reason="needs the extra 'render'")

NETWORK = slice(0, 640)
"""Columns of a picture that show the network."""


def make(mode, env="LightningNet-v0", **settings):
    return gym.make(env, render_mode=mode, **settings)


def pixels(picture, color):
    wanted = [int(color[place : place + 2], 16) for place in (1, 3, 5)]
    return int((picture == wanted).all(axis=2).sum())


def with_shares(topology, shares):
    initiator = (topology.owned_total_msat * shares).astype(np.int64)
    return np.stack([initiator, topology.owned_total_msat - initiator], axis=1)


def test_the_bars_are_split_at_the_balances():
    env = make("rgb_array")
    topology = env.unwrapped.topology
    fuller = []
    for share in (0.15, 0.25, 0.5, 0.75, 0.85):
        env.reset(seed=0, options={"balances_msat": with_shares(topology, np.full(len(topology.channels), share))})
        picture = env.render()[:, NETWORK]
        assert not pixels(picture, DRY_END)
        fuller.append(pixels(picture, FULLER) / (pixels(picture, FULLER) + pixels(picture, EMPTIER)))
    np.testing.assert_allclose(fuller, [0.85, 0.75, 0.5, 0.75, 0.85], atol=0.08)


@pytest.mark.parametrize(
    "topology",
    [
        "default",
        "scale_free(nodes = 12, channels = 20)",
        "scale_free(nodes = 13, channels = 20)",
        "scale_free(nodes = 100, channels = 400, seed = 7)",
    ],
)
def test_the_ends_that_are_dry_stand_out_at_every_size(topology):
    env = make("rgb_array", topology=topology)
    channels = len(env.unwrapped.topology.channels)
    marked = []
    for dry in (0, channels // 10 + 1, channels // 2, channels):
        shares = np.full(channels, 0.5)
        shares[:dry:2] = 0.05
        shares[1:dry:2] = 0.95
        env.reset(seed=0, options={"balances_msat": with_shares(env.unwrapped.topology, shares)})
        marked.append(pixels(env.render()[:, NETWORK], DRY_END))
    assert marked[0] == 0 < marked[1] < marked[2] < marked[3]


def test_a_ring_is_drawn_as_a_ring_in_the_order_of_its_channels():
    order = np.random.default_rng(3).permutation(50)
    places = node_positions(50, order, np.roll(order, -1))
    np.testing.assert_allclose(np.linalg.norm(places, axis=1), 1, atol=1e-6)
    steps = np.linalg.norm(places[order] - places[np.roll(order, -1)], axis=1)
    np.testing.assert_allclose(steps, 2 * np.sin(np.pi / 50), atol=1e-6)


def test_two_rings_are_no_ring():
    places = node_positions(
        40, np.arange(40), np.concatenate([np.roll(np.arange(20), -1), np.roll(np.arange(20, 40), -1)])
    )
    assert np.linalg.norm(places, axis=1).min() < 0.9


def test_the_style_of_the_user_changes_no_picture():
    import matplotlib as mpl  # noqa: PLC0415
    import matplotlib.style  # noqa: PLC0415

    plain = make("rgb_array")
    plain.reset(seed=0)
    expected = plain.render()
    with mpl.style.context(["dark_background", {"font.size": 30, "text.color": "red", "lines.linewidth": 9}]):
        styled = make("rgb_array")
        styled.reset(seed=0)
        np.testing.assert_array_equal(styled.render(), expected)
        assert mpl.rcParams["font.size"] == 30


def test_a_larger_capacity_is_a_wider_bar():
    widths = line_width(np.array([10_000, 1_000_000, 4_000_000]), 1.0, 9.0)
    assert widths[0] < widths[1] < widths[2] == 9.0
    assert widths[1] == pytest.approx(5.0)


def picture_after(env, action):
    env.reset(seed=0)
    info = env.step(action)[4]
    return env.render(), info["rebalance"]


@pytest.mark.parametrize("environment", ["LightningNet-v0", "LightningNet100-v0"])
@pytest.mark.parametrize("operation", ["push", "circular"])
def test_a_rebalance_is_green_when_applied_and_red_when_refused(environment, operation):
    env = make("rgb_array", environment, operation=operation, start_balances={"low": 0.0, "high": 1.0})
    _, info = env.reset(seed=0)
    refused = int(np.flatnonzero(info["action_mask"] == 0)[0])
    colors = {}
    for action in [0, refused, *np.flatnonzero(info["action_mask"])[1:40].tolist()]:
        picture, rebalance = picture_after(env, action)
        kind = "none" if action == 0 else "refused" if rebalance["refused"] else "applied"
        colors[kind] = pixels(picture[:, NETWORK], APPLIED), pixels(picture[:, NETWORK], REFUSED)
        if len(colors) == 3:
            break
    assert colors["none"] == (0, 0)
    assert colors["applied"][0] > 100 > colors["applied"][1]
    assert colors["refused"][1] > 100 > colors["refused"][0]


def test_a_text_tells_balances_rates_and_rebalances():
    env = make("ansi")
    network = env.unwrapped
    env.reset(seed=7)
    assert env.render().splitlines()[:2] == ["seed 7, episode 0, step 0", "rebalance     none"]
    succeeded = []
    refusals = 0
    for action in [3] * 6:
        *_, info = env.step(action)
        text = env.render()
        succeeded.append(info["succeeded"])
        rate = sum(succeeded) / (20 * len(succeeded))
        assert f"success rate  {rate:.1%}, {succeeded[-1]} of 20 in the last step" in text
        lines = re.findall(r"^ *(\w+) +([\d,]+) ([█░]+) +([\d,]+) (\w+)", text, re.MULTILINE)
        for (initiator, own, bar, other, peer), channel, balances in zip(
            lines, network.topology.channels, network.balances_msat() // 1000, strict=True
        ):
            assert (initiator, peer) == (channel.initiator, channel.peer)
            assert [int(own.replace(",", "")), int(other.replace(",", ""))] == balances.tolist()
            assert bar.count("█") / len(bar) == pytest.approx(balances[0] / balances.sum(), abs=0.5 / len(bar) + 1e-9)
        asked = f"alice → bob, {info['rebalance']['requested_sat']:,} sat"
        why = ", refused: alice cannot spend that much on this channel" if info["rebalance"]["refused"] else ""
        assert f"rebalance     {asked}{why}\n" in text
        assert f"{'refused' if why else 'rebalanced'}\n" in text
        refusals += bool(why)
    assert 0 < refusals < 6


def test_a_refused_cycle_names_the_node_that_could_not_forward():
    env = make("ansi", operation="circular", start_balances={"low": 0.0, "high": 1.0})
    network = env.unwrapped
    env.reset(seed=0)
    told = set()
    for action in range(1, env.action_space.n):
        env.reset(seed=0)
        env.step(action)
        route, _, result = network.last_rebalance()
        if result.failure_source_index > 0:
            failing = network.topology.nodes[network.topology.arrays.source[route[result.failure_source_index]]]
            assert f"refused: {failing} lacks the balance to forward it" in env.render()
            told.add(failing)
    assert len(told) > 1


def test_the_text_of_a_large_network_shows_the_channels_of_the_rebalance_first():
    env = make("ansi", "LightningNet100-v0")
    env.reset(seed=0)
    env.step(2401 - 6)
    channel = env.unwrapped.topology.channels[399]
    lines = env.render().splitlines()
    first = next(place for place, line in enumerate(lines) if "of 400 channels" in line) + 1
    assert lines[first].split()[0] == channel.initiator
    assert channel.peer in lines[first].split()
    assert len(lines) == first + 20


@pytest.mark.parametrize(("known", "changes"), [(True, 0), (False, 2)])
def test_the_chart_is_as_long_as_the_episode_and_grows_where_that_is_unknown(known, changes):
    env = LightningNetEnv(render_mode="rgb_array", max_episode_steps=100 if known else None)
    env.reset(seed=0)
    axis = slice(355, 375), slice(660, 960)
    marks = []
    for step in range(1, 61):
        env.step(0)
        if step in (1, 25, 26, 50, 51, 60):
            marks.append(env.render()[axis].tobytes())
    assert sum(one != other for one, other in pairwise(marks)) == changes


def test_the_chart_of_a_registered_environment_is_as_long_as_its_episodes():
    env = make("ansi")
    env.reset(seed=0)
    assert env.unwrapped._length() == env.spec.max_episode_steps == 100


@pytest.mark.parametrize("topology", ["default", "scale_free(nodes = 100, channels = 400, seed = 7)"])
def test_nodes_lie_apart_within_the_picture_and_always_at_the_same_place(topology):
    network = load_topology(topology)
    source = network.arrays.source[::2]
    destination = network.arrays.destination[::2]
    positions = node_positions(len(network.nodes), source, destination)
    np.testing.assert_array_equal(positions, node_positions(len(network.nodes), source, destination))
    assert (np.abs(positions) <= 1).all()
    distance = np.linalg.norm(positions[:, None] - positions, axis=2) + 10 * np.eye(len(positions))
    assert distance.min() > 0.75 / np.sqrt(len(positions))


def test_nodes_of_a_huge_network_are_placed_without_looking_at_all_pairs():
    ring = np.arange(20_000)
    positions = node_positions(20_000, np.append(ring, 0), np.append(np.roll(ring, 1), 10_000))
    assert (np.abs(positions) <= 1).all()
    assert len(np.unique(positions, axis=0)) == 20_000


def test_long_names_are_cut_and_stay_within_the_picture():
    names = [f"a rather long name {index}" for index in range(3)]
    pairs = [(0, 1), (1, 2), (2, 0)]
    channels = [{"initiator": names[a], "peer": names[b], "capacity_sat": 1_000_000} for a, b in pairs]
    env = make("rgb_array", topology={"nodes": names, "channels": channels})
    env.reset(seed=0)
    picture = env.render()
    for edge in (picture[:, :2], picture[:, 636:640], picture[:2], picture[-2:]):
        assert (edge == 255).all()


@pytest.mark.parametrize(
    ("sat", "shown"), [(0, "0"), (999, "999"), (1_000, "1k"), (999_499, "999k"), (999_500, "1M"), (85_942_866, "85.9M")]
)
def test_short_amounts(sat, shown):
    assert short_amount(sat) == shown
