"""Pages of the documentation that are made of the code, and their order: a hook of MkDocs, named in ``mkdocs.yml``.

What is made stands in the pages as a mark, ``<!-- made: NAME -->``; environments and notebooks have pages of their own.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

import gymnasium as gym

import lnsim_gym
from lnsim_gym.agents.recipe import TrainedRecipe, read_recipe
from lnsim_gym.agents.registry import tasks_of
from lnsim_gym.bridge.messages import INBOUND, OUTBOUND
from lnsim_gym.cli.catalogue import What, known, settings_of, terms_of
from lnsim_gym.environment.files import EnvironmentFile, environment_files
from lnsim_gym.fields import Field, as_toml, fields_of

CHECKOUT: Final = Path(__file__).resolve().parents[1]
PAGES: Final = CHECKOUT / "lnsim_gym" / "docs"
NOTEBOOKS: Final = CHECKOUT / "notebooks"
NAV: Final[dict[str, list[str]]] = {
    "Start": ["index.md"],
    "Tutorials": [
        "tutorials/first_episode.md",
        "tutorials/train.md",
        "tutorials/real_nodes.md",
        "tutorials/outside_model.md",
        "tutorials/operator.md",
    ],
    "Notebooks": ["notebooks/*"],
    "Environments": ["environments/index.md", "environments/*"],
    "Guides": [
        "own_node.md",
        "networks.md",
        "gossip.md",
        "many.md",
        "toolkits.md",
        "clusters.md",
        "dashboard.md",
        "streaming.md",
        "security.md",
        "equals_lnd.md",
        "performance.md",
    ],
    "Reference": ["agents.md", "settings.md", "protocol.md", "api.md"],
    "Contributing": ["architecture.md"],
}
"""Pages by section, in order; those that do not exist are left out."""
MARK: Final = re.compile(r"<!-- made: ([a-z ]+) -->")


def on_config(config: Any) -> Any:
    """Order the pages that there are."""
    pages = {path.relative_to(PAGES).as_posix() for path in PAGES.rglob("*.md")} | made_pages().keys()
    sections = {name: list(_expanded(listed, sorted(pages))) for name, listed in NAV.items()}
    config.nav = [{name: found} for name, found in sections.items() if found]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add what is made as whole pages, with their pictures."""
    from mkdocs.structure.files import File  # noqa: PLC0415 - the pages are made, and tested, without MkDocs too

    for name, content in made_pages().items():
        files.append(File.generated(config, name, content=content))
    for name, picture in notebook_pictures().items():
        files.append(File.generated(config, name, content=picture))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put what is made in the place of the marks."""
    return filled(markdown)


def filled(markdown: str) -> str:
    """Return a page with what is made in the place of its marks."""
    return MARK.sub(lambda mark: MADE[mark[1]](), markdown)


@cache
def made_pages() -> dict[str, str]:
    """Return the pages that are made as a whole, by their path."""
    environments = {f"environments/{file.id}.md": environment_page(file) for file in environment_files()}
    notebooks = {f"notebooks/{path.stem}.md": _notebook(path)[0] for path in sorted(NOTEBOOKS.glob("*.ipynb"))}
    return {"environments/index.md": environments_page(), **environments, **notebooks}


@cache
def notebook_pictures() -> dict[str, bytes]:
    """Return the pictures in notebooks, by their path."""
    return {
        f"notebooks/{name}": picture
        for path in sorted(NOTEBOOKS.glob("*.ipynb"))
        for name, picture in _notebook(path)[1].items()
    }


def environments_page() -> str:
    """Return the page that lists environments."""
    rows = [f"| [{file.id}]({file.id}.md) | {file.description} |" for file in environment_files()]
    return "\n".join(
        [
            "# Environments",
            "",
            "`lnsim list` prints this list, `lnsim describe ID` every setting of one with its meaning.",
            "Every setting is a keyword of `gym.make`; [Settings](../settings.md) explains them all.",
            "",
            "| id | what it is |",
            "| --- | --- |",
            *rows,
            "",
        ]
    )


def environment_page(file: EnvironmentFile) -> str:
    """Return the page of an environment: picture, spaces, settings, reward."""
    environment: Any = gym.make(file.id).unwrapped
    topology = environment.topology
    spec = gym.spec(file.id)
    picture = f"pictures/{file.id}.gif"
    rows = {
        "Import": f'`gym.make("{file.id}")`, many at once `gym.make_vec("{file.id}", num_envs=64)`',
        "Action space": f"`{environment.action_space}`",
        "Observation space": f"`{environment.observation_space}`",
        "Network": f"{len(topology.nodes)} nodes, {len(topology.channels)} channels",
        "Payments in a step": f"{environment.config.payments_per_step}",
        "Steps in an episode": f"{spec.max_episode_steps}",
        "Deterministic": "no" if spec.nondeterministic else "yes: seed and actions decide everything",
    }
    reward = getattr(environment.config, "reward", None)  # some tasks pay what they always pay
    chosen = "The" if reward is None else f"`reward = {as_toml(reward)}`; the"
    lines = [f"# {file.id}", "", f"{file.description}.", ""]
    if (PAGES / picture).is_file():
        lines += [f"![The first steps of an episode](../{picture})", ""]
    lines += ["| what | value |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows.items()), ""]
    lines += [
        "What actions and observations mean, entry by entry, stands with",
        "[`LightningNetEnv`](../api.md#lnsim_gym.environment.LightningNetEnv).",
        "",
        "## Settings in which it differs from the defaults",
        "",
        "| setting | value |",
        "| --- | --- |",
        *(f"| `{name}` | {value} |" for name, value in _given(file)),
        "",
        "All settings: [Settings](../settings.md).",
        "",
        "## Reward",
        "",
        f'{chosen} terms, which `info["rewards"]` has in every step, are:',
        "",
        "| term | meaning |",
        "| --- | --- |",
        *(f"| `{term}` | {meaning} |" for term, meaning in terms_of(file.settings).items()),
        "",
    ]
    return "\n".join(lines)


def film_command(file: EnvironmentFile) -> list[str]:
    """Return the command that makes the picture of an environment's page."""
    steps = {"LightningNet-v0": "60", "LightningOperator-v0": "40"}.get(file.id, "12")
    agents = {
        "LightningNet-v0": "dpi",
        "LightningOperator-v0": "feelancer",
        "LightningOperatorFees-v0": "charge_lnd",
        "LightningOperatorLarge-v0": "charge_lnd",
        "LightningOperatorLive-v0": "charge_lnd",
    }
    agent = agents.get(file.id, "targeted")
    path = f"lnsim_gym/docs/pictures/{file.id}.gif"
    command = ["lnsim", "run", "--env", file.id, "--agent", agent, "--steps", steps, "--film", path]
    return [*command, "--backend", "simulator"] if file.settings["backend"] != "simulator" else command


