"""What looks at networks, and talks to their nodes, answers without loading what plays on them."""

import subprocess
import sys

import pytest

from lnsim_gym.cli import make_app

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
    "gymnasium",
    "http.server",
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
        (
            ["cli", "--name", "of-no-network", "alice", "getinfo"],
            2,
            {"grpc", "numpy", "lnsim_gym.backends.lnd.backend"},
        ),
        (["status", "--name", "of-no-network"], 2, {"grpc", "numpy", "lnsim_gym.backends.lnd.backend"}),
    ],
)
def test_commands_load_only_what_they_need(arguments, status, more):
    program = PROGRAM.format(arguments=arguments, status=status)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.rpartition("|")[2].split())
    assert not loaded & (HEAVY | more)


@pytest.mark.parametrize("order", ["gymnasium, lnsim_gym", "lnsim_gym, gymnasium"])
def test_environments_are_registered_in_whichever_order_the_two_are_imported(order):
    program = f"""
import importlib.resources, importlib.util, sys
importlib.util.find_spec("gymnasium")  # looking for it is not importing it
import {order}
print("LightningNet-v0" in gymnasium.registry, [type(one).__module__ for one in sys.meta_path if "lnsim" in str(one)])
spec = gymnasium.__spec__
print(type(spec.loader) is type(gymnasium.core.__spec__.loader), gymnasium.__loader__ is spec.loader)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "[]", "True", "True"]


def test_a_command_is_made_with_those_of_its_module_alone_and_help_with_all():
    assert len(make_app("status").registered_groups) == 1
    assert len(make_app("no-such").registered_groups) > 5  # no such command: told from all that there are
    assert len(make_app().registered_groups) > 5
