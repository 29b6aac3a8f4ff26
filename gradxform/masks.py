"""Masks and labels by rule: values that say of each parameter what becomes of it, by its path and its shape.

A mask stands wherever a tree of bools or a function that returns one may: `mask=` of an optimizer, `masked`. Masks
combine: `~a` is True where a is not, `a & b` where both are, `a | b` where one is. A path is written `dense/kernel`,
with the index for an item of a list. Unlike functions, masks print, compare, pickle and go to files.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import re
from collections.abc import Mapping
from typing import Any, cast

import jax
import numpy as np

from gradxform.core.record import Record, factory
from gradxform.core.registry import register
from gradxform.core.text import show

# What libraries call these parameters, and the layers of which every parameter is left out.
PARAMETER_WORDS = {"b", "bias", "biases", "beta", "offset", "shift", "gamma", "scale"}
NORM_WORDS = {"norm", "ln", "bn", "gn", "layernorm", "rmsnorm", "batchnorm", "groupnorm", "instancenorm"}


class LeafMask(Record, is_leaf=True):
    """A mask that looks at one leaf after the other."""

    def chooses(self, path: tuple[Any, ...], leaf: Any) -> bool:
        """Whether it is True for the leaf at a path."""
        raise TypeError(f"{type(self).__name__} has no chooses(self, path, leaf)")

    def __call__(self, params: Any) -> Any:
        """The tree of bools for a tree of arrays."""
        return jax.tree.map_with_path(self.chooses, params)

    def __invert__(self) -> LeafMask:
        return Not(self)

    def __and__(self, other: LeafMask) -> LeafMask:
        return And((self, other)) if isinstance(other, LeafMask) else NotImplemented

    def __or__(self, other: LeafMask) -> LeafMask:
        return Or((self, other)) if isinstance(other, LeafMask) else NotImplemented


class Not(LeafMask, is_leaf=True):
    """True where a mask is not: `~mask`."""

    mask: LeafMask

    def check(self) -> None:
        """Raises TypeError for what is no mask by rule."""
        _check_masks(self.call_name, (self.mask,))

    def chooses(self, path: tuple[Any, ...], leaf: Any) -> bool:
        """Whether the mask does not choose the leaf."""
        return not self.mask.chooses(path, leaf)

    def __repr__(self) -> str:
        return f"~{self.mask!r}"


class And(LeafMask, is_leaf=True):
    """True where all of some masks are: `a & b`."""

    masks: tuple[LeafMask, ...]

    def check(self) -> None:
        """Raises TypeError for what are no masks by rule."""
        _check_masks(self.call_name, self.masks)

    def chooses(self, path: tuple[Any, ...], leaf: Any) -> bool:
        """Whether all masks choose the leaf."""
        return all(mask.chooses(path, leaf) for mask in self.masks)

    def __repr__(self) -> str:
        return f"({' & '.join(map(repr, self.masks))})"


class Or(LeafMask, is_leaf=True):
    """True where one of some masks is: `a | b`."""

    masks: tuple[LeafMask, ...]

    def check(self) -> None:
        """Raises TypeError for what are no masks by rule."""
        _check_masks(self.call_name, self.masks)

    def chooses(self, path: tuple[Any, ...], leaf: Any) -> bool:
        """Whether one of the masks chooses the leaf."""
        return any(mask.chooses(path, leaf) for mask in self.masks)

    def __repr__(self) -> str:
        return f"({' | '.join(map(repr, self.masks))})"


for _operator in (Not, And, Or):
    register(_operator, _operator.call_name, _operator)


class ByPath(LeafMask, is_leaf=True):
    """A mask that is True for the parameters whose path matches a pattern.

    `by_path("*/bias")` is every bias within a layer, `by_path("decoder/*")` all of the decoder.

    Args:
      pattern: must match the whole path, case-sensitively: `*` is any characters, slashes too, `?` is one, `[ab]` is
        one of these. Or a tuple of patterns, of which one has to match.
      regex: whether patterns are regular expressions, of the whole path too.

    Raises:
      TypeError: pattern is no string and no tuple of strings.
      ValueError: it is no regular expression.

    optax: none; a function that walks over the paths. torch: none; there parameters are parted into groups by hand.
    """

    pattern: str | tuple[str, ...]
    regex: bool = dataclasses.field(default=False, kw_only=True)

    def check(self) -> None:
        """Raises for patterns that are none."""
        if not self.patterns or not all(isinstance(pattern, str) for pattern in self.patterns):
            raise TypeError(f"by_path: pattern must be a string or a tuple of strings; got {self.pattern!r}")
        for pattern in self.patterns if self.regex else ():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"by_path: {pattern!r} is no regular expression: {error}") from error

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns, of which one has to match."""
        return self.pattern if isinstance(self.pattern, tuple) else (self.pattern,)

    def chooses(self, path: tuple[Any, ...], leaf: Any) -> bool:
        """Whether a pattern matches the path."""
        name = path_name(path)
        matches = re.fullmatch if self.regex else lambda pattern, name: fnmatch.fnmatchcase(name, pattern)
        return any(matches(pattern, name) for pattern in self.patterns)


