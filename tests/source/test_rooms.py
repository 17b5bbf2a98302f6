"""Import arrows run one way: no circle of modules, none of rooms, and what is handed in is not fetched."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.rooms import Arrows, arrows_of_modules, arrows_of_rooms, circles, modules, overview, told

FILES = modules()


@pytest.fixture(scope="module")
def between_modules() -> Arrows:
    return arrows_of_modules(FILES)


@pytest.mark.parametrize("between", ["modules", "rooms"])
def test_there_is_no_circle(between: str, between_modules: Arrows) -> None:
    arrows = between_modules if between == "modules" else arrows_of_rooms(between_modules, FILES)
    found = "\n\n".join(told(arrows, group) for group in circles(arrows))
    assert not found, f"Move what both sides need into a room below them:\n{found}"


def test_rooms_of_the_migration_tools_do_not_come_back_through_the_front_door(between_modules: Arrows) -> None:
    inside = [
        name
        for name, targets in between_modules.items()
        if name.startswith("toolkit.migrate.") and "toolkit.migrate" in targets
    ]
    assert inside == [], "Import from the room; toolkit/migrate/__init__.py is for those outside."


def test_the_migration_tools_are_handed_folders_and_do_not_look_for_ours() -> None:
    ours = {"migrations_dir", "scenarios_dir"}
    found = [
        f"{name}: {alias.name}"
        for name, file in FILES.items()
        if name.startswith("toolkit.migrate")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name in ours
    ]
    assert found == []


def test_every_room_says_what_it_is_for() -> None:
    silent = [name for name, file in FILES.items() if file.name == "__init__.py" and not says_something(file)]
    assert silent == [], "One sentence at the head of __init__.py: what a stranger finds here."


def says_something(file: Path) -> bool:
    return bool(ast.get_docstring(ast.parse(file.read_text())))


# -- that a circle would be seen ----------------------------------------------------------------------------------


def written(root: Path, files: dict[str, str]) -> tuple[Arrows, Arrows]:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    found = modules(root, ["toolkit"])
    between_modules = arrows_of_modules(found)
    return between_modules, arrows_of_rooms(between_modules, found)


def test_a_circle_of_modules_is_seen_also_through_an_import_within_a_function(tmp_path: Path) -> None:
    between_modules, _ = written(
        tmp_path,
        {
            "toolkit/__init__.py": "",
            "toolkit/a.py": "from toolkit import b\n",
            "toolkit/b.py": "import toolkit.c\n",
            "toolkit/c.py": "def late():\n    from toolkit.a import x\n",
        },
    )
    assert circles(between_modules) == [("toolkit.a", "toolkit.b", "toolkit.c")]
    assert told(between_modules, circles(between_modules)[0]).splitlines() == [
        "toolkit.a → toolkit.b",
        "toolkit.b → toolkit.c",
        "toolkit.c → toolkit.a",
    ]


def test_a_circle_of_rooms_is_seen_where_no_modules_form_one(tmp_path: Path) -> None:
    between_modules, between_rooms = written(
        tmp_path,
        {
            "toolkit/one/__init__.py": "",
            "toolkit/one/upper.py": "from toolkit.two.middle import x\n",
            "toolkit/one/lower.py": "",
            "toolkit/two/__init__.py": "",
            "toolkit/two/middle.py": "from toolkit.one import lower\n",
        },
    )
    assert circles(between_modules) == []
    assert circles(between_rooms) == [("toolkit.one", "toolkit.two")]


def test_modules_beside_the_rooms_of_the_toolkit_are_rooms_of_their_own(tmp_path: Path) -> None:
    _, between_rooms = written(
        tmp_path,
        {
            "toolkit/__init__.py": "",
            "toolkit/above.py": "from toolkit.room.inner import x\n",
            "toolkit/below.py": "",
            "toolkit/room/__init__.py": "",
            "toolkit/room/inner.py": "from toolkit.below import x\n",
        },
    )
    assert circles(between_rooms) == []
    assert between_rooms["toolkit.above"] == {"toolkit.room"}


def test_the_overview_counts_and_lists_what_was_asked_for(between_modules: Arrows) -> None:
    shown = overview("toolkit.migrate.lint").splitlines()
    number = sum(len(targets) for targets in between_modules.values())
    assert shown[0] == f"{len(between_modules)} modules, {number} arrows, {len(circles(between_modules))} circles"
    assert "toolkit.migrate.lint → toolkit.migrate.lint.rules" in shown
    assert not any(line.startswith("toolkit.migrate.run →") for line in shown)


def test_a_room_without_a_sentence_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "__init__.py"
    file.write_text("# nothing\n")
    assert not says_something(file)
    file.write_text('"""What it is for."""\n')
    assert says_something(file)
