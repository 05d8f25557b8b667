"""The commands that advise an operator: what they refuse, and one day after another on a history that was simulated."""

from __future__ import annotations

import dataclasses
import json
import re
import socket
import stat

import msgspec
import pytest

from lnsim_gym import own_node
from lnsim_gym.cli.node_advice import hours_of
from lnsim_gym.errors import BackendLost, ConfigError
from lnsim_gym.own_node.following.record import RECORD, Given, Outcome, append, read_record
from lnsim_gym.own_node.reading import folder as folders
from lnsim_gym.own_node.reading.history import DAY_NS
from tests.own_node.exports import imported, write
from tests.own_node.following.test_record import CHANGE, LEFT, advice, taken

COMMAND = r"lncli (updatechanpolicy( --\w+=-?\d+)+ --chan_point=|closechannel --funding_txid )[0-9a-f]{64}[\w :-]+"

QUICK = ("--draws", 6, "--horizon", "2d")


@pytest.mark.parametrize(("text", "hours"), [("36h", 36), ("7d", 168), ("2w", 336), ("0.5d", 12)])
def test_lengths_of_time_are_read(text, hours):
    assert hours_of(text, "--every") == hours


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "0h", "53w", "1e3h", "7 days", "nan"])
def test_what_is_no_length_of_time_is_refused(text):
    with pytest.raises(ConfigError, match="expected --every as 36h, 7d or 2w"):
        hours_of(text, "--every")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["advise", "--apply"], "say --yes too"),
        (["advise", "--yes"], "expected --apply beside --yes"),
        (["advise", "--mainnet"], "expected --apply beside --yes"),
        (["advise", "--unproven"], "expected --apply beside --yes"),
        (["advise", "--apply", "--yes", "--budget", "5"], "--apply needs --attach FILE"),
        (["advise", "--apply", "--yes", "--attach", "node.toml"], "--budget SAT"),
        (["advise", "--horizon", "soon"], "expected --horizon as"),
        (["advise", "--agent", "nobody"], "nobody"),
        (["advise", "--agent", "ppo"], "expected an agent that can run a node of your own, got 'ppo'"),
        (["advise", "--agent", "regolancer"], "Known: search, autofees"),
        (["advise", "--agent", "swap_out"], "got 'swap_out'"),
        (["watch"], "expected --attach FILE"),
        (["watch", "--attach", "none.toml", "--apply"], "say --yes too"),
        (["watch", "--attach", "none.toml", "--rounds", "1"], "none.toml"),
    ],
)
def test_nothing_is_done_unless_it_is_asked_for_twice_and_whole(tmp_path, lnsim, arguments, said):
    imported(tmp_path)
    command, *options = arguments
    status, out, err = lnsim("node", command, tmp_path / "node", *options)
    assert (status, out) == (2, "")
    assert said in err.replace("\n", " ")
    assert not (tmp_path / "node" / RECORD).exists()


def test_an_old_import_is_not_acted_upon(tmp_path, lnsim):
    imported(tmp_path)
    options = ("--apply", "--yes", "--budget", 1, "--attach", "node.toml")
    status, _, err = lnsim("node", "advise", tmp_path / "node", *options)
    assert (status, "more than an hour ago: import it again" in err) == (2, True)


def test_a_history_that_tells_nothing_is_refused_in_one_line(tmp_path, lnsim):
    files = write(tmp_path, history={"forwarding_events": []})
    lnsim("node", "import", *(files[name] for name in ("graph", "channels", "history")), "--out", tmp_path / "node")
    status, out, err = lnsim("node", "advise", tmp_path / "node")
    assert (status, out) == (2, "")
    assert "Traceback" not in err


