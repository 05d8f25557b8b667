"""A live network: brought up, paid over, reset, and held to lnd's own balances."""
