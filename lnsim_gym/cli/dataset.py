"""The command that writes data sets for offline learning."""

from __future__ import annotations

import os
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from lnsim_gym.cli.episodes import make_environment, writing
from lnsim_gym.cli.evaluation import seed_range
from lnsim_gym.cli.options import (
    BackendOption,
    EnvironmentId,
    LauncherChoice,
    LauncherOption,
    Network,
    Settings,
    Topology,
)
from lnsim_gym.errors import ConfigError, MissingDependency

__all__ = ["app"]

app = typer.Typer()


@app.command()
def dataset(
    agents: Annotated[list[str], typer.Argument(help="Agents, recipe files, or classes as file.py:Class.")],
    env: EnvironmentId = "LightningNet-v0",
    seeds: Annotated[str, typer.Option("--seeds", help="Seeds A:B, one episode each, B left out.")] = "0:100",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of data sets; by default where Minari keeps them.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--id", help="Id of the data set; ENVIRONMENT/AGENT-vN by default.")
    ] = None,
    backend: BackendOption = None,
    launcher: LauncherOption = LauncherChoice.auto,
    network: Network = None,
    topology: Topology = None,
    settings: Settings = None,
) -> None:
    """Write a Minari data set of each agent: every step of its episodes, with infos, seeds and versions.

    `minari.load_dataset(ID)` reads them, with MINARI_DATASETS_PATH set to the folder where `--out` names one;
    `recover_environment()` of a data set makes the environment with the settings it was played on.
    """
    for needed in ("minari", "h5py", "jax"):
        if find_spec(needed) is None:
            raise MissingDependency(
                f"data sets need {needed}, which is not installed: pip install 'lnsim_gym[datasets]'"
            )
    from lnsim_gym.agents import make_agent
    from lnsim_gym.cli.display import progress_bar

    chosen = seed_range(seeds)
    if name is not None and len(agents) > 1:
        raise ConfigError(f"expected one agent where --id names one data set, got {len(agents)}")
    if out is not None:
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
        os.environ["MINARI_DATASETS_PATH"] = str(out.resolve())
    from lnsim_gym.agents.datasets import dataset_id, require_new_dataset, write_dataset

    names = {agent: name or dataset_id(env, Path(agent).stem) for agent in agents}
    for wanted in names.values():
        require_new_dataset(wanted)
    with progress_bar() as report:
        for agent, wanted in names.items():
            environment = make_environment(env, backend, launcher, network, topology, settings, agent)
            inner: Any = environment.unwrapped
            player = make_agent(agent, inner.problem)
            called = Path(agent).stem
            description = f"{called} plays {env}, one episode of each seed in {chosen.start}:{chosen.stop}."
            write_dataset(wanted, environment, player, called, chosen, description, tell=partial(report, agent))
            typer.echo(f"{wanted}: {len(chosen)} episodes")