@pytest.fixture
def silent(tmp_path):
    """A file of a node that does not answer, and where it is looked for."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # a port that nobody listens to
        port = bound.getsockname()[1]
        (tmp_path / "tls.cert").write_text("none")
        (tmp_path / "admin.macaroon").write_bytes(b"none")
        told = {"name": "mine", "host": "127.0.0.1", "tls_cert": "tls.cert", "macaroon": "admin.macaroon"}
        lines = "".join(f'{name} = "{value}"\n' for name, value in told.items())
        file = tmp_path / "mine.toml"
        file.write_text(f"[[nodes]]\n{lines}port = {port}\n")
        yield file, f"the node at 127.0.0.1:{port} does not answer"


def test_a_node_that_is_down_is_told_by_its_address(tmp_path, lnsim, silent, monkeypatch):
    file, said = silent
    status, _, err = lnsim("node", "import", "--attach", file, "--out", tmp_path / "node")
    assert (status, said in err, "reset" in err) == (1, True, False)
    imported(tmp_path)
    status, _, err = lnsim("node", "watch", tmp_path / "node", "--attach", file, "--rounds", 1)
    assert (status, said in err) == (1, True)
    monkeypatch.setattr("lnsim_gym.cli.node_advice._require_fresh", lambda *_: None)
    monkeypatch.setattr("lnsim_gym.cli.node_advice._advised", None)  # it is not come to
    options = ("--apply", "--yes", "--budget", 1, "--attach", file)
    status, _, err = lnsim("node", "advise", tmp_path / "node", *options)
    assert (status, said in err) == (1, True)


@pytest.mark.parametrize(
    ("reproduced", "flags", "said"),
    [
        (True, (), ""),
        (False, (), "the simulation does not reproduce what the node earned: nothing is done"),
        (None, (), "the history is too short to tell whether the simulation reproduces what the node earned"),
        (False, ("--unproven",), ""),
        (None, ("--unproven",), ""),
    ],
)
def test_what_the_simulation_does_not_reproduce_is_not_acted_upon(
    tmp_path, lnsim, monkeypatch, reproduced, flags, said
):
    imported(tmp_path)
    done = []
    given = msgspec.structs.replace(advice(CHANGE), reproduced=reproduced)
    for name, stand_in in {
        "_require_fresh": lambda *_: None,
        "_require_node": lambda *_: None,
        "_advised": lambda *_: given,
        "_imported": lambda *_: own_node.load_node(tmp_path / "node"),
        "_act": lambda *_, **__: done.append(1) or True,
    }.items():
        monkeypatch.setattr(f"lnsim_gym.cli.node_advice.{name}", stand_in)
    options = ("--apply", "--yes", "--budget", 1, "--attach", "node.toml", *flags)
    status, out, err = lnsim("node", "advise", tmp_path / "node", *options)
    assert (status, said in err, len(done)) == ((2, True, 0) if said else (0, True, 1))
    assert "1 change" in out or "peers to leave alone" in out  # which is shown all the same
    assert "forwards of" in err  # what is doubted of the import, as `lnsim node import` tells it
    status, out, err = lnsim("node", "watch", tmp_path / "node", *options, "--rounds", 1)
    assert (status, said in err, len(done)) == (0, True, 0 if said else 2)
    assert "peers to leave alone" in out
    assert "forwards of" in err


def test_scores_of_forecasts_are_shown(tmp_path, lnsim):
    imported(tmp_path)
    folder = tmp_path / "node"
    assert "no forecast is over yet" in lnsim("node", "watch", folder, "--scores")[1]
    channels = ((5, LEFT, 2.0),)
    outcomes = [
        Outcome(advice_ns=one, was_done=False, levels=LEFT, earned_sat=sat, channels=channels)
        for one, sat in enumerate((-1.0, 2.0, 2.5))
    ]
    append(folder, Given(advice=advice(CHANGE)), taken(CHANGE), *outcomes)
    plot = tmp_path / "scores.svg"
    status, out, _ = lnsim("node", "watch", folder, "--scores", "--plot", plot)
    assert status == 0
    assert "node: 3 forecasts; 67% inside the intervals of 50 %, 67% inside those of 90 %" in out
    assert stat.S_IMODE(plot.stat().st_mode) == 0o600
    assert json.loads(lnsim("node", "watch", folder, "--scores", "--json")[1])["channels"]["inside_90"] == 1.0
    assert "67% of 3 forecasts of node held" in lnsim("node", "report", folder)[1]


@pytest.fixture(scope="module")
def past():
    """A node after 33 days, and the network around it."""
    from tests.own_node.folders import small_history  # noqa: PLC0415 - prepares the compiler

    history = small_history(33)
    return history.node, history.topology


def put(past, folder, days_ago):
    """Put the node into a folder as it was some days before the end; its balances are those of the end."""
    node, topology = past
    now_ns = node.imported_ns - days_ago * DAY_NS
    forwards = node.forwards.keep(node.forwards.time_ns <= now_ns)
    then = dataclasses.replace(node, imported_ns=now_ns, forwards=forwards)
    folders._write(then, topology, folder)
    return then


@pytest.mark.slow  # what it is made of takes a minute to be compiled
def test_a_node_is_advised_and_the_same_is_said_again(tmp_path, lnsim, past):
    folder = tmp_path / "mynode"
    put(past, folder, 0)
    status, out, err = lnsim("node", "advise", folder, *QUICK)
    assert status == 0, err
    assert "peers to leave alone (6 draws of what is not known, 2 days)" in out
    for command in re.findall(r"lncli .*", out):
        assert re.fullmatch(COMMAND, command)
    (given,) = read_record(folder)
    told = json.loads(lnsim("node", "advise", folder, *QUICK, "--json")[1])
    assert msgspec.convert(told, type(given.advice)) == given.advice  # to the last digit
    assert len(read_record(folder)) == 2
    assert stat.S_IMODE((folder / RECORD).stat().st_mode) == 0o600


@pytest.mark.slow  # see above
def test_a_node_is_watched_until_it_is_interrupted_and_forecasts_get_their_outcomes(tmp_path, lnsim, past, monkeypatch):
    folder, days_ago = tmp_path / "mynode", [3, 1, 0]
    put(past, folder, 3)

    def next_import(file, out, **_):
        """Stands for a node that runs for days, which none of a test does."""
        if days_ago[0] == 1:
            days_ago.pop(0)
            raise BackendLost("the node is gone")
        return put(past, out, days_ago.pop(0))

    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        if not days_ago:
            raise KeyboardInterrupt

    monkeypatch.setattr(own_node, "import_attached", next_import)
    monkeypatch.setattr("lnsim_gym.cli.node_advice.time.sleep", sleep)
    status, _, err = lnsim("node", "watch", folder, "--attach", "node.toml", "--every", "36h", *QUICK)
    assert (status, pauses) == (130, [36 * 3600] * 3)
    assert "the node is gone" in err
    first, outcome, second = read_record(folder)
    assert isinstance(first, Given)
    assert isinstance(second, Given)
    node, _ = past
    during = (node.forwards.time_ns > first.advice.time_ns) & (
        node.forwards.time_ns <= first.advice.time_ns + 2 * DAY_NS
    )
    earned_msat = (node.forwards.in_msat[during] - node.forwards.out_msat[during]).sum()
    assert (outcome.was_done, outcome.earned_sat) == (False, pytest.approx(earned_msat / 1000))
    assert earned_msat > 0
    assert sum(earned for *_, earned in outcome.channels) == pytest.approx(outcome.earned_sat)
    assert "node: 1 forecasts" in lnsim("node", "watch", folder, "--scores")[1]
