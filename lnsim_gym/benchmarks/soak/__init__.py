"""Long runs: what memory, descriptors, threads, rates and latencies do over time, and whether they stay as they are."""
