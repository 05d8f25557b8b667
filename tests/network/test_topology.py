"""What a topology refuses, how nodes are named and found, and how networks are cut."""

import unicodedata

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lnsim_gym.errors import TopologyError
from lnsim_gym.network import Channel, ChannelPolicies, Policy, Topology
from lnsim_gym.network.generators import ring, scale_free
from lnsim_gym.network.names import unique_names, unprintable

KEYS = ("02" + "a" * 64, "03" + "b" * 64, "02" + "c" * 64)


def channel(first, second, **changes):
    return Channel(**{"initiator": first, "peer": second, "capacity_sat": 100_000, **changes})


def both(**changes):
    return ChannelPolicies(initiator=Policy(), peer=Policy(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peer": "c"}, r"channels\[1\] names an unknown node 'c'"),
        ({"peer": "a"}, r"channels\[1\] \(a-a\) joins a node to itself"),
        ({"capacity_sat": 19_999}, r"channels\[1\] \(a-b\): capacity_sat must lie in 20,000..16,777,215, got 19,999"),
        ({"capacity_sat": 10**30}, r"capacity_sat must lie in"),
        ({"capacity_sat": 16_777_216}, "set wumbo = true"),
        ({"fee_per_kw": 252}, "fee_per_kw must lie in 253..100,000 sat/kw, got 252"),
        (
            {"initiator_balance_sat": 999},
            "initiator_balance_sat must lie between 1,000 sat, the least LND opens it with, and 96,530",
        ),
        ({"initiator_balance_sat": -1}, "got -1"),
        ({"capacity_sat": 70_800, "initiator_balance_sat": 708}, "must lie between 709 sat"),
        ({"initiator_balance_sat": 96_000}, "leaves the peer 530 sat, below its reserve of 1,000"),
        ({"policies": both(fee_rate_ppm=2**32)}, r"policies.peer.fee_rate_ppm must lie in 0..4,294,967,295"),
        ({"policies": both(fee_base_msat=1.5)}, "policies.peer.fee_base_msat must be an integer"),
        ({"policies": both(max_htlc_msat=-1)}, "policies.peer.max_htlc_msat must lie in 1,000..99,000,000, got -1"),
        ({"policies": both(max_htlc_msat=-(2**63))}, "policies.peer.max_htlc_msat must lie in"),
        ({"policies": both(inbound_fee_base_msat=2**31)}, "policies.peer.inbound_fee_base_msat must lie in"),
        ({"policies": both(time_lock_delta=23)}, "policies.peer.time_lock_delta must lie in 24..2,016, got 23"),
    ],
)
def test_a_channel_that_lnd_would_not_open_is_refused_by_its_place(changes, message):
    with pytest.raises(TopologyError, match=message):
        Topology(nodes=("a", "b"), channels=(channel("a", "b"), channel("a", "b", **changes)))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("a\nb", "U\\+000A"),
        ("a\x1b[31m", "U\\+001B"),
        ("\u202eabc", "U\\+202E"),
        ("\ud83d", "U\\+D83D"),
        ("a\u200b", "U\\+200B"),
    ],
)
def test_a_name_that_cannot_be_printed_is_refused_with_the_character(name, code):
    with pytest.raises(
        TopologyError, match=rf"nodes\[0\] is named .* with the character {code}, which cannot be printed"
    ):
        Topology(nodes=(name, "b"), channels=(channel(name, "b"),))


def test_an_alias_with_half_a_character_is_refused():
    with pytest.raises(TopologyError, match=r"aliases\[1\] holds half a character"):
        Topology(nodes=("a", "b"), channels=(channel("a", "b"),), aliases=("x", "\ud83d"))


@given(aliases=st.lists(st.text(st.characters(exclude_categories=()), max_size=12), min_size=1, max_size=30))
def test_names_made_of_any_aliases_are_unique_and_printable(aliases):
    keys = [f"02{index:064x}" for index in range(len(aliases))]
    names = unique_names(dict(zip(keys, aliases, strict=True)))
    assert list(names) == keys
    assert len(set(names.values())) == len(keys)
    assert all(name.strip() and unprintable(name) is None for name in names.values())
    assert all(unicodedata.normalize("NFC", name) == name for name in names.values())


@pytest.mark.parametrize("alias", ["NAME [lnd-26]", "[/x]", "$\\frac$", "../../etc", "👩‍💻", "é", "名前"])
def test_an_alias_that_can_be_shown_is_the_name(alias):
    assert unique_names({"k": alias, "l": "other"})["k"] == alias


