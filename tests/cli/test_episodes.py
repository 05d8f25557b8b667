"""The commands that play, record, validate, evaluate and measure, as a user runs them."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pyarrow.parquet
import pytest

from lnsim_gym.agents import make_agent
from lnsim_gym.agents.play import play
from lnsim_gym.records.csv import COLUMNS
from lnsim_gym.records.parquet import SCHEMA

DATA = Path(__file__).parent.parent / "data"


def read_csv(folder):
    (path,) = folder.glob("*.csv")
    with path.open(newline="") as file:
        return list(csv.reader(file))


def read_parquet(folder, table):
    paths = sorted(folder.glob(f"*/{table}-*.parquet"))
    assert paths
    for path in paths:
        assert pyarrow.parquet.read_schema(path).metadata[b"lnsim_schema"].decode().startswith(SCHEMA)
    return [row for path in paths for row in pyarrow.parquet.read_table(path).to_pylist()]


def test_a_run_shows_every_step_as_text_when_asked(lnsim):
    status, out, _ = lnsim("run", "--steps", "3", "--seed", "4", "--render", "ansi")
    assert status == 0
    assert [line for line in out.splitlines() if line.startswith("seed")] == [
        f"seed 4, episode 0, step {step}" for step in (1, 2, 3)
    ]


def test_a_run_opens_a_window_when_asked_and_closes_it(lnsim):
    pygame = pytest.importorskip("pygame", reason="needs the extra 'render'")
    status, out, _ = lnsim("run", "--steps", "2", "--render", "human")
    assert status == 0
    assert "succeeded" in out
    assert not pygame.display.get_init()


@pytest.mark.parametrize("ending", ["gif", "webp"])
def test_a_run_is_filmed_when_asked(lnsim, tmp_path, ending):
    image = pytest.importorskip("PIL.Image", reason="needs the extra 'render'")
    film = tmp_path / f"episode.{ending}"
    status, out, _ = lnsim("run", "--steps", "3", "--film", film)
    assert status == 0
    assert f"filmed in {film}" in out
    with image.open(film) as pictures:
        assert (pictures.n_frames, pictures.size) == (3, (960, 640))
        shown = []
        for step in range(3):
            pictures.seek(step)
            shown.append(pictures.convert("RGB").tobytes())
    assert len(set(shown)) == 3


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--film", "episode.avi"), "expected a film that ends in .gif or .webp, got episode.avi"),
        (("--film", "episode.gif", "--render", "ansi"), "leave --render ansi out"),
    ],
)
def test_films_that_cannot_be_are_refused(lnsim, options, complaint):
    status, _, err = lnsim("run", *options)
    assert status == 2
    assert complaint in err


def test_what_comes_before_a_run_changes_nothing_of_it(lnsim):
    status, out, _ = lnsim("run", "--steps", "4", "--seed", "5")
    assert status == 0
    assert "payments/second" in out
    env = gym.make("LightningNet-v0")
    player = make_agent("targeted", env.unwrapped.problem)
    succeeded = sum(info["succeeded"] for _, info in play(env, player, 4, 5))
    assert f"{succeeded} ({succeeded / 80:.1%})" in out


def test_a_run_leaves_a_csv_of_17_columns_and_parquet_of_the_same_events(lnsim, tmp_path):
    status, out, _ = lnsim("run", "--steps", "5", "--seed", "1", "--record", tmp_path)
    assert status == 0
    header, *rows = read_csv(tmp_path)
    assert header == list(COLUMNS)
    assert len(header) == 17
    assert {len(row) for row in rows} == {17}
    events = read_parquet(tmp_path, "events")
    kinds = [dict(zip(header, row, strict=True))["type"] for row in rows]
    assert kinds.count("payment") == 5 * 20
    assert len(events) == len(rows)
    settled = sum(event["succeeded"] for event in events if event["type"] == "payment")
    assert settled == sum(row[header.index("success")] == "True" for row in rows if "payment" in row)
    assert f"{settled:,} ({settled / 100:.1%})" in out
    assert len(read_parquet(tmp_path, "balances")) == 7 * (1 + 5)


def test_progress_is_plain_lines_when_nobody_watches(lnsim):
    status, _, err = lnsim("run", "--steps", "20", "--agent", "noop")
    assert status == 0
    lines = [line for line in err.splitlines() if ": step " in line]
    assert [line.split(", ")[1] for line in lines] == [f"noop: step {2 * n} of 20" for n in range(1, 11)]
    assert "\x1b" not in err


def test_episodes_follow_one_another_until_the_steps_are_done(lnsim):
    status, out, _ = lnsim("run", "--steps", "7", "--set", "max_episode_steps=3", "--agent", "noop")
    assert status == 0
    assert "3, 7" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "--env", "LightningNett-v0"), "Did you mean: `LightningNet`"),
        (("run", "--env", "LightningNet-v9"), "[ `v0` ]"),
        (("run", "--env", "Lightning Net"), "Malformed environment ID"),
        (("run", "--env", "no_such_module:LightningNet-v0"), "no_such_module"),
        (("run", "--env", "CartPole-v1"), "such as LightningNet-v0"),
        (("run", "--agent", "nop"), "Did you mean 'noop'"),
        (("run", "--set", "payment_per_step=3"), "Did you mean 'payments_per_step'"),
        (("run", "--set", "payments_per_step=many"), "payments_per_step"),
        (("run", "--set", "payments_per_step"), "--set KEY=VALUE"),
        (("run", "--set", "max_episode_steps=0"), "max_episode_steps"),
        (("run", "--topology", "defalt"), "Did you mean 'default'"),
        (("record", "--out", "never", "--agent", "tageted"), "Did you mean 'targeted'"),
        (("eval", "noop", "--env", "CartPole-v1"), "such as LightningNet-v0"),
        (("eval", "noop", "--env", "LightningNett-v0"), "Did you mean: `LightningNet`"),
        (("eval", "noop", "tageted", "--seeds", "0:2"), "Did you mean 'targeted'"),
        (("eval", "noop", "--seeds", "0:2", "--out", "scores.txt"), ".json, .csv, .md, .png or .svg"),
        *((("eval", "noop", "--seeds", bad), "A:B") for bad in ("5", "a:b", "3:3", "7:2", "-4:2", "0:9:2")),
        (("bench", "simulator", "7"), "5, 100, 1000, 10000"),
    ],
)
def test_a_request_at_fault_ends_with_one_message_and_status_2(lnsim, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    status, out, err = lnsim(*arguments)
    assert status == 2
    assert err.startswith("error: ")
    assert said in err
    assert len(err.splitlines()) <= 2
    assert "Traceback" not in out + err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [("run", "--record", "file/below"), ("record", "--out", "file/below"), ("eval", "noop", "--out", "file/x.json")],
)
def test_a_place_that_cannot_be_written_is_named_before_any_work(lnsim, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    status, _, err = lnsim(*arguments)
    assert status == 1
    assert err.startswith(f"error: cannot write {arguments[-1]} ")
    assert "step" not in err


@pytest.mark.parametrize("operation", ["push", "circular"])
def test_a_recorded_trace_is_done_again_without_a_difference(lnsim, tmp_path, operation):
    trace = tmp_path / "trace.jsonl"
    status, out, _ = lnsim("record", "--steps", 4, "--seed", 9, "--set", f"operation={operation}", "--out", trace)
    assert status == 0
    assert f"4 steps recorded in {trace}" in out
    status, out, _ = lnsim("validate", trace)
    assert status == 0
    assert out.startswith("0 differences in 80 payments of 4 steps")


@pytest.mark.parametrize("name", ["default_push", "seven_nodes_circular"])
def test_the_simulator_does_again_what_real_nodes_did(lnsim, name):
    trace = DATA / f"{name}.jsonl"
    lines = [json.loads(line) for line in trace.read_text().splitlines()]
    assert lines[0]["backend"] == "lnd"
    payments = [payment for line in lines for payment in line.get("payments", [])]
    assert {payment["failure_reason"] for payment in payments} == {"NONE", "NO_ROUTE", "INSUFFICIENT_BALANCE"}
    assert max(payment["attempts"] for payment in payments) > 1
    status, out, _ = lnsim("validate", trace)
    assert status == 0
    assert out.startswith("0 differences in 60 payments of 6 steps, recorded on lnd, replayed on simulator")


def move_a_msat(step):
    step["balances_after_msat"][2][0] += 1
    step["balances_after_msat"][2][1] -= 1


def reroute(step):
    next(payment for payment in step["payments"] if payment["parts"])["parts"][0]["route"].append(0)


def turn_a_settled_payment(step):
    next(payment for payment in step["payments"] if payment["succeeded"])["succeeded"] = False


def apply_less(step):
    step["rebalance"]["applied_msat"] -= 1000


@pytest.mark.parametrize(
    ("tamper", "field"),
    [
        (move_a_msat, "balances_after_msat[2]"),
        (reroute, "parts"),
        (turn_a_settled_payment, "succeeded"),
        (apply_less, "rebalance.applied_msat"),
    ],
)
def test_a_single_tampered_value_is_found_and_named(lnsim, tmp_path, tamper, field):
    lines = (DATA / "default_push.jsonl").read_text().splitlines()
    step = json.loads(lines[4])
    assert step["step"] == 2
    tamper(step)
    lines[4] = json.dumps(step)
    (tmp_path / "trace.jsonl").write_text("\n".join(lines))
    status, out, _ = lnsim("validate", tmp_path / "trace.jsonl")
    assert status == 1
    *found, summary = out.splitlines()
    assert "episode 0, step 2" in found[0]
    assert f": {field} expected " in found[0]
    assert summary.startswith(f"{len(found)} differences")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda lines: [*lines[:4], lines[4][:100]], "line 5"),
        (lambda lines: [*lines[:3], *lines[4:]], "line 4: expected step 1, got 2"),
        (lambda lines: lines[1:], "line 1: expected the header"),
        (lambda lines: lines[:2], "holds no step"),
        (lambda lines: [], "is empty"),
    ],
)
def test_a_damaged_trace_is_refused_with_the_line_at_fault(lnsim, tmp_path, damage, said):
    lines = (DATA / "default_push.jsonl").read_text().splitlines()
    (tmp_path / "trace.jsonl").write_text("\n".join(damage(lines)))
    status, out, err = lnsim("validate", tmp_path / "trace.jsonl")
    assert status == 1
    assert err.startswith("error: ")
    assert said in err
    assert out == ""


def test_kept_traces_name_no_machine():
    for path in DATA.iterdir():
        text = path.read_text()
        assert not any(word in text for word in ("/tmp", "/home", "/root", "/work", os.uname().nodename)), path


def test_scores_are_equal_in_every_kind_of_file(lnsim, tmp_path):
    paths = [tmp_path / f"scores.{kind}" for kind in ("json", "csv", "md")]
    for path in paths:
        status, out, _ = lnsim("eval", "noop", "targeted", "--seeds", "0:20", "--out", path)
        assert status == 0
        assert f"written to {path}" in out
    scores = json.loads(paths[0].read_text())
    assert [score["agent"] for score in scores] == ["noop", "targeted"]
    assert scores[0]["success_rate"] < scores[1]["success_rate"]
    with paths[1].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(len(score["success_rates"]) == 20 for score in scores)
    in_table = [
        {name: value for name, value in score.items() if name not in ("success_rates", "node")} for score in scores
    ]
    assert rows == [{name: str(value) for name, value in score.items()} for score in in_table]
    _, _, *lines = paths[2].read_text().splitlines()
    for score, line in zip(scores, lines, strict=True):
        name, rate, interval, *_ = (cell.strip() for cell in line.strip("|").split("|"))
        assert (name, rate) == (score["agent"], f"{score['success_rate']:.4f}")
        assert interval == f"{score['success_rate_low']:.4f} .. {score['success_rate_high']:.4f}"


def test_scores_are_a_table_without_a_file(lnsim):
    status, out, _ = lnsim("eval", "noop", "--seeds", "0:3", "--threads", "2")
    assert status == 0
    assert "success rate" in out
    assert "3 episodes" in out


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_run_that_is_interrupted_leaves_files_that_can_be_read(tmp_path, number, status):
    command = [sys.executable, "-c", "from lnsim_gym.cli import main; main()"]
    process = subprocess.Popen(
        [*command, "run", "--steps", "2000000", "--set", "max_episode_steps=10", "--record", tmp_path],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for_rows(tmp_path, process, rows=60)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == status
    assert "Traceback" not in err
    rows = read_csv(tmp_path)
    assert {len(row) for row in rows} == {17}
    assert len(read_parquet(tmp_path, "events")) >= len(rows) - 1 - 21
    assert read_parquet(tmp_path, "balances")


def wait_for_rows(folder, process, rows):
    """Wait until a run has written that many rows; it writes without end, so there is no need to pause."""
    while process.poll() is None:
        for path in folder.glob("*.csv"):
            if path.read_bytes().count(b"\n") >= rows:
                return
    pytest.fail(f"the run ended by itself: {process.stderr.read()}")


def test_the_simulator_s_bench_tells_machine_versions_and_command(lnsim):
    status, out, _ = lnsim("bench", "simulator", "5", "--json")
    assert status == 0
    report = json.loads(out)
    assert report["machine"]
    assert report["versions"]["lnsim_gym"]
    assert report["versions"]["numba"]
    assert report["command"] == "lnsim bench simulator 5 --json"
    assert report["graphs"]["5"]["nodes"] == 5
    assert report["graphs"]["5"]["payments_per_second"] > 0


@pytest.mark.slow
def test_the_environment_s_bench_tells_machine_versions_and_command(lnsim):
    status, out, _ = lnsim("bench", "environment", "--num-envs", "8", "--json")
    assert status == 0
    report = json.loads(out)
    assert report["machine"]
    assert report["versions"]["gymnasium"]
    assert "bench environment --num-envs 8 --json" in report["command"]
    assert report["num_envs"] == 8
    assert report["single_steps_per_s"] > 0
    assert report["vector_steps_per_s"] > 0


def test_the_installed_command_is_the_same_one():
    path = shutil.which("lnsim", path=str(Path(sys.executable).parent))
    if path is None:
        pytest.skip("the package is not installed beside this interpreter")
    done = subprocess.run([path, "validate", DATA / "default_push.jsonl"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("0 differences in 60 payments")


def test_a_trace_of_networks_that_vary_is_refused_and_leaves_no_file(lnsim, tmp_path):
    status, _, err = lnsim("record", "--env", "LightningNetRandom-v0", "--out", tmp_path / "trace.jsonl")
    assert status == 2
    assert "leave out variants" in err
    assert not list(tmp_path.iterdir())


def test_a_run_on_networks_that_vary_is_recorded(lnsim, tmp_path):
    status, out, _ = lnsim("run", "--env", "LightningNetRandom-v0", "--steps", 3, "--record", tmp_path)
    assert status == 0
    assert f"recorded in {tmp_path}" in out


@pytest.mark.parametrize("option", [("--network", "default"), ("--launcher", "process")])
@pytest.mark.parametrize("command", [("run",), ("eval", "noop", "--episodes", 1)])
def test_options_of_real_nodes_are_refused_where_the_simulator_plays(lnsim, command, option):
    status, _, err = lnsim(*command, *option)
    assert status == 2
    assert "add --backend lnd" in err


def test_a_run_on_many_nodes_ends_in_a_summary_that_fits_a_screen(lnsim):
    status, out, err = lnsim("run", "--steps", "2", "--topology", "scale_free(nodes = 400, channels = 900)")
    assert status == 0
    assert "400 nodes" in out
    for title in ("median", "90 %", "largest net inflow", "largest net outflow", "most sent", "most received"):
        assert title in out
    assert len(out.splitlines()) < 60
    assert ".py" not in err


def test_a_warning_is_shown_without_a_line_of_source(lnsim, tmp_path):
    table = 'nodes = ["a", "b", "c"]\nchannels = [{ initiator = "a", peer = "b", capacity_sat = 100000 }]\n'
    (tmp_path / "split.toml").write_text(table)
    status, _, err = lnsim("run", "--steps", "1", "--topology", tmp_path / "split.toml")
    assert status == 0
    assert "warning: the topology is disconnected: some payments can never succeed\n" in err
    assert "stacklevel" not in err
    assert ".py" not in err
