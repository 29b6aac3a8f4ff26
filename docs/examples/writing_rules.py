"""What a rule of your own is made of."""

# %% transform
import gradxform as gx


@gx.transform
class ScaleByHalf(gx.LeafRule):
    def update(self, grad, slots, leaf):
        return grad / 2, slots


# %% LeafRule
import gradxform as gx


class ScaleByParam(gx.LeafRule):
    def update(self, grad, slots, leaf):
        return abs(leaf.param) * grad, slots


tx = gx.chain(gx.transform(ScaleByParam)(), gx.sgd(0.1))
print(tx.step({"w": 1.0}, tx.init({"w": 2.0}), {"w": 2.0})[0])

# %% TreeRule
import gradxform as gx


class CentralizeTree(gx.TreeRule):
    def update(self, updates, slots, tree):
        return tree.map(lambda g: g - tree.sum(updates) / tree.size(updates), updates), slots


tx = gx.transform(CentralizeTree)()
print(tx.update({"w": 1.0, "b": 3.0}, tx.init({"w": 0.0, "b": 0.0}))[0])

# %% TreeScaleRule
import gradxform as gx


class DivideByNorm(gx.TreeScaleRule):
    def factor(self, updates, slots, tree):
        return 1 / (tree.norm(updates) + 1e-8), slots


tx = gx.transform(DivideByNorm)()
print(tx.update({"w": 3.0, "b": 4.0}, tx.init({"w": 0.0, "b": 0.0}))[0])

# %% MatrixRule
import jax.numpy as jnp

import gradxform as gx


class ScaleByGram(gx.MatrixRule):
    def update(self, grad, slots, matrix):
        return -0.1 * grad @ grad.mT @ grad, slots


print(gx.descend(lambda x: jnp.sum(x**2), jnp.eye(2), gx.transform(ScaleByGram)(), 1).path[-1])

# %% Slot
import gradxform as gx


class Momentum(gx.LeafRule):
    total = gx.Slot()

    def update(self, grad, slots, leaf):
        return 0.9 * slots.total + grad, slots._replace(total=0.9 * slots.total + grad)


print(gx.transform(Momentum)().init({"w": 1.0}).total)

# %% MatrixSlot
import gradxform as gx


@gx.transform
class SumOfGrams(gx.MatrixRule):
    gram = gx.MatrixSlot(shape=lambda rule, rows, columns: (rows, rows))

    def update(self, grad, slots, matrix):
        return grad, slots._replace(gram=slots.gram + grad @ grad.mT)


# %% Metric
import gradxform as gx


class RecordLargest(gx.LeafRule):
    largest = gx.Metric()

    def update(self, grad, slots, leaf):
        return grad, slots._replace(largest=leaf.norm(grad, float("inf")))


print(gx.metrics(gx.transform(RecordLargest)().init({"w": 1.0, "b": 1.0})))

# %% Key
import gradxform as gx


class AddNormal(gx.TreeRule):
    seed: gx.Seed = 0
    key = gx.Key("seed")

    def update(self, updates, slots, tree):
        return tree.map(lambda g, n: g + n, updates, tree.random_normal(slots.key, updates)), slots


# %% Extra
import gradxform as gx


class ScaleByLoss(gx.LeafRule):
    value = gx.Extra()

    def update(self, grad, slots, leaf):
        return -0.01 * leaf.extra["value"] * grad, slots


print(gx.descend(lambda x: x**2, 3.0, gx.transform(ScaleByLoss)(), steps=3).path)

# %% Inner
import gradxform as gx


class Wrapped(gx.TreeRule):
    tx: gx.Transform
    state = gx.Inner("tx")

    def update(self, updates, slots, tree):
        return (new := tree.inner(self.tx, updates, slots.state))[0], slots._replace(state=new[1])


# %% Live
import gradxform as gx

tx = gx.sgd(gx.Live(0.1))
state = gx.adjust(tx.init({"w": 1.0}), learning_rate=0.01)
print(tx.step({"w": 1.0}, state, {"w": 1.0})[0])

# %% Node
import gradxform as gx


