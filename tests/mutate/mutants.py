"""What can be changed in a source text, one small fault at a time: the mutants of a file.

A fault is what a tired hand types: another operator, a bound off by one, a condition the wrong way round, a number one
too high or too low, a statement left out. A mutant is a splice of the file's own text, so a test that reads the source
sees the fault as well as one that runs it.

Seven forms of the core are taken as what they mean, not as what they are written with:

* `x >> 30 & 1` is "x < 0": it becomes "x <= 0" and "x >= 0".
* `(x - _NA) & _MASK` is "x is a value": it becomes its opposite. (x + _NA is the same number there.)
* `v = (v & _MASK) + (v >> 30 & 1) * _WRAP` widens a load in viper code and is v itself everywhere else; leaving it out
  is for tests/device to notice.
* `if x > y: y = x` is the larger of two, and `x if x < y else y` the smaller: each becomes the other. With `>=` it
  would be the same number, and so with the number beside the bound that makes `>` a `>=`.
* `if x < 0: x = -x` is the size of x: it becomes its negative. With `<=` it would be the same number.
* `_A + _B`, where the constant _B is 0, names the first of several columns: `_A - _B` is the same number.
* The first parameters of a viper function, passed only to be kept in registers, are overwritten before they are read;
  so a number passed for one of them is no number of the program.

A local that is only ever asked whether it is zero is a truth, so 1 becomes 0 and 0 becomes 1, and nothing else.
"""

import ast
from dataclasses import dataclass

# Each operator has one opposite, and none that would say the same by nature: `//` is `*` where the number is 1 or -1,
# and `^` is `|` where the bit is known to be clear.
OPPOSITE = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "+", ast.FloorDiv: "*", ast.Mod: "*", ast.LShift: ">>", ast.RShift: "<<",
    ast.BitAnd: "|", ast.BitOr: "&", ast.BitXor: "|",
}  # fmt: skip
SIGN = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.FloorDiv: "//", ast.Mod: "%", ast.LShift: "<<", ast.RShift: ">>",
    ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
    ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip
