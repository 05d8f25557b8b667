"""What the Docker launcher does to containers, networks and volumes, all of it bounded by our own labels.

Everything that a network makes carries the network's project and its owner. Only what carries a label of ours, made
on this machine by this user, is ever stopped or removed.
"""

from __future__ import annotations

import io
import os
import platform
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

import docker
import psutil
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container
from requests.exceptions import RequestException

from lnsim_gym.backends.lnd.nodes.compose import COMPOSE_FILE, LABEL
from lnsim_gym.backends.lnd.nodes.posix import user_id
from lnsim_gym.errors import BackendError, BackendLost, BringUpError, MissingDependency

__all__ = [
    "compose_command",
    "compose_create",
    "containers_of",
    "docker_errors",
    "in_parallel",
    "is_frozen",
    "kill",
    "owner_label",
    "read_file",
    "remove_project",
    "sweep",
]

T = TypeVar("T")
R = TypeVar("R")
_COMPOSE_TIMEOUT_S: Final = 120
_POLL_S: Final = 0.1
_REMOVAL_S: Final = 15.0
_THREADS: Final = 8


def owner_label(pid: int, started: float) -> str:
    """Return the label that says who owns a network: machine, user, process; pid 0 for one that outlives its maker."""
    return f"{platform.node()}/{user_id()}/{pid}/{started:.2f}"


def _is_ours(owner: str) -> bool:
    """Whether an owner label was written on this machine by this user."""
    return owner.startswith(f"{platform.node()}/{user_id()}/")


def _is_dead(owner: str) -> bool:
    """Whether an owner label names a process that is gone, so that its network is an orphan."""
    pid = int(owner.split("/")[2])
    started = float(owner.split("/")[3])
    try:
        return pid != 0 and abs(psutil.Process(pid).create_time() - started) > 1
    except psutil.NoSuchProcess:
        return True


@contextmanager
def docker_errors(doing: str) -> Iterator[None]:
    """Turn the Docker SDK's errors into ours.

    Args:
        doing: What was attempted, for the text of the error.

    Raises:
        BackendLost: A container is gone, or the daemon no longer answers.
        BackendError: The daemon refused.
    """
    try:
        yield
    except NotFound as problem:
        raise BackendLost(f"expected {doing}, but it is gone ({problem.explanation}): reset the network") from None
    except APIError as problem:
        raise BackendError(f"expected {doing}, Docker refused: {problem.explanation or problem}") from None
    except (DockerException, RequestException) as problem:
        raise BackendLost(f"expected {doing}, the Docker daemon does not answer: {problem}") from None


