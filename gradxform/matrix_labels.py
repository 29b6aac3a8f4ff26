"""Which parameters are matrices, and along which axes: labels and axes by rule, as values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, cast

import jax
import numpy as np

from gradxform.core.fields import WeightAxes
from gradxform.core.matrix_axes import MatrixAxes, as_ours, axes_labels, is_axes
from gradxform.core.record import Record, factory
from gradxform.core.registry import register
from gradxform.core.text import show, written_call
from gradxform.masks import NORM_WORDS, PARAMETER_WORDS, ByPath, LeafMask, as_masks, path_name, words_of

_EMBEDDINGS = {
    "embed",
    "embedder",
    "embedding",
    "embeddings",
    "emb",
    "embs",
    "wte",
    "wpe",
    "wtpe",
    "vocab",
    "vocabulary",
}
_HEADS = {"unembed", "unembedding", "unembedder", "logit", "logits", "classifier", "lmhead"}
# A head is one on its own and as lm_head, but not in MultiHeadAttention, head_dim or per_head.
_NO_HEADS = {"multi", "attn", "attention", "dim", "per", "multihead"}
_ATTENTION = {"attn", "attention", "selfattention", "crossattention", "mha", "gqa", "mqa"}
_INPUTS = {"query", "key", "value", "q", "k", "v", "qkv", "kv"}
_OUTPUTS = {"out", "output", "o", "proj"}
_CONVOLUTIONS = {"conv", "convolution", "convolutional"}


class LabelsByAxes(Record, is_leaf=True):
    """Labels for `partition`: one for the parameters that have matrix axes, another for all others.

    Args:
      weight_dimension_numbers: as in `scale_by_muon`, with None for what is no matrix. None: matrices are what has two
        axes.
      matrices, rest: the labels.

    Raises:
      TypeError, ValueError: as `scale_by_muon`, when called.

    optax: inside contrib.muon. torch: none; there parameters are parted into groups by hand.
    """

    weight_dimension_numbers: WeightAxes | None = None
    matrices: str = "matrices"
    rest: str = "rest"

    def __call__(self, params: Any) -> Any:
        """The tree of labels for a tree of arrays."""
        return axes_labels(self.call_name, self.weight_dimension_numbers, params, self.matrices, self.rest)


class AxesByRule(Record, is_leaf=True):
    """Matrix axes by rule: of each parameter those of the first rule that fits it.

        axes = gx.matrix_axes({"*/query/kernel": gx.MatrixAxes(0, (1, 2))}, gx.MatrixAxes())
        gx.scale_by_muon(weight_dimension_numbers=axes)

    It is a function of the parameters, and stands wherever `weight_dimension_numbers` may.

    Args:
      rules: a dict from patterns, as in `by_path`, or masks by rule to `MatrixAxes`, MuonDimensionNumbers or None, for
        what is no matrix; the first that fits counts. In a file, a list of pairs.
      default: the axes of a parameter that no rule fits. None: it is no matrix.

    Raises:
      TypeError: a rule that is neither a pattern nor a mask by rule, or axes that are none.

    optax: a function that walks over the paths. torch: none.
    """

    call_name = "matrix_axes"

    rules: Mapping[str | LeafMask, Any] | tuple[tuple[str | LeafMask, Any], ...]
    default: Any = None

    def __post_init__(self) -> None:
        """Keeps pairs, which have an order, and MatrixAxes."""
        object.__setattr__(self, "rules", _pairs(self.rules))
        object.__setattr__(self, "default", as_ours(self.default))
        super().__post_init__()

    def check(self) -> None:
        """Raises TypeError for rules and axes that are none."""
        _check_rules(self.call_name, "rules", self.rules)
        _check_axes(self.call_name, self.default)

    def __call__(self, params: Any) -> Any:
        """The tree of axes for a tree of arrays, with None for what is no matrix."""
        rules = as_masks(cast(Any, self.rules))
        return jax.tree.map_with_path(lambda path, leaf: _first(rules, path, leaf, self.default), params)

    def __repr__(self) -> str:
        rules = ", ".join(f"{rule!r}: {axes!r}" for rule, axes in cast(Any, self.rules))
        return f"matrix_axes({{{rules}}}, default={self.default!r})"


class _ByWords(Record, is_leaf=True):
    """The choice of hidden matrices, by the words of their paths and their shapes."""

    call_name: ClassVar[str]

    also: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)
    hidden: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)

    def check(self) -> None:
        """Raises TypeError for words and patterns that are none."""
        for name in ("also", "hidden"):
            words = getattr(self, name)
            if not isinstance(words, tuple) or not all(isinstance(word, str) for word in words):
                raise TypeError(f"{self.call_name}: {name} must be a tuple of strings; got {show(words)}")

    def kind(self, path: tuple[Any, ...], leaf: Any) -> str:
        """What the leaf at a path is: "hidden", "embeddings", "heads" or "vectors"."""
        shape, words = np.shape(leaf), words_of(path)
        # A single row or column is a vector, as a token that is learned is.
        if len(shape) < 2 or min(shape[-2:]) == 1:
            return "vectors"
        if _named(self.hidden, path, words):
            return "hidden"
        if words_of(path[-1:]) & PARAMETER_WORDS or words & NORM_WORDS:
            return "vectors"
        if words & _HEADS or any("head" in key and not key & _NO_HEADS for key in map(_words, _keys(path))):
            return "heads"
        if words & _EMBEDDINGS:
            return "embeddings"
        return "heads" if _named(self.also, path, words) else "hidden"

    def chooses(self, path: tuple[Any, ...], leaf: Any) -> bool:
        """Whether the leaf at a path is a hidden matrix."""
        return self.kind(path, leaf) == "hidden"

    def __repr__(self) -> str:
        shown = [f"{name}={show(value)}" for name, value in self.fields().items() if value not in ((), None)]
        return written_call(self.call_name, shown) if shown else self.call_name


class MatricesAndRest(_ByWords, is_leaf=True):
    """Labels for `partition`: "matrices" for hidden matrices, "rest" for embeddings, heads, norms and biases.

        muon = gx.muon(0.02, muon_weight_dimension_numbers=gx.MatrixAxes())
        gx.partition({"matrices": muon, "rest": gx.adamw(3e-4)}, gx.matrices_and_rest)

    Hidden matrices are the weights of two axes or more, in both of whose last two there is more than one element, but

    - what is called bias, b, scale or the like, and all in layers called norm, ln or the like, as in
      `not_biases_or_norms`;
    - all in layers called embed, embedding, emb, wte, wpe, vocab;
    - all in layers called head, lm_head, unembed, logits, classifier. A head is none of attention's: heads and
      MultiHeadAttention are no such words.

    Names are read by words, parted where letters meet other characters or a capital, and Haiku's at each slash.
    `gx.describe(tx, params)` lists what was chosen.

    Args:
      params: the tree of parameters, or of their shapes. None: no labels are made, but such a function of the
        parameters, with options: `gx.matrices_and_rest(also=("router",))`.
      also: more words, in small letters, of what belongs to the rest; with a `*` or a slash, a pattern of the whole
        path, as in `by_path`.
      hidden: words or patterns of matrices that are hidden ones, whatever else is said of them.

    Returns:
      The tree of labels, or the function.

    Jordan et al. 2024, kellerjordan.github.io/posts/muon: embeddings, heads and vectors are for AdamW. optax: none;
    contrib.muon takes all that has two axes. torch: none; parameters are parted into groups by hand.
    """

    call_name = "matrices_and_rest"

    def __call__(
        self, params: Any = None, *, also: tuple[str, ...] | None = None, hidden: tuple[str, ...] | None = None
    ) -> Any:
        """The tree of labels for a tree of arrays; without one the same with other options."""
        rule = _with(self, also=also, hidden=hidden)
        if params is None:
            return rule
        return jax.tree.map_with_path(lambda *leaf: "matrices" if rule.chooses(*leaf) else "rest", params)


class LayerKinds(_ByWords, is_leaf=True):
    """Labels for `partition` by the kind of layer: "hidden", "embeddings", "heads" and "vectors".

        gx.partition({"hidden": ..., "embeddings": ..., "heads": ..., "vectors": ...}, gx.layer_kinds)

    Hidden are the matrices that `matrices_and_rest` calls so, and by the same words embeddings and heads; vectors are
    norms, biases and all else. A head that is tied to an embedding is an embedding.

    Args:
      params: as in `matrices_and_rest`.
      also: more words or patterns, of heads.
      hidden: as in `matrices_and_rest`.

    Returns:
      The tree of labels, or the function.

    Pethick et al. 2025, arXiv:2502.07529: a norm for each kind of layer. optax: none. torch: none; parameters are
    parted into groups by hand.
    """

    call_name = "layer_kinds"

    def __call__(
        self, params: Any = None, *, also: tuple[str, ...] | None = None, hidden: tuple[str, ...] | None = None
    ) -> Any:
        """The tree of labels for a tree of arrays; without one the same with other options."""
        rule = _with(self, also=also, hidden=hidden)
        return rule if params is None else jax.tree.map_with_path(rule.kind, params)


class HiddenMatrices(_ByWords, is_leaf=True):
    """Matrix axes of the hidden matrices that `matrices_and_rest` chooses, and None for the rest.

        gx.muon(0.02, muon_weight_dimension_numbers=gx.hidden_matrices)

    Of a weight with two axes or more the last two are rows (inputs) and columns (outputs), all others count matrices:
    MatrixAxes(). In Equinox weights are (out, in): `gx.hidden_matrices(axes=gx.MatrixAxes(-1, -2))`. The queries, keys
    and values of attention (in, heads, depth), and its outputs (heads, depth, out), are one matrix each where sizes
    tell that there are heads, in = heads depth or heads depth = out.

    Args:
      params: the tree of parameters, or of their shapes. None: no axes are made, but such a function of the
        parameters, with options.
      also, hidden: as in `matrices_and_rest`.
      axes: other axes than these: `MatrixAxes` for all, or a dict from patterns or masks to axes, of which the first
        that fits counts, as in `matrix_axes`.

    Returns:
      The tree of axes, or the function.

    Raises:
      ValueError: a leaf of attention, or of a convolution, with three axes or more whose sizes do not show which axes
        count matrices, with its path; `axes` must say so.

    optax: none; a function that returns MuonDimensionNumbers. torch: none.
    """

    call_name = "hidden_matrices"

    axes: Any = dataclasses.field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Keeps pairs, which have an order, and MatrixAxes."""
        given = self.axes
        object.__setattr__(self, "axes", as_ours(given) if given is None or is_axes(given) else _pairs(given))
        super().__post_init__()

    def check(self) -> None:
        """Raises TypeError for words, patterns and axes that are none."""
        super().check()
        if not isinstance(self.axes, MatrixAxes):
            _check_rules(self.call_name, "axes", self.axes)

    def __call__(
        self,
        params: Any = None,
        *,
        also: tuple[str, ...] | None = None,
        hidden: tuple[str, ...] | None = None,
        axes: Any = None,
    ) -> Any:
        """The tree of axes for a tree of arrays; without one the same with other options."""
        rule = _with(self, also=also, hidden=hidden, axes=axes)
        if params is None:
            return rule
        one = rule.axes if isinstance(rule.axes, MatrixAxes) else None
        rules = [] if one else as_masks(cast(Any, rule.axes))

        def axes_of(path: tuple[Any, ...], leaf: Any) -> MatrixAxes | None:
            if not rule.chooses(path, leaf):
                return None
            return one or _first(rules, path, leaf, None) or _usual_axes(path, np.shape(leaf))

        return jax.tree.map_with_path(axes_of, params)


