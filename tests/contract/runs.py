"""The runs of each case that several tests look at: each is made once a process, of few programs."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gradxform as gx
from tests.contract.case import Case, at, params
from tests.contract.cases import is_differentiated_forwards

STEPS = 100
# As many as are done by hand, to hold compiled ones against.
BY_HAND = 4
# False where no test of derivatives is to be run, as on a second Python: they are a third of what there is to compile.
derivatives_are_asked_for = True


class Run(NamedTuple):
    """What a run returns, each with the steps in an axis in front."""

    updates: Any
    params: Any
    state: Any


def steps(tx: Any, first: Any, grads: Any, extra: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Updates, parameters and states after each step of a scan, in which the updates are added as they are."""

    def step(carry: Any, grad: Any) -> Any:
        params, state = carry
        updates, state = tx.update(grad, state, params, **extra)
        params = jax.tree.map(lambda p, u: p + u.astype(p.dtype), params, updates)
        return (params, state), (updates, params, state)

    return jax.lax.scan(step, (first, tx.init(first)), grads)[1]


def given(case: Case, dtype: Any = np.float32) -> tuple[Any, Any]:
    """The parameters and the gradients, stacked over steps, with which a case is run."""
    return case.of_few(params(dtype)), case.of_few(case.gradients(STEPS, dtype))


def streams(case: Case) -> tuple[Any, Any]:
    """Two runs, stacked: that of `given`, and another from other parameters through other gradients."""
    first, grads = given(case)
    others = jax.tree.map(jnp.negative, first), jax.tree.map(lambda leaf: leaf[::-1] * 1.5, grads)
    stacked: Any = jax.tree.map(lambda a, b: jnp.stack([a, b]), (first, grads), others)
    return stacked


class Exact(NamedTuple):
    """Updates and parameters of 100 steps in float64: ours, and optax's if it has the case.

    `ours_moved` and `theirs_moved` are their derivatives along one direction, where a test asks for derivatives and
    they are to be compared in forward mode.
    """

    ours: Any
    theirs: Any
    ours_moved: Any = None
    theirs_moved: Any = None


@functools.cache
def exactly(case: Case) -> Exact:
    """100 steps in float64, ours and optax's, and their derivatives, in one program."""
    is_moved = derivatives_are_asked_for and is_differentiated_forwards(case)

    def both(rate: Any, first: Any, grads: Any) -> tuple[Any, Any]:
        if not is_moved:
            rate = None
        ours = steps(_with_rate(gx, case.make(), rate), first, grads, case.extra)[:2]
        if case.optax is None:
            return ours, None
        with jax.numpy_dtype_promotion("standard"):
            return ours, steps(_with_rate(optax, case.optax(), rate), first, grads, case.extra)[:2]

    def both_moved(*given: Any) -> tuple[Any, ...]:
        # A direction in which everything moves by something else.
        values, moved = jax.jvp(both, given, jax.tree.map(jnp.cos, given))
        return *values, *moved

    with jax.enable_x64(True):
        # Downhill at this rate is what the updates are.
        run = jax.jit(both_moved if is_moved else both)
        return _numpy(Exact(*run(jnp.asarray(-1.0), *given(case, np.float64))))


def _with_rate(library: Any, tx: Any, rate: Any) -> Any:
    return tx if rate is None else library.chain(tx, library.scale_by_learning_rate(rate))


@functools.cache
def compiled(case: Case) -> Run:
    """100 steps in float32 on two streams of gradients at once: `vmap` of a scan, inside `jit`."""
    runs = jax.vmap(lambda first, grads: steps(case.make(), first, grads, case.extra))
    return _numpy(Run(*jax.jit(runs)(*streams(case))))


@functools.cache
def reusing(case: Case) -> Any:
    """A compiled step that takes the transform too, and into whose outcome parameters and state are donated."""

    def step(tx: Any, params: Any, state: Any, grad: Any) -> tuple[Any, Any, Any]:
        updates, state = tx.update(grad, state, params, **case.extra)
        return gx.apply_updates(params, updates), state, updates

    return jax.jit(step, donate_argnums=(1, 2))


@functools.cache
def by_hand(case: Case) -> tuple[Any, Run]:
    """The first state, and the first steps of both streams, one call after the other outside of `jit`."""
    tx, runs = case.make(), []
    first, grads = streams(case)
    for stream in range(2):
        params, ahead = at(stream, first), at(stream, grads)
        start = state = tx.init(params)
        done = []
        for i in range(BY_HAND):
            updates, state = tx.update(at(i, ahead), state, params, **case.extra)
            params = jax.tree.map(lambda p, u: p + u.astype(p.dtype), params, updates)
            done.append(Run(updates, params, state))
        runs.append(jax.tree.map(lambda *leaves: np.stack(leaves), *done))
    return _numpy(start), jax.tree.map(lambda *leaves: np.stack(leaves), *runs)


def _numpy(tree: Any) -> Any:
    return jax.tree.map(np.asarray, tree)
