"""Faults of one line that are drawn from the library's source, all of which change what a program does."""

import ast
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = "gradxform"
ROOMS = ("rules", "core", "devices", "reading", "files", "takeover", "wrappers")

ARITHMETIC = {ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"), ast.Pow: ("**", "*")}
COMPARISONS = {
    ast.Lt: [("<", "<="), ("<", ">")],
    ast.LtE: [("<=", "<"), ("<=", ">=")],
    ast.Gt: [(">", ">="), (">", "<")],
    ast.GtE: [(">=", ">"), (">=", "<=")],
    ast.Eq: [("==", "!=")],
    ast.NotEq: [("!=", "==")],
    ast.Is: [("is", "is not")],
    ast.IsNot: [("is not", "is")],
    ast.In: [("in", "not in")],
    ast.NotIn: [("not in", "in")],
}
OPPOSITES = {"minimum": "maximum", "min": "max", "any": "all", "zeros_like": "ones_like", "zeros": "ones"}
OPPOSITES |= {value: key for key, value in OPPOSITES.items()}
# What counts steps: a fault is one too many.
COUNTS = {"step", "count"}


class Fault(NamedTuple):
    """A change of one line.

    Attributes:
      room: the folder under the package.
      path: the file, from the root of the checkout on.
      line: its number, from 1 on.
      start, stop: the columns that are replaced, in bytes of UTF-8 as Python's parser counts them.
      old, new: what stood there, and what comes instead.
      kind: what sort of change it is.
      names: the definitions around it, by which the tests that are nearest are found.
    """

    room: str
    path: str
    line: int
    start: int
    stop: int
    old: str
    new: str
    kind: str
    names: tuple[str, ...]

    @property
    def place(self) -> str:
        """File and line."""
        return f"{self.path}:{self.line}"

    @property
    def key(self) -> str:
        """What tells a fault from all others, for as long as its line is not edited."""
        return f"{self.place}:{self.start}: {self.old} -> {self.new}"

    def planted(self, source: str) -> str:
        """The source with the fault in it."""
        lines = source.splitlines(keepends=True)
        line = lines[self.line - 1].encode()
        assert line[self.start : self.stop].decode() == self.old, f"{self.place} is not what it was"
        lines[self.line - 1] = (line[: self.start] + self.new.encode() + line[self.stop :]).decode()
        return "".join(lines)


def draw(root: Path, seed: int, count: int) -> list[Fault]:
    """As many faults from each room, at most one on a line; within a room each kind of change is as likely.

    A room with fewer lines than are asked for gives what it has.
    """
    drawn = []
    for index, room in enumerate(ROOMS):
        chance = random.Random(f"{seed} {room}")
        by_kind: dict[str, list[Fault]] = {}
        sources = {
            path.relative_to(root).as_posix(): path.read_text() for path in (root / PACKAGE / room).rglob("*.py")
        }
        for path, source in sources.items():
            for fault in faults_in(source, path, room):
                by_kind.setdefault(fault.kind, []).append(fault)
        taken: set[str] = set()
        wanted = count // len(ROOMS) + (index < count % len(ROOMS))
        while len(taken) < wanted and by_kind:
            kind = chance.choice(sorted(by_kind))
            fault = by_kind[kind].pop(chance.randrange(len(by_kind[kind])))
            if not by_kind[kind]:
                del by_kind[kind]
            if fault.place not in taken and changes_something(fault, sources[fault.path]):
                taken.add(fault.place)
                drawn.append(fault)
    return drawn


def faults_in(source: str, path: str, room: str) -> Iterator[Fault]:
    """All changes that can be made in a file."""
    lines = [line.encode() for line in source.splitlines()]
    for node, names in computing(ast.parse(source), ()):
        for kind, line, start, stop, new in changes(node, lines):
            yield Fault(room, path, line, start, stop, lines[line - 1][start:stop].decode(), new, kind, names)


def changes_something(fault: Fault, source: str) -> bool:
    """Whether the file is still Python, and another program."""
    try:
        return ast.dump(ast.parse(fault.planted(source))) != ast.dump(ast.parse(source))
    except SyntaxError:
        return False


def computing(node: ast.AST, names: tuple[str, ...]) -> Iterator[tuple[ast.AST, tuple[str, ...]]]:
    """The nodes that say what is computed, with the definitions around them: no messages, types and decorators."""
    if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom):
        return
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        names = (*names, node.name)
    elif isinstance(node, ast.Assign | ast.AnnAssign) and not names:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = tuple(target.id for target in targets if isinstance(target, ast.Name))
    yield node, names
    for field, value in ast.iter_fields(node):
        if field in {"annotation", "returns", "decorator_list", "type_params"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from computing(child, names)


Change = tuple[str, int, int, int, str]


def changes(node: ast.AST, lines: list[bytes]) -> Iterator[Change]:
    """What can be changed in a node itself: kind, line, first and last column, and what comes there."""
    match node:
        case ast.BinOp(left, op, right) if type(op) in ARITHMETIC and not (is_text(left) or is_text(right)):
            old, new = ARITHMETIC[type(op)]
            yield from between(lines, left, right, "arithmetic", old, new)
        case ast.Compare(left, [op], [right]):
            for old, new in COMPARISONS[type(op)]:
                yield from between(lines, left, right, "comparison", old, new)
        case ast.BoolOp(op, [left, right, *_]):
            old, new = ("and", "or") if isinstance(op, ast.And) else ("or", "and")
            yield from between(lines, left, right, "and, or", old, new)
        case ast.UnaryOp(ast.Not() | ast.USub() as op, operand):
            yield from replaced(lines, node, "not" if isinstance(op, ast.Not) else "sign", text(lines, operand))
        case ast.Constant(bool() as value):
            yield from replaced(lines, node, "True, False", str(not value))
        case ast.Constant(int() | float() as value):
            yield from replaced(lines, node, "number", str(value + 1 if isinstance(value, int) else value * 2 or 1.0))
        case ast.Call(ast.Attribute(receiver, "astype"), [_]):
            yield from replaced(lines, node, "astype", text(lines, receiver))
        case ast.Call(_, [first, second, *_]) if not isinstance(second, ast.Starred):
            yield from exchanged(lines, first, second, "arguments")
        case ast.Return(ast.Tuple([first, second])):
            yield from exchanged(lines, first, second, "returned parts")
        case ast.If(test) | ast.IfExp(test) if isinstance(test, ast.Name | ast.Attribute | ast.Call):
            yield from replaced(lines, test, "not", f"(not {text(lines, test)})")
        case ast.Attribute(_, name, ast.Load()) | ast.Name(name, ast.Load()):
            if name in COUNTS:
                yield from replaced(lines, node, "off by one", f"({text(lines, node)} + 1)")
            elif name in OPPOSITES:
                new = text(lines, node)[: -len(name)] + OPPOSITES[name]
                yield from replaced(lines, node, "opposite", new)


def is_text(node: ast.AST) -> bool:
    """Whether it is a string, of which a message is made."""
    return isinstance(node, ast.JoinedStr) or isinstance(getattr(node, "value", None), str)


def text(lines: list[bytes], node: ast.AST) -> str:
    """The source of a node of one line; nothing, if it has more."""
    if node.lineno != node.end_lineno:
        return ""
    return lines[node.lineno - 1][node.col_offset : node.end_col_offset].decode()


def replaced(lines: list[bytes], node: ast.AST, kind: str, new: str) -> Iterator[Change]:
    """Another text in place of a node of one line."""
    if new and text(lines, node):
        yield kind, node.lineno, node.col_offset, node.end_col_offset, new


def exchanged(lines: list[bytes], first: ast.AST, second: ast.AST, kind: str) -> Iterator[Change]:
    """Two neighbours of one line, in the other order."""
    one, other = text(lines, first), text(lines, second)
    if one and other and first.lineno == second.lineno:
        middle = lines[first.lineno - 1][first.end_col_offset : second.col_offset].decode()
        yield kind, first.lineno, first.col_offset, second.end_col_offset, other + middle + one


def between(lines: list[bytes], left: ast.AST, right: ast.AST, kind: str, old: str, new: str) -> Iterator[Change]:
    """Another operator between two operands, wherever the line is broken."""
    for number in range(left.end_lineno, right.lineno + 1):
        line = lines[number - 1]
        start = left.end_col_offset if number == left.end_lineno else 0
        stop = right.col_offset if number == right.lineno else len(line)
        pattern = rf"(?<![\w*]){re.escape(old)}(?![\w*])".encode()
        # Parentheses may stand there too, and comments behind the line.
        found = re.search(pattern, line[start:stop].partition(b"#")[0])
        if found:
            yield kind, number, start + found.start(), start + found.end(), new
            return