def _given(file: EnvironmentFile) -> Iterator[tuple[str, str]]:
    """Yield the settings that differ from the defaults of their table, written as TOML."""
    tables = settings_of(file.settings)
    defaults = {(table, field.name): field.default for table, fields in tables.items() for field in fields}
    for name, value in file.settings.items():
        if not isinstance(value, dict):
            if defaults[("", name)] != as_toml(value):
                yield name, f"`{as_toml(value)}`"
            continue
        if defaults[("", name)] in ('"topology"', "none"):
            yield name, f"`{_inline(value)}`"
            continue
        table = f'{name}, kind "{value["kind"]}"' if "kind" in value else name
        inner = {key: one for key, one in value.items() if key != "kind" or one != "drift"}
        for key, one in inner.items():
            default = defaults.get((table, key), "")
            if default.replace("_", "") != as_toml(one) and not _equal(default, one):
                yield f"{name}.{key}", f"`{_inline(one)}`"


def _inline(value: Any) -> str:
    """Return a value as TOML writes it in one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_inline(one)}" for key, one in value.items()) + " }"
    return as_toml(value)


def _equal(default: str, value: Any) -> bool:
    """Return whether a default as text is the same number as a value."""
    try:
        return float(default.replace("_", "")) == float(value)
    except (TypeError, ValueError):
        return False


def settings_tables() -> str:
    """Return the reference of all settings."""
    lines: list[str] = []
    for name, fields in settings_of({}).items():
        title = f"`{name.partition(',')[0]}`{name.partition(',')[2]}" if name else "Of every environment"
        lines += [f"## {title}", "", *_field_rows(fields), ""]
    lines += ["## Terms of the reward", "", "| term | meaning |", "| --- | --- |"]
    lines += [f"| `{term}` | {meaning} |" for term, meaning in terms_of({}).items()]
    return "\n".join(lines)


def _field_rows(fields: Iterable[Field]) -> list[str]:
    """Return a table of settings."""
    rows = ["| setting | default | unit | may be | meaning |", "| --- | --- | --- | --- | --- |"]
    for field in fields:
        allowed = field.range or field.kind
        default = f"`{field.default}`" if field.default else ""
        rows.append(f"| `{field.name}` | {default} | {field.unit} | {_cell(allowed)} | {_cell(field.meaning)} |")
    return rows


def _cell(text: str) -> str:
    """Return a text as it stands in a table: reStructuredText's literals become those of Markdown."""
    return text.replace("``", "`").replace("|", "\\|")


