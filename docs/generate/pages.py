"""The page of a symbol, in Markdown: what its docstring says, how it is called, an example, memory, its place."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

import optax

from docs.generate import formulas, memory, symbols
from docs.generate.docstring import Docstring, Entry, Part, parse

# How Markdown would read a character otherwise.
_SPECIAL = re.compile(r"([\\*_<>\[\]$#|~{}^])")
_CODE = re.compile(r"(`[^`]+`)")
_SECTIONS = {
    "Args": "Arguments",
    "Attributes": "Attributes",
    "Extra arguments of `update`": "Extra arguments of `update`",
    "Metrics": "Metrics",
    "Returns": "Returns",
    "Yields": "Yields",
    "Raises": "Errors",
}


def page(name: str, examples: Mapping[str, str] | None = None) -> str:
    """The page of a public name.

    Args:
      name: the name.
      examples: Python by name, of functions of modules by `module.name`.

    Raises:
      FormulaError: a formula that cannot be read, with the name of the symbol and the column.
    """
    value = symbols.object_of(name)
    if isinstance(value, ModuleType):
        return of_module(name, value, examples or {})
    said = parse(symbols.docstring_of(name))
    parts = [
        "---\norphan: true\n---",
        f"# {markdown(name)}",
        definition(name, value, "gradxform"),
        *described(name, value, said),
        *shown((examples or {}).get(name)),
        *sections(name, value, said),
        *(methods(name, value) if isinstance(value, type) else []),
        *measured(name, said),
        *origins(name, value, said),
        *neighbours(name),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def of_module(name: str, module: ModuleType, examples: Mapping[str, str]) -> str:
    """The page of a module, with all of its functions."""
    said = parse(symbols.docstring_of(name, module))
    home = f"gradxform.{name}"
    parts = [
        "---\norphan: true\n---",
        f"# {markdown(name)}",
        f"```{{py:module}} {home}\n```",
        *described(name, module, said),
        *shown(examples.get(name)),
    ]
    for own, value in symbols.public_of(module).items():
        about = parse(symbols.docstring_of(own, value, module))
        is_data = not (inspect.isroutine(inspect.unwrap(value)) or isinstance(value, type))
        parts += [
            f"## {markdown(own)}",
            f"```{{py:data}} {own}\n:module: {home}\n```" if is_data else definition(own, value, home),
            *described(own, value, about),
            *shown(examples.get(f"{name}.{own}"), "###"),
            *sections(own, value, about, "###"),
            *told_origin(about),
        ]
    parts += [*place(name, module), *neighbours(name)]
    return "\n\n".join(part for part in parts if part) + "\n"


def definition(name: str, value: Any, module: str) -> str:
    """The signature, as Sphinx reads it: the search and other projects find the name by it."""
    if symbols.is_alias(value):
        return f"```{{py:type}} {name}\n:module: {module}\n```"
    kind = "class" if isinstance(value, type) else "function"
    return f"```{{py:{kind}}} {name}{signature(value)}\n:module: {module}\n```"


def signature(value: Any) -> str:
    """A signature in one line, annotations and defaults as they are read."""
    found = symbols.signature_of(value)
    if found is None:
        return ""
    parameters = [
        parameter.replace(
            annotation=_Text(symbols.annotation_text(parameter.annotation))
            if parameter.annotation is not parameter.empty
            else parameter.empty,
            default=_Text(symbols.default_text(parameter.default))
            if parameter.default is not parameter.empty
            else parameter.empty,
        )
        for parameter in found.parameters.values()
    ]
    returned = found.return_annotation
    is_told = returned is not found.empty and not isinstance(value, type)
    annotation = _Text(symbols.annotation_text(returned).replace("GradientTransformationExtraArgs", "Transform"))
    annotation = annotation if is_told else found.empty
    return str(found.replace(parameters=parameters, return_annotation=annotation))


class _Text(str):
    """Text that a signature shows as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def arguments_of(value: Any) -> dict[str, bool]:
    """The arguments by name, and whether each is True or False."""
    found = symbols.signature_of(value)
    parameters = found.parameters.items() if found else ()
    return {name: isinstance(parameter.default, bool) for name, parameter in parameters}


