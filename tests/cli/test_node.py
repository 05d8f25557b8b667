"""The commands for a node of one's own."""

import json
import stat

from tests.own_node.exports import write


def test_the_reports_of_the_command_say_the_same(tmp_path, lnsim):
    files = write(tmp_path)
    arguments = [files[name] for name in ("graph", "channels", "history")]
    more = ("--payments", files["payments"], "--chain", files["chain"], "--out", tmp_path / "node")
    status, out, _ = lnsim("node", "import", *arguments, *more)
    assert (status, "anna: 2 channels, 5 forwards, 1 refills" in out) == (0, True)
    status, out, _ = lnsim("node", "report", tmp_path / "node", "--json", "--days", 10**5)
    told = json.loads(out)
    assert sum(one["earned_msat"] for one in told["channels"]) == 111_100
    page = tmp_path / "books.html"
    status, out, _ = lnsim("node", "report", tmp_path / "node", "--days", 10**5, "--html", page)
    assert "bert" in out
    assert "net" in out
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert "<svg" in page.read_text()
    assert lnsim("node", "report", tmp_path)[0] == 2
