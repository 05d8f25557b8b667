"""An operator's episodes are recorded whole, and are played anew by their seeds rather than replayed."""

import json

import pytest
from typer.testing import CliRunner

from lnsim_gym.cli import make_app
from lnsim_gym.errors import RecordError
from lnsim_gym.records.trace import read_trace

pytestmark = pytest.mark.slow  # what it is made of takes a minute to be compiled

SMALL = (
    '--set=topology="public(nodes = 60, own_channels = 6, own_capacity_sat = 20_000_000)"',
    "--set=payments_per_step=100",
    "--set=warm_up_days=1",
    '--set=action="dict"',
)


def test_a_trace_holds_the_policies_and_balances_of_every_moment(tmp_path):
    path = tmp_path / "trace.jsonl"
    command = ["record", "--env", "LightningOperator-v0", "--agent", "random", "--steps", "4", "--out", str(path)]
    done = CliRunner().invoke(make_app(), [*command, *SMALL])
    assert done.exit_code == 0, done.output
    trace = read_trace(path)
    (episode,) = trace.episodes
    assert episode.start.policies  # competitors did not wait for the episode
    kinds = {
        name for step in episode.steps for each in step.done for name in each.__struct_fields__ if getattr(each, name)
    }
    assert kinds >= {"policy_change", "balance_change"}
    assert all(isinstance(step.action, dict) for step in episode.steps)
    refused = CliRunner().invoke(make_app(), ["validate", str(path)])
    assert isinstance(refused.exception, RecordError)
    assert "play it anew with seed 0" in str(refused.exception)


def test_where_nobody_else_acts_a_trace_is_done_again_within_the_fee_limits_of_each_payment(tmp_path):
    path, old = tmp_path / "trace.jsonl", tmp_path / "old.jsonl"
    command = ["record", "--env", "LightningOperatorLive-v0", "--backend", "simulator", "--agent", "random"]
    done = CliRunner().invoke(make_app(), [*command, "--steps", "30", "--out", str(path)])
    assert done.exit_code == 0, done.output
    (episode,) = read_trace(path).episodes
    assert all(len(step.fee_limit_msat) == len(step.payments) for step in episode.steps)
    pairs = [
        (limit_msat, payment.fee_msat)
        for step in episode.steps
        for limit_msat, payment in zip(step.fee_limit_msat, step.payments, strict=True)
    ]
    assert all(fee_msat <= limit_msat for limit_msat, fee_msat in pairs)
    validated = CliRunner().invoke(make_app(), ["validate", str(path)])
    assert validated.output.startswith("0 differences in"), validated.output
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    text = "\n".join(
        json.dumps({name: value for name, value in line.items() if name != "fee_limit_msat"}) for line in lines
    )
    old.write_text(text)
    (without,) = read_trace(old).episodes  # as they were written before there were limits
    assert not any(step.fee_limit_msat for step in without.steps)
    blind = CliRunner().invoke(make_app(), ["validate", str(old)])
    assert not blind.output.startswith("0 differences"), "expected some payments to pay more than their own limit"
