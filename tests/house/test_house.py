"""The shape of the code: who may import whom, what a room may touch, how long things may be."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "pasvport"
MODULES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")

# A room imports rooms on a lower floor, or its own. Rooms on one floor do not see each other.
FLOOR = {
    "bounds": 0,
    "digits": 0,
    "errors": 0,
    "markdown": 0,
    "address": 1,
    "regex": 1,
    "model": 2,
    "record": 2,
    "sample": 2,
    "sight": 2,
    "config": 3,
    "balance": 3,
    "stick": 3,
    "logformat": 3,
    "ftp": 3,
    "exposition": 3,
    "wire": 3,
    "health": 4,
    "sockets": 4,
    "sk_lookup": 4,
    "steering": 4,
    "slots": 4,
    "subcommand": 4,
    "engine": 5,
    "control": 5,
    "command_line": 6,
    "demo": 6,
    "terminal": 6,
    "doctor": 6,
    "cli": 7,
    "__main__": 8,
}
# One pair on one floor, where the upper one is made of the lower.
WITHIN = {("record", "model"), ("sample", "model")}
PURE = {room for room, floor in FLOOR.items() if floor < 4} | {"health"}
NOT_IN_PURE = {
    *("asyncio", "concurrent", "ctypes", "logging", "multiprocessing", "os", "random", "secrets"),
    *("select", "selectors", "signal", "socket", "ssl", "subprocess", "threading", "time"),
}
NOT_IN = {"engine": {"asyncio", "logging"}, "control": {"select", "selectors"}}

LONGEST_MODULE = 800
LONGEST_FUNCTION = 60
MEDIAN_FUNCTION = 10
DEEPEST_NESTING = 3


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def name_of(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def imports(path: Path) -> Iterator[str]:
    """Dotted names a module imports, wherever the statement stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_named(dotted: str) -> str | None:
    """`pasvport.config.lexer.Lexer` -> the file that holds it, if it is one of ours."""
    parts = dotted.split(".")
    for length in range(len(parts), 1, -1):
        place = SOURCE.joinpath(*parts[1:length])
        for candidate in (place.with_suffix(".py"), place / "__init__.py"):
            if parts[0] == "pasvport" and candidate.exists():
                return name_of(candidate)
    return None


def test_every_room_has_a_floor() -> None:
    assert {room_of(path) for path in MODULES} <= set(FLOOR)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down(path: Path) -> None:
    room = room_of(path)
    for dotted in imports(path):
        top, _, rest = dotted.partition(".")
        if top != "pasvport" or not rest:
            continue
        other = rest.partition(".")[0]
        if other not in FLOOR:  # a name of the package itself, such as __version__
            continue
        assert other == room or FLOOR[other] < FLOOR[room] or (room, other) in WITHIN, f"{room} imports {other}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_rooms_touch_only_what_they_may(path: Path) -> None:
    room = room_of(path)
    banned = NOT_IN_PURE if room in PURE else NOT_IN.get(room, set())
    assert not {dotted.partition(".")[0] for dotted in imports(path)} & banned


def test_no_module_needs_itself() -> None:
    graph = {
        name_of(path): {found for dotted in imports(path) if (found := module_named(dotted))} - {name_of(path)}
        for path in MODULES
    }
    graphlib.TopologicalSorter(graph).prepare()


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    assert function.end_lineno is not None
    total = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        assert first.end_lineno is not None
        total -= first.end_lineno - first.lineno + 1
    return total


def nesting(node: ast.AST, depth: int = 0) -> int:
    """How many blocks deep; `elif` and what a nested function holds do not count."""
    deepest = depth
    for field, children in ast.iter_fields(node):
        for child in children if isinstance(children, list) else [children]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            chained = field == "orelse" and isinstance(node, ast.If) and isinstance(child, ast.If)
            block = isinstance(child, ast.If | ast.For | ast.AsyncFor | ast.While | ast.With | ast.AsyncWith | ast.Try)
            deepest = max(deepest, nesting(child, depth + (block and not chained)))
    return deepest


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_budgets(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= LONGEST_MODULE, f"{lines} lines"
    too_long = {each.name: length(each) for each in functions(path) if length(each) > LONGEST_FUNCTION}
    assert not too_long
    too_deep = {each.name: nesting(each) for each in functions(path) if nesting(each) > DEEPEST_NESTING}
    assert not too_deep


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_one_place_says_what_a_digit_is(path: Path) -> None:
    # str.isdigit() takes `¹` for a digit, over which int() raises, and `\\d` takes the digits of every script.
    if room_of(path) == "digits":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("isdigit", "isdecimal", "isnumeric"), f"{name_of(path)}:{node.lineno}"
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert "\\d" not in node.value, f"{name_of(path)}:{node.lineno}"


def test_the_median_function_is_short() -> None:
    lengths = sorted(length(each) for path in MODULES for each in functions(path))
    assert lengths[len(lengths) // 2] <= MEDIAN_FUNCTION
