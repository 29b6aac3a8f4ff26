"""Parameters of 16 bits that train as wider ones: random rounding, split weights, Kahan's sum, master weights."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gradxform.core.checks import path_of
from gradxform.core.fields import check_seed
from gradxform.core.flow import Flow, Node, Step
from gradxform.core.guest import as_node
from gradxform.core.keep import Encoded, load, store
from gradxform.core.noise import Noise, salt_of
from gradxform.core.placement import Cut
from gradxform.core.precision import compute_dtype, fitting
from gradxform.core.registry import register
from gradxform.core.text import show
from gradxform.core.transform import Transform, name_stages
from gradxform.storage.weights import AtRandom, Compensated, Master, ParamCodec, Split

LOW = (jnp.bfloat16, jnp.float16)


class KeptParams(NamedTuple):
    """What is remembered of parameters that are kept in two parts.

    Attributes:
      inner_state: the state of the transform.
      rest: for each name of a part the tree of what is kept beside the parameters; optax.MaskedNode where nothing is.
    """

    inner_state: Any
    rest: dict[str, Any]


class ParamsKept(Node):
    """A transform that sees parameters as they are loaded, and whose new parameters are stored.

    A subclass has `codec`, and the dtypes of the parameters that it keeps, `dtypes`. Others are left to the transform.
    """

    any_dtype = True
    is_foreign = True
    keeps_params = True
    stands_last = True

    inner: optax.GradientTransformation

    @property
    def codec(self) -> ParamCodec:
        """The codec of parameters."""
        raise TypeError(f"{type(self).__name__} has no codec")

    @property
    def dtypes(self) -> tuple[Any, ...]:
        """The dtypes of the parameters that it keeps."""
        return LOW

    def check(self) -> None:
        """Raises TypeError for what is no transform."""
        self.check_transform("inner")

    def begin(self, params: Flow, step: Step) -> KeptParams:
        """What is kept beside each parameter, and the state of the transform.

        Raises:
          TypeError: no parameter is of a dtype that it keeps; the error has the path of the first.
        """
        self._check(params)
        rests = [self.codec.rest(leaf) if self._is_kept(leaf) else None for leaf in params.updates]
        names = next((list(rest) for rest in rests if rest is not None), [])
        trees = {
            name: params.structure.unflatten(optax.MaskedNode() if rest is None else rest[name] for rest in rests)
            for name in names
        }
        # The slots of parameters of 16 bits are those of wider ones already.
        return KeptParams(as_node(self.inner).begin(params, step), trees)

    def advance(self, flow: Flow, record: KeptParams, step: Step) -> tuple[Flow, KeptParams]:
        """A step of the transform, whose updates are added to the parameters as they are loaded.

        Raises:
          ValueError: it was called without parameters.
        """
        if flow.params is None:
            raise ValueError(f"{self.call_name} needs the parameters: call update(updates, state, params)")
        columns = {name: flow.structure.flatten_up_to(tree) for name, tree in record.rest.items()}
        old = [
            self.codec.together(leaf, {name: column[index] for name, column in columns.items()})
            if self._is_kept(leaf)
            else leaf
            for index, leaf in enumerate(flow.params)
        ]
        came = flow.params
        inner, state = as_node(self.inner).advance(flow.replace(params=old), record.inner_state, step)
        inner = inner.replace(params=came)
        landed: list[Any] = [None] * len(came) if inner.landed is None else list(inner.landed)
        if all(param is None for param in landed):
            inner = inner.whole()
        updates = list(inner.updates)
        base = Noise(salt_of(step.number)) if self.codec.is_random else None
        cuts = flow.cuts
        if step.placement is not None:
            cuts = step.placement.cuts("updates", flow.structure.unflatten(flow.updates))
        for index, (param, kept) in enumerate(zip(came, old, strict=True)):
            if not isinstance(kept, Encoded):
                continue
            if landed[index] is None:
                noise = None if base is None else base.of(index)
                landed[index] = _stored(kept, updates[index], noise, cuts[index])
            new = landed[index]
            for name, column in columns.items():
                column[index] = new.parts[name]
            landed[index] = new.parts["param"]
            updates[index] = _difference(new.parts["param"], param)
        rest = {name: flow.structure.unflatten(column) for name, column in columns.items()}
        return inner.replace(updates=updates, landed=landed), KeptParams(state, rest)

    def judge(self, params: Flow, record: KeptParams, step: Step) -> Flow:
        """The parameters to judge a run by: those of the transform."""
        return as_node(self.inner).judge(params, record.inner_state, step)

    def _is_kept(self, leaf: Any) -> bool:
        return any(leaf.dtype == dtype for dtype in self.dtypes)

    def _check(self, params: Flow) -> None:
        floating = [index for index, leaf in enumerate(params.updates) if jnp.issubdtype(leaf.dtype, jnp.floating)]
        if floating and not any(map(self._is_kept, params.updates)):
            index = floating[0]
            names = " or ".join(jnp.dtype(dtype).name for dtype in self.dtypes)
            raise TypeError(
                f"{self.call_name} keeps parameters of {names}; got {params.updates[index].dtype} at "
                f"{path_of(params.structure, index)}, which needs it not"
            )


class StochasticRounding(ParamsKept):
    """Rounds new parameters at random; see `stochastic_rounding`."""

    call_name = "stochastic_rounding"

    seed: int = 0

    def check(self) -> None:
        """Raises TypeError for what is no transform, or no seed."""
        super().check()
        check_seed("stochastic_rounding: seed", self.seed)

    @property
    def codec(self) -> ParamCodec:
        """To one of the two nearest."""
        return AtRandom(self.seed)


class SplitWeights(ParamsKept):
    """Keeps the bits that parameters lack; see `split_weights`."""

    bits: int = 8
    seed: int = 0

    def check(self) -> None:
        """Raises TypeError or ValueError for what is no transform, no seed, and other numbers of bits."""
        super().check()
        if self.bits not in (8, 16) or isinstance(self.bits, bool):
            raise ValueError(f"split_weights: bits must be 8 or 16; got {show(self.bits)}")
        check_seed("split_weights: seed", self.seed)

    @property
    def codec(self) -> ParamCodec:
        """The upper bits of float32, and the lower ones."""
        return Split(self.bits, self.seed)

    @property
    def dtypes(self) -> tuple[Any, ...]:
        """bfloat16, whose bits are the upper ones of float32."""
        return (jnp.bfloat16,)


class Kahan(ParamsKept):
    """Keeps what rounding took from parameters; see `kahan`."""

    @property
    def codec(self) -> ParamCodec:
        """The parameter, and what it lacks."""
        return Compensated()


class MasterWeights(ParamsKept):
    """Keeps parameters in float32 too; see `master_weights`."""

    @property
    def codec(self) -> ParamCodec:
        """The parameter twice."""
        return Master()


def _stored(kept: Encoded, update: jax.Array, noise: Noise | None, cut: Cut | None) -> Any:
    fit = fitting(kept.dtype, update.dtype)
    return store(load(kept, fit) + fit(update), kept, noise, cut)


def _difference(new: jax.Array, old: jax.Array) -> jax.Array:
    """What is to be added to a parameter, in the dtype of computation."""
    dtype = compute_dtype(old.dtype)
    return new.astype(dtype) - old.astype(dtype)


def _made(node: ParamsKept) -> Transform:
    return Transform(name_stages([(None, node)]))


def stochastic_rounding(inner: optax.GradientTransformation, seed: int = 0) -> Transform:
    """Rounds new parameters of bfloat16 and float16 to one of the two nearest numbers, so that the mean is right."""
    return _made(StochasticRounding(inner, seed))


def split_weights(inner: optax.GradientTransformation, bits: int = 8, *, seed: int = 0) -> Transform:
    """Trains bfloat16 parameters as float32 ones, of which the state keeps the bits that bfloat16 has not."""
    return _made(SplitWeights(inner, bits, seed))


def kahan(inner: optax.GradientTransformation) -> Transform:
    """Keeps what rounding took from bfloat16 and float16 parameters, and adds it to the next update."""
    return _made(Kahan(inner))


def master_weights(inner: optax.GradientTransformation) -> Transform:
    """Trains a float32 copy of bfloat16 and float16 parameters, of which these are the rounded ones."""
    return _made(MasterWeights(inner))


for _record in (StochasticRounding, SplitWeights, Kahan, MasterWeights):
    register(_record, _record.call_name, _record)
