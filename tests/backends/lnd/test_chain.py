"""The chain client, and coins out of block rewards that anyone may spend."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from lnsim_gym.backends.lnd.nodes.chain import ChainClient
from lnsim_gym.backends.lnd.nodes.flags import MINING_ADDRESS
from lnsim_gym.backends.lnd.nodes.launchers.process import ProcessLauncher
from lnsim_gym.errors import BackendError, BackendLost

pytestmark = pytest.mark.lnd

WITNESS_ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"


@pytest.fixture(scope="module")
def endpoint(lnd_binaries, two_nodes):
    launcher = ProcessLauncher("test-chain")
    launcher.start_chain(two_nodes)
    yield launcher.record().chain
    launcher.stop()


def test_rewards_are_paid_to_a_script_that_anyone_can_spend(endpoint):
    chain = ChainClient(endpoint)
    chain.mature()
    block = chain.call("getblock", chain.call("getblockhash", 1), 1)
    output = chain.call("gettxout", block["tx"][0], 0)
    assert output["scriptPubKey"]["hex"] == "0020" + hashlib.sha256(b"\x51").hexdigest()
    assert output["scriptPubKey"]["addresses"] == [MINING_ADDRESS]


def test_an_address_receives_exactly_what_it_is_funded_with(endpoint):
    chain = ChainClient(endpoint)
    chain.mature()
    transaction = chain.fund({WITNESS_ADDRESS: 12_345_678_901})
    assert chain.mempool_size() == 1
    chain.generate(1)
    assert chain.mempool_size() == 0
    output = chain.call("gettxout", transaction, 0)
    assert round(output["value"] * 10**8) == 12_345_678_901
    assert output["scriptPubKey"]["addresses"] == [WITNESS_ADDRESS]


def test_more_than_the_mature_rewards_is_refused(lnd_binaries, two_nodes):
    launcher = ProcessLauncher("test-young-chain")
    try:
        launcher.start_chain(two_nodes)
        chain = ChainClient(launcher.record().chain)
        chain.generate(101)
        with pytest.raises(BackendError, match="sat of mature rewards, found 5,000,000,000: mine more blocks"):
            chain.fund({WITNESS_ADDRESS: 100 * 10**8})
    finally:
        launcher.stop()


def test_a_refusal_carries_btcds_words(endpoint):
    with pytest.raises(BackendError, match="btcd refused getblockhash"):
        ChainClient(endpoint).call("getblockhash", 10**6)


def test_wrong_credentials_are_told_apart_from_a_dead_daemon(endpoint):
    with pytest.raises(BackendError, match="check user and password"):
        ChainClient(msgspec.structs.replace(endpoint, password="wrong")).height()
    with pytest.raises(BackendLost, match="reset the network"):
        ChainClient(msgspec.structs.replace(endpoint, port=1)).height()
