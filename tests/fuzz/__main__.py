"""Fuzzes readers from the command line."""

import argparse
import secrets
import sys
from pathlib import Path

from tests.fuzz.readers import READERS
from tests.fuzz.run import fuzz, kept

parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
parser.add_argument("--seconds", type=float, default=60.0, help="time for all readers together")
parser.add_argument("--seed", type=int, default=None, help="repeats a run up to the time it had; fresh by default")
parser.add_argument("--reader", action="append", default=[], choices=READERS, help="only this one; repeatable")
parser.add_argument("--inputs", type=int, default=2**62, help="most for each reader")
parser.add_argument("--out", type=Path, default=None, help="folder for the inputs that were found")
arguments = parser.parse_args()
seed = secrets.randbits(32) if arguments.seed is None else arguments.seed
print(f"seed {seed}", flush=True)
counts, findings = fuzz(seed, arguments.seconds, arguments.reader, arguments.inputs)
for name, count in counts.items():
    print(f"{name:16} {count:9,} inputs")
for finding in findings:
    print(f"{finding.reader}: {finding.problem}: {finding.data[:300]!r}")
if arguments.out is not None:
    kept(findings, arguments.out)
sys.exit(bool(findings))
