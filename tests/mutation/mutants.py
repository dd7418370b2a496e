"""Where a source file can be made wrong by a small change, and the changed text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}


@dataclass(frozen=True)
class Mutant:
    """One wrong version of a file."""

    line: int
    was: str
    now: str
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.was}  →  {self.now}"


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of *source*.

    Annotations, docstrings and the texts of messages are left alone: no test has to hold those.
    """
    for number in range(10**6):
        change = _Change(number)
        tree = ast.fix_missing_locations(change.visit(ast.parse(source)))
        if change.made is None:
            return
        yield Mutant(*change.made, ast.unparse(tree))


class _Change(ast.NodeTransformer):
    """Makes the change of that number; `made` is its line, what stood there and what stands there now."""

    def __init__(self, number: int) -> None:
        self._left = number
        self.made: tuple[int, str, str] | None = None

    def _offer(self, node: ast.AST, changed: ast.AST) -> ast.AST:
        self._left -= 1
        if self._left != -1:
            return node
        self.made = (node.lineno, _first_line(node), _first_line(changed))
        return ast.copy_location(changed, node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        for place, op in enumerate(node.ops):
            other = _COMPARED[type(op)]()
            ops = [*node.ops[:place], other, *node.ops[place + 1 :]]
            changed = self._offer(node, ast.Compare(node.left, ops, node.comparators))
            if changed is not node:
                return changed
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        other = _COMPUTED.get(type(node.op))
        return self._offer(node, ast.BinOp(node.left, other(), node.right)) if other else node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        other = _COMPUTED.get(type(node.op))
        return self._offer(node, ast.AugAssign(node.target, other(), node.value)) if other else node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        return self._offer(node, ast.BoolOp(other, node.values))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        return self._offer(node, node.operand) if isinstance(node.op, ast.Not | ast.USub) else node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, bool):
            return self._offer(node, ast.Constant(not node.value))
        return (
            self._offer(node, ast.Constant(node.value + 1)) if isinstance(node.value, int | float) else node
        )

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        self.generic_visit(node)
        return self._offer(node, ast.Pass()) if isinstance(node.value, ast.Call) else node

    def visit_If(self, node: ast.If) -> ast.AST:
        self.generic_visit(node)
        for answer in (True, False):
            changed = self._offer(node, ast.If(ast.Constant(answer), node.body, node.orelse))
            if changed is not node:
                return changed
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is not None:
            node.value = self.visit(node.value)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.args = self.visit(node.args)
        node.body = [self.visit(line) for line in node.body]
        return node


def _first_line(node: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(node)).partition("\n")[0]