def _usual_axes(path: tuple[Any, ...], shape: tuple[int, ...]) -> MatrixAxes:
    """(..., in, out), or what an attention's kernel has. ValueError for what may be one as well as another."""
    words = words_of(path)
    if len(shape) < 3:
        return MatrixAxes()
    near = set[str]().union(*map(_words, _keys(path)[-3:]))
    if words & _ATTENTION and near & (_INPUTS | _OUTPUTS):
        if near & _INPUTS and shape[-3] == shape[-2] * shape[-1]:
            return MatrixAxes(-3, (-2, -1))
        if near & _OUTPUTS and shape[-1] == shape[-3] * shape[-2]:
            return MatrixAxes((-3, -2), -1)
        likely = "MatrixAxes(0, (1, 2)) for (in, heads, depth), MatrixAxes() for stacked layers (layers, in, out)"
    elif words & _CONVOLUTIONS:
        likely = f"MatrixAxes({tuple(range(len(shape) - 1))}, {len(shape) - 1}) for (..., in, out) as one matrix"
    else:
        return MatrixAxes()
    raise ValueError(
        f"hidden_matrices: of the leaf at {path_name(path)!r}, of shape {shape}, it must be told which axes are rows "
        f"and columns, as hidden_matrices(axes={{{path_name(path)!r}: ...}}): {likely}"
    )