def described(name: str, value: Any, said: Docstring) -> list[str]:
    """The first sentence and what else is said, but what is said of memory."""
    body = [part for part in said.body if not part.text.startswith("Memory")]
    return [prose(said.sentence), *written(name, value, said, body)]


def written(name: str, value: Any, said: Docstring, parts: Iterable[Part]) -> list[str]:
    """Parts of a docstring in Markdown."""
    known = {each for block in said.blocks() if not formulas.is_code(block) for each in formulas.assigned(block)}
    found = []
    for part in parts:
        if part.kind == "text":
            found.append(prose(part.text))
        elif part.kind == "list":
            found.append("\n".join(f"- {prose(line[2:])}" for line in part.text.splitlines()))
        elif formulas.is_code(part.text):
            found.append(f"```python\n{part.text}\n```")
        elif rows := table(part.text):
            found.append(rows)
        else:
            try:
                latex = formulas.latex(part.text, arguments_of(value), known)
            except formulas.FormulaError as error:
                raise formulas.FormulaError(error.what, error.line, error.column - 1, name) from None
            found.append(f"```{{math}}\n{latex}\n```")
    return found


def table(block: str) -> str | None:
    """A block whose lines all have as many columns, three or more, as a table; None for another."""
    rows = [re.split(r"\s{2,}", line.strip()) for line in block.splitlines()]
    if len(rows) < 3 or len(rows[0]) < 3 or len({len(row) for row in rows}) > 1 or "<-" in block or "=" in block:
        return None
    head, *rest = [f"| {' | '.join(map(prose, row))} |" for row in rows]
    return "\n".join([head, "| --- " * len(rows[0]) + "|", *rest])


def prose(text: str) -> str:
    """Text of a docstring in Markdown: what is in backticks stays code, arXiv's numbers and addresses become links."""
    return "".join(part if part.startswith("`") else linked(part) for part in _CODE.split(text))


def markdown(text: str) -> str:
    """Text with nothing in it that Markdown reads otherwise."""
    return _SPECIAL.sub(r"\\\1", text)


def linked(text: str) -> str:
    """Text without code, with links."""
    address = re.compile(r"arXiv:(\d{4}\.\d{4,5})|\b((?:github\.com|[\w-]+\.github\.io)/[\w./-]*\w)")
    found, last = "", 0
    for match in address.finditer(text):
        found += markdown(text[last : match.start()])
        url = f"https://arxiv.org/abs/{match[1]}" if match[1] else f"https://{match[2]}"
        found += f"[{markdown(match[0])}]({url})"
        last = match.end()
    return found + markdown(text[last:])


def shown(example: str | None, heading: str = "##") -> list[str]:
    """The example."""
    return [f"{heading} Example", f"```python\n{example.strip()}\n```"] if example else []


def sections(name: str, value: Any, said: Docstring, heading: str = "##") -> list[str]:
    """Arguments, what is returned, errors and the like."""
    found = []
    for key, title in _SECTIONS.items():
        for entries in [said.sections[key]] if key in said.sections else []:
            found += [f"{heading} {title}", *(listed(name, value, said, entry) for entry in entries)]
    return found


def listed(name: str, value: Any, said: Docstring, entry: Entry) -> str:
    """An entry of a section, as an item of a list of definitions."""
    paragraphs = written(name, value, said, entry.parts)
    if not entry.names:
        said_here = "\n\n".join(paragraphs)
        return said_here[0].upper() + said_here[1:]
    term = ", ".join(f"`{each}`" for each in entry.names)
    return f"{term}\n: " + "\n\n".join(paragraphs).replace("\n", "\n  ").replace("\n  \n", "\n\n")