def test_aliases_that_look_alike_give_way_to_the_keys():
    names = unique_names({"k": "a\u200db", "l": "ab", "m": "x\u202e", "n": "x", "o": " y  z", "p": "y z", "q": "p"})
    assert list(names.values()) == ["k", "l", "m", "n", "o", "p", "q"]


def test_a_node_is_found_by_its_name_its_key_and_its_alias():
    topology = Topology(
        nodes=("a", "b", "c"),
        channels=(channel("a", "b"), channel("b", "c")),
        public_keys=KEYS,
        aliases=("same", "same", "Ann, of (x)"),
    )
    assert [topology.find_node(text) for text in ("b", KEYS[2].upper(), "Ann, of (x)")] == [1, 2, 2]
    with pytest.raises(TopologyError, match="2 nodes have the alias 'same'"):
        topology.find_node("same")
    with pytest.raises(TopologyError, match="unknown node 'd'"):
        topology.find_node("d")
    cut = topology.around("Ann, of (x)", 1)
    assert (cut.nodes, cut.public_keys, cut.aliases) == (("b", "c"), KEYS[1:], ("same", "Ann, of (x)"))


LARGE = scale_free(200, 500, 5)


def degrees(topology):
    return [
        len({*topology.ends[(topology.ends == node).any(axis=1)].ravel()} - {node})
        for node in range(len(topology.nodes))
    ]


@given(center=st.integers(0, 199), hops=st.integers(1, 4))
def test_around_keeps_what_lies_within_some_hops(center, hops):
    reached = {center}
    for _ in range(hops):
        reached |= {int(end) for ends in LARGE.ends for end in ends if reached & {int(other) for other in ends}}
    assert LARGE.around(f"n{center}", hops).nodes == tuple(LARGE.nodes[node] for node in sorted(reached))


def test_in_a_core_every_node_has_enough_peers_and_no_larger_part_has():
    core = LARGE.core(3)
    assert min(degrees(core)) >= 3
    outside = set(LARGE.nodes) - set(core.nodes)
    peers = dict.fromkeys(outside, 0)
    for one in LARGE.channels:
        for node, other in ((one.initiator, one.peer), (one.peer, one.initiator)):
            if node in outside and other in core.nodes:
                peers[node] += 1
    assert all(count < 3 for count in peers.values())


def test_largest_keeps_the_nodes_of_largest_capacity():
    total = np.bincount(LARGE.ends.ravel(), np.repeat(LARGE.arrays.capacity_sat, 2))
    wanted = {LARGE.nodes[node] for node in np.argsort(-total)[:40]}
    assert set(LARGE.largest(40).nodes) <= wanted
    assert len(LARGE.largest(40).channels) == sum(c.initiator in wanted and c.peer in wanted for c in LARGE.channels)


def test_a_component_and_a_least_capacity_keep_what_they_say():
    with pytest.warns(UserWarning, match="disconnected"):
        apart = Topology(
            nodes=("a", "b", "c", "d", "e"), channels=(channel("a", "b"), channel("c", "d"), channel("d", "e"))
        )
    assert apart.component().nodes == ("c", "d", "e")
    assert LARGE.min_capacity(1_000_000).arrays.capacity_sat.min() >= 1_000_000


def test_what_stays_is_as_it_was():
    whole = ring(6)
    part = whole.around("n0", 1)
    kept = {(c.initiator, c.peer): policies for c, policies in zip(whole.channels, whole.policies, strict=True)}
    assert all(c.policies == kept[c.initiator, c.peer] for c in part.channels)
    assert whole.cut("component") is whole
    assert whole.cut() is whole
    assert msgspec.convert(part.to_dict(), Topology) == part


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        ("arond(n0, 1)", r"unknown cut 'arond\(n0, 1\)'. Did you mean 'around'\? Known: around\(NODE, hops\), core"),
        ("around(n0)", r"cannot read the cut 'around\(n0\)': write it as around\(NODE, hops\)"),
        ("core(x)", r"write it as core\(k\)"),
        ("component(3)", "write it as component"),
        ("core(99)", r"the cut 'core\(99\)' leaves nothing of 200 nodes and 500 channels: ask for less"),
        ("", "unknown cut ''"),
    ],
)
def test_a_cut_that_makes_no_sense_is_refused(cut, message):
    with pytest.raises(TopologyError, match=message):
        LARGE.cut(cut)
