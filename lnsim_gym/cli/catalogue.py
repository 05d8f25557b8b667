"""Commands that tell what there is: environments, agents, topologies and traffic models, and the settings of each."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from lnsim_gym.cli.options import Json

if TYPE_CHECKING:
    from rich.table import Table

    from lnsim_gym.fields import Field

__all__ = ["app", "known", "settings_of", "terms_of"]

app = typer.Typer()


class What(StrEnum):
    """What is listed."""

    environments = "environments"
    agents = "agents"
    topologies = "topologies"
    traffic = "traffic"


@app.command("list")
def list_(
    what: Annotated[What | None, typer.Argument(help="List only these.")] = None,
    as_json: Json = False,
) -> None:
    """List environments, agents, topologies and traffic models by name, of agents also the tasks that they play."""
    listed = {each.value: known(each) for each in ([what] if what else What)}
    if as_json:
        _print_json(listed)
        return
    for kind, names in listed.items():
        if kind == What.agents:
            _print(_table(kind, ["", "task", ""], _agent_rows(names)))
        else:
            _print(_table(kind, ["", ""], names.items()))


@app.command()
def describe(
    env: Annotated[str, typer.Argument(help="Id of an environment.")],
    as_json: Json = False,
) -> None:
    """Show every setting of an environment: what it means, its unit, default and range; and the terms of the reward.

    Settings that the environment itself gives another value than the default are marked with `*`.
    """
    from lnsim_gym.cli.episodes import environment_spec

    spec = environment_spec(env)
    tables = settings_of(spec.kwargs)
    terms = terms_of(spec.kwargs)
    if as_json:
        settings = {name: [field._asdict() | {"inside": None} for field in fields] for name, fields in tables.items()}
        _print_json({"id": spec.id, "settings": settings, "reward_terms": terms, "values": spec.kwargs})
        return
    for name, fields in tables.items():
        _print(_settings_table(name or env, fields, spec.kwargs if not name else _inside(spec, name)))
    _print(_table("terms of the reward", ["", ""], terms.items()))


def known(what: What) -> dict[str, str]:
    """Return what there is of a kind: a sentence on each, by name."""
    match what:
        case What.environments:
            from lnsim_gym.environment.files import environment_files
            from lnsim_gym.environment.registration import CORRIDOR_DESCRIPTION, CORRIDOR_ID

            return {file.id: file.description for file in environment_files()} | {CORRIDOR_ID: CORRIDOR_DESCRIPTION}
        case What.agents:
            from lnsim_gym.agents.recipe import known_agents, summary_of

            return {name: summary_of(name) for name in known_agents()}
        case What.topologies:
            from lnsim_gym.network.generators import GENERATORS
            from lnsim_gym.network.presets import PRESETS

            presets = {name: _first_line(make) for name, make in PRESETS.items()}
            return presets | {_called(name, make): _first_line(make) for name, make in GENERATORS.items()}
        case What.traffic:
            return {_tag(model): _first_line(model) for model in _traffic_models()}


def _agent_rows(summaries: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each agent, those of one task together."""
    from lnsim_gym.agents.registry import tasks_of

    tasks = {name: tasks_of(name) for name in summaries}
    for name in sorted(summaries, key=lambda name: (tasks[name], name)):
        yield name, ", ".join(tasks[name]), summaries[name]


def settings_of(settings: Mapping[str, Any]) -> dict[str, tuple[Field, ...]]:
    """Return the settings that an environment has, by the table that they are in; its own under an empty name.

    Args:
        settings: Those of the environment, which name its task.
    """
    from lnsim_gym.backends.lnd import LndSettings
    from lnsim_gym.fields import fields_of
    from lnsim_gym.tasks import EnvironmentConfig

    own = fields_of(type(EnvironmentConfig.of(settings)))
    tables = {"": own}
    for field in own:
        for kind in field.inside:
            tag = kind.__struct_config__.tag
            tables[f'{field.name}, kind "{tag}"' if tag else field.name] = fields_of(kind)
    return tables | {"lnd": fields_of(LndSettings)}


def terms_of(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return what each term of an environment's reward means."""
    from lnsim_gym.tasks import EnvironmentConfig
    from lnsim_gym.tasks.registry import task_type

    task = task_type(EnvironmentConfig.of(settings))
    return {term: task.meanings.get(term, "") for term in task.terms}


def _traffic_models() -> tuple[type, ...]:
    """Return the classes of traffic models."""
    from lnsim_gym.traffic import TrafficModel

    return get_args(TrafficModel)


def _tag(model: Any) -> str:
    """Return the kind by which settings name a traffic model."""
    return str(model.__struct_config__.tag)


def _first_line(documented: Any) -> str:
    """Return the first sentence of a docstring."""
    line = (inspect.getdoc(documented) or "").partition("\n")[0].removeprefix("Return ").rstrip(".")
    return line[:1].upper() + line[1:]


def _called(name: str, make: Any) -> str:
    """Return a generator with its arguments, as settings call it."""
    parameters = inspect.signature(make).parameters.values()
    needed = [f"{each.name} = ..." for each in parameters if each.default is each.empty]
    return f"{name}({', '.join(needed)})"


def _inside(spec: Any, table: str) -> Mapping[str, Any]:
    """Return what an environment sets in a table of settings."""
    given = spec.kwargs.get(table.partition(",")[0], {})
    return given if isinstance(given, Mapping) and given.get("kind", "") in table else {}


def _settings_table(title: str, fields: Iterable[Field], given: Mapping[str, Any]) -> Table:
    """Lay out settings; those that are given have their value in place of the default."""
    return _table(title, ["setting", "value", "unit", "may be", "meaning"], _settings_rows(fields, given))


def _settings_rows(fields: Iterable[Field], given: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each setting."""
    from lnsim_gym.fields import as_toml

    for field in fields:
        value = field.default
        if field.name in given:
            own = given[field.name]
            value = f"{as_toml(own.get('kind', own) if isinstance(own, Mapping) else own)} *"
        yield field.name, value, field.unit, field.range or field.kind, field.meaning.replace("``", "")


def _table(title: str, columns: list[str], rows: Iterable[Iterable[str]]) -> Table:
    """Lay out texts, the first of each row never broken."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Column, Table
    from rich.text import Text

    first, *others = columns
    table = Table(
        Column(first, no_wrap=True),
        *others,
        title=Text(title),
        title_justify="left",
        box=SIMPLE_HEAD,
        show_header=any(columns),
    )
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _print(table: Table) -> None:
    """Print a table."""
    from lnsim_gym.cli.display import make_console

    make_console().print(table)


def _print_json(what: Any) -> None:
    """Print plain data for other programs."""
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(what), indent=1).decode())
