"""The flags that every btcd and lnd is started with, whichever launcher starts it.

Block rewards go to an output that anyone may spend (pay-to-witness-script-hash of ``OP_TRUE``), so the address is a
constant and no wallet has to exist before the first block.
"""

from __future__ import annotations

from typing import Final

from lnsim_gym.payments import PaymentOptions

__all__ = ["BTCD_FLAGS", "LND_FLAGS", "MINING_ADDRESS", "WUMBO_FLAG", "alias", "attempt_cost_flags"]

MINING_ADDRESS: Final = "bcrt1qft5p2uhsdcdc3l2ua4ap5qqfg4pjaqlp250x7us7a8qqhrxrxfsqseac85"
"""Regtest address of the script ``OP_TRUE``: value that anyone can move, and only regtest has."""

BTCD_FLAGS: Final = (
    "--regtest",
    "--txindex",
    "--nodnsseed",
    "--rpcmaxwebsockets=500",
    "--rpcmaxclients=100",
    # 10 sat/vB. LND's fee floor is then 2,500 sat/kw, which is also its cap for anchor channels: a constant rate.
    "--minrelaytxfee=0.0001",
    f"--miningaddr={MINING_ADDRESS}",
)
"""btcd's flags, without listeners, credentials and folders."""

LND_FLAGS: Final = (
    "--noseedbackup",
    "--norest",
    "--nobootstrap",
    "--bitcoin.regtest",
    "--bitcoin.node=btcd",
    "--bitcoin.defaultchanconfs=1",
    "--bitcoin.defaultremotedelay=4",
    "--maxpendingchannels=10",
    "--trickledelay=50",
    "--gossip.sub-batch-delay=5ms",
    # Without these, a node ignores the policy updates of a peer beyond ten, and its graph goes stale.
    "--gossip.max-channel-update-burst=100000",
    "--gossip.channel-update-interval=1ms",
    # Without this, a node hears what others announce from three of its peers only, and may miss a policy for good.
    "--numgraphsyncpeers=1000",
    # Without this, a node refuses to charge for what it receives and forwards; discounts need no leave.
    "--accept-positive-inbound-fees",
    "--db.batch-commit-interval=10ms",
    "--channel-commit-interval=5ms",
    "--caches.rpc-graph-cache-duration=0s",
    "--debuglevel=info",
    # lnd would stop itself when the disk it lives on is nine tenths full.
    "--healthcheck.diskspace.attempts=0",
    "--logging.file.max-files=1",
    "--logging.file.max-file-size=5",
)
"""lnd's flags, without listeners, credentials and folders."""

WUMBO_FLAG: Final = "--protocol.wumbo-channels"
"""Added to ``LND_FLAGS`` when the topology says ``wumbo``."""


def attempt_cost_flags(options: PaymentOptions) -> tuple[str, ...]:
    """Return the flags that give lnd the attempt cost of payment options; none where it is lnd's own."""
    usual = PaymentOptions()
    costs = {
        "attemptcost": (options.attempt_cost_sat, usual.attempt_cost_sat),
        "attemptcostppm": (options.attempt_cost_ppm, usual.attempt_cost_ppm),
    }
    return tuple(f"--routerrpc.{name}={asked}" for name, (asked, own) in costs.items() if asked != own)


def alias(name: str) -> str:
    """Return an alias that lnd accepts for a node name: printable, at most 32 bytes of UTF-8."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in name)
    return printable.encode()[:32].decode(errors="ignore")
