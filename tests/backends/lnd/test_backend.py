"""The live backend as an object: pickled, forked, closed, misused."""

from __future__ import annotations

import multiprocessing
import pickle

import pytest

from lnsim_gym.backends.lnd import LndBackend, LndSettings
from lnsim_gym.backends.lnd.nodes.compose import compose_text
from lnsim_gym.backends.lnd.nodes.flags import attempt_cost_flags
from lnsim_gym.errors import BackendError, ConfigError
from lnsim_gym.network.presets import preset
from lnsim_gym.payments import PaymentOptions
from tests.backends.lnd.live import batch_of


def test_a_pickled_backend_has_the_same_settings_and_is_not_open(topology):
    backend = LndBackend(topology, PaymentOptions(max_parts=3), LndSettings(launcher="process"))
    copy = pickle.loads(pickle.dumps(backend))
    assert (copy.topology, copy.options, copy.settings) == (backend.topology, backend.options, backend.settings)
    with pytest.raises(BackendError, match=r"call open\(\) or reset\(\) first"):
        copy.balances_msat()


def test_closing_what_was_never_open_is_harmless(topology):
    backend = LndBackend(topology)
    backend.close()
    backend.close()


def test_calls_on_a_closed_backend_say_what_to_do(topology):
    backend = LndBackend(topology)
    for call in (backend.balances_msat, backend.endpoints, lambda: backend.rebalance((0,), 1)):
        with pytest.raises(BackendError, match=r"call open\(\) or reset\(\) first"):
            call()


@pytest.mark.parametrize("field", ["bring_up", "rpc", "idle", "probe", "quiet"])
def test_deadlines_must_be_positive(field):
    with pytest.raises(ConfigError, match=f"{field}_timeout_s must be above 0, got 0"):
        LndSettings(**{f"{field}_timeout_s": 0})


def test_attach_and_its_file_go_together():
    with pytest.raises(ConfigError, match="needs attach_file"):
        LndSettings(launcher="attach")
    with pytest.raises(ConfigError, match="is for launcher"):
        LndSettings(launcher="process", attach_file="nodes.toml")


def in_child(backend, queue) -> None:
    try:
        backend.pay(batch_of((0, 1, 1_000_000)))
    except BackendError as problem:
        queue.put(str(problem))
    backend.close()


@pytest.mark.lnd
def test_a_forked_child_is_refused_and_does_the_network_no_harm(backend):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=in_child, args=(backend, queue))
    child.start()
    try:
        assert "make an environment in each process" in queue.get(timeout=30)
        child.join(timeout=30)
        assert child.exitcode == 0
    finally:
        child.kill()
    assert backend.pay(batch_of((0, 1, 1_000_000))).succeeded[0]


def test_attached_nodes_are_refused_another_attempt_cost_than_lnds_own(topology):
    settings = LndSettings(launcher="attach", attach_file="nodes.toml")
    with pytest.raises(ConfigError, match=r"expected payment.attempt_cost_sat=100 and .*_ppm=1000, got 8 and 1000"):
        LndBackend(topology, PaymentOptions(attempt_cost_sat=8), settings)


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        (PaymentOptions(), ()),
        (PaymentOptions(attempt_cost_sat=8), ("--routerrpc.attemptcost=8",)),
        (
            PaymentOptions(attempt_cost_sat=8, attempt_cost_ppm=79),
            ("--routerrpc.attemptcost=8", "--routerrpc.attemptcostppm=79"),
        ),
    ],
)
def test_nodes_that_we_start_are_given_the_attempt_cost_by_flags(options, flags):
    assert attempt_cost_flags(options) == flags
    text = compose_text(preset("default"), attempt_cost_flags(options))
    assert all(text.count(flag) == len(preset("default").nodes) for flag in flags)
    assert ("attemptcost" in text) == bool(flags)
