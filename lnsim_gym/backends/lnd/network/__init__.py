"""A live network of lnds: brought up, given its policies, paid over, reset, and held to lnd's own balances.

It starts daemons through the launchers of ``nodes`` and speaks to them through ``rpc``. When to bring up, reset or
rebuild is decided above, in ``backend`` and ``named``.
"""
