"""The commands for a node of one's own."""

import json
import stat

import pytest
from typer.testing import CliRunner

from lnsim_gym.cli import make_app
from tests.own_node.coverage import history
from tests.own_node.exports import write
from tests.own_node.histories import more_in_the_last_week, recipe_of, write_folder


def test_the_reports_of_the_command_say_the_same(tmp_path, lnsim):
    files = write(tmp_path)
    arguments = [files[name] for name in ("graph", "channels", "history")]
    more = ("--payments", files["payments"], "--chain", files["chain"], "--out", tmp_path / "node")
    status, out, _ = lnsim("node", "import", *arguments, *more)
    assert (status, "anna: 2 channels, 5 forwards, 1 refills" in out) == (0, True)
    status, out, _ = lnsim("node", "report", tmp_path / "node", "--json", "--days", 10**5)
    told = json.loads(out)
    assert sum(one["earned_msat"] for one in told["channels"]) == 111_100
    asked = ["node", "report", str(tmp_path / "node"), "--days", str(10**5)]
    narrow = CliRunner().invoke(make_app(), asked, env={"COLUMNS": "60"}).output
    assert "…" not in narrow
    assert "refilled" in narrow
    page = tmp_path / "books.html"
    status, out, _ = lnsim("node", "report", tmp_path / "node", "--days", 10**5, "--html", page)
    assert "bert" in out
    assert "net" in out
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert "<svg" in page.read_text()
    assert lnsim("node", "report", tmp_path)[0] == 2


def test_a_backtest_of_too_short_a_history_is_refused(tmp_path, lnsim):
    files = write(tmp_path)
    lnsim("node", "import", *(files[name] for name in ("graph", "channels", "history")), "--out", tmp_path / "node")
    status, out, err = lnsim("node", "backtest", tmp_path / "node", "--weeks", 1)
    assert (status, out) == (2, "")
    assert "expected 20 forwards in 7 days at least" in err
    assert lnsim("node", "backtest", tmp_path)[0] == 2


@pytest.mark.slow
def test_a_backtest_says_whether_it_foretells_the_node_by_its_exit_status(tmp_path, lnsim):
    known = history(104, recipe_of(tmp_path, 20), weeks=3)
    options = ("--weeks", 1, "--policy", "noop")
    status, out, _ = lnsim("node", "backtest", write_folder(known, tmp_path / "node"), *options)
    assert status == 0
    assert "the simulation reproduces it" in out
    assert "logged" in out
    assert "noop" in out
    boom = known._replace(node=more_in_the_last_week(known.node, 20))
    status, out, _ = lnsim("node", "backtest", write_folder(boom, tmp_path / "boom"), *options, "--json")
    told = json.loads(out)
    assert status == 1
    assert [one["policy"] for one in told["policies"]] == ["logged"]
    assert told["income"] > told["foretold_high"]
