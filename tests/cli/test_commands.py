"""The command line itself: help that explains, errors that help, nothing that needs more rights or a shell."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import lnsim_gym
from lnsim_gym.backends.lnd.passthrough import fresh_lines
from lnsim_gym.cli import make_app

COMMAND = [sys.executable, "-c", "from lnsim_gym.cli import main; main()"]
PACKAGE = Path(lnsim_gym.__file__).parent


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**os.environ, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_version_is_the_package_s():
    assert run("--version").stdout == f"lnsim {lnsim_gym.__version__}\n"


@pytest.mark.parametrize(
    "command", ["up", "down", "status", "reset", "logs", "cli", "compose", "nodes", "nodes build", "nodes image"]
)
def test_every_command_explains_itself(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    done = CliRunner().invoke(make_app(), [*command.split(), "--help"], prog_name="lnsim")
    assert done.exit_code == 0
    assert f"Usage: lnsim {command}" in done.stdout
    assert len(done.stdout.splitlines()) > 6


def test_help_does_not_load_what_only_commands_need():
    code = (
        "import sys; from lnsim_gym.cli import make_app; make_app()\n"
        "print([name for name in ('grpc', 'docker', 'pyarrow', 'torch', 'websockets') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("status", "--name", "no-such-network"), "lnsim up"),
        (("up", "--name", "No Name"), "expected a network name"),
        (("up", "--name", "unborn", "--topology", "defalt"), "Did you mean 'default'"),
        (("compose", "defalt"), "Did you mean 'default'"),
    ],
)
def test_a_request_at_fault_ends_with_one_message_and_status_2(arguments, said, tmp_path):
    done = run(*arguments, LNSIM_STATE_DIR=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_building_without_go_is_refused_in_one_message(tmp_path):
    done = run("nodes", "build", PATH=str(tmp_path), LNSIM_CACHE_DIR=str(tmp_path / "cache"))
    assert done.returncode == 2
    assert "expected Go" in done.stderr
    assert "Traceback" not in done.stderr


def test_down_of_nothing_is_harmless(tmp_path):
    done = run("down", "--name", "never-was", LNSIM_STATE_DIR=str(tmp_path))
    assert done.returncode == 0
    assert "no such network" in done.stdout


def test_a_compose_file_is_printed_or_written_with_its_credentials(tmp_path):
    printed = run("compose", "default").stdout
    assert run("compose", "default", "--output", str(tmp_path / "mine")).returncode == 0
    assert (tmp_path / "mine" / "docker-compose.yml").read_text() == printed
    assert (tmp_path / "mine" / "secrets" / "btcd" / "btcd.conf").stat().st_mode & 0o077 == 0


def test_followed_lines_are_shown_once():
    before = [f"line {number}" for number in range(10)]
    assert list(fresh_lines(before, before)) == []
    assert list(fresh_lines(before, [*before[3:], "new", "newer"])) == ["new", "newer"]
    assert list(fresh_lines(before, ["all", "new"])) == ["all", "new"]
    assert list(fresh_lines([], ["first"])) == ["first"]
    assert list(fresh_lines(before, [])) == []


def test_no_shell_and_no_sudo_anywhere():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "shell":
                pytest.fail(f"{path}:{node.value.lineno} runs a shell")
            if isinstance(node, ast.Constant) and node.value in ("sudo", "apt-get", "/tmp"):
                pytest.fail(f"{path}:{node.lineno} names {node.value!r}")
            if isinstance(node, ast.Attribute) and node.attr in ("system", "mktemp", "popen"):
                assert ast.unparse(node) not in ("os.system", "os.popen", "tempfile.mktemp"), path


SWALLOWS = """
import os, signal, sys, time
from lnsim_gym import cli

class Ends:
    def __del__(self):
        os.kill(os.getpid(), signal.Signals[sys.argv[1]])
        time.sleep(0.2)  # the signal's exception rises here, and goes no further

class Breaks:
    def __del__(self):
        raise ValueError("told as ever")

def wait():
    Breaks()
    Ends()
    time.sleep(60)

cli.make_app = lambda *_: lambda prog_name: wait()
cli.main()
"""


@pytest.mark.parametrize(("number", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_an_end_that_a_finaliser_swallows_is_asked_for_again(number, status):
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWS, number], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == status
    assert "told as ever" in done.stderr
    assert "SystemExit" not in done.stderr
    assert "KeyboardInterrupt" not in done.stderr
