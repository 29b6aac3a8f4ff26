"""A line of a docstring's formula as LaTeX: `mu <- b1 mu + (1 - b1) g   for each leaf`.

What is written side by side is multiplied, words among it are words. How a name is set:

- one letter, or the name of a Greek letter, is a letter; digits behind it, and what follows its underscore, are its
  index: `b1`, `mu`, `p_0`, `g_(t-1)`;
- an argument of the function, a name that the block gives a value, and a function are upright, as they are written;
- all else is a word. Arguments that are True or False, `name=value`, strings and what stands in backticks are code.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

# A name in each line would be a page.
# fmt: off
GREEK = frozenset((
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "kappa", "lambda", "mu", "nu", "xi", "pi",
    "rho", "sigma", "tau", "phi", "psi", "omega",
))
# fmt: on
OPERATORS = {"grad": r"\nabla", "inf": r"\infty"}
# They act on what follows them, which is no factor of a fraction's upper part.
LARGE = {"sum": r"\sum", "mean": r"\mathrm{mean}", "max": r"\mathrm{max}", "min": r"\mathrm{min}"}
RELATIONS = {"<-": r"\leftarrow", "<=": r"\le", ">=": r"\ge", "=": "=", "<": "<", ">": ">", "~": r"\sim"}
CLOSED = {"(": (")", r"\left(", r"\right)"), "[": ("]", r"\left[", r"\right]"), "|": ("|", r"\left|", r"\right|")}
_TEXT = r"\text{"
SPACE, WIDE = r"\ ", r"\quad "

_TOKEN = re.compile(
    r"""(?P<code>`[^`]+`)|(?P<string>"[^"]*")|(?P<setting>[a-z_]\w*=(?:"[^"]*"|\w+))|(?P<sample><,>|\|\.\|)
    |(?P<relation><-|<=|>=|[=~]|[<>](?=\s))|(?P<dots>\.\.\.)|(?P<number>\d+(?:\.\d+)?(?:e-?\d+)?)(?![A-Za-z])
    |(?P<name>[A-Za-z]\w*(?:-[A-Za-z]{2,})*(?:'s\b)?)|(?P<index>_\w+)|(?P<mark>[\^()\[\],;:+\-/|'<>])""",
    re.VERBOSE,
)


class FormulaError(ValueError):
    """A formula that cannot be read, with the column at which it cannot."""

    def __init__(self, what: str, line: str, column: int, where: str = "") -> None:
        super().__init__(f"{where}{': ' * bool(where)}column {column + 1} of {line!r}: {what}")
        self.what, self.line, self.column = what, line, column + 1


class Token(NamedTuple):
    """A piece of a line: its kind, its text, where it begins, and how many spaces come before and after it."""

    kind: str
    text: str
    column: int
    before: int
    after: int


class Item(NamedTuple):
    """A piece of what is made: LaTeX of a kind, "maths", "text", "large", "sign" or "gap"."""

    kind: str
    latex: str


def tokens(line: str) -> list[Token]:
    """The pieces of a line.

    Raises:
      FormulaError: a character that is no part of the language.
    """
    found, column = [], 0
    while column < len(line.rstrip()):
        start = column + len(line[column:]) - len(line[column:].lstrip())
        match = _TOKEN.match(line, start)
        if match is None:
            raise FormulaError(f"{line[start]!r} is not part of the language of formulas", line, start)
        end = match.end()
        after = len(line[end:]) - len(line[end:].lstrip())
        found.append(Token(match.lastgroup or "", match[0], start, start - column, after))
        column = end
    return found


def code(text: str) -> Item:
    """Text in the letters of code."""
    return Item("text", rf"\texttt{{{text}}}")


def joined(items: list[Item]) -> str:
    """Items as one text, with the spaces between them.

    Words become one text; factors are a thin space apart; nothing is put beside signs, which have spaces of their own.
    """
    latex, last = "", Item("gap", "")
    for item in items:
        kinds = {last.kind, item.kind}
        if kinds == {"text"} and last.latex.startswith(_TEXT) and item.latex.startswith(_TEXT):
            latex, last = f"{latex[:-1]} {item.latex.removeprefix(_TEXT)}", item
            continue
        if "text" in kinds and not kinds & {"gap", "sign"}:
            latex += SPACE
        elif last.kind in ("maths", "large") and item.kind in ("maths", "large"):
            latex += r"\,"
        latex, last = latex + item.latex, item
    return latex


class Line:
    """A line that is being read.

    Args:
      line: its text.
      arguments: the arguments of the function by name, and whether each is True or False.
      names: what else has a value in the block.
    """

    def __init__(self, line: str, arguments: Mapping[str, bool], names: Collection[str]) -> None:
        self.line, self.arguments, self.names = line, arguments, names
        self.tokens, self.at, self.is_raised = tokens(line), 0, False
        self.opened: list[str] = []

    @property
    def next(self) -> Token:
        """The token that is to be read; at the end one without text."""
        return self.tokens[self.at] if self.at < len(self.tokens) else Token("end", "", len(self.line), 1, 0)

    def take(self) -> Token:
        """Reads a token."""
        self.at += 1
        return self.tokens[self.at - 1]

    def error(self, what: str, token: Token | None = None) -> FormulaError:
        """What is wrong at a token, by default at the next one."""
        return FormulaError(what, self.line, (token or self.next).column)

    def whole(self) -> list[Item]:
        """All of it."""
        items = self.sequence("")
        if self.next.kind != "end":
            raise self.error(f"{self.next.text!r} closes nothing")
        return items

    def sequence(self, closing: str) -> list[Item]:
        """Everything up to a closing bracket, or to the end."""
        items: list[Item] = []
        while self.next.kind != "end" and not self.closes(closing):
            token = self.next
            if token.kind == "relation" or token.text in ("+", "-"):
                self.take()
                if self.next.kind == "end" or self.next.text in (")", "]", ",", ";"):
                    raise self.error(f"nothing follows {token.text!r}", token)
                is_own = token.text in ("+", "-") and not token.after
                items.append(
                    Item("sign", f"{{{token.text}}}" if is_own else f" {RELATIONS.get(token.text, token.text)} ")
                )
            elif token.text in (",", ";", ":"):
                self.take()
                gap = WIDE if token.after > 1 else SPACE if token.after and not self.is_raised else ""
                # After a comma in a text TeX would put no space, and one after that in maths.
                items.append(Item("gap", rf"\text{{{token.text}}}{gap}"))
            else:
                items += self.product(closing)
        return items

    def closes(self, closing: str) -> bool:
        """Whether the next token ends a sequence."""
        return self.next.text == closing or self.next.text in (")", "]")

    def product(self, closing: str) -> list[Item]:
        """Factors and words side by side, and fractions of them."""
        items: list[Item] = []
        while not (self.next.kind in ("relation", "end") or self.next.text in (",", ";", ":", "+", "-")):
            if self.closes(closing):
                break
            if self.next.text == "/":
                self.fraction(items)
                continue
            if items and self.next.before > 1:
                items.append(Item("gap", WIDE))
            items.append(self.factor())
        return items

    def fraction(self, items: list[Item]) -> None:
        """Puts what is divided, the factors at the end of the items, over the factor that follows."""
        slash = self.take()
        first = len(items)
        while first and items[first - 1].kind == "maths":
            first -= 1
        if first == len(items):
            raise self.error("nothing is divided here; words are divided in brackets", slash)
        above, column = items[first:], self.next
        if self.next.kind == "end" or self.next.text in (")", "]", ",", ";"):
            raise self.error("nothing follows '/'", slash)
        below = [self.factor()]
        if below[0].kind != "maths":
            raise self.error("nothing is divided by words; put them in brackets", column)
        while self.next.text == "/" and not self.is_raised:
            # a / b / c
            self.take()
            below.append(self.factor())
        if self.is_raised:
            items[first:] = [Item("maths", f"{joined(above)} / {joined(below)}")]
        else:
            over, under = (bare(joined(each)) if len(each) == 1 else joined(each) for each in (above, below))
            items[first:] = [Item("maths", rf"\frac{{{over}}}{{{under}}}")]

    def factor(self) -> Item:
        """A number, a name, a word, or what stands in brackets, with its powers and indices."""
        token = self.take()
        if token.kind == "name":
            return self.named(token)
        if token.kind == "code":
            return code(token.text.strip("`"))
        if token.kind in ("string", "setting"):
            return code(token.text)
        if token.kind == "dots":
            return Item("maths", r"\ldots")
        if token.kind == "sample":
            dots = r"\left\langle \cdot, \cdot \right\rangle" if token.text == "<,>" else r"\left|\cdot\right|"
            return self.raised(Item("maths", dots))
        if token.kind == "number":
            digits, _, exponent = token.text.partition("e")
            power = rf"10^{{{exponent}}}" if exponent else ""
            plain = digits if not power else power if digits == "1" else rf"{digits} \cdot {power}"
            return self.raised(Item("maths", plain))
        if token.text == "<" or token.text in CLOSED:
            return self.raised(self.bracket(token))
        raise self.error(f"{token.text!r} stands where a name, a number or a bracket is to be", token)

    def bracket(self, opening: Token) -> Item:
        """What stands in brackets, bars or angles, with them."""
        closing, left, right = CLOSED.get(opening.text, (">", r"\left\langle ", r" \right\rangle"))
        self.opened.append(closing)
        inner = self.sequence(closing)
        self.opened.pop()
        if self.next.text != closing:
            raise self.error(f"{opening.text!r} is not closed", opening)
        self.take()
        return Item("maths", f"{left}{joined(inner)}{right}")

    def named(self, token: Token) -> Item:
        """A name: a function with its arguments, a quantity, or a word."""
        name = token.text
        is_called = self.is_applied or (self.next.text == "'" and not self.next.before)
        if name in ("sqrt", "cbrt") and self.next.text == "(":
            inside = bare(self.bracket(self.take()).latex)
            return self.raised(Item("maths", rf"\sqrt{'[3]' if name == 'cbrt' else ''}{{{inside}}}"))
        if self.arguments.get(name) and not is_called:
            return code(name)
        base, _, index = name.partition("_")
        if base in LARGE and (len(index) == 1 or name in ("max", "min")) and not is_called:
            return Item("large", LARGE[base] + (f"_{{{index}}}" if index else ""))
        if not (is_called or self.is_quantity(token)):
            return Item("text", rf"\text{{{name}}}")
        item = self.raised(Item("maths", self.written(name)))
        while self.is_applied:
            item = self.raised(Item("maths", item.latex + self.bracket(self.take()).latex))
        return item

    @property
    def is_applied(self) -> bool:
        """Whether what was read is followed, without a space, by what it is applied to."""
        is_bar_that_closes = self.next.text == "|" and self.opened[-1:] == ["|"]
        return self.next.text in ("(", "[", "|") and not self.next.before and not is_bar_that_closes

    def is_quantity(self, token: Token) -> bool:
        """Whether a name stands for something, and is no word."""
        name = token.text
        if name in ("in", "out"):
            # The sides of a matrix, where no word can stand.
            previous = self.tokens[self.at - 2].text if self.at > 1 else ""
            return previous in ("(", "/") or (name == "out" and self.next.text in ("/", ")"))
        if name == "a":
            following = self.next
            return name in self.names or following.kind != "name" or len(following.text) == 1
        return self.is_known(name)

    def is_known(self, name: str) -> bool:
        """Whether a name has a value, or the form of what has one."""
        if name in self.arguments or name in self.names or name in GREEK or name in OPERATORS:
            return True
        is_short = re.fullmatch(r"[A-Za-z]\d?|[A-Z][a-z]|[A-Za-z]+_\w*|[a-z]{2,5}\d", name) and not name.endswith("'s")
        return bool(is_short) and not re.fullmatch(r"[A-Z]?[a-z]{3,}\d+", name) and name not in _SHORT_WORDS

    def written(self, name: str) -> str:
        """A name as maths."""
        if name in OPERATORS:
            return OPERATORS[name]
        base, _, index = name.partition("_") if name.partition("_")[0] in GREEK else name.rpartition("_")
        if not base and not name.endswith("_"):
            base, index = name, ""
        is_letter = base in GREEK or len(base) == 1
        if index and len(index) > 1 and (name in self.arguments if is_letter else True):
            return upright(name)
        if index and not is_letter and name in self.arguments:
            return upright(name)
        if digits := re.fullmatch(r"([A-Za-z]+?)(\d+)", base):
            base, index = digits[1], digits[2] + index
        elif re.fullmatch(r"[A-Z][a-z]", base) and not index:
            base, index = base
        letter = rf"\{base}" if base in GREEK else base if len(base) == 1 else upright(base)
        if name.endswith("_"):
            if self.next.text != "(":
                raise self.error("an underscore without an index", self.tokens[self.at - 1])
            index = self.small()
            return f"{letter}_{{{index}}}"
        return f"{letter}_{{{self.written_index(index)}}}" if index else letter

    def written_index(self, index: str) -> str:
        """What follows an underscore: letters beside each other, a word, or the name of a Greek letter."""
        if index in GREEK:
            return rf"\{index}"
        return index if len(index) < 3 or index.isdigit() else upright(index)

    def raised(self, item: Item) -> Item:
        """An item with the prime, the indices and the powers that follow it."""
        latex = item.latex
        while not self.next.before and (self.next.text in ("'", "^") or self.next.kind == "index"):
            token = self.take()
            if token.text == "'":
                latex += "'"
            elif token.kind == "index":
                latex += f"_{{{self.written_index(token.text[1:])}}}"
            else:
                latex = f"{latex}^{{{self.small()}}}"
        return Item(item.kind, latex)

    def small(self) -> str:
        """What is raised or lowered: one name or number with its sign, or all in brackets."""
        sign = self.take().text if self.next.text == "-" else ""
        token = self.next
        outer, self.is_raised = self.is_raised, True
        if token.text == "(":
            latex = bare(self.bracket(self.take()).latex)
        elif token.kind in ("name", "number"):
            text = self.take().text
            latex = {"T": r"\top", "H": r"\mathsf{H}"}.get(text) or (
                text if token.kind == "number" else self.written(text)
            )
        else:
            raise self.error("nothing is raised or lowered here", token)
        self.is_raised = outer
        return sign + latex


# Of two letters, the first large, that are words and no letters with an index.
_SHORT_WORDS = frozenset({"In", "Of", "At", "If", "It", "To", "No", "Or", "As"})


def upright(name: str) -> str:
    """A name of several letters."""
    return rf"\mathrm{{{name}}}".replace("_", r"\_")


def bare(latex: str) -> str:
    """What stands in brackets, without them, where the first is closed by the last."""
    if not latex.startswith(r"\left(") or not latex.endswith(r"\right)"):
        return latex
    depth = 0
    for found in re.finditer(r"\\left\b|\\right\b(?!arrow)", latex):
        depth += 1 if found[0] == r"\left" else -1
        if not depth:
            return latex[6:-7] if latex[found.start() :] == r"\right)" else latex
    return latex
