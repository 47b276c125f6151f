"""The modules of which a build makes machine code say nothing that the compiler takes and gets wrong.

What it refuses (asynchronous generators, some bases of exceptions) ends the build; this is the rest, each seen with
mypy 2.4.1: a process that ends with a fault of memory, and structs that lost what they were told.
"""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "insource"
COMPILED = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["insource"]["compiled"]
# their exit waits for nothing
LEFT_AT_ONCE = ("asyncio.timeout", "asyncio.timeout_at", "self._opening", "self._looking")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def within(nodes):
    """The nodes below these that belong to the same function."""
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if not isinstance(node, FUNCTIONS):
            yield node
            waiting += ast.iter_child_nodes(node)


def awaits(nodes):
    return any(isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith) for node in within(nodes))


def entered(item: ast.withitem) -> str:
    what = item.context_expr
    return ast.unparse(what.func if isinstance(what, ast.Call) else what)


def gathers(called: ast.expr) -> bool:
    named = isinstance(called, ast.Call) and ast.unparse(called.func) == "asyncio.gather"
    return named and not all(isinstance(one, ast.Starred) for one in called.args)


def faults(source: str):
    """What these lines say that must not be compiled, in words."""
    for node in ast.walk(ast.parse(source)):
        line = f"line {getattr(node, 'lineno', 0)}: "
        if isinstance(node, ast.ClassDef) and node.keywords:
            yield line + "a class with keywords: they are not passed on to its metaclass"
        if isinstance(node, ast.ExceptHandler) and awaits(node.body):
            bare = any(isinstance(below, ast.Raise) and below.exc is None for below in within(node.body))
            yield from [line + "raise without a name behind an await: there is nothing left to raise"] * bare
        if isinstance(node, ast.Try) and awaits(node.finalbody):
            yield line + "an await in finally: what is raised again behind it is gone"
        if isinstance(node, ast.Await) and gathers(node.value):
            yield line + "what asyncio.gather of named calls gives is a list, and the compiler holds it to be a tuple"
        if isinstance(node, ast.AsyncWith) and not {entered(item) for item in node.items} <= set(LEFT_AT_ONCE):
            yield line + "async with: what is raised again behind its exit is gone, if that waits"


@pytest.mark.parametrize("name", COMPILED)
def test_a_compiled_module_says_nothing_that_the_compiler_gets_wrong(name):
    assert not list(faults((SOURCE / name).read_text("utf-8")))


@pytest.mark.parametrize(
    "source",
    [
        "class A(B, frozen=True): pass",
        "async def f():\n try: await a()\n except E:\n  if x: await b()\n  raise",
        "async def f():\n try: await a()\n finally: await b()",
        "async def f():\n async with a() as b: await c()",
        "async def f():\n x = (await asyncio.gather(a()))[0]",
    ],
)
def test_each_of_them_would_be_seen(source):
    assert list(faults(source))


def test_the_list_is_in_order_and_names_files():
    assert sorted(set(COMPILED)) == COMPILED
    assert all((SOURCE / name).is_file() for name in COMPILED)
