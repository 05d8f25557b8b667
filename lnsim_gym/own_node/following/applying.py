"""Advice carried out on a node that runs: one change after another, each held to what is expected before and after it.

Nothing else of this package sends or sets anything on a node of one's own. The first surprise ends it: what a change
was to start from is no longer so, or what came of it is not what was meant. Every result is in the record of the node's
folder before the next change is tried. Channels are never closed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from lnsim_gym.backends.lnd.rpc import calls as rpc
from lnsim_gym.backends.lnd.rpc.client import NodeClient, RpcRefused
from lnsim_gym.backends.lnd.rpc.endpoint import NodeEndpoint
from lnsim_gym.backends.lnd.rpc.proto import invoices_pb2, lightning_pb2, router_pb2
from lnsim_gym.backends.lnd.rpc.thread import run
from lnsim_gym.errors import BackendError, ConfigError
from lnsim_gym.own_node.advice.changes import LEVERS, Change, Closing, Refill, Repricing
from lnsim_gym.own_node.advice.guards import over_budget
from lnsim_gym.own_node.advice.told import Advice
from lnsim_gym.own_node.following.record import Taken, append
from lnsim_gym.own_node.reading.attached import answering

__all__ = ["apply_advice", "require_node"]

_DEADLINE_S: Final = 60.0
_PAYMENT_S: Final = 60
"""Time in seconds that a refill looks for a way."""
_HEARD_S: Final = 10.0
"""Time in seconds within which a node tells of what it was made to do."""
_POLL_S: Final = 0.2
_NO_MONEY: Final = {"regtest", "simnet", "testnet", "testnet4", "signet"}
"""Networks whose money is worth nothing."""
_MOVED_SHARE: Final = 0.5
"""How far a balance may have moved from what is expected, as a share of the amount of a refill."""


def apply_advice(
    endpoint: NodeEndpoint,
    advice: Advice,
    folder: Path,
    *,
    budget_sat: float,
    mainnet: bool = False,
    tell: Callable[[Taken], None] = lambda _: None,
) -> list[Taken]:
    """Carry out what is advised, one change at a time, and book each in the record of a folder.

    Args:
        endpoint: Where the node is, with a macaroon that may send.
        advice: What to do; what it says of closing channels is left to the operator.
        folder: The node's folder.
        budget_sat: Most that all refills together may cost.
        mainnet: Whether the node may be one on mainnet.
        tell: Called with each result.

    Returns:
        What became of each change that was tried; the last one may be a surprise, after which nothing was tried.

    Raises:
        ConfigError: The node is another one than the advice is for, or one on mainnet without leave.
        BackendError: The node does not answer.
    """
    require_node(endpoint, advice.public_key, mainnet)
    return run(_Applying(NodeClient(endpoint, _DEADLINE_S), advice, folder, budget_sat, tell).all())


def require_node(endpoint: NodeEndpoint, public_key: str, mainnet: bool = False) -> None:
    """Refuse a node that is not the one that advice is for, or on mainnet without leave; nothing is changed.

    Args:
        endpoint: Where the node is.
        public_key: The node's key.
        mainnet: Whether it may be one on mainnet.

    Raises:
        ConfigError: It is another one, or one on mainnet without leave.
        BackendError: The node does not answer.
    """
    with answering(endpoint):
        run(_look(NodeClient(endpoint, _DEADLINE_S), public_key, mainnet))


async def _look(client: NodeClient, public_key: str, mainnet: bool) -> None:
    """Ask a node who it is, and no more."""
    try:
        await _require(client, public_key, mainnet)
    finally:
        await client.close()


async def _require(client: NodeClient, public_key: str, mainnet: bool) -> None:
    """Refuse another node than that of the advice, and one on mainnet without leave."""
    info = await client.call(rpc.GET_INFO)
    if info.identity_pubkey != public_key:
        raise ConfigError(
            f"expected the node of the advice, {public_key}, got {info.identity_pubkey}: name its own file"
        )
    networks = {chain.network for chain in info.chains} or {"an unknown network"}
    if not mainnet and not networks <= _NO_MONEY:
        raise ConfigError(
            f"the node is on {' and '.join(sorted(networks))}, where money is real: say --mainnet if that is meant"
        )


class _Applying:
    """One go at carrying out advice; see ``apply_advice``."""

    def __init__(
        self, client: NodeClient, advice: Advice, folder: Path, budget_sat: float, tell: Callable[[Taken], None]
    ) -> None:
        self.client, self.advice, self.folder, self.budget_sat, self.tell = client, advice, folder, budget_sat, tell
        self.key = advice.public_key

    async def all(self) -> list[Taken]:
        """Carry out everything up to the first surprise."""
        done: list[Taken] = []
        try:
            for change in self.changes():
                spent_sat = sum(one.fee_msat for one in done) / 1000
                done.append(await self.one(change, spent_sat))
                append(self.folder, done[-1])
                self.tell(done[-1])
                if done[-1].result == "surprise":
                    break
        finally:
            await self.client.close()
        return done

    def changes(self) -> Iterator[Change]:
        """Yield what is to be done."""
        for one in self.advice.advised:
            if not isinstance(one.change, Closing):
                yield one.change

    async def one(self, change: Change, spent_sat: float) -> Taken:
        """Carry out one change, and say what became of it."""
        try:
            match change:
                case Repricing():
                    result, said, fee_msat = *(await self.reprice(change)), 0
                case Refill():
                    result, said, fee_msat = await self.refill(change, spent_sat)
                case Closing():
                    result, said, fee_msat = "refused", "channels are closed by hand", 0
        except RpcRefused as problem:
            result, said, fee_msat = "surprise", str(problem), 0
        return Taken(
            time_ns=time.time_ns(),
            advice_ns=self.advice.time_ns,
            change=change,
            result=result,  # type: ignore[arg-type]
            fee_msat=fee_msat,
            said=said,
        )

    async def reprice(self, change: Repricing) -> tuple[str, str]:
        """Set the policies of a peer's channels."""
        before = await self.policies()
        for channel in change.channels:
            policy = before.get(channel.chan_id)
            if policy is None:
                return "surprise", f"the node tells of no policy of its channel {channel.chan_id}: nothing was set"
            for name in LEVERS[:-1]:
                if getattr(channel.policy, name) != policy[name]:
                    expected = f"expected {name} {getattr(channel.policy, name):,} of {channel.chan_id}"
                    return "surprise", f"{expected}, found {policy[name]:,}: nothing was set; import the node again"
        for channel in change.channels:
            refused = await self.update(channel.point, {**before[channel.chan_id], **change.to})
            if refused:
                return "surprise", f"LND refused: {refused}"
        return await self.heard(change)

    async def heard(self, change: Repricing) -> tuple[str, str]:
        """Wait until the node itself tells of new policies."""
        deadline = time.monotonic() + _HEARD_S
        while True:
            after = await self.policies()
            wrong = [
                f"{name} {after.get(chan_id, {}).get(name)} of {chan_id} in place of {value:,}"
                for chan_id in change.chan_ids
                for name, value in change.to.items()
                if after.get(chan_id, {}).get(name) != value
            ]
            if not wrong:
                return "done", ""
            if time.monotonic() > deadline:
                return "surprise", f"the node tells of {', '.join(wrong)}"
            await asyncio.sleep(_POLL_S)

    async def policies(self) -> dict[int, dict[str, int]]:
        """Return the node's own policies by short channel id, in fields of ``Policy``."""
        graph = await self.client.call(rpc.DESCRIBE_GRAPH, lightning_pb2.ChannelGraphRequest(include_unannounced=True))
        known = {}
        for edge in graph.edges:
            for key, field in ((edge.node1_pub, "node1_policy"), (edge.node2_pub, "node2_policy")):
                if key == self.key and edge.HasField(field):
                    known[edge.channel_id] = _fields(getattr(edge, field))
        return known

    async def update(self, point: str, policy: dict[str, int]) -> str:
        """Set a policy with all its fields; return what LND says against it."""
        txid, _, output = point.partition(":")
        request = lightning_pb2.PolicyUpdateRequest(
            chan_point=lightning_pb2.ChannelPoint(funding_txid_str=txid, output_index=int(output)),
            base_fee_msat=policy["fee_base_msat"],
            fee_rate_ppm=policy["fee_rate_ppm"],
            time_lock_delta=policy["time_lock_delta"],
            min_htlc_msat=policy["min_htlc_msat"],
            min_htlc_msat_specified=True,
            max_htlc_msat=policy["max_htlc_msat"],
            inbound_fee=lightning_pb2.InboundFee(
                base_fee_msat=policy["inbound_fee_base_msat"], fee_rate_ppm=policy["inbound_fee_rate_ppm"]
            ),
        )
        answer = await self.client.call(rpc.UPDATE_CHANNEL_POLICY, request)
        return ", ".join(failed.update_error or "no reason told" for failed in answer.failed_updates)

    async def refill(self, change: Refill, spent_sat: float) -> tuple[str, str, int]:
        """Pay from one channel into another."""
        if said := over_budget(change, spent_sat, self.budget_sat):
            return "refused", f"{said}: nothing was sent", 0
        expected_sat = {change.chan_id: change.local_sat, change.leave_chan_id: change.leave_local_sat}
        before_sat = await self.balances()
        for chan_id, local_sat in expected_sat.items():
            held_sat = before_sat.get(chan_id)
            if held_sat is None:
                return "surprise", f"channel {chan_id} is not there or not active: nothing was sent", 0
            if abs(held_sat - local_sat) > _MOVED_SHARE * change.amount_sat:
                told = f"expected about {local_sat:,} sat in {chan_id}, found {held_sat:,}"
                return "surprise", f"{told}: nothing was sent; import the node again", 0
        payment = await self.pay(change)
        if payment.status != lightning_pb2.Payment.SUCCEEDED:
            return "refused", f"no way for {change.limit_sat:,} sat at most (LND's reason {payment.failure_reason})", 0
        return await self.arrived(change, payment, before_sat)

    async def pay(self, change: Refill) -> lightning_pb2.Payment:
        """Send a refill; when this is given up, it can settle no more."""
        invoice = await self.client.call(rpc.ADD_INVOICE, lightning_pb2.Invoice(value_msat=1000 * change.amount_sat))
        request = router_pb2.SendPaymentRequest(
            payment_request=invoice.payment_request,
            timeout_seconds=_PAYMENT_S,
            fee_limit_msat=1000 * change.limit_sat,
            outgoing_chan_ids=[change.leave_chan_id],
            last_hop_pubkey=bytes.fromhex(change.peer_key),
            allow_self_payment=True,
            max_parts=1,
            no_inflight_updates=True,
        )
        limit_s = _PAYMENT_S + _DEADLINE_S
        try:
            async for payment in self.client.stream(rpc.SEND_PAYMENT, request, limit_s, limit_s):
                if payment.status in (lightning_pb2.Payment.SUCCEEDED, lightning_pb2.Payment.FAILED):
                    return payment
        except BaseException:
            await self.give_up(change, invoice.r_hash)
            raise
        raise BackendError(
            f"expected {self.client.name} to say how a refill ended, it did not: look at lncli listpayments"
        )

    async def give_up(self, change: Refill, payment_hash: bytes) -> None:
        """See to it that a refill settles no more, and book that nobody knows what became of it."""
        with suppress(BackendError):
            request = invoices_pb2.CancelInvoiceMsg(payment_hash=payment_hash)
            await asyncio.shield(self.client.call(rpc.CANCEL_INVOICE, request))
        taken = Taken(
            time_ns=time.time_ns(),
            advice_ns=self.advice.time_ns,
            change=change,
            result="surprise",
            said=f"given up before its end was known: look up {payment_hash.hex()} in lncli listpayments",
        )
        append(self.folder, taken)

    async def arrived(
        self, change: Refill, payment: lightning_pb2.Payment, before_sat: dict[int, int]
    ) -> tuple[str, str, int]:
        """Hold a refill that settled to what was meant."""
        hops = [list(one.route.hops) for one in payment.htlcs if one.status == lightning_pb2.HTLCAttempt.SUCCEEDED]
        fee_msat = payment.fee_msat
        if fee_msat > 1000 * change.limit_sat:
            return "surprise", f"it cost {fee_msat:,} msat, more than allowed", fee_msat
        if any(route[0].chan_id != change.leave_chan_id or route[-1].chan_id != change.chan_id for route in hops):
            ways = ", ".join(f"{route[0].chan_id} to {route[-1].chan_id}" for route in hops)
            return "surprise", f"it went from {ways}", fee_msat
        deadline = time.monotonic() + _HEARD_S  # a payment that settled is in the balances some moments later
        while True:
            came_sat = (await self.balances()).get(change.chan_id, 0) - before_sat[change.chan_id]
            if came_sat >= _MOVED_SHARE * change.amount_sat:
                return "done", "", fee_msat
            if time.monotonic() > deadline:
                return "surprise", f"the channel holds {came_sat:+,} sat, not {change.amount_sat:,} more", fee_msat
            await asyncio.sleep(_POLL_S)

    async def balances(self) -> dict[int, int]:
        """Return what the node holds in each of its active channels, in sat."""
        listed = await self.client.call(rpc.LIST_CHANNELS)
        return {
            number: channel.local_balance
            for channel in listed.channels
            if channel.active
            for number in (channel.chan_id, *channel.alias_scids)
        }


def _fields(policy: lightning_pb2.RoutingPolicy) -> dict[str, int]:
    """Return a policy in fields of ``Policy``."""
    return {
        "fee_base_msat": policy.fee_base_msat,
        "fee_rate_ppm": policy.fee_rate_milli_msat,
        "inbound_fee_base_msat": policy.inbound_fee_base_msat,
        "inbound_fee_rate_ppm": policy.inbound_fee_rate_milli_msat,
        "time_lock_delta": policy.time_lock_delta,
        "min_htlc_msat": policy.min_htlc,
        "max_htlc_msat": policy.max_htlc_msat,
    }