# The bound itself moves to the other side, and the whole comparison turns round.
COMPARED = {
    ast.Lt: ("<=", ">="), ast.LtE: ("<", ">"), ast.Gt: (">=", "<="), ast.GtE: (">", "<"), ast.Eq: ("!=",),
    ast.NotEq: ("==",),
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One fault: the bytes `start` to `end` of the file become `text`.

    line, last: the lines that run it, from 1; inside, around: the function that holds it and its bytes, or None;
    name, value: the module's constant that it changes and what that becomes, or None.
    """

    file: str
    line: int
    last: int
    start: int
    end: int
    text: str
    inside: str | None = None
    around: tuple[int, int] | None = None
    name: str | None = None
    value: int | None = None

    def applied(self, source):
        """The whole text with the fault in it. source: bytes of the file."""
        return source[: self.start] + self.text.encode() + source[self.end :]

    def function(self, source, path):
        """Code that defines the function with the fault in it, on its own lines."""
        first, last = self.around
        text = self.applied(source)[first : last + len(self.text.encode()) - (self.end - self.start)]
        return compile(b"\n" * source.count(b"\n", 0, first) + text, path, "exec")

    def told(self, source):
        """`before -> after`, the lines it touches."""
        first = source.rfind(b"\n", 0, self.start) + 1
        last = source.find(b"\n", self.end)
        last = len(source) if last < 0 else last
        before = source[first:last]
        after = source[first : self.start] + self.text.encode() + source[self.end : last]
        return " -> ".join(" ".join(part.decode().split()) for part in (before, after))


class Finder(ast.NodeVisitor):
    """Collects the mutants of one file. hot: its module holds `NAME = const(…)` and functions only."""

    def __init__(self, file, source, hot):
        self.file, self.source, self.hot = file, source, hot
        self.zeros = set()  # constants that are 0
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.tree = ast.parse(source)
        self.overwritten = {n.name: overwritten(n) for n in ast.walk(self.tree) if isinstance(n, ast.FunctionDef)}
        self.inside = self.around = None
        self.lines = (0, 0)
        self.truths = set()
        self.extremes = set()  # comparisons that choose the larger or the smaller of two
        self.found = []

    def all(self):
        for node in self.tree.body:
            constant = self.hot and isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
            if constant:
                self.constant(node)
            else:
                self.visit(node)
        seen = {}
        for mutant in self.found:
            seen.setdefault((mutant.start, mutant.end, mutant.text), mutant)
        return sorted(seen.values(), key=lambda m: (m.start, m.end))

    # --- text ---

    def place(self, node):
        return (
            self.starts[node.lineno - 1] + node.col_offset,
            self.starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def text(self, node):
        start, end = self.place(node)
        return self.source[start:end].decode()

    def add(self, node, text, **more):
        start, end = self.place(node)
        self.found.append(Mutant(self.file, *self.lines, start, end, text, self.inside, self.around, **more))

    # --- what stands where ---

    def constant(self, node):
        (target,), (value,) = node.targets, node.value.args
        self.lines = (node.lineno, node.end_lineno)
        number = eval(compile(ast.Expression(value), self.file, "eval"), {})
        if not number:
            self.zeros.add(target.id)
        for changed in (number + 1, number - 1):
            self.add(value, str(changed), name=target.id, value=changed)

    def visit(self, node):
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            self.lines = (node.lineno, max(node.lineno, body[0].lineno - 1) if body else node.end_lineno)
        return super().visit(node)

    def visit_FunctionDef(self, node):
        outer, self.inside = self.inside, self.inside or node.name
        self.around = self.around if outer else self.place(node)
        self.truths = truths(node)
        for i, statement in enumerate(node.body):
            last = i == len(node.body) - 1
            if last and isinstance(statement, ast.Return):
                self.lines = (statement.lineno, statement.end_lineno)
                self.generic_visit(statement)  # without it a function returns nothing, which is no small fault
            else:
                self.visit(statement)
        self.inside = outer
        self.around = self.around if outer else None

    def left_out(self, node):
        if self.inside and not widens(node):
            self.add(node, "pass")

    def visit_Assign(self, node):
        self.left_out(node)
        if all(isinstance(target, ast.Name) and target.id in self.truths for target in node.targets):
            self.truth(node.value)
        else:
            self.generic_visit(node)

    def truth(self, value):
        if isinstance(value, ast.IfExp):
            self.negated(value.test)
            self.visit(value.test)
            self.truth(value.body)
            self.truth(value.orelse)
        elif isinstance(value, ast.Constant):
            self.add(value, "0" if value.value else "1")
        else:
            self.visit(value)

    def visit_AugAssign(self, node):
        self.left_out(node)
        self.between(node, node.target, node.op, node.value, (OPPOSITE[type(node.op)],), "=")
        self.generic_visit(node)

    def visit_Expr(self, node):
        if isinstance(node.value, ast.Call):
            self.left_out(node)
        self.generic_visit(node)

    def visit_Return(self, node):
        self.left_out(node)
        self.generic_visit(node)

    visit_Continue = visit_Break = visit_Raise = visit_Return

    def between(self, node, left, op, right, others, tail=""):
        """Another operator between two operands."""
        start, end = self.place(left)[1], self.place(right)[0]
        gap = self.source[start:end].decode()
        sign = SIGN[type(op)] + tail
        at = gap.index(sign)
        for other in others:
            first = start + len(gap[:at].encode())
            end = first + len(sign)
            self.found.append(Mutant(self.file, *self.lines, first, end, other + tail, self.inside, self.around))

    def visit_Compare(self, node):
        left = node.left
        for op, right in zip(node.ops, node.comparators, strict=True):
            if type(op) in COMPARED:
                self.between(node, left, op, right, COMPARED[type(op)][id(node) in self.extremes :])
            left = right
        number = node.comparators[-1]
        if id(node) in self.extremes and isinstance(number, ast.Constant):
            self.visit(node.left)
            same = 1 if isinstance(node.ops[0], ast.Lt | ast.GtE) else -1  # `x > 0` is `x >= 1`
            other = number.value - same
            self.add(number, f"({other})" if other < 0 else str(other))
        else:
            self.generic_visit(node)

    def visit_BoolOp(self, node):
        word, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        parts = [f"({self.text(value)})" for value in node.values]
        self.add(node, "(" + f" {other} ".join(parts) + ")")
        for i in range(len(parts)):
            self.add(node, "(" + f" {word} ".join(parts[:i] + parts[i + 1 :]) + ")")
        self.generic_visit(node)

    def visit_UnaryOp(self, node):
        if isinstance(node.op, ast.Not) or (
            isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant)
        ):
            self.add(node, f"({self.text(node.operand)})")
        self.generic_visit(node)

    def visit_BinOp(self, node):
        if below := sign_test(node):
            text = self.text(below)
            self.add(node, f"((({text}) - 1) >> 30 & 1)")
            self.add(node, f"(1 - (({text}) >> 30 & 1))")
            self.visit(below)
            return
        if known := value_test(node):
            self.add(node, f"(0 if {self.text(node)} else 1)")
            self.visit(known)
            return
        nothing = isinstance(node.op, ast.Add | ast.Sub) and getattr(node.right, "id", None) in self.zeros
        if type(node.op) in OPPOSITE and not nothing:
            other = OPPOSITE[type(node.op)]
            self.add(node, f"(({self.text(node.left)}) {other} ({self.text(node.right)}))")
        self.generic_visit(node)

    def negated(self, test):
        # A comparison and a `not` are turned round where they stand.
        if not (isinstance(test, ast.Compare | ast.UnaryOp) or sign_test(test) or value_test(test)):
            self.add(test, f"(not ({self.text(test)}))")

    def visit_If(self, node):
        if is_extreme(node) or is_size(node):
            self.extremes.add(id(node.test))
        self.negated(node.test)
        self.generic_visit(node)

    visit_While = visit_IfExp = visit_If

    def visit_Call(self, node):
        dummies = self.overwritten.get(getattr(node.func, "id", None), ())
        for i, argument in enumerate(node.args):
            if i not in dummies:
                self.visit(argument)
        for keyword in node.keywords:
            self.visit(keyword)

    def visit_Constant(self, node):
        if type(node.value) is int:
            # In parentheses, so that -1 after a minus stays a number.
            self.add(node, str(node.value + 1))
            self.add(node, f"({node.value - 1})" if node.value < 1 else str(node.value - 1))


def sign_test(node):
    """The x of `x >> 30 & 1`, or None."""
    if (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.BitAnd)
        and ast.unparse(node.right) == "1"
        and isinstance(node.left, ast.BinOp)
        and isinstance(node.left.op, ast.RShift)
        and ast.unparse(node.left.right) == "30"
    ):
        return node.left.left
    return None


def value_test(node):
    """The x of `(x - _NA) & _MASK`, or None."""
    if (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.BitAnd)
        and ast.unparse(node.right) == "_MASK"
        and isinstance(node.left, ast.BinOp)
        and isinstance(node.left.op, ast.Sub)
        and ast.unparse(node.left.right) == "_NA"
    ):
        return node.left.left
    return None


def is_extreme(node):
    """Whether an `if` or a conditional expression is the larger or the smaller of the two that it compares."""
    if not (isinstance(node.test, ast.Compare) and isinstance(node.test.ops[0], ast.Lt | ast.LtE | ast.Gt | ast.GtE)):
        return False
    chosen = []
    if isinstance(node, ast.IfExp):
        chosen = [node.body, node.orelse]
    elif isinstance(node, ast.If) and not node.orelse and len(node.body) == 1 and isinstance(node.body[0], ast.Assign):
        chosen = [*node.body[0].targets, node.body[0].value]
    compared = [node.test.left, *node.test.comparators]
    return len(compared) == 2 and sorted(map(ast.unparse, chosen)) == sorted(map(ast.unparse, compared))


def is_size(node):
    """Whether the statement is `if x < 0: x = -x`."""
    x = ast.unparse(node.test.left) if isinstance(node.test, ast.Compare) else ""
    return isinstance(node, ast.If) and not node.orelse and ast.unparse(node) == f"if {x} < 0:\n    {x} = -{x}"


def is_sign_extension(node):
    """The x of `(x & _MASK) + (x >> 30 & 1) * _WRAP`, or None."""
    if not (isinstance(node, ast.BinOp) and isinstance(node.left, ast.BinOp)):
        return None
    x = ast.unparse(node.left.left)
    return node.left.left if ast.unparse(node) == f"({x} & _MASK) + ({x} >> 30 & 1) * _WRAP" else None


def widens(node):
    """Whether the statement gives a name what it has: the sign extension of itself."""
    if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)):
        return False
    x = is_sign_extension(node.value)
    return isinstance(x, ast.Name) and x.id == node.targets[0].id


def overwritten(function):
    """Positions of the parameters that the function stores to before it reads them."""
    found = set()
    for i, parameter in enumerate(function.args.args):
        for statement in function.body:
            names = [n for n in ast.walk(statement) if isinstance(n, ast.Name) and n.id == parameter.arg]
            if not names:
                continue
            stored = isinstance(statement, ast.Assign) and all(isinstance(n.ctx, ast.Store) for n in names)
            if stored:
                found.add(i)
            break
    return found


def truths(function):
    """Names of a function that it reads only to ask whether they are zero."""
    asked = set()

    def ask(node):
        if isinstance(node, ast.BoolOp):
            for value in node.values:
                ask(value)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            ask(node.operand)
        else:
            asked.add(id(node))

    for node in ast.walk(function):
        if isinstance(node, ast.If | ast.While | ast.IfExp):
            ask(node.test)
    names = [node for node in ast.walk(function) if isinstance(node, ast.Name)]
    changed = {
        n.target.id for n in ast.walk(function) if isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name)
    }
    read = {n.id for n in names if isinstance(n.ctx, ast.Load) and id(n) not in asked}
    return {n.id for n in names if isinstance(n.ctx, ast.Store)} - read - changed


def is_hot(source):
    """Whether the file imports `micropython`: its functions run for each scan (tests/core/integer_check.py)."""
    return any(
        isinstance(node, ast.Import) and any(alias.name == "micropython" for alias in node.names)
        for node in ast.parse(source).body
    )


def mutants(file, source):
    """All mutants of a file's text (bytes), in the order of the text."""
    return Finder(file, source, is_hot(source)).all()


def probed(source, file, mark):
    """(code of the file with `MARK[line] = 1` at the head of every block, {line: line of the head of its block})."""
    tree, heads = ast.parse(source), {}

    def block(statements):
        head = statements[0].lineno
        for statement in statements:
            for line in range(statement.lineno, statement.end_lineno + 1):
                heads[line] = head
        for statement in statements:
            for part in ("body", "orelse"):
                if getattr(statement, part, None):
                    setattr(statement, part, block(getattr(statement, part)))
        probe = ast.parse(f"{mark}[{head}] = 1").body
        return [ast.copy_location(probe[0], statements[0]), *statements]

    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            node.body = block(node.body)
    return compile(ast.fix_missing_locations(tree), file, "exec"), heads


def uses(source, name):
    """Lines on which a module's constant is read."""
    return {
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)
    }
