"""The rooms of the package and the arrows between them, read from the imports of every module.

All imports count: at the top of a module, inside functions, and those for type checkers only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import lnsim_gym
from lnsim_gym.compiled.cache import ABOVE_KERNELS

ROOMS = """
    __main__
    cli
    dashboard own_node
    bridge benchmarks
    agents
    environment
    rendering
    corridor
    episodes
    tasks
    records
    backends
    traffic
    network
    payments compiled arrays schema fields errors paths lazy version
"""
"""Rooms from top to bottom. A room imports rooms of lower lines, and of its own line as long as none comes back."""

LIVE_ROOMS = """
    snapshots
    named passthrough
    backend
    settings
    network
    nodes
    rpc
"""
"""The same within ``backends/lnd``."""

NODE_ROOMS = """
    following
    advice
    backtest books
    demand
    reading
    naming
"""
"""The same within ``own_node``."""
WITHIN = [
    ("lnsim_gym", ROOMS),
    ("lnsim_gym.backends.lnd", LIVE_ROOMS),
    ("lnsim_gym.own_node", NODE_ROOMS),
]

OUTSIDE = {
    "torch": "agents/learning",
    "stable_baselines3": "agents/learning",
    "sb3_contrib": "agents/learning",
    "grpc": "backends/lnd",
    "docker": "backends/lnd/nodes",
    "websockets": "bridge benchmarks",
    "pyarrow": "records",
    "networkx": "network/importers",
    "matplotlib": "rendering",
    "PIL": "rendering",
    "typer": "cli",
    "pygame": "rendering",
    "pettingzoo": "environment",
    "minari": "agents/datasets",
    "ray": "agents/cluster",
    "optuna": "agents/cluster",
    "numba": "compiled",
    "llvmlite": "compiled",
}
"""The only rooms that import a library from outside."""
NO_GYMNASIUM = (
    "episodes",
    "backends",
    "records",
    "traffic",
    "network",
    "payments",
    "compiled",
    "arrays",
    "schema",
    "fields",
    "errors",
    "paths",
)
"""Rooms that import nothing of Gymnasium."""

PACKAGE = Path(lnsim_gym.__file__).parent


class Import(NamedTuple):
    """One import of one name."""

    importer: str
    """Module that imports, such as ``lnsim_gym.network.load``."""
    imported: str
    """Module imported, of this package or of another."""
    name: str
    """Name imported from it; empty when the module itself is."""

    def __str__(self) -> str:
        return f"{self.importer} imports {self.name or 'all'} of {self.imported}"


def module_of(path: Path) -> str:
    parts = ("lnsim_gym", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(module: str) -> Iterator[Import]:
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from (Import(module, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports by a relative name"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield Import(module, inner, "") if inner in MODULES else Import(module, str(node.module), alias.name)


@cache
def all_imports() -> tuple[Import, ...]:
    return tuple(found for module in MODULES for found in imports_of(module))


def inside() -> list[Import]:
    """Imports of modules of this package."""
    return [found for found in all_imports() if found.imported in MODULES and found.imported != found.importer]


def cycles(arrows: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Return the groups of nodes that lead back to themselves (Tarjan's strongly connected components)."""
    graph: dict[str, set[str]] = {}
    for start, end in arrows:
        graph.setdefault(start, set()).add(end)
        graph.setdefault(end, set())
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = lowest[node] = len(order)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in order:
                visit(other)
            if other in stack:
                lowest[node] = min(lowest[node], lowest[other])
        if lowest[node] == order[node]:
            place = stack.index(node)
            found.append(sorted(stack[place:]))
            del stack[place:]

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return [group for group in found if len(group) > 1]


def room_of(module: str, below: str = "lnsim_gym") -> str:
    """Return the room of a module within a package; empty for the package itself and for what lies elsewhere."""
    return module[len(below) + 1 :].partition(".")[0] if module.startswith(f"{below}.") else ""


def lines(rooms: str) -> dict[str, int]:
    return {room: line for line, row in enumerate(rooms.strip().splitlines()) for room in row.split()}


def arrows_between(below: str) -> dict[tuple[str, str], list[Import]]:
    """Imports from room to room within a package."""
    arrows: dict[tuple[str, str], list[Import]] = {}
    for found in inside():
        pair = room_of(found.importer, below), room_of(found.imported, below)
        if all(pair) and pair[0] != pair[1]:
            arrows.setdefault(pair, []).append(found)
    return arrows


def told(imports: Iterable[Import]) -> str:
    return "\n".join(map(str, imports))


def test_no_module_leads_back_to_itself_by_its_imports():
    assert cycles((found.importer, found.imported) for found in inside()) == []


@pytest.mark.parametrize(("below", "rooms"), WITHIN)
def test_every_room_has_its_place(below, rooms):
    assert {room_of(module, below) for module in MODULES} - {""} <= set(lines(rooms))


@pytest.mark.parametrize(("below", "rooms"), WITHIN)
def test_a_room_imports_only_rooms_below_it(below, rooms):
    line = lines(rooms)
    upward = [
        found for (one, other), all_of in arrows_between(below).items() for found in all_of if line[one] > line[other]
    ]
    assert not upward, told(upward)
    assert cycles(arrows_between(below)) == []


def test_only_the_command_line_imports_the_package_itself():
    """What is below would import whatever the package imports, and so itself."""
    wrong = [found for found in inside() if found.imported == "lnsim_gym" and room_of(found.importer) != "cli"]
    assert not wrong, told(wrong)


def test_no_room_uses_private_names_of_another():
    wrong = [
        found
        for found in inside()
        if room_of(found.importer) != room_of(found.imported)
        and any(part.startswith("_") and not part.startswith("__") for part in (*found.imported.split("."), found.name))
    ]
    assert not wrong, told(wrong)


def test_no_kernel_is_made_of_what_its_cache_does_not_look_at():
    """Rooms above hold none, or such as are made of one module and of what lies below those rooms."""
    line = lines(ROOMS)
    kernels = {
        found.importer
        for found in inside()
        if room_of(found.imported) == "compiled" and found.name in {"fused", "inlined", "kernel", "outlined"}
    }
    below = {room_of(module) for module in kernels} - set(ABOVE_KERNELS)
    assert max(line[room] for room in ABOVE_KERNELS) < min(line[room] for room in below)
    of_two = [found for found in inside() if found.importer in kernels and room_of(found.imported) in ABOVE_KERNELS]
    wrong = [found for found in of_two if room_of(found.importer) in ABOVE_KERNELS]
    assert not wrong, told(wrong)


@pytest.mark.parametrize(("library", "rooms"), OUTSIDE.items())
def test_a_library_is_imported_only_in_its_rooms(library, rooms):
    allowed = tuple(f"lnsim_gym.{room.replace('/', '.')}" for room in rooms.split())
    wrong = [
        found
        for found in all_imports()
        if found.imported.partition(".")[0] == library
        and not f"{found.importer}.".startswith(tuple(f"{a}." for a in allowed))
    ]
    assert not wrong, told(wrong)


def test_episodes_and_what_is_below_tasks_import_nothing_of_gymnasium():
    wrong = [
        found
        for found in all_imports()
        if found.imported.partition(".")[0] == "gymnasium" and room_of(found.importer) in NO_GYMNASIUM
    ]
    assert not wrong, told(wrong)
