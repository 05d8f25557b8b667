"""The record of a folder, what is noticed, and how forecasts are scored; by hand."""

from __future__ import annotations

import dataclasses
import os
import stat

import pytest

from lnsim_gym.errors import ConfigError
from lnsim_gym.own_node.advice.changes import Closing
from lnsim_gym.own_node.advice.guards import announced_ns
from lnsim_gym.own_node.advice.told import Advice, Advised, ChannelForecast, Forecast
from lnsim_gym.own_node.following.record import RECORD, Given, Outcome, Taken, append, changes_made, read_record
from lnsim_gym.own_node.following.scores import new_outcomes, score
from lnsim_gym.own_node.reading.history import DAY_NS, Forwards
from lnsim_gym.rendering.calibration import draw_calibration
from tests.own_node.advice.test_guards import REFILL, repricing
from tests.own_node.exports import BERT, CLEO, NOW_NS, imported

BEGIN_NS = NOW_NS - 10 * DAY_NS
LEFT, DONE = (0.0, 1.0, 2.0, 3.0, 4.0), (10.0, 20.0, 30.0, 40.0, 50.0)
CHANGE = repricing(100, 150, chan_id=BERT)
CLOSING = Closing(peer="cleo", chan_id=CLEO, point="", local_sat=0)


def advice(*changes, time_ns=BEGIN_NS, days=5.0):
    channels = tuple(ChannelForecast(chan_id=one, left_sat=LEFT, done_sat=DONE) for one in (BERT, CLEO))
    return Advice(
        name="anna",
        public_key="02",
        time_ns=time_ns,
        agent="search",
        draws=4,
        advised=tuple(Advised(change=one, gain=None, idle="", commands=()) for one in changes),
        left=(),
        together=None,
        forecast=Forecast(begin_ns=time_ns, days=days, left_sat=LEFT, done_sat=DONE, channels=channels),
    )


def taken(change, days=0.5, result="done", advice_ns=BEGIN_NS):
    return Taken(time_ns=BEGIN_NS + round(days * DAY_NS), advice_ns=advice_ns, change=change, result=result)


def test_entries_are_kept_for_their_owner_alone_and_outlive_an_import(tmp_path):
    node = imported(tmp_path)
    folder = tmp_path / "node"
    assert read_record(folder) == []
    entries = [Given(advice=advice(CHANGE, REFILL, CLOSING)), taken(CHANGE), taken(REFILL, result="refused")]
    append(folder, entries[0])
    append(folder, *entries[1:])
    assert read_record(folder) == entries
    assert stat.S_IMODE((folder / RECORD).stat().st_mode) == 0o600
    assert imported(tmp_path).public_key == node.public_key
    assert read_record(folder) == entries
    assert stat.S_IMODE((folder / RECORD).stat().st_mode) == 0o600


def test_a_line_that_was_cut_off_spoils_no_other_and_is_named(tmp_path):
    append(tmp_path, taken(CHANGE))
    os.truncate(tmp_path / RECORD, 50)
    append(tmp_path, taken(CHANGE))
    assert len((tmp_path / RECORD).read_text().splitlines()) == 2
    with pytest.raises(ConfigError, match=r"record.jsonl, line 1: expected an entry .* take the line out"):
        read_record(tmp_path)


@pytest.mark.parametrize("line", [b"\xff\xfe", b"[]", b'{"type": "other"}', b'{"type": "action", "time_ns": "now"}'])
def test_what_is_no_entry_is_named(tmp_path, line):
    (tmp_path / RECORD).write_bytes(line)
    with pytest.raises(ConfigError, match="line 1: expected an entry"):
        read_record(tmp_path)


def test_a_folder_that_is_none_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot write"):
        append(tmp_path / "none", taken(CHANGE))
    (tmp_path / RECORD).mkdir()
    with pytest.raises(ConfigError, match="cannot read"):
        read_record(tmp_path)


def test_changes_that_were_refused_were_not_made():
    entries = [taken(CHANGE), taken(CHANGE, 1, "refused"), taken(CHANGE, 2, "noticed"), taken(REFILL, 3)]
    made = changes_made(entries)
    assert [(time_ns - BEGIN_NS) / DAY_NS for time_ns, _ in made] == [0.5, 2, 3]
    assert announced_ns(made, BERT) == [one for one, _ in made[:2]]
    assert announced_ns(made, CLEO) == []


def earning(node, *forwards):
    """A node with forwards, each some days after the advice, over a channel, and its fee in sat."""
    rows = [
        (BEGIN_NS + round(days * DAY_NS), CLEO, chan_out, 10**6 + 1000 * fee_sat, 10**6)
        for days, chan_out, fee_sat in forwards
    ]
    return dataclasses.replace(node, forwards=Forwards.of(rows))


@pytest.mark.parametrize(
    ("then", "was_done"),
    [
        ([], False),
        ([taken(CHANGE), taken(REFILL, result="noticed")], True),
        ([taken(CHANGE), taken(REFILL, result="refused")], None),  # half of it
        ([taken(CHANGE), taken(REFILL, 2)], None),  # half of it late
        ([taken(CHANGE), taken(REFILL), taken(CHANGE, 3, advice_ns=5)], None),  # and more
        ([taken(CHANGE, 6, advice_ns=5)], False),  # after its time
    ],
)
def test_the_forecast_that_came_true_is_scored_when_its_time_is_over(tmp_path, then, was_done):
    node = earning(imported(tmp_path), (0.0, BERT, 1000), (1, BERT, 2), (4.9, CLEO, 1), (5.1, BERT, 500))
    given = Given(advice=advice(CHANGE, REFILL, CLOSING))
    found = new_outcomes(node, [given, *then])
    assert [one.was_done for one in found] == ([] if was_done is None else [was_done])
    for one in found:
        levels = DONE if was_done else LEFT
        assert (one.levels, one.earned_sat) == (levels, 3.0)
        assert one.channels == ((BERT, levels, 2.0), (CLEO, levels, 1.0))
        assert new_outcomes(node, [given, *then, one]) == []
    late = Given(advice=advice(CHANGE, days=10.5))
    assert new_outcomes(node, [late]) == []


def test_scores_count_what_lay_inside_and_below():
    earned = (-1.0, 0.0, 2.0, 2.5, 3.5, 9.0)
    entries = [
        Outcome(advice_ns=one, was_done=False, levels=LEFT, earned_sat=sat, channels=((BERT, LEFT, 2.0),))
        for one, sat in enumerate(earned)
    ]
    found = score(entries)
    node = found["node"]
    assert (node.forecasts, node.inside_50, node.inside_90) == (6, 2 / 6, 4 / 6)
    assert node.below == pytest.approx([1.5 / 6, 2 / 6, 2.5 / 6, 4 / 6, 5 / 6])
    assert found["channels"].inside_90 == 1.0
    assert score([]) == {}
    assert draw_calibration((0.05, 0.25, 0.5, 0.75, 0.95), {"node": node.below}).startswith("<svg")