def in_parallel(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Apply a function to every item at the same time and return the results in order."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(function, items))


@cache
def compose_command() -> tuple[str, ...]:
    """Return the compose program of this machine: ``docker compose``, else ``docker-compose``.

    Raises:
        MissingDependency: Neither is installed.
    """
    for command in (("docker", "compose"), ("docker-compose",)):
        if shutil.which(command[0]) is None:
            continue
        answer = subprocess.run([*command, "version"], capture_output=True, check=False, timeout=_COMPOSE_TIMEOUT_S)
        if answer.returncode == 0:
            return command
    raise MissingDependency(
        "expected `docker compose` or `docker-compose` on PATH, found neither: "
        "install Docker's compose plugin, or use the process launcher"
    )


def compose_create(folder: Path, project: str, variables: Mapping[str, str]) -> None:
    """Create whatever the compose file in a folder describes and is missing, and start none of it.

    Raises:
        BringUpError: Compose failed; the text carries what it said.
    """
    where = ["--project-name", project, "--project-directory", str(folder), "--file", str(folder / COMPOSE_FILE)]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LNSIM_")}
    with subprocess.Popen(
        [*compose_command(), *where, "up", "--no-start", "--no-build"],
        cwd=folder,
        env={**inherited, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Ctrl-C in the terminal reaches us alone: what compose has begun it ends, so that all of it can be found.
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=_COMPOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise BringUpError(
                f"expected compose to create the network {project} within {_COMPOSE_TIMEOUT_S} s, it did not"
            ) from None
    if process.returncode != 0:
        tail = "\n".join(said.strip().splitlines()[-8:])
        raise BringUpError(f"expected {' '.join(compose_command())} to create the network {project}, it said:\n{tail}")


def containers_of(client: docker.DockerClient, project: str) -> dict[str, Container]:
    """Return the containers of a network by the name of their node, stopped ones included."""
    found = client.containers.list(all=True, filters={"label": f"{LABEL}.network={project}"}, ignore_removed=True)
    return {container.labels[f"{LABEL}.node"]: container for container in found if _is_ours(_owner(container.labels))}


def _owner(labels: Mapping[str, str] | None) -> str:
    return (labels or {}).get(f"{LABEL}.owner", "")


def is_frozen(container: Container) -> bool:
    """Whether a running container's program is stopped by a signal, as far as this machine can see its process."""
    pid = int(container.attrs["State"].get("Pid") or 0)
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        process = psutil.Process(pid)
        # Where the daemon runs in a virtual machine, the pid is not one of ours.
        return pid > 0 and process.name() in container.attrs["Path"] and process.status() == psutil.STATUS_STOPPED
    return False


def kill(container: Container) -> None:
    """Kill a container's program, paused or stopped by a signal as it may be; harmless when it does not run."""
    with suppress(APIError):
        container.unpause()
    with suppress(APIError):
        container.kill()
    with suppress(APIError):
        container.wait(timeout=10)


def read_file(container: Container, path: str) -> bytes | None:
    """Return the content of a file in a container, or None when there is none."""
    try:
        stream, _ = container.get_archive(path)
    except NotFound:
        return None
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
        member = archive.extractfile(archive.getmembers()[0])
        return member.read() if member else None


def remove_project(client: docker.DockerClient, project: str) -> None:
    """Remove the containers, networks and volumes of a network of ours; harmless when there are none."""
    _remove(client, lambda labels: labels.get(f"{LABEL}.network") == project)


def sweep(client: docker.DockerClient) -> None:
    """Remove the containers, networks and volumes whose owner, a process of this user on this machine, is dead."""
    _remove(client, lambda labels: _is_dead(_owner(labels)))


def _remove(client: docker.DockerClient, chosen: Callable[[Mapping[str, str]], bool]) -> None:
    """Remove everything of ours whose labels are chosen: containers first, then what they used.

    Looks again until nothing is left: a compose that failed may have asked for containers that the daemon is still
    making.
    """
    marked: dict[str, Any] = {"label": f"{LABEL}.owner"}

    def ours(found: Iterable[Any]) -> list[Any]:
        return [each for each in found if _is_ours(_owner(_labels(each))) and chosen(_labels(each))]

    deadline = time.monotonic() + _REMOVAL_S
    while True:
        found = ours(client.containers.list(all=True, ignore_removed=True, filters=marked))
        used = [*ours(client.networks.list(filters=marked)), *ours(client.volumes.list(filters=marked))]
        if not found and not used:
            return
        in_parallel(_remove_container, found)
        refused = [problem for problem in in_parallel(_try_remove, used) if problem is not None]
        if time.monotonic() > deadline:
            names = ", ".join(str(each.name) for each in (*found, *used))
            raise BackendError(f"expected {names} to be removed within {_REMOVAL_S:g} s, Docker keeps them: {refused}")
        time.sleep(_POLL_S)


def _try_remove(found: Any) -> APIError | None:
    """Remove a network or volume; return why the daemon refused, which it does while something uses it."""
    try:
        found.remove()
    except NotFound:
        return None
    except APIError as problem:
        return problem
    return None


def _labels(found: Any) -> Mapping[str, str]:
    """Return the labels of a container, network or volume."""
    labels: Mapping[str, str] | None = found.labels if isinstance(found, Container) else found.attrs.get("Labels")
    return labels or {}


def _remove_container(container: Container) -> None:
    """Kill and remove a container with the volumes that only it uses."""
    with suppress(APIError):
        container.unpause()
    try:
        container.remove(v=True, force=True)
    except NotFound:
        return
    except APIError as problem:
        # Another program removes it at this very moment.
        if problem.status_code != 409:
            raise
