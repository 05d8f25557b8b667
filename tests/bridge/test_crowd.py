"""A thousand connections, half of which mean harm."""

import json
import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from lnsim_gym.bridge import server
from lnsim_gym.bridge.session import BATCH_BYTES
from tests.bridge.clients import streamed
from tests.waiting import wait_until

HONEST = HOSTILE = 500
STEPS = 20


@contextmanager
def crowd(kind, env, count):
    """Run a crowd while the block runs, unless it ended by itself."""
    command = [sys.executable, "-m", "tests.bridge.crowd", kind, str(env.bridge.port), str(count)]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def many_files():
    """Let this process have as many descriptors as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
def test_a_thousand_connections_half_of_them_hostile_cost_the_honest_ones_nothing(many_files):
    total = 16 * 2**20
    most_clients = HONEST + 250
    most_connections = 2 * most_clients + server.OPENING
    us = psutil.Process()
    settings = {"max_clients": most_clients, "total_bytes": total, "queue_bytes": total}
    with streamed(payments_per_step=10, **settings) as env, crowd("honest", env, HONEST) as readers:
        wait_until(lambda: env.bridge.counts().clients == HONEST, deadline_s=300)
        env.reset(seed=1)
        env.step(0)
        before_bytes, before_files = us.memory_info().rss, us.num_fds()
        most_bytes = most_files = 0
        with crowd("hostile", env, HOSTILE):
            wait_until(lambda: env.bridge.counts().clients > HONEST + 50, deadline_s=300)
            for _ in range(STEPS):
                env.step(0)
                most_bytes, most_files = max(most_bytes, us.memory_info().rss), max(most_files, us.num_fds())
        assert env.bridge.counts().lost == 0
        env.close()
        told = json.loads(readers.communicate(timeout=300)[0])
    assert [wrong for wrong, _ in told] == [0] * HONEST
    assert len({count for _, count in told}) == 1
    assert most_files - before_files <= most_connections - HONEST
    # Besides what waits, each connection has what is being written, and what it is being read from.
    assert most_bytes - before_bytes <= 2 * total + most_connections * (BATCH_BYTES + 2 * server.WRITE_LIMIT)
    print(f"{(most_bytes - before_bytes) / 2**20:.0f} MiB and {most_files - before_files} descriptors more at most")
