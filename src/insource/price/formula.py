"""Formulas as a spreadsheet has them, over figures that are named in braces: `{calls} * {days}`.

What is written into a sheet is what is computed here: the four operations, comparisons, and a few functions.
"""

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

NAME = re.compile(r"\{([^{}]+)\}")
SIGN = re.compile(r"(?<!E)([-+*/<>])")  # 1E-9 is one number

OPERATORS: Mapping[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Lt: operator.lt,
    ast.Gt: operator.gt,
}
FUNCTIONS: Mapping[str, Callable[..., float]] = {
    "MAX": max,
    "INT": math.floor,
    "ROUNDUP": lambda value, digits: math.ceil(value * 10**digits) / 10**digits,  # of what is not below zero
}
SIGNS = {"*": "\N{MULTIPLICATION SIGN}", "/": "\N{DIVISION SIGN}", "-": "\N{MINUS SIGN}"}


def names(formula: str) -> tuple[str, ...]:
    """The figures that it is of, each once."""
    return tuple(dict.fromkeys(NAME.findall(formula)))


def evaluate(formula: str, values: Mapping[str, float]) -> float:
    """What it comes to. Raises `KeyError` for a figure that has no value, `ValueError` for what is no formula."""
    given = {f"v{i}": values[name] for i, name in enumerate(names(formula))}
    places = {name: f"v{i}" for i, name in enumerate(names(formula))}
    plain = NAME.sub(lambda found: places[found[1]], formula)
    try:
        return float(_of(ast.parse(plain, mode="eval").body, given))
    except SyntaxError as error:
        raise ValueError(f"{formula} is no formula") from error


def refer(formula: str, cells: Mapping[str, str]) -> str:
    """As a cell has it: each figure by the place where it stands."""
    return "=" + NAME.sub(lambda found: cells[found[1]], formula)


def words(formula: str, called: Mapping[str, str]) -> str:
    """As people read it: each figure by its name."""
    told = (called[part] if place % 2 else _spaced(part) for place, part in enumerate(NAME.split(formula)))
    return "".join(told).strip()


def _spaced(part: str) -> str:
    return SIGN.sub(lambda found: f" {SIGNS.get(found[1], found[1])} ", part).replace(",", ", ")


def _of(node: ast.AST, given: Mapping[str, float]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return given[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_of(node.operand, given)
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](_of(node.left, given), _of(node.right, given))
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        return OPERATORS[type(node.ops[0])](_of(node.left, given), _of(node.comparators[0], given))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id == "IF":
            asked, yes, no = node.args
            return _of(yes if _of(asked, given) else no, given)
        return FUNCTIONS[node.func.id](*(_of(one, given) for one in node.args))
    raise ValueError(f"{ast.dump(node)} is not of a formula")