class ByNdim(LeafMask, is_leaf=True):
    """A mask that is True for the parameters with a number of axes.

    `by_ndim(2)` is every matrix, `by_ndim(at_least=2)` all but vectors and scalars.

    Args:
      ndim: the number of axes. None: as the bounds say.
      at_least, at_most: the smallest and the largest number of axes; one of them, or both.

    Raises:
      TypeError: a number that is no integer, none at all, or ndim together with a bound.

    optax: none; `lambda params: jax.tree.map(lambda p: p.ndim > 1, params)`. torch: none.
    """

    ndim: int | None = None
    at_least: int | None = dataclasses.field(default=None, kw_only=True)
    at_most: int | None = dataclasses.field(default=None, kw_only=True)

    def check(self) -> None:
        """Raises TypeError for numbers that are none."""
        bounds = [bound for bound in (self.at_least, self.at_most) if bound is not None]
        given = bounds if self.ndim is None else [self.ndim]
        if not given or (self.ndim is not None and bounds):
            raise TypeError("by_ndim: expected either a number of axes or bounds, at_least and at_most")
        if not all(isinstance(number, int) and not isinstance(number, bool) for number in given):
            raise TypeError(f"by_ndim: expected integers, got {', '.join(map(show, given))}")

    def chooses(self, path: tuple[Any, ...], leaf: Any) -> bool:
        """Whether the leaf has that many axes."""
        ndim = np.ndim(leaf)
        if self.ndim is not None:
            return ndim == self.ndim
        return (self.at_least is None or ndim >= self.at_least) and (self.at_most is None or ndim <= self.at_most)


