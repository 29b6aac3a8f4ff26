"""What a case of the contract is, and the parameters and gradients that it is tried with.

Of every case the numbers are looked at, against optax's or the formula's, in one program. Of every case that is not
`numbers_alone`, all that compiles nothing is looked at too: errors, text, equality, files. What needs programs of its
own (float32, calls by hand, donated states, traced numbers, trees of every kind) is looked at once for each rule: an
optimizer that is the rule of another case, but for its numbers, with a rate, a decay or both, is left out there. Which
those are is found by comparing values (`cases.DISTINCT`), so that an optimizer that becomes more than that is looked at
again by itself.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gradxform as gx
from gradxform.core.route import Route
from gradxform.storage.kept_params import ParamsKept
from gradxform.storage.offload import Offloaded
from gradxform.storage.stored import Stored

# For the tree of `params` below.
MASK = {"dense": {"kernel": True, "bias": False}, "scale": False}


@dataclasses.dataclass(frozen=True)
class Case:
    """A transform of the contract.

    Attributes:
      name: the public name, and after a colon what is special.
      make: makes the transform.
      optax: makes optax's, if optax has it.
      reference: the updates of a list of gradients by the paper's formula, if optax has it not.
      real_only: whether complex leaves are an error.
      smooth: whether derivatives through it are compared with optax's.
      needs_params: whether `update` must be given the parameters.
      extra: the extra arguments of `update`, by name.
      numbers_alone: whether only its numbers are looked at, as all else is that of another case of its transform.
      batch: how many examples the incoming updates hold in an axis in front; 0 where they have no such axis.
    """

    name: str
    make: Callable[[], gx.Transform]
    optax: Callable[[], Any] | None = None
    reference: Callable[[list[Any]], list[Any]] | None = None
    real_only: bool = False
    smooth: bool = True
    needs_params: bool = False
    extra: dict[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    batch: int = 0
    numbers_alone: bool = False

    @property
    def public_name(self) -> str:
        """The name under which it is found in `gradxform`."""
        return self.name.split(":")[0]

    def gradients(self, steps: int, dtype: Any = np.float32) -> dict[str, Any]:
        """Gradients for `params`, stacked over steps, with the axis of the examples where the case takes one."""
        return gradients(steps, dtype, self.batch)

    @functools.cached_property
    def of_few(self) -> Callable[[Any], Any]:
        """Takes from a tree like `params` the leaves that show the numbers of the case, and no more to compile.

        One matrix for rules that treat each element alone, a matrix and a vector for those that see the whole tree, and
        all of them where a rule looks at the shape of a leaf, a mask names leaves, or a reference has parameters.
        """
        if _masked(self.make()) or (self.reference and self.needs_params):
            return lambda tree: tree
        if any(isinstance(stage.node, gx.TreeRule) for stage in self.make().stages):
            return lambda tree: {"dense": tree["dense"]}
        # Sums, maxima and products over axes.
        if re.search("reduce_|dot_general", self._traced):
            return lambda tree: tree
        return lambda tree: {"dense": {"kernel": tree["dense"]["kernel"]}}

    @functools.cached_property
    def has_roots_and_where(self) -> bool:
        """Whether a choice between numbers may leave out a root or a power whose derivative is infinite.

        Reverse mode multiplies that by 0, which is NaN, where forward mode leaves it out too.
        """
        where = re.search(r":f\d+\[[\d,]*\] = select_n", self._traced)
        return bool(where and re.search(r"= (sqrt|rsqrt|cbrt|pow|log)\b", self._traced))

    @property
    def takes_integers(self) -> bool:
        """Whether the bias of `params` may be of any dtype."""
        return all(_takes_integers(stage.node) for stage in self.make().stages)

    @functools.cached_property
    def _traced(self) -> str:
        """The text of what JAX makes of the first step, in float32 whoever asks."""
        with jax.enable_x64(False):
            tx, first = self.make(), params()
            step = jax.make_jaxpr(lambda grad: tx.update(grad, tx.init(first), first, **self.extra))
            return str(step(at(0, self.gradients(1))))

    def incoming(self, tree: Any) -> Any:
        """A tree like the parameters as what comes in: with `batch`, so many multiples of it."""
        if not self.batch:
            return tree
        sizes = np.linspace(0.5, 1.5, self.batch)
        return jax.tree.map(lambda leaf: jnp.stack([leaf * jnp.asarray(size, leaf.dtype) for size in sizes]), tree)


def same(
    name: str,
    *args: Any,
    variant: str = "",
    real_only: bool = False,
    smooth: bool = True,
    needs_params: bool = False,
    **kwargs: Any,
) -> Case:
    """A case that optax has under the same name with the same arguments."""
    make, theirs = getattr(gx, name), getattr(optax, name)
    return Case(
        f"{name}:{variant}" if variant else name,
        lambda: make(*args, **kwargs),
        optax=lambda: theirs(*args, **kwargs),
        real_only=real_only,
        smooth=smooth,
        needs_params=needs_params,
    )


def rules(tx: gx.Transform, state: Any) -> Iterator[tuple[Any, Any]]:
    """Each rule with its part of the state, also those of the transforms to which a route hands leaves."""
    for stage in tx.stages:
        record = state.stages[stage.name]
        if isinstance(stage.node, Route):
            for label, inner in stage.node.transforms_by_label().items():
                yield from rules(inner, stage.node.states(record)[label])
        elif isinstance(stage.node, ParamsKept):
            yield from rules(stage.node.inner, record.inner_state)
        elif isinstance(stage.node, Stored):
            yield from rules(stage.node.inner, record)
        else:
            yield stage.node, record


def _takes_integers(node: Any) -> bool:
    if isinstance(node, ParamsKept | Stored | Offloaded):
        return all(_takes_integers(stage.node) for stage in node.inner.stages)
    if not isinstance(node, Route):
        return node.any_dtype
    leaves, structure = jax.tree.flatten(params())
    # The bias is the first leaf.
    inner = node.transforms_by_label().get(node.labels_of(structure, leaves)[0])
    return inner is None or all(_takes_integers(stage.node) for stage in inner.stages)


def _masked(tx: gx.Transform) -> bool:
    """Whether a mask of a rule names leaves, or labels part them."""
    by_group = ("freeze", "scale_by_group")
    if any(isinstance(stage.node, Route) or stage.node.call_name in by_group for stage in tx.stages):
        return True
    fields = [(stage.node, name, role) for stage in tx.stages for name, role in stage.node.roles.items()]
    masks = [getattr(node, name) for node, name, role in fields if role in (gx.Mask, gx.DecayMask)]
    return any(mask is not None and not callable(mask) for mask in masks)


def warm_up(step: Any) -> Any:
    """A schedule that is a plain function."""
    return 0.01 * (step + 1)


def total(tree: Any) -> Any:
    """A measurement that is a plain function, of trees of any kind."""
    return sum((jnp.sum(jnp.abs(leaf)) for leaf in jax.tree.leaves(tree)), 0.0)


def often(step: Any, **extra: Any) -> Any:
    """A condition that is a plain function: two steps of three."""
    return step % 3 > 0


def halved(updates: Any, params: Any) -> Any:
    """A function of trees or of leaves, of whatever kind."""
    return jax.tree.map(lambda update: update / 2, updates)


def params(dtype: Any = np.float32) -> dict[str, Any]:
    """A small tree: a matrix, a vector and a scalar, none at 0."""
    rng = np.random.default_rng(0)
    leaves = {"dense": {"kernel": _values(rng, (4, 3), dtype), "bias": _values(rng, (3,), dtype)}}
    return {**leaves, "scale": _values(rng, (), dtype)}


@functools.cache
def gradients(steps: int, dtype: Any = np.float32, batch: int = 0) -> dict[str, Any]:
    """Gradients for `params`, stacked over steps, and over examples if any, of sizes that change with both.

    They are numbers of float32, so that those of wider dtypes are the same.
    """
    rng = np.random.default_rng(1)
    front = (steps, batch) if batch else (steps,)

    def leaf(like: jax.Array) -> jax.Array:
        sizes = np.exp(rng.uniform(-2, 1, front + (1,) * like.ndim))
        return _cast(sizes * _normal(rng, (*front, *like.shape), dtype), dtype)

    return jax.tree.map(leaf, params(dtype))


def at(step: int, stacked: Any) -> Any:
    """The gradients of one step."""
    return jax.tree.map(lambda leaf: leaf[step], stacked)


def _normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
    values = rng.standard_normal(shape)
    return values + 1j * rng.standard_normal(shape) if jnp.issubdtype(dtype, jnp.complexfloating) else values


def _values(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    return _cast(_normal(rng, shape, dtype), dtype)


def _cast(values: Any, dtype: Any) -> jax.Array:
    """An array in a dtype, of numbers that float32 has."""
    return jnp.asarray(np.asarray(values, np.complex64 if np.iscomplexobj(values) else np.float32)).astype(dtype)
