"""program reads what the `jit` of Equinox and of Flax compile."""

import equinox as eqx
import jax
import jax.numpy as jnp
from flax import nnx

import gradxform as gx


def test_of_an_equinox_model():
    @eqx.filter_jit(donate="all")
    def halve(model):
        return jax.tree.map(lambda leaf: leaf / 2 if eqx.is_array(leaf) else leaf, model)

    found = gx.program(halve, eqx.nn.Linear(3, 2, key=jax.random.key(0)))
    assert len(found.donated) == 2
    assert found.wasted == found.copies == ()


def test_of_a_step_of_nnx():
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, gx.sgd(0.1, 0.9), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer, x):
        optimizer.update(model, nnx.grad(lambda model: jnp.sum(model(x) ** 2))(model))

    found = gx.program(step, model, optimizer, jnp.ones((1, 3)))
    assert {each.path.split("[")[0].split(".")[0] for each in found.kept} == {"model", "optimizer", "x"}
    assert found.bytes > 0
