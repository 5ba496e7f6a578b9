"""Writes the C twin's core from the core itself: each viper function, statement by statement, as C.

What GCC makes of the same source is the yardstick of what MicroPython's viper makes of it.
"""

import ast
import operator
from pathlib import Path

import cellwarden

# Each module after those whose functions it calls.
MODULES = ("measure", "cells", "probes", "pack", "hazards", "judge", "scan")
BOX = ("state", "params", "events", "scratch")
BINARY = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.LShift: "<<", ast.RShift: ">>", ast.BitAnd: "&", ast.BitOr: "|",
    ast.BitXor: "^",
}  # fmt: skip
COMPARE = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
_FOLD = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.LShift: operator.lshift,
    ast.BitOr: operator.or_,
}  # fmt: skip

HEAD = """/* Written by tests/bench/twin_core.py from firmware/cellwarden/core. */

#include "twin.h"
"""


def core_c():
    """The C source of the core that this Python imports."""
    folder = Path(cellwarden.__file__).parent / "core"
    out = [HEAD]
    for module in MODULES:
        tree = ast.parse((folder / f"{module}.py").read_text("utf-8"))
        numbers = {}
        for node in tree.body:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id="const"), args=[value])):
                    numbers[name] = _number(value)
        out.append(f"/* --- {module}.py --- */\n")
        out += [_Function(node, numbers).text() for node in tree.body if isinstance(node, ast.FunctionDef)]
    return "\n".join(out)


def _number(node):
    match node:
        case ast.Constant(value=value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_number(operand)
        case ast.BinOp(left=left, op=op, right=right):
            return _FOLD[type(op)](_number(left), _number(right))
    raise ValueError(f"no number: {ast.unparse(node)}")


class _Function:
    """One viper function. text() -> its C."""

    def __init__(self, node, numbers):
        self.node, self.numbers = node, numbers
        self.pointers = [arg.arg for arg in node.args.args if arg.arg != "box" and not self.is_int(arg)]
        self.parameters = [arg.arg for arg in node.args.args]

    @staticmethod
    def is_int(arg):
        return isinstance(arg.annotation, ast.Name) and arg.annotation.id == "int"

    def text(self):
        words = []
        for arg in self.node.args.args:
            kind = "const Box *" if arg.arg == "box" else "int32_t " if self.is_int(arg) else "int32_t *"
            words.append(kind + arg.arg)
        name = self.node.name
        visible = "" if name in ("scan", "advance", "notice") else "static "
        numbers, pointers = [], []
        for node in ast.walk(self.node):
            for target in self.targets(node):
                kind = pointers if self.is_pointer(node) else numbers
                if target not in numbers + pointers + self.parameters:
                    kind.append(target)
        lines = [f"{visible}int32_t {name}({', '.join(words)})", "{"]
        lines += [f"    int32_t *{target};" for target in pointers] + [f"    int32_t {n} = 0;" for n in numbers]
        lines += self.block(self.node.body, 1)
        return "\n".join([*lines, "}\n"])

    @staticmethod
    def targets(node):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.For(target=ast.Name(id=name)):
                return [name]
            case ast.Assign(targets=[ast.Tuple(elts=names)]):
                return [name.id for name in names]
        return []

    @staticmethod
    def is_pointer(node):
        match node:
            case ast.Assign(value=ast.Call(func=ast.Name(id="ptr32"))) | ast.Assign(value=ast.Name(id="box")):
                return True
        return False

    def block(self, body, depth):
        tab = "    " * depth
        out = []
        for node in body:
            match node:
                case ast.Expr(value=ast.Constant()) | ast.Pass():
                    pass  # a docstring
                case ast.Expr(value=value):
                    out.append(f"{tab}{self.value(value)};")
                case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Name(id="box")):
                    assert [name.id for name in names] == list(BOX)
                    out += [f"{tab}{name} = box->{name};" for name in BOX]
                case ast.Assign(targets=[target], value=value):
                    out.append(f"{tab}{self.value(target)} = {self.value(value)};")
                case ast.AugAssign(target=target, op=op, value=value):
                    whole = self.value(ast.BinOp(left=target, op=op, right=value))
                    out.append(f"{tab}{self.value(target)} = {whole};")
                case ast.Return(value=value):
                    out.append(f"{tab}return {self.value(value)};")
                case ast.Continue():
                    out.append(f"{tab}continue;")
                case ast.Break():
                    out.append(f"{tab}break;")
                case ast.If(test=test, body=then, orelse=other):
                    out += [f"{tab}if ({self.value(test)}) {{", *self.block(then, depth + 1)]
                    if other:
                        out += [f"{tab}}} else {{", *self.block(other, depth + 1)]
                    out.append(f"{tab}}}")
                case ast.While(test=test, body=inner, orelse=[]):
                    out += [f"{tab}while ({self.value(test)}) {{", *self.block(inner, depth + 1), f"{tab}}}"]
                case ast.For(target=ast.Name(id=name), iter=ast.Call(func=ast.Name(id="range"), args=[end])):
                    out.append(f"{tab}for ({name} = 0; {name} < {self.value(end)}; {name}++) {{")
                    out += [*self.block(node.body, depth + 1), f"{tab}}}"]
                case _:
                    raise ValueError(f"no C for `{ast.unparse(node)}`")
        return out

    def value(self, node):
        match node:
            case ast.Constant(value=number):
                return str(int(number))
            case ast.Name(id=name):
                return f"({self.numbers[name]})" if name in self.numbers else name
            case ast.UnaryOp(op=op, operand=operand):
                return f"({ {ast.USub: '-', ast.Not: '!', ast.Invert: '~'}[type(op)] }{self.value(operand)})"
            case ast.BinOp(left=left, op=ast.FloorDiv(), right=right):
                return f"floor_div({self.value(left)}, {self.value(right)})"
            case ast.BinOp(left=left, op=ast.Mod(), right=right):
                return f"floor_mod({self.value(left)}, {self.value(right)})"
            case ast.BinOp(left=left, op=op, right=right):
                return f"({self.value(left)} {BINARY[type(op)]} {self.value(right)})"
            case ast.BoolOp(op=op, values=values):
                return "(" + (" && " if isinstance(op, ast.And) else " || ").join(map(self.value, values)) + ")"
            case ast.Compare(left=left, ops=ops, comparators=others):
                pairs = zip([left, *others], ops, others, strict=False)
                return (
                    "("
                    + " && ".join(f"({self.value(a)} {COMPARE[type(op)]} {self.value(b)})" for a, op, b in pairs)
                    + ")"
                )
            case ast.IfExp(test=test, body=then, orelse=other):
                return f"({self.value(test)} ? {self.value(then)} : {self.value(other)})"
            case ast.Subscript(value=ast.Name(id="box"), slice=ast.Constant(value=number)):
                return f"box->{BOX[number]}"
            case ast.Subscript(value=value, slice=index):
                return f"{self.value(value)}[{self.value(index)}]"
            case ast.Call(func=ast.Name(id="ptr32" | "int"), args=[value]):
                return self.value(value)
            case ast.Call(func=ast.Name(id=name), args=args):
                return f"{name}({', '.join(map(self.value, args))})"
        raise ValueError(f"no C for `{ast.unparse(node)}`")
