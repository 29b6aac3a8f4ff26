"""Masks: values that say of each parameter whether a rule treats it, by its name and its shape."""

from __future__ import annotations

import re
from typing import Any

import jax

from gradxform.core.record import Record, factory

# What libraries call these parameters, and the layers of which every parameter is left out.
_PARAMETERS = {"b", "bias", "biases", "beta", "offset", "shift", "gamma", "scale"}
_LAYERS = {"norm", "ln", "bn", "gn", "layernorm", "rmsnorm", "batchnorm", "groupnorm", "instancenorm"}


class NotBiasesOrNorms(Record, is_leaf=True):
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

    def __call__(self, params: Any) -> Any:
        """The tree of bools for a tree of arrays."""
        layers = _LAYERS | set(self.also)
        return jax.tree.map_with_path(
            lambda path, leaf: leaf.ndim > 1 and not (_words(path) & layers or _words(path[-1:]) & _PARAMETERS),
            params,
        )


def _words(path: Any) -> set[str]:
    """The words of a path in small letters; two that a capital parts are a word together too."""
    words: set[str] = set()
    for key in path:
        name = jax.tree_util.keystr((key,), simple=True)
        for part in re.findall(r"[A-Za-z]+", name):
            words |= {part.lower(), *(word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", part))}
    return words


not_biases_or_norms = factory(NotBiasesOrNorms, lambda record: record, NotBiasesOrNorms)
