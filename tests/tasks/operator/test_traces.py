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


def test_a_trace_tells_which_channels_were_closed_and_opened(tmp_path):
    path = tmp_path / "trace.jsonl"
    levers = ["--set", 'levers=["fees", "close", "open"]', "--set", "wallet_sat=5_000_000"]
    alone = ["--set", "others={restore_days=0, competitors=0}", "--set", 'action="multidiscrete"']
    command = ["record", "--env", "LightningOperator-v0", "--agent", "random", "--steps", "12", "--out", str(path)]
    done = CliRunner().invoke(make_app(), [*command, *SMALL[:-1], *levers, *alone])
    assert done.exit_code == 0, done.output
    (episode,) = read_trace(path).episodes
    assert sum(each.policy.disabled for each in episode.start.policies) == 12  # both ends of six candidates
    changes = [each for step in episode.steps for each in step.done]
    held = [each.balance_change for each in changes if each.balance_change is not None]
    disabled = [each.status_change.disabled for each in changes if each.status_change is not None]
    assert len(disabled) == 2 * len(held)
    assert {each.peer_msat for each in held} == {0}
    assert sum(each.initiator_msat == 0 for each in held) == disabled.count(True) / 2 > 0
    assert sum(each.initiator_msat > 0 for each in held) == disabled.count(False) / 2 > 0
    refused = CliRunner().invoke(make_app(), ["validate", str(path)])
    assert "takes channels out of use or brings some, which no replay does" in str(refused.exception)