class Negate(gx.Node):
    def begin(self, params, step):
        return ()

    def advance(self, flow, record, step):
        return flow.replace(updates=[-g for g in flow.whole().updates], factor=None), record


# %% Flow
import jax.numpy as jnp

import gradxform as gx

flow = gx.Flow.of({"w": jnp.ones(2), "b": jnp.zeros(1)})
print(flow.updates)
print(flow.replace(factor=jnp.array(0.5)).tree())

# %% Step
import jax.numpy as jnp

import gradxform as gx

rule, flow = gx.clip_by_global_norm.record(1.0), gx.Flow.of({"w": jnp.ones(4)})
step = gx.Step(done=jnp.array(0), number=jnp.array(1), extra={}, placement=None)
flow, record = rule.advance(flow, rule.begin(flow, step), step)
print(flow.tree(), record.norm)

# %% Hyper
import gradxform as gx


class Descend(gx.LeafRule):
    rate: gx.Hyper = 0.1  # a number, an array or a schedule; in update its value at this step

    def update(self, grad, slots, leaf):
        return -self.rate * grad, slots


print(gx.transform(Descend)(rate=gx.linear_schedule(0.1, 0.0, 1000)))

# %% NonNegative
import gradxform as gx


class ShrinkTowardZero(gx.LeafRule):
    rate: gx.NonNegative = 0.01  # -0.01 is an error

    def update(self, grad, slots, leaf):
        return grad - self.rate * leaf.param, slots


print(gx.transform(ShrinkTowardZero)(rate=0.1))

# %% Positive
import gradxform as gx


class ScaleBySoftSign(gx.LeafRule):
    eps: gx.Positive = 1e-3  # 0 is an error

    def update(self, grad, slots, leaf):
        return grad / (abs(grad) + self.eps), slots


print(gx.transform(ScaleBySoftSign)(eps=1e-2))

# %% Decay
import gradxform as gx


class Mean(gx.LeafRule):
    decay: gx.Decay = 0.9  # of a mean: at least 0 and less than 1, so that 1.0 is an error
    mean = gx.Slot()

    def update(self, grad, slots, leaf):
        return slots.mean, slots._replace(mean=self.decay * slots.mean + (1 - self.decay) * grad)


# %% SumDecay
import gradxform as gx


class Total(gx.LeafRule):
    decay: gx.SumDecay = 1.0  # of a sum: at least 0 and at most 1, which forgets nothing
    total = gx.Slot()

    def update(self, grad, slots, leaf):
        return slots.total, slots._replace(total=self.decay * slots.total + grad)


# %% Dtype
import gradxform as gx


class RoundTo(gx.LeafRule):
    dtype: gx.Dtype = "bfloat16"  # a dtype or its name

    def update(self, grad, slots, leaf):
        return grad.astype(self.dtype).astype(grad.dtype), slots


print(gx.transform(RoundTo)("float16"))

# %% Mask
import gradxform as gx


class Halve(gx.LeafRule):
    mask: gx.Mask | None = None  # update sees only the leaves of which it is True

    def update(self, grad, slots, leaf):
        return grad / 2, slots


print(gx.transform(Halve)(mask=gx.by_path("*/kernel")))

# %% DecayMask
import gradxform as gx


class PullToZero(gx.LeafRule):
    mask: gx.DecayMask | None = None  # update sees all leaves; leaf.decays is what it says

    def update(self, grad, slots, leaf):
        return grad + 0.01 * leaf.param if leaf.decays else grad, slots


print(gx.transform(PullToZero)(mask=gx.not_biases_or_norms()))

# %% Seed
import gradxform as gx


class RandomSigns(gx.TreeRule):
    seed: gx.Seed = 0  # an integer, or a key of jax.random
    key = gx.Key("seed")

    def update(self, updates, slots, tree):
        return tree.random_signs(slots.key, updates), slots


# %% WeightAxes
import gradxform as gx


class Orthogonalize(gx.MatrixRule):
    weight_dimension_numbers: gx.WeightAxes | None = None

    def update(self, grad, slots, matrix):
        return gx.linalg.orthogonalize(grad), slots


print(gx.transform(Orthogonalize)(gx.MatrixAxes(0, (1, 2))))
