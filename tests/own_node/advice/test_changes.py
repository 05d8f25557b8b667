"""The commands of changes: complete, and of what was checked alone."""

from __future__ import annotations

import shlex

import msgspec
import pytest

from lnsim_gym.network import Policy
from lnsim_gym.own_node.advice.changes import Closing, Priced, Repricing, commands, what
from tests.own_node.advice.test_guards import REFILL

POINT = "ab" * 32 + ":1"
HOSTILE = "$(reboot); '\"`rm -rf ~`\n\x1b[31m"
CHAN_ID = 700_000 << 40 | 5 << 16 | 1


def repricing(point=POINT, peer="bert", **to):
    policy = Policy(fee_base_msat=7, fee_rate_ppm=100, time_lock_delta=40, max_htlc_msat=9_000_000)
    held = Priced(chan_id=CHAN_ID, point=point, policy=policy)
    return Repricing(peer=peer, channels=(held,), to=to)


CLOSING = Closing(peer="bert", chan_id=CHAN_ID, point=POINT, local_sat=5)


@pytest.mark.parametrize(
    ("change", "command"),
    [
        (
            repricing(fee_rate_ppm=250),
            f"lncli updatechanpolicy --base_fee_msat=7 --fee_rate_ppm=250 --time_lock_delta=40 --chan_point={POINT}",
        ),
        (
            repricing(inbound_fee_rate_ppm=-50, max_htlc_msat=5_000),
            "lncli updatechanpolicy --base_fee_msat=7 --fee_rate_ppm=100 --time_lock_delta=40 "
            f"--inbound_base_fee_msat=0 --inbound_fee_rate_ppm=-50 --max_htlc_msat=5000 --chan_point={POINT}",
        ),
        (
            REFILL,
            f"lncli payinvoice --allow_self_payment --outgoing_chan_id 2 --last_hop 02{'b' * 64} --max_parts 1 "
            '--fee_limit 40 "$(lncli addinvoice --amt 100000 | jq -r .payment_request)"',
        ),
        (CLOSING, f"lncli closechannel --funding_txid {'ab' * 32} --output_index 1"),
    ],
)
def test_a_change_is_a_command_to_paste(change, command):
    assert commands(change) == (command,)


def test_core_lightning_has_commands_of_its_own():
    assert commands(repricing(fee_rate_ppm=250), "core_lightning") == (
        "lightning-cli -k setchannel id=700000x5x1 feebase=7 feeppm=250",
    )
    assert commands(CLOSING, "core_lightning") == ("lightning-cli close 700000x5x1",)
    assert commands(REFILL, "core_lightning") == ()


def test_what_strangers_wrote_is_in_no_command():
    changes = [
        repricing(peer=HOSTILE, fee_rate_ppm=1),
        repricing(point=HOSTILE, fee_rate_ppm=1),
        msgspec.structs.replace(REFILL, peer=HOSTILE),
        msgspec.structs.replace(REFILL, peer_key=HOSTILE),
        msgspec.structs.replace(CLOSING, peer=HOSTILE),
        msgspec.structs.replace(CLOSING, point=HOSTILE),
    ]
    assert [len(commands(change)) for change in changes] == [1, 0, 1, 0, 1, 0]
    for change in changes:
        for node in ("lnd", "core_lightning"):
            for command in commands(change, node):
                assert "reboot" not in command
                assert shlex.split(command)[0] in ("lncli", "lightning-cli")


def test_changes_are_told_in_few_words():
    assert what(repricing(fee_rate_ppm=2500, max_htlc_msat=5_000_000)) == "ppm 2,500, max HTLC 5,000"
    assert what(REFILL) == "refill 100,000 sat for 40 at most"
