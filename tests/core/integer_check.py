"""Refuses what the detection core and its generated decoders must not do: floats, allocation, anything but integers.

    python tests/core/integer_check.py FILE_OR_FOLDER…

prints a line a finding and exits with 1 where there is one. A file that imports `micropython` is hot: every function in
it runs for each frame or scan. A file that does not (the layout, the catalogue) holds tables; only its imports are
judged.
"""

import ast
import sys
from pathlib import Path

LOW, HIGH = -(1 << 30), (1 << 30) - 1
CALLS = {"range", "int", "ptr8", "ptr32"}
IMPORTS = ("micropython", "cellwarden.core")

REFUSED = {
    ast.List: "a list",
    ast.Dict: "a dict",
    ast.Set: "a set",
    ast.ListComp: "a comprehension",
    ast.SetComp: "a comprehension",
    ast.DictComp: "a comprehension",
    ast.GeneratorExp: "a generator",
    ast.JoinedStr: "an f-string",
    ast.Lambda: "a lambda",
    ast.Try: "try",
    ast.With: "with",
    ast.Raise: "raise",
    ast.Yield: "yield",
    ast.YieldFrom: "yield",
    ast.Await: "await",
    ast.ClassDef: "a class",
    ast.Global: "global",
    ast.Nonlocal: "nonlocal",
    ast.Starred: "a star",
    ast.Div: "true division",
    ast.Pow: "a power",
    ast.MatMult: "a matrix product",
    ast.AsyncFunctionDef: "async",
    ast.NamedExpr: "a walrus",
    ast.Import: "an import",
    ast.ImportFrom: "an import",
    ast.Slice: "a slice",
    ast.Assert: "an assert",
    ast.Delete: "del",
    ast.Match: "match",
}


def check(source, name="source", allow=()):
    """Findings in a file's text as (line, what), in order. allow: names that may be called besides the core's own."""
    tree = ast.parse(source, name)
    findings = list(_imports(tree))
    if any("micropython" in _imported(node) for node in ast.walk(tree)):
        known = CALLS | set(allow)
        for node in tree.body:
            if isinstance(node, ast.FunctionDef):
                known.add(node.name)
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cellwarden.core"):
                known.update(alias.asname or alias.name for alias in node.names)
        for node in tree.body:
            findings += _module_level(node, known)
    return sorted(set(findings))


def _imported(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return ["." * node.level + (node.module or "")]
    return []


def _imports(tree):
    for node in ast.walk(tree):
        for module in _imported(node):
            if module not in IMPORTS and not module.startswith("cellwarden.core."):
                yield node.lineno, f"import of {module}"


def _module_level(node, known):
    """A hot module is its docstring, imports, `_NAME = const(…)` and native functions."""
    if isinstance(node, ast.FunctionDef):
        if [ast.unparse(d) for d in node.decorator_list] != ["micropython.viper"]:
            yield node.lineno, f"function {node.name} is not decorated with @micropython.viper"
        for inner in node.body if not ast.get_docstring(node) else node.body[1:]:
            yield from _inside(inner, known)
    elif isinstance(node, ast.Assign):
        call = node.value
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "const"):
            yield node.lineno, "a global that is no const()"
        elif not LOW <= eval(compile(ast.Expression(call.args[0]), "const", "eval"), {}) <= HIGH:
            yield node.lineno, "a constant outside of 30 bits"
    elif not isinstance(node, (ast.Import, ast.ImportFrom)) and not _is_text(node):
        yield node.lineno, f"{type(node).__name__} outside of functions"


def _is_text(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _inside(tree, known):
    unpacked = {
        id(t) for n in ast.walk(tree) if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Tuple)
    }
    for node in ast.walk(tree):
        line = getattr(node, "lineno", getattr(tree, "lineno", 0))
        if type(node) in REFUSED:
            yield line, REFUSED[type(node)]
        elif isinstance(node, ast.BinOp) and type(node.op) in REFUSED:
            yield line, REFUSED[type(node.op)]
        elif isinstance(node, ast.AugAssign) and type(node.op) in REFUSED:
            yield line, REFUSED[type(node.op)]
        elif isinstance(node, ast.Tuple) and id(node) not in unpacked:
            yield line, "a tuple"
        elif isinstance(node, ast.Tuple) and not all(isinstance(e, ast.Name) for e in node.elts):
            yield line, "unpacking into more than names"
        elif isinstance(node, ast.FunctionDef):
            yield line, "a closure"
        elif isinstance(node, ast.Constant) and type(node.value) not in (int, bool):
            yield line, f"a {type(node.value).__name__}"
        elif isinstance(node, ast.Constant) and not LOW <= node.value <= HIGH:
            yield line, "a constant outside of 30 bits"
        elif isinstance(node, ast.Attribute):
            yield line, f"attribute .{node.attr}"
        elif isinstance(node, ast.Call) and (not isinstance(node.func, ast.Name) or node.func.id not in known):
            yield line, f"call of {ast.unparse(node.func)}"
        elif isinstance(node, ast.Call) and node.keywords:
            yield line, "a keyword argument"


def main(paths):
    files = [f for p in map(Path, paths) for f in (sorted(p.rglob("*.py")) if p.is_dir() else [p])]
    findings = [(file, *finding) for file in files for finding in check(file.read_text("utf-8"), str(file))]
    for file, line, what in findings:
        print(f"{file}:{line}: {what} in the integer-only core")
    if not files:
        print("integer_check: no file to check", file=sys.stderr)
        return 2
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
