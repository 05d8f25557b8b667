"""The liquidity task: one agent moves everybody's liquidity so that payments succeed."""
