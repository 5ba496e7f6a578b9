"""The core once more with every integer watched, made from its own source text.

Each result of an arithmetic or bit operation and each array load and store passes a range check: what leaves
[-2^30, 2^30) is no small integer on a 32-bit board any more, and raises OverflowError here with its file and line.
"""

import ast
from pathlib import Path
from types import SimpleNamespace

import cellwarden.core

CORE = Path(cellwarden.core.__file__).parent
HOT = ("cells", "hazards", "judge", "measure", "pack", "probes", "scan")  # in the order of their imports
LIMIT = 1 << 30


class Watch(ast.NodeTransformer):
    """Wraps integers in `(_v if -LIMIT <= (_v := …) < LIMIT else _left(_v, where))`."""

    def __init__(self, name):
        self.name = name

    def watched(self, node):
        text = f"(_v if {-LIMIT} <= (_v := 0) < {LIMIT} else _left(_v, '{self.name}:{node.lineno}'))"
        check = ast.parse(text, mode="eval").body
        check.test.comparators[0].value = node
        return ast.copy_location(check, node)

    def visit_BinOp(self, node):
        return self.watched(self.generic_visit(node))

    visit_UnaryOp = visit_BinOp

    def visit_Subscript(self, node):
        node = self.generic_visit(node)
        is_box = isinstance(node.value, ast.Name) and node.value.id == "box"  # a row of arrays, not of integers
        return node if is_box or isinstance(node.ctx, ast.Store) else self.watched(node)

    def visit_Assign(self, node):
        node = self.generic_visit(node)
        if isinstance(node.targets[0], ast.Subscript):
            node.value = self.watched(node.value)
        return node

    def visit_AugAssign(self, node):
        load = ast.parse(ast.unparse(node.target), mode="eval").body
        sum_ = ast.BinOp(ast.copy_location(load, node), node.op, node.value)
        return self.visit(ast.fix_missing_locations(ast.copy_location(ast.Assign([node.target], sum_), node)))

    def visit_FunctionDef(self, node):
        node.args.kwonlyargs = []
        node.body = [self.visit(statement) for statement in node.body]  # annotations and decorators are no work
        return node


def left(value, where):
    raise OverflowError(f"{where}: {value} leaves [-2^30, 2^30): a box would run out of memory or compute nonsense")


def functions(source, name, modules=None, watch=True, replace=()):
    """The functions of a hot source text. modules: what `from cellwarden.core.X import` finds; replace: text pairs."""
    for old, new in replace:
        assert old in source, f"{name} does not say {old!r} any more"
        source = source.replace(old, new)
    tree = ast.parse(source, name)
    if watch:
        tree = ast.fix_missing_locations(Watch(name).visit(tree))
    space = {"__name__": name, "_left": left}
    imports = [n for n in tree.body if isinstance(n, ast.ImportFrom) and n.module.startswith("cellwarden.core.")]
    for node in imports if modules else ():
        tree.body.remove(node)
        space.update({a.name: modules[node.module.rpartition(".")[2]][a.name] for a in node.names})
    exec(compile(tree, name, "exec"), space)
    return space


def core(watch=True, replace=()):
    """{module: its functions} of the hot files. replace: [(module, old text, new text)]."""
    modules = {}
    for name in HOT:
        pairs = [(old, new) for where, old, new in replace if where == name]
        modules[name] = functions((CORE / f"{name}.py").read_text("utf-8"), name, modules, watch, pairs)
    return modules


def image(compiled_image, watch=True, replace=()):
    """(image whose decoder runs on such a core, its `advance`)."""
    modules = core(watch, replace)
    drain = functions(compiled_image.parts["decoder.py"].decode(), "decoder", modules, watch)["drain"]
    return SimpleNamespace(params=compiled_image.params, drain=drain), modules["scan"]["advance"]
