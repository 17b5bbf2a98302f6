"""Import arrows of the two packages, read from the files: between modules, and between the rooms they lie in.

A room is a folder. In the folders named in OPEN, a module that lies beside the rooms is a room of its own.
`python -m tests.support.rooms [PREFIX]` prints the arrows between rooms whose names begin so.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("toolkit", "reference_server")
# Their modules stand for themselves; of any other folder all modules are one room.
OPEN = frozenset({"toolkit", "toolkit.migrate", "toolkit.report", "reference_server"})

Arrows = Mapping[str, frozenset[str]]


def modules(root: Path = ROOT, packages: Iterable[str] = PACKAGES) -> dict[str, Path]:
    """Every module by its dotted name; a package by that of its folder."""
    found = {}
    for package in packages:
        for file in sorted((root / package).rglob("*.py")):
            name = ".".join(file.relative_to(root).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = file
    return found


def arrows_of_modules(files: Mapping[str, Path]) -> dict[str, frozenset[str]]:
    """Module → the modules of `files` that it imports, also within functions and for types alone."""
    return {
        name: frozenset(target for target in _imported(ast.parse(file.read_text()), files) if target != name)
        for name, file in files.items()
    }


def _imported(tree: ast.AST, files: Mapping[str, Path]) -> Iterable[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in files)
        elif isinstance(node, ast.ImportFrom) and node.module in files:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in files else node.module


def room_of(module: str, files: Mapping[str, Path]) -> str:
    """The room of a module."""
    if files[module].name == "__init__.py":
        return module
    parent = module.rpartition(".")[0]
    return module if parent in OPEN else parent


def arrows_of_rooms(arrows: Arrows, files: Mapping[str, Path]) -> dict[str, frozenset[str]]:
    """Room → the rooms that its modules import."""
    found: dict[str, set[str]] = {}
    for module, targets in arrows.items():
        room = room_of(module, files)
        found.setdefault(room, set()).update(room_of(target, files) for target in targets)
    return {room: frozenset(targets - {room}) for room, targets in found.items()}


def circles(arrows: Arrows) -> list[tuple[str, ...]]:
    """Groups of which each member leads to each other one, largest first; none of a sound structure."""
    reached = {name: _reachable(name, arrows) for name in arrows}
    groups = {
        tuple(sorted(other for other in reached[name] if name in reached.get(other, frozenset()))) for name in arrows
    }
    return sorted((group for group in groups if group), key=len, reverse=True)


def _reachable(start: str, arrows: Arrows) -> frozenset[str]:
    seen: set[str] = set()
    ahead = list(arrows.get(start, ()))
    while ahead:
        name = ahead.pop()
        if name not in seen:
            seen.add(name)
            ahead.extend(arrows.get(name, ()))
    return frozenset(seen)


def told(arrows: Arrows, group: Iterable[str]) -> str:
    """The arrows within a group, a line each."""
    members = set(group)
    return "\n".join(f"{name} → {target}" for name in sorted(members) for target in sorted(arrows[name] & members))


def overview(prefix: str = "") -> str:
    """Counts, circles, and the arrows of the rooms whose names begin with `prefix`, as text."""
    files = modules()
    between_modules = arrows_of_modules(files)
    between_rooms = arrows_of_rooms(between_modules, files)
    lines = []
    for name, arrows in (("modules", between_modules), ("rooms", between_rooms)):
        found = circles(arrows)
        lines.append(f"{len(arrows)} {name}, {sum(map(len, arrows.values()))} arrows, {len(found)} circles")
        lines += [f"\nA circle of {name}:\n{told(arrows, group)}\n" for group in found]
    shown = {room: targets for room, targets in between_rooms.items() if room.startswith(prefix)}
    lines += [f"{room} → {target}" for room, targets in sorted(shown.items()) for target in sorted(targets)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(overview(*sys.argv[1:2]))