def agents_table() -> str:
    """Return the table of agents."""
    rows = ["| agent | task | what it does | learns | play it |", "| --- | --- | --- | --- | --- |"]
    for name, summary in known(What.agents).items():
        recipe = read_recipe(name)
        learns = isinstance(recipe, TrainedRecipe)
        tasks = tasks_of(name)
        command = f"lnsim run --agent {name}"
        if learns and recipe.trained is None:
            command = f"lnsim train {name}"
        elif learns and recipe.env != "LightningNet-v0":
            command += f" --env {recipe.env}"
        elif tasks == ("operator",):
            command += " --env LightningOperator-v0"
        elif "circular" in summary:
            command += " --set operation=circular"
        rows.append(f"| `{name}` | {', '.join(tasks)} | {_cell(summary)} | {'yes' if learns else ''} | `{command}` |")
    return "\n".join(rows)


def topologies_table() -> str:
    """Return the table of presets and generators."""
    return _names(known(What.topologies))


def traffic_table() -> str:
    """Return the table of traffic models."""
    return _names(known(What.traffic))


def _names(listed: dict[str, str]) -> str:
    """Return names and what they stand for as a table."""
    rows = [f"| `{name}` | {_cell(meaning)} |" for name, meaning in listed.items()]
    return "\n".join(["| name | what it is |", "| --- | --- |", *rows])


def messages(kinds: Iterable[type]) -> str:
    """Return the reference of messages, each with its fields and those of the objects inside."""
    lines: list[str] = []
    inside: dict[str, type] = {}
    for kind in kinds:
        names = " or ".join(f"`{name}`" for name in types_of(kind))
        lines += [f"### {names}", "", *_message(kind), ""]
        for field in fields_of(kind):
            inside |= {each.__name__: each for each in field.inside}
    todo = list(inside.values())
    while todo:
        deeper = {each.__name__: each for field in fields_of(todo.pop()) for each in field.inside}
        todo += [each for name, each in deeper.items() if name not in inside]
        inside |= deeper
    for name, kind in inside.items():
        lines += [f"### {name}", "", *_message(kind), ""]
    return "\n".join(lines)


def types_of(kind: type) -> tuple[str, ...]:
    """Return the values of ``type`` that name a message."""
    return get_args(get_type_hints(kind)["type"])


def _message(kind: type) -> list[str]:
    """Return what a message or a part of one is, and its fields but those of the envelope."""
    said = _said(kind)
    rows = ["| field | type | meaning |", "| --- | --- | --- |"]
    for field in fields_of(kind):
        if field.name in ("type", "event_type", "schema", "seq", "timestamp"):
            continue
        names = ", ".join(each.__name__ for each in field.inside)
        shown = field.kind.replace("table", names or "object").replace("text, object or object", "any")
        optional = f"; `{field.default}` unless given" if field.default else ""
        rows.append(f"| `{field.name}` | {_cell(shown)}{optional} | {_cell(field.meaning or _said(*field.inside))} |")
    return [said, "", *(rows if len(rows) > 2 else [])]


def _said(*kinds: type) -> str:
    """Return what the docstrings of messages or parts of them say."""
    return " ".join(" ".join((kind.__doc__ or "").split()) for kind in kinds).replace("``", "`")


def version() -> str:
    """Return the version that the pages tell of."""
    return lnsim_gym.__version__


MADE: Final[dict[str, Callable[[], str]]] = {
    "agents": agents_table,
    "settings": settings_tables,
    "topologies": topologies_table,
    "traffic": traffic_table,
    "messages out": lambda: messages(OUTBOUND),
    "messages in": lambda: messages(INBOUND),
    "version": version,
}
"""What makes the text of each mark."""


@cache
def _notebook(path: Path) -> tuple[str, dict[str, bytes]]:
    """Return an executed notebook as a page, and its pictures by name."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            parts.append(_output(output, path.stem, pictures))
    parts.append(f"This page is the notebook `notebooks/{path.name}`, as it was last run.")
    return "\n\n".join(filter(None, parts)) + "\n", pictures


def _output(output: dict[str, Any], stem: str, pictures: dict[str, bytes]) -> str:
    """Return an output of a cell as Markdown; a picture is added to the others."""
    data = output.get("data", {})
    for kind, ending in (("image/svg+xml", "svg"), ("image/png", "png")):
        if kind in data:
            content = "".join(data[kind])
            name = f"{stem}_{len(pictures)}.{ending}"
            pictures[name] = content.encode() if ending == "svg" else base64.b64decode(content)
            return f"![What the code above draws]({name})"
    text = "".join(output.get("text", data.get("text/plain", ""))).rstrip()
    return f"```text\n{text}\n```" if text else ""


def _expanded(listed: Iterable[str], pages: list[str]) -> Iterator[str]:
    """Yield the pages of a section: names as they are, ``folder/*`` for all others of a folder."""
    names = [name for name in listed if not name.endswith("*")]
    for name in listed:
        if name.endswith("*"):
            yield from (page for page in pages if page.startswith(name[:-1]) and page not in names)
        elif name in pages:
            yield name
