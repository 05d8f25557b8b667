"""When payments of a batch may start."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from lnsim_gym.backends.lnd.network.forecast import Forecaster
from lnsim_gym.backends.lnd.network.turns import NOWHERE, Footprint, Turns, footprints
from lnsim_gym.network import Channel, Topology
from lnsim_gym.payments import PaymentOptions
from tests.backends.lnd.live import batch_of, half_and_half


def footprint(seen: str, changed: str) -> Footprint:
    """Channels by their letters."""
    return Footprint(frozenset(map(ord, seen)), frozenset(map(ord, changed)))


async def started(turns: Turns, *indices: int) -> list[int]:
    """Return which of some payments may start now."""
    tasks = {index: asyncio.create_task(turns.come(index)) for index in indices}
    for _ in range(3):
        await asyncio.sleep(0)
    may = [index for index, task in tasks.items() if task.done()]
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    return may


def test_payments_that_cannot_meet_start_at_once():
    turns = Turns([footprint("ab", "a"), footprint("cd", "c"), footprint("bc", "")])
    assert asyncio.run(started(turns, 0, 1)) == [0, 1]


def test_a_payment_waits_until_what_it_looks_at_is_quiet():
    async def run() -> None:
        turns = Turns([footprint("ab", "a"), footprint("ac", "c")])
        assert await started(turns, 0, 1) == [0]
        await turns.end(0)
        assert await started(turns, 1) == []
        await turns.leave(0)
        assert await started(turns, 1) == [1]

    asyncio.run(run())


def test_a_payment_that_changes_what_another_looks_at_waits_only_until_that_one_ended():
    async def run() -> None:
        turns = Turns([footprint("ab", "a"), footprint("bc", "b")])
        assert await started(turns, 1) == []
        await turns.end(0)
        assert await started(turns, 1) == [1]

    asyncio.run(run())


def test_nothing_overtakes_what_it_could_meet_further_back():
    """The third is free of the first, but not of the second, which waits."""
    turns = Turns([footprint("ab", "a"), footprint("abc", "c"), footprint("cd", "d")])
    assert asyncio.run(started(turns, 0, 1, 2)) == [0]


def test_one_by_one_nothing_starts_before_all_before_it_is_quiet():
    async def run() -> None:
        turns = Turns([NOWHERE] * 3)
        assert await started(turns, 0, 1, 2) == [0, 1, 2]
        turns.one_by_one()
        await turns.end(0)
        assert await started(turns, 1, 2) == []
        await turns.leave(0)
        assert await started(turns, 1, 2) == [1]

    asyncio.run(run())


def test_a_payment_looks_at_its_senders_channels_and_changes_those_of_its_route():
    """Four nodes in a row; the last channel is empty on the side that the second payment would need."""
    pairs = ("ab", "bc", "cd")
    channels = tuple(Channel(initiator=one, peer=other, capacity_sat=1_000_000) for one, other in pairs)
    topology = Topology(nodes=tuple("abcd"), channels=channels)
    balances_msat = half_and_half(topology)
    balances_msat[2] = topology.start_balances_msat()[2, ::-1] + (20_000_000, -20_000_000)
    batch = batch_of((0, 2, 1_000_000), (1, 3, 400_000_000), (2, 1, 900_000_000), (3, 2, 1_000_000))
    options = PaymentOptions()
    limits = options.fee_limit_msat(batch.amount_msat)
    expected = Forecaster(options).outcomes(topology, balances_msat, batch, limits)
    assert expected.succeeded.tolist() == [True, False, False, True]
    network = SimpleNamespace(topology=topology, channels=range(3), clients=range(4))
    through, anywhere, nowhere, last = footprints(network, batch, expected)
    assert through == Footprint(frozenset({0, 1}), frozenset({0, 1}))
    assert anywhere == Footprint(frozenset({0, 1, 2}), frozenset({0, 1, 2}))
    assert nowhere == Footprint(frozenset({1, 2}), frozenset())
    assert last == Footprint(frozenset({2}), frozenset({2}))
