"""What looks at networks, and talks to their nodes, answers without loading what plays on them."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
sys.argv = ["lnsim", *{arguments!r}]
from lnsim_gym.cli import main
try:
    main()
except SystemExit as end:
    assert end.code == {status}
print("|", *sys.modules)
"""
HEAVY = {
    "docker",
    "lnsim_gym.agents",
    "lnsim_gym.compiled",
    "lnsim_gym.episodes",
    "lnsim_gym.tasks",
    "matplotlib",
    "numba",
    "pyarrow",
    "torch",
    "websockets",
}


@pytest.mark.parametrize(
    ("arguments", "status", "more"),
    [
        (["--version"], 0, {"grpc", "lnsim_gym.backends"}),
        (["cli", "--name", "of-no-network", "alice", "getinfo"], 2, {"grpc", "lnsim_gym.backends.lnd.backend"}),
        (["status", "--name", "of-no-network"], 2, {"lnsim_gym.backends.lnd.backend"}),
    ],
)
def test_commands_load_only_what_they_need(arguments, status, more):
    program = PROGRAM.format(arguments=arguments, status=status)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.rpartition("|")[2].split())
    assert "gymnasium" in loaded  # a package that is imported registers its environments
    assert not loaded & (HEAVY | more)
