"""Docker's side of the daemons: which images to run, whether they can be had, and a local image of our own.

Containers, networks and volumes are the work of the Docker launcher.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import docker
from docker.errors import APIError, DockerException, ImageNotFound
from requests.exceptions import RequestException

from lnsim_gym.backends.lnd.nodes.compose import LABEL, OFFICIAL_BTCD_IMAGE, official_lnd_image
from lnsim_gym.backends.lnd.nodes.programs import Binaries, Progress, find_binaries, lnd_version
from lnsim_gym.errors import BackendError, MissingDependency
from lnsim_gym.paths import data_folder

__all__ = ["Images", "build_image", "choose_images", "connect_docker", "local_image", "obtain", "obtainable"]

_TIMEOUT_S: Final = 30
_REMEDY: Final = (
    "build an image here with `lnsim nodes image`, name others with LNSIM_LND_IMAGE and LNSIM_BTCD_IMAGE, "
    "or use the process launcher"
)


class Images(NamedTuple):
    """Names of the images to run."""

    lnd: str
    btcd: str


def connect_docker() -> docker.DockerClient:
    """Return a client of the Docker daemon that the environment names.

    Raises:
        MissingDependency: No daemon answers.
    """
    try:
        client = docker.from_env(timeout=_TIMEOUT_S)
        client.ping()
    except (DockerException, RequestException) as problem:
        raise MissingDependency(
            f"expected a Docker daemon to answer, got: {problem}. Start Docker, or use the process launcher"
        ) from None
    return client


def local_image() -> str:
    """Return the name of the image that ``build_image`` makes."""
    return f"lnsim/nodes:{lnd_version()}"


def choose_images(client: docker.DockerClient) -> Images:
    """Choose the images: ``LNSIM_LND_IMAGE`` and ``LNSIM_BTCD_IMAGE``, else a local build, else the official ones."""
    built = _present(client, local_image())
    lnd, btcd = (local_image(), local_image()) if built else (official_lnd_image(), OFFICIAL_BTCD_IMAGE)
    return Images(os.environ.get("LNSIM_LND_IMAGE") or lnd, os.environ.get("LNSIM_BTCD_IMAGE") or btcd)


def obtainable(client: docker.DockerClient, images: Images) -> bool:
    """Say whether each image is there or its registry offers it; nothing is downloaded."""
    return all(_present(client, name) or _offered(client, name) for name in set(images))


def obtain(client: docker.DockerClient, images: Images) -> None:
    """Download the images that are not there.

    Raises:
        MissingDependency: An image cannot be had.
    """
    for name in sorted(set(images)):
        if _present(client, name):
            continue
        try:
            client.images.pull(name)
        except (DockerException, RequestException) as problem:
            raise MissingDependency(
                f"expected the Docker image {name}, could not get it ({problem}): {_REMEDY}"
            ) from None


def _present(client: docker.DockerClient, name: str) -> bool:
    """Say whether the daemon has an image."""
    try:
        client.images.get(name)
    except ImageNotFound:
        return False
    return True


def _offered(client: docker.DockerClient, name: str) -> bool:
    """Say whether the image's registry answers and knows it."""
    try:
        client.images.get_registry_data(name)
    except (DockerException, RequestException):
        return False
    return True


def build_image(progress: Progress = lambda *_: None) -> str:
    """Pack the binaries of this machine into a local image that serves as both lnd and btcd.

    Args:
        progress: Called with what is going on; see ``programs.Progress``.

    Returns:
        The image's name.

    Raises:
        MissingDependency: No Docker daemon answers, or the binaries are not there.
        BackendError: The binaries do not run in the image; it is removed again.
    """
    client = connect_docker()
    binaries = find_binaries()
    progress("packing the binaries", 0, 0)
    with tempfile.TemporaryDirectory(prefix="lnsim-image-") as scratch:
        _lay_out(Path(scratch), binaries)
        try:
            image, _ = client.images.build(
                path=scratch, tag=local_image(), rm=True, forcerm=True, labels={f"{LABEL}.image": lnd_version()}
            )
        except (DockerException, RequestException) as problem:
            raise BackendError(f"expected Docker to build {local_image()}, got: {problem}") from None
    progress("checking the image", 0, 0)
    _check(client, str(image.id))
    return local_image()


def _lay_out(folder: Path, binaries: Binaries) -> None:
    """Put the recipe and the binaries where Docker builds from."""
    shutil.copyfile(data_folder("compose") / "nodes.Dockerfile", folder / "Dockerfile")
    for name, path in zip(Binaries._fields, binaries, strict=True):
        shutil.copyfile(path, folder / name)
        (folder / name).chmod(0o755)


def _check(client: docker.DockerClient, image: str) -> None:
    """Run every program of an image once, and remove the image when one does not run.

    Programs that are linked to shared libraries, or built for another system, fail here.
    """
    for name in Binaries._fields:
        try:
            client.containers.run(image, entrypoint=[name], command=["--version"], remove=True, network_mode="none")
        except (APIError, DockerException) as problem:
            with suppress(APIError):
                client.images.remove(image, force=True)
            raise BackendError(
                f"expected {name} to run in an empty image, got: {problem}. It must be a static Linux program: "
                "take lnd, lncli and btcd off PATH and build them with `lnsim nodes build`"
            ) from None
