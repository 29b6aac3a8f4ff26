"""The list: every transform, how it is made, and what it is held against."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gradxform as gx
from tests.contract import references

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
    """

    name: str
    make: Callable[[], gx.Transform]
    optax: Callable[[], Any] | None = None
    reference: Callable[[list[Any]], list[Any]] | None = None
    real_only: bool = False
    smooth: bool = True

    @property
    def public_name(self) -> str:
        """The name under which it is found in `gradxform`."""
        return self.name.split(":")[0]


def same(name: str, *args: Any, variant: str = "", real_only: bool = False, smooth: bool = True, **kwargs: Any) -> Case:
    """A case that optax has under the same name with the same arguments."""
    make, theirs = getattr(gx, name), getattr(optax, name)
    return Case(
        f"{name}:{variant}" if variant else name,
        lambda: make(*args, **kwargs),
        optax=lambda: theirs(*args, **kwargs),
        real_only=real_only,
        smooth=smooth,
    )


def warm_up(step: Any) -> Any:
    """A schedule that is a plain function."""
    return 0.01 * (step + 1)


ADAM = {"b1": 0.8, "b2": 0.95, "eps": 1e-6}

CASES = [
    same("trace", 0.9),
    same("trace", 0.9, nesterov=True, variant="nesterov"),
    Case("trace:dampening", lambda: gx.trace(0.9, dampening=0.3), reference=references.heavy_ball(0.9, 0.3)),
    Case("velocity", lambda: gx.velocity(0.1, 0.9), reference=references.velocity(0.1, 0.9)),
    Case("velocity:nesterov", lambda: gx.velocity(0.1, 0.9, True), reference=references.velocity(0.1, 0.9, True)),
    same("ema", 0.9),
    same("ema", 0.9, debias=False, variant="plain"),
    same("scale_by_adam", eps_root=1e-8),
    same("scale_by_adam", **ADAM, nesterov=True, variant="nesterov"),
    Case("scale_by_nadam", gx.scale_by_nadam, reference=references.nadam(0.9, 0.999, 1e-8, 4e-3)),
    same("scale_by_rms"),
    same("scale_by_rms", eps_in_sqrt=False, bias_correction=True, initial_scale=0.1, variant="corrected"),
    same("scale_by_stddev", eps=1e-4),
    same("scale_by_stddev", eps=1e-4, eps_in_sqrt=False, initial_scale=0.1, bias_correction=True, variant="corrected"),
    same("scale_by_rss"),
    Case(
        "scale_by_rss:eps outside",
        lambda: gx.scale_by_rss(0.0, 1e-8, eps_in_sqrt=False),
        reference=references.adagrad(0.0, 1e-8),
    ),
    same("scale_by_sign"),
    same("scale", -0.3),
    same("scale_by_learning_rate", 0.1),
    same("scale_by_learning_rate", warm_up, flip_sign=False, variant="schedule"),
    same("scale_by_learning_rate", None, variant="none"),
    same("scale_by_schedule", warm_up),
    same("add_decayed_weights", 0.1),
    same("add_decayed_weights", warm_up, MASK, variant="mask"),
    same("identity"),
    same("set_to_zero"),
    same("clip", 0.5, real_only=True),
    Case("clip_by_norm", lambda: gx.clip_by_norm(0.5), reference=references.clip_by_leaf_norm(0.5)),
    Case(
        "clip_by_norm:max",
        lambda: gx.clip_by_norm(0.5, ord=np.inf),
        reference=references.clip_by_leaf_norm(0.5, np.inf),
    ),
    same("clip_by_global_norm", 0.5),
    *(
        Case(
            f"clip_by_global_norm:order {ord}",
            lambda ord=ord: gx.clip_by_global_norm(0.5, ord=ord),
            reference=references.clip_by_joint_norm(0.5, ord),
        )
        for ord in (1, 3, np.inf)
    ),
    Case("normalize_by_global_norm", gx.normalize_by_global_norm, reference=references.normalize(1.0)),
    same("clip_by_block_rms", 0.2),
    same("adaptive_grad_clip", 0.1),
    same("zero_nans"),
    same("sgd", 0.1),
    same("sgd", warm_up, momentum=0.9, variant="momentum"),
    same("sgd", 0.1, momentum=0.9, nesterov=True, variant="nesterov"),
    same("adam", 0.1, eps_root=1e-8),
    same("adamw", warm_up, weight_decay=0.1, mask=MASK, eps_root=1e-8),
    same("nadam", 0.1, eps_root=1e-8),
    Case(
        "nadam:torch",
        lambda: gx.chain(gx.nadam(1.0, momentum_decay=4e-3), gx.scale(-1.0)),
        reference=references.nadam(0.9, 0.999, 1e-8, 4e-3),
    ),
    same("nadamw", 0.1, eps_root=1e-8),
    same("rmsprop", 0.1),
    same("rmsprop", 0.1, centered=True, eps=1e-4, momentum=0.9, nesterov=True, variant="centered"),
    same("adagrad", 0.1),
    Case(
        "chain",
        lambda: gx.chain(gx.clip_by_global_norm(0.5), gx.adamw(warm_up, eps_root=1e-8)),
        optax=lambda: optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(warm_up, eps_root=1e-8)),
    ),
    Case(
        "named_chain",
        lambda: gx.named_chain(("clip", gx.clip_by_block_rms(0.3)), ("descend", gx.adam(0.1, eps_root=1e-8))),
        optax=lambda: optax.chain(optax.clip_by_block_rms(0.3), optax.adam(0.1, eps_root=1e-8)),
    ),
]


def params(dtype: Any = np.float32) -> dict[str, Any]:
    """A small tree: a matrix, a vector and a scalar, none at 0."""
    rng = np.random.default_rng(0)
    leaves = {"dense": {"kernel": _values(rng, (4, 3), dtype), "bias": _values(rng, (3,), dtype)}}
    return {**leaves, "scale": _values(rng, (), dtype)}


def gradients(steps: int, dtype: Any = np.float32) -> dict[str, Any]:
    """Gradients for `params`, stacked over steps, of sizes that change from step to step."""
    rng = np.random.default_rng(1)

    def leaf(like: jax.Array) -> jax.Array:
        sizes = np.exp(rng.uniform(-2, 1, (steps,) + (1,) * like.ndim))
        values = sizes * _normal(rng, (steps, *like.shape), dtype)
        return jnp.asarray(values.astype(np.complex128 if np.iscomplexobj(values) else np.float64)).astype(dtype)

    return jax.tree.map(leaf, params(dtype))


def at(step: int, stacked: Any) -> Any:
    """The gradients of one step."""
    return jax.tree.map(lambda leaf: leaf[step], stacked)


def _normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
    values = rng.standard_normal(shape)
    return values + 1j * rng.standard_normal(shape) if jnp.issubdtype(dtype, jnp.complexfloating) else values


def _values(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    return jnp.asarray(_normal(rng, shape, dtype)).astype(dtype)