class NotBiasesOrNorms(LeafMask, is_leaf=True):
    """A mask that is True for weights and False for biases and for the parameters of normalisation layers.

    False for scalars and vectors, for parameters called bias, b, scale or the like, and for all in layers called norm,
    ln, BatchNorm or the like, however many axes they have: stacked layers keep their vectors as matrices. Names are
    read by words, parted where letters meet other characters or a capital: LayerNorm_0, ln1 and attention_norm are
    norms, normal_map is none.

    Args:
      also: more words, in small letters, anywhere in the path of what is left out, such as ("embedding",).

    Raises:
      TypeError: also is not a tuple of strings.

    optax: none. torch: none; there parameters are parted into groups by hand.
    """

    also: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises TypeError for words that are none."""
        if not isinstance(self.also, tuple) or not all(isinstance(word, str) for word in self.also):
            raise TypeError(f"{self.call_name}: also must be a tuple of strings; got {self.also!r}")

    def chooses(self, path: tuple[Any, ...], leaf: Any) -> bool:
        """Whether the leaf is a weight."""
        is_out = words_of(path) & (NORM_WORDS | set(self.also)) or words_of(path[-1:]) & PARAMETER_WORDS
        return np.ndim(leaf) > 1 and not is_out


class Labels(Record, is_leaf=True):
    """Labels for `partition`: of each parameter that of the first rule that fits it.

        gx.partition({"muon": ..., "adamw": ...}, gx.labels({"*/embedding": "adamw", gx.by_ndim(2): "muon"}, "adamw"))

    Args:
      rules: a dict from patterns, as in `by_path`, or masks by rule to labels; the first that fits counts. In a file,
        a list of pairs.
      default: the label of a parameter that no rule fits. None: that is an error.

    Raises:
      TypeError: a rule that is neither a pattern nor a mask by rule, or a label that is no string.
      ValueError: a parameter that no rule fits, with its path.

    optax: a function that walks over the paths. torch: none; there parameters are parted into groups by hand.
    """

    rules: Mapping[str | LeafMask, str] | tuple[tuple[str | LeafMask, str], ...]
    default: str | None = None

    def __post_init__(self) -> None:
        """Keeps pairs, which have an order."""
        if isinstance(self.rules, Mapping):
            object.__setattr__(self, "rules", tuple(self.rules.items()))
        super().__post_init__()

    def check(self) -> None:
        """Raises TypeError for rules and labels that are none."""
        if not isinstance(self.rules, tuple) or not all(isinstance(p, tuple) and len(p) == 2 for p in self.rules):
            raise TypeError(f"labels: rules must be a dict from patterns or masks to labels; got {show(self.rules)}")
        for rule, _ in self.rules:
            if not isinstance(rule, str | LeafMask):
                raise TypeError(f"labels: a rule must be a pattern or a mask such as by_ndim(2); got {show(rule)}")
        for label in (*(label for _, label in self.rules), *([] if self.default is None else [self.default])):
            if not isinstance(label, str):
                raise TypeError(f"labels: a label must be a string; got {show(label)}")

    def __call__(self, params: Any) -> Any:
        """The tree of labels for a tree of arrays."""
        rules = as_masks(cast(Any, self.rules))

        def label_of(path: tuple[Any, ...], leaf: Any) -> str:
            found = next((label for mask, label in rules if mask.chooses(path, leaf)), self.default)
            if found is None:
                raise ValueError(f"labels: no rule fits the parameter at {path_name(path)!r}, and there is no default")
            return found

        return jax.tree.map_with_path(label_of, params)

    def __repr__(self) -> str:
        rules = ", ".join(f"{rule!r}: {label!r}" for rule, label in cast(Any, self.rules))
        return f"labels({{{rules}}}, default={self.default!r})"


def as_masks(rules: tuple[tuple[str | LeafMask, Any], ...]) -> list[tuple[LeafMask, Any]]:
    """Pairs of a pattern or a mask and what it stands for, with masks for patterns."""
    return [(ByPath(rule) if isinstance(rule, str) else rule, value) for rule, value in rules]


def _check_masks(what: str, masks: Any) -> None:
    if not isinstance(masks, tuple) or not all(isinstance(mask, LeafMask) for mask in masks):
        raise TypeError(f"{what}: expected masks by rule, such as by_path('*/bias'); got {show(masks)}")


def path_name(path: tuple[Any, ...]) -> str:
    """A path as patterns have it: `dense/kernel`."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def words_of(path: Any) -> set[str]:
    """The words of a path in small letters; two that a capital parts are a word together too."""
    words: set[str] = set()
    for key in path:
        name = jax.tree_util.keystr((key,), simple=True)
        for part in re.findall(r"[A-Za-z]+", name):
            words |= {part.lower(), *(word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", part))}
    return words


by_path = factory(ByPath, lambda record: record, ByPath)
by_ndim = factory(ByNdim, lambda record: record, ByNdim)
labels = factory(Labels, lambda record: record, Labels)
not_biases_or_norms = factory(NotBiasesOrNorms, lambda record: record, NotBiasesOrNorms)