def methods(name: str, value: type) -> list[str]:
    """The methods and properties of a class, each with what it is for."""
    found = []
    for own, member in vars(value).items():
        function = getattr(member, "__func__", member)
        text = inspect.getdoc(getattr(function, "fget", function) if isinstance(member, property) else function)
        is_method = inspect.isroutine(function) or isinstance(member, property)
        if own.startswith("_") or not is_method or not text:
            continue
        kind = "property" if isinstance(member, property) else "method"
        call = "" if isinstance(member, property) else without_self(signature(function))
        said = parse(text)
        found += [
            f"```{{py:{kind}}} {name}.{own}{call}\n:module: gradxform\n```",
            prose(said.sentence),
            *written(name, function, said, said.body),
            *(listed(name, function, said, entry) for entry in said.sections.get("Args", [])),
            *(
                f"*{markdown(_SECTIONS[key])}.*" + " " + listed_in_line(said.sections[key])
                for key in ("Returns", "Raises")
                if key in said.sections
            ),
        ]
    return ["## Methods", *found] if found else []


def listed_in_line(entries: list[Entry]) -> str:
    """Entries as one paragraph."""
    texts = [
        ", ".join(f"`{name}`" for name in entry.names)
        + (": " if entry.names else "")
        + " ".join(prose(part.text) for part in entry.parts)
        for entry in entries
    ]
    return " ".join(texts)


def without_self(call: str) -> str:
    """A signature without its first argument."""
    return re.sub(r"^\((?:self|cls)(?:: [^,)]*)?(?:, )?", "(", call)


def measured(name: str, said: Docstring) -> list[str]:
    """What it keeps from step to step, and for an optimizer the chain that it is."""
    kept = memory.made(name)
    spoken = [part for part in said.body if part.text.startswith("Memory")]
    found = []
    if kept is not None and len(kept.transform.stages) > 1:
        found += ["## The chain that it is", f"```python\n{kept.transform!r}\n```"]
    if kept is not None or spoken:
        words = [prose(part.text.removeprefix("Memory: ")) for part in spoken]
        found += ["## Memory", *([memory.told(kept)] if kept else []), *(word[0].upper() + word[1:] for word in words)]
    return found


def origins(name: str, value: Any, said: Docstring) -> list[str]:
    """The source, the twins elsewhere, and the place in our own source."""
    return ["## Where it is from", *told_origin(said), *place(name, value)]


def told_origin(said: Docstring) -> list[str]:
    """The source and the twins."""
    rows = [f"Source\n: {prose(said.source)}"] if said.source else []
    rows += [f"In {whose}\n: {twin(whose, words)}" for whose, words in said.twins.items()]
    return rows


def twin(whose: str, words: str) -> str:
    """What is said of a counterpart, with its name as code."""
    first = re.match(r"[A-Za-z_][\w.]*\w", words)
    if whose == "optax" and first and not words.startswith("none") and is_of_optax(first[0]):
        return f"`optax.{first[0].removeprefix('optax.')}`" + prose(words[first.end() :])
    parts = re.split(r"(\b(?:torch|torchao|contrib)\.[\w.]*\w)", words)
    return "".join(f"`{part}`" if index % 2 else prose(part) for index, part in enumerate(parts))


def is_of_optax(path: str) -> bool:
    """Whether optax has something of this name."""
    found: Any = optax
    for name in path.removeprefix("optax.").split("."):
        found = getattr(found, name, None)
    return found is not None


def place(name: str, value: Any) -> list[str]:
    """Where it is in our source."""
    where = symbols.place_of(name, value)
    return [f"Source text\n: [{markdown(where.path)}]({symbols.source_url()}/{where.path}#L{where.line})"]


def neighbours(name: str) -> list[str]:
    """The other names of its purpose."""
    group = next(group for group in symbols.groups() if name in group.names)
    others = ", ".join(f"`{other}`" for other in group.names if other != name)
    return ["## Of the same purpose", f"{markdown(group.purpose)}. {others}"] if others else []
