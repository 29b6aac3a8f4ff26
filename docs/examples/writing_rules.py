"""What a rule of your own is made of."""

# %% transform
import gradxform as gx


@gx.transform
class ScaleByHalf(gx.LeafRule):
    def update(self, grad, slots, leaf):
        return grad / 2, slots

# %% LeafRule
import jax.numpy as jnp
import gradxform as gx


class ScaleBySoftSign(gx.LeafRule):
    eps: gx.Positive = 1e-3

    def update(self, grad, slots, leaf):
        return grad / (jnp.abs(grad) + self.eps), slots

# %% TreeRule
import gradxform as gx


@gx.transform
class AddMean(gx.TreeRule):
    def update(self, updates, slots, tree):
        return tree.map(lambda g: g - tree.sum(updates) / tree.size(updates), updates), slots

# %% TreeScaleRule
import gradxform as gx


@gx.transform
class DivideByNorm(gx.TreeScaleRule):
    def factor(self, updates, slots, tree):
        return 1 / tree.norm(updates), slots

# %% MatrixRule
import jax.numpy as jnp
import gradxform as gx


@gx.transform
class ScaleByFrobenius(gx.MatrixRule):
    def update(self, grad, slots, matrix):
        return grad / jnp.linalg.norm(grad, axis=(-2, -1), keepdims=True), slots
