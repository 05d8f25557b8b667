"""The Docker network as files: closed to the outside, pinned, random in its credentials, valid for every compose."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lnsim_gym.backends.lnd.nodes import compose
from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Channel, Topology
from lnsim_gym.network.names import unprintable
from lnsim_gym.network.presets import preset
from lnsim_gym.paths import data_folder

COMPOSE_PROGRAMS = [
    program
    for program in (("docker", "compose"), ("docker-compose",))
    if shutil.which(program[0])
    and subprocess.run([*program, "version"], capture_output=True, check=False).returncode == 0
]


def chain_of(names: list[str]) -> Topology:
    """A topology of channels from each node to the next."""
    channels = tuple(
        Channel(initiator=one, peer=other, capacity_sat=1_000_000) for one, other in itertools.pairwise(names)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return Topology(nodes=tuple(names), channels=channels)


odd_names = st.lists(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(
        lambda name: name.strip() and unprintable(name) is None
    ),
    min_size=2,
    max_size=5,
    unique=True,
)


def test_the_file_that_ships_is_the_default_topology_s():
    assert (data_folder("compose") / "docker-compose.yml").read_text() == compose.compose_text(preset("default"))


def test_containers_have_the_names_and_ports_that_users_know():
    text = compose.compose_text(preset("default"))
    for number, name in enumerate(("alice", "bob", "carol", "dave", "eve"), start=1):
        assert f'container_name: "${{LNSIM_PREFIX:-}}lnd-{name}"' in text
        assert f'"127.0.0.1:${{LNSIM_GRPC_PORT_{number}:-{10000 + number}}}:10009"' in text
        assert f'"127.0.0.1:${{LNSIM_REST_PORT_{number}:-{8000 + number}}}:8080"' in text


@given(odd_names)
def test_every_published_port_is_on_loopback_alone(names):
    text = compose.compose_text(chain_of(names))
    ports = re.findall(r'ports:\n((?:      - ".*"\n)+)', text)
    published = [line for block in ports for line in block.splitlines()]
    assert len(published) == 1 + 2 * len(names)
    assert all(line.strip().startswith('- "127.0.0.1:') for line in published)


def test_images_are_pinned_and_can_be_named_by_the_user():
    images = re.findall(r'image: "\$\{(\w+):-(.+)\}"', compose.compose_text(preset("default")))
    assert {variable for variable, _ in images} == {"LNSIM_LND_IMAGE", "LNSIM_BTCD_IMAGE"}
    assert all(re.search(r":v\d+\.\d+\.\d+", image) for _, image in images)


def test_no_credential_is_in_the_compose_file_or_on_a_command_line(tmp_path):
    compose.write_network(tmp_path, preset("default"))
    user, password = compose.read_credentials(tmp_path)
    text = (tmp_path / "docker-compose.yml").read_text() + (tmp_path / ".env").read_text()
    assert user not in text
    assert password not in text
    assert "rpcuser" not in text
    assert "password" not in text


def test_credentials_are_random_for_each_network_and_for_their_owner_only(tmp_path):
    one = tmp_path / "one"
    other = tmp_path / "other"
    for folder in (one, other):
        compose.write_network(folder, preset("default"))
    assert compose.read_credentials(one) != compose.read_credentials(other)
    assert len(compose.read_credentials(one)[1]) >= 32
    for path in [one / "secrets", *(one / "secrets").rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0


def test_writing_again_keeps_the_credentials(tmp_path):
    compose.write_network(tmp_path, preset("default"))
    before = compose.read_credentials(tmp_path)
    compose.write_network(tmp_path, preset("default"))
    assert compose.read_credentials(tmp_path) == before


def test_a_folder_of_the_user_s_stays_as_open_as_it_was(tmp_path):
    (tmp_path / "mine").mkdir(mode=0o755)
    before = (tmp_path / "mine").stat().st_mode
    compose.write_network(tmp_path / "mine", preset("default"))
    assert (tmp_path / "mine").stat().st_mode == before


@given(odd_names)
def test_every_node_gets_a_service_name_of_its_own_that_docker_accepts(names):
    services = compose.services(chain_of(names))
    assert [service.node for service in services] == names
    assert len({service.name for service in services}) == len(names)
    assert all(re.fullmatch(r"lnd-[a-z0-9][a-z0-9_.-]*", service.name) for service in services)


def test_a_value_that_an_env_file_cannot_hold_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="LNSIM_PREFIX"):
        compose.write_network(tmp_path, preset("default"), {"LNSIM_PREFIX": "a b"})


@pytest.mark.docker
@pytest.mark.skipif(not COMPOSE_PROGRAMS, reason="needs docker compose or docker-compose")
@pytest.mark.parametrize("program", COMPOSE_PROGRAMS, ids=" ".join)
@pytest.mark.parametrize(
    "names",
    [["alice", "bob", "carol", "dave", "eve"], ["Z ö", "$HOME", 'q"uote', "node-1", "a" * 60]],
    ids=["usual", "odd"],
)
def test_every_compose_accepts_the_file(program, names, tmp_path):
    topology = chain_of(names)
    compose.write_network(tmp_path, topology)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("LNSIM_")}
    said = subprocess.run(
        [*program, "config"], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    for service in compose.services(topology):
        assert f"  {service.name}:" in said.stdout
    assert "127.0.0.1" in said.stdout


@pytest.mark.parametrize("name", ["alice", "$HOME", 'q"uote'])
def test_node_names_reach_lnd_as_they_are(name):
    text = compose.compose_text(chain_of([name, "peer"]))
    aliases = [json.loads(line.strip()[2:]) for line in text.splitlines() if "--alias=" in line]
    assert aliases[0].replace("$$", "$") == f"--alias={name}"


def test_a_name_too_long_for_lnd_is_cut():
    text = compose.compose_text(chain_of(["ü" * 20, "peer"]))
    assert f'--alias={"ü" * 16}"' in text.replace("\\u00fc", "ü")
