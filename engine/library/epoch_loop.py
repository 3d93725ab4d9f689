"""Finds the loop over epochs in a program's source, and reads from its head how many there will be."""

from __future__ import annotations

import ast
import linecache
import operator
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from types import FrameType
from typing import Any

from torchconsole.engine.library.frames import variables_of

RANGES = {"range", "trange"}

_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}

MOST_CHARACTERS = 1_000_000
"""Longest source that is read."""


def epochs_of_loop(frames: Iterable[FrameType], epoch: int) -> int | None:
    """Return how many epochs the loop over epochs has if it is in epoch number `epoch`, from 1; else None.

    `frames` are those of the program, the innermost first. The loop over epochs is the first one over a
    `range`, or while some `epoch` is below a limit, around a loop over batches, which is any other `for`. No
    code of the program is run.
    """
    has_batches = False
    for frame in frames:
        for loop in _loops_around(frame):
            if isinstance(loop, ast.While):
                if has_batches and (limit := _limit_of(loop.test, frame, epoch)) is not None:
                    return limit
                continue
            values = _range_of(loop.iter, frame)
            if values is None:
                has_batches = True
            elif has_batches and isinstance(loop.target, ast.Name):
                now = variables_of(frame).get(loop.target.id)
                if type(now) is int and now in values and values.index(now) == epoch - 1:
                    return len(values)
    return None


def _loops_around(frame: FrameType) -> list[ast.For | ast.While]:
    """Return the loops of the frame's function in whose bodies it is, the innermost first."""
    line, first = frame.f_lineno, frame.f_code.co_firstlineno
    return [
        loop
        for loop in _loops_in(frame.f_code.co_filename)
        if first <= loop.lineno and loop.body[0].lineno <= line <= (loop.body[-1].end_lineno or 0)
    ]


@cache
def _loops_in(filename: str) -> list[ast.For | ast.While]:
    """Return the loops in a file, inner ones before those around them."""
    source = "".join(linecache.getlines(filename))
    if len(source) > MOST_CHARACTERS:
        return []
    try:
        loops = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.For | ast.While)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return sorted(loops, key=lambda loop: loop.lineno, reverse=True)


def _limit_of(test: ast.expr, frame: FrameType, epoch: int) -> int | None:
    """Return n of `while epoch < n`, which counts from 0, or of `while epoch <= n`, from 1; else None."""
    match test:
        case ast.Compare(counter, [ast.Lt() | ast.LtE() as sign], [bound]) if "epoch" in ast.unparse(counter):
            now, limit = _value(counter, frame), _value(bound, frame)
            first = 0 if isinstance(sign, ast.Lt) else 1
            if type(now) is int and type(limit) is int and now == epoch - 1 + first:
                return limit
    return None


def _range_of(expression: ast.expr, frame: FrameType) -> range | None:
    """Return the range that a loop goes over: `range(...)`, `tqdm(range(...))`, or a variable with such."""
    if isinstance(expression, ast.Name):
        found = _value(expression, frame)
        found = getattr(found, "__dict__", {}).get("iterable", found)  # a bar of tqdm
        return found if isinstance(found, range) else None
    if not isinstance(expression, ast.Call) or not expression.args:
        return None
    if _name_of(expression.func) not in RANGES:
        return _range_of(expression.args[0], frame) if isinstance(expression.args[0], ast.Call) else None
    bounds = [_value(argument, frame) for argument in expression.args]
    if not all(type(bound) is int for bound in bounds) or len(bounds) > 3 or bounds[2:] == [0]:
        return None
    return range(*bounds)


def _name_of(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _value(expression: ast.expr, frame: FrameType) -> Any:
    """Evaluate an expression of variables, attributes, items and integers, without calls; None if unknown."""
    match expression:
        case ast.Constant(value):
            return value
        case ast.Name(name):
            return variables_of(frame).get(name, frame.f_globals.get(name))
        case ast.Attribute(owner, name):
            return _attribute(_value(owner, frame), name)
        case ast.Subscript(owner, ast.Constant(key)):
            settings = _value(owner, frame)
            return settings.get(key) if type(settings) is dict else None
        case ast.Call(ast.Name("int"), [argument], []):
            number = _value(argument, frame)
            return int(number) if type(number) in (int, float, str) and str(number).isdigit() else None
        case ast.UnaryOp(ast.USub(), ast.Constant(int(number))):
            return -number
        case ast.BinOp(left, sign, right) if type(sign) in _OPERATORS:
            first, second = _value(left, frame), _value(right, frame)
            if type(first) is int and type(second) is int:
                with suppress(ZeroDivisionError):
                    return _OPERATORS[type(sign)](first, second)
    return None


def _attribute(owner: Any, name: str) -> Any:
    """Return an attribute that is stored as such, in an object or its class."""
    for scope in (owner, type(owner)):
        attributes = getattr(scope, "__dict__", {})
        if name in attributes:
            return attributes[name]
    return None
