"""What exists in Docker at a moment, so that before and after can be compared."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import docker
import pytest

from lnsim_gym.backends.lnd.nodes import images
from lnsim_gym.backends.lnd.nodes.launchers.containers import compose_command
from lnsim_gym.backends.lnd.nodes.programs import Binaries
from lnsim_gym.errors import LnsimError


class Things(NamedTuple):
    """Ids of everything in Docker."""

    containers: frozenset[str]
    networks: frozenset[str]
    volumes: frozenset[str]
    images: frozenset[str]

    @classmethod
    def now(cls, client: docker.DockerClient) -> Things:
        return cls(
            frozenset(str(each.id) for each in client.containers.list(all=True, ignore_removed=True)),
            frozenset(str(each.id) for each in client.networks.list()),
            frozenset(str(each.id) for each in client.volumes.list()),
            frozenset(str(each.id) for each in client.images.list()),
        )


def local_docker(binaries: Binaries) -> docker.DockerClient:
    """Return a Docker daemon's client with the local image built; skip, or fail where Docker is required."""
    del binaries
    try:
        client = images.connect_docker()
        compose_command()
        if not client.images.list(name=images.local_image()):
            images.build_image()
    except LnsimError as problem:
        if os.environ.get("LNSIM_REQUIRE_DOCKER") == "1":
            pytest.fail(f"LNSIM_REQUIRE_DOCKER is set, but {problem}")
        pytest.skip(str(problem))
    return client


def of_network(client: docker.DockerClient, name: str) -> list[Any]:
    """Return the containers whose names begin with a network's name."""
    return [each for each in client.containers.list(all=True) if str(each.name).startswith(f"{name}-")]