def _with(rule: Any, **options: Any) -> Any:
    """A rule with those options that are told."""
    return rule.with_parts(**told) if (told := {k: v for k, v in options.items() if v is not None}) else rule


def _named(names: Iterable[str], path: tuple[Any, ...], words: set[str]) -> bool:
    """Whether one of some words, or patterns of a whole path, fits."""
    patterns = tuple(name for name in names if "*" in name or "/" in name)
    return bool(words.intersection(names)) or bool(patterns and ByPath(patterns).chooses(path, None))


def _keys(path: tuple[Any, ...]) -> list[str]:
    return path_name(path).split("/")


def _words(key: str) -> set[str]:
    return words_of((jax.tree_util.DictKey(key),))


def _pairs(rules: Any) -> Any:
    pairs = tuple(rules.items()) if isinstance(rules, Mapping) else rules
    are_pairs = isinstance(pairs, tuple) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs)
    return tuple((rule, as_ours(axes)) for rule, axes in pairs) if are_pairs else pairs


def _check_rules(who: str, name: str, rules: Any) -> None:
    if not isinstance(rules, tuple) or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in rules):
        raise TypeError(f"{who}: {name} must be a dict from patterns or masks to axes; got {show(rules)}")
    for rule, axes in rules:
        if not isinstance(rule, str | LeafMask):
            raise TypeError(f"{who}: a rule must be a pattern or a mask such as by_ndim(2); got {show(rule)}")
        _check_axes(who, axes)


def _check_axes(who: str, axes: Any) -> None:
    if not is_axes(axes):
        raise TypeError(f"{who}: axes must be MatrixAxes, MuonDimensionNumbers or None; got {show(axes)}")


def _first(rules: list[tuple[LeafMask, Any]], path: tuple[Any, ...], leaf: Any, default: Any) -> Any:
    return next((axes for mask, axes in rules if mask.chooses(path, leaf)), default)


labels_by_axes = factory(LabelsByAxes, lambda record: record, LabelsByAxes)
matrix_axes = factory(AxesByRule, lambda record: record, AxesByRule)
matrices_and_rest = MatricesAndRest()
hidden_matrices = HiddenMatrices()
layer_kinds = LayerKinds()
register(MatricesAndRest, "matrices_and_rest", MatricesAndRest)
register(HiddenMatrices, "hidden_matrices", HiddenMatrices)
register(LayerKinds, "layer_kinds", LayerKinds)
