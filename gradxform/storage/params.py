"""Parameters of 16 bits that train as wider ones: random rounding, split weights, Kahan's sum, master weights."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from gradxform.core.fields import check_seed
from gradxform.core.record import factory
from gradxform.core.text import show
from gradxform.core.transform import Transform, name_stages
from gradxform.storage.kept_params import ParamsKept
from gradxform.storage.weights import AtRandom, Compensated, Master, ParamCodec, Split


class StochasticRoundingState(NamedTuple):
    """What `stochastic_rounding` remembers.

    Attributes:
      inner_state: the state of the transform.
    """

    inner_state: Any


class SplitWeightsState(NamedTuple):
    """What `split_weights` remembers.

    Attributes:
      inner_state: the state of the transform.
      error: a tree like the parameters of the bits that each lacks, int8 or int16; optax.MaskedNode where a parameter
        is left as it is.
    """

    inner_state: Any
    error: Any


class KahanState(NamedTuple):
    """What `kahan` remembers.

    Attributes:
      inner_state: the state of the transform.
      compensation: a tree like the parameters, and in their dtypes, of what each lacks; optax.MaskedNode where a
        parameter is left as it is.
    """

    inner_state: Any
    compensation: Any


class MasterWeightsState(NamedTuple):
    """What `master_weights` remembers.

    Attributes:
      inner_state: the state of the transform.
      master: a tree like the parameters, in float32; optax.MaskedNode where a parameter is left as it is.
    """

    inner_state: Any
    master: Any


class StochasticRounding(ParamsKept):
    """Rounds new parameters of bfloat16 and float16 to one of the two nearest numbers, so that the mean is right.

        w = p + u in float32,   a <= w <= b the two nearest numbers of the parameter's dtype
        p <- b with probability (w - a) / (b - a), else a

    Rounded to the nearest, a parameter stands still once its update is less than half of its last bit, a 512th of it in
    bfloat16. Rounded at random, it moves as often as makes the mean right, without a byte of state. The price is noise,
    whose standard deviation is at most half of the last bit in each step. Random numbers are a hash of seed, step, leaf
    and element, so that replicas stay equal. A parameter whose update is 0 stays, as does NaN, and nothing finite
    becomes infinite.

    `step` returns parameters that are so rounded; `update` returns the update that leads to them. In float32 there is
    always one. Updates that leave in 16 bits, since the gradients have 16, may not reach a parameter that shrinks by
    more than half in one step or changes its sign; then `update` returns the nearest, which is as good as any other
    rounding of such an update. It stands last in a chain; after it only such as changes no update may stand, as
    `average_params`. The transform within, ours or optax's, sees parameters and updates in float32. Leaves of more
    bits, integers and complex leaves are left to it.

    Args:
      inner: the transform of which the updates come, ours or optax's.
      seed: of the random numbers.
      strict: whether it is an error if no parameter has 16 bits, so that there is nothing to do.

    Raises:
      TypeError: `inner` is no transform, `seed` no integer; in `init`, all floating-point parameters have more bits,
        with the path of the first.
      ValueError: `inner` keeps parameters itself, or anything that changes updates stands after it in a chain; in
        `update`, there are no parameters, or they do not fit the state.

    Zamirai et al. 2020, arXiv:2010.06192. optax: none. torch: bf16_stochastic_round of torchao.optim.
    """

    State = StochasticRoundingState

    seed: int = 0

    def check(self) -> None:
        """Raises TypeError or ValueError for what is no transform, one that keeps parameters, and what is no seed."""
        super().check()
        check_seed("stochastic_rounding: seed", self.seed)

    @property
    def codec(self) -> ParamCodec:
        """To one of the two nearest."""
        return AtRandom(self.seed)


class SplitWeights(ParamsKept):
    """Trains bfloat16 and float16 parameters as float32 ones, of which the state keeps what they lack.

        bits(|w|) = 2^16 bits(|p|) + e,   -2^15 <= e < 2^15,   the bits of float32 and bfloat16 numbers as integers
        w <- w + u;   p, e <- those of w: p is w to the nearest bfloat16, and e what it lacks, int16

    With bits=16 training is that in float32, bit for bit, for 4 bytes a parameter; a bfloat16 parameter and a float32
    copy of it take 6. With bits=8, for 3 bytes, e is rounded to a multiple of 2^8, at random so that the mean is right,
    and kept in int8: together they have 16 significant bits. Of a float16 parameter e is in units of 2^(1 - bits) of
    its last place, exact with 16 bits as long as p is neither denormal nor out of range. Random numbers, `step`,
    `update`, what may stand after it and what it leaves to the transform are as in `stochastic_rounding`. Where
    something else changes a parameter, e is added to the changed one: at most half of its last place.

    Args:
      inner: the transform of which the updates come, ours or optax's.
      bits: how many are kept beside each parameter, 8 or 16.
      seed: of the random numbers, with 8 bits.
      strict: whether it is an error if no parameter has 16 bits, so that there is nothing to do.

    Raises:
      TypeError, ValueError: as `stochastic_rounding`; other numbers of bits.

    Gonzalez Ortiz et al. 2026, arXiv:2602.23349, section 3.1, whose errors are multiples of a 127th of half the last
    place, to the nearest. optax: none. torch: none; the package flashoptim.
    """

    State = SplitWeightsState

    bits: int = 8
    seed: int = dataclasses.field(default=0, kw_only=True)

    def check(self) -> None:
        """Raises TypeError or ValueError for what is no transform, one that keeps parameters, no bits and no seed."""
        super().check()
        if self.bits not in (8, 16) or isinstance(self.bits, bool):
            raise ValueError(f"split_weights: bits must be 8 or 16; got {show(self.bits)}")
        check_seed("split_weights: seed", self.seed)

    @property
    def codec(self) -> ParamCodec:
        """The number, and what it lacks."""
        return Split(self.bits, self.seed)


class Kahan(ParamsKept):
    """Keeps what rounding took from bfloat16 and float16 parameters, and adds it to the next update.

        w = p + c + u in float32;   p <- round(w),   c <- round(w - p), both in the parameter's dtype

    So p + c has twice the significant bits of p, 16 in bfloat16 and 22 in float16. An update that is less than half of
    the last of these, a 2^-17th of a bfloat16 parameter, may be lost, as nothing is rounded at random. `step`,
    `update`, what may stand after it and what it leaves to the transform are as in `stochastic_rounding`.

    Args:
      inner: the transform of which the updates come, ours or optax's.
      strict: whether it is an error if no parameter has 16 bits, so that there is nothing to do.

    Raises:
      TypeError, ValueError: as `stochastic_rounding`.

    Kahan 1965, "Further remarks on reducing truncation errors", Communications of the ACM 8(1); for bfloat16 Zamirai et
    al. 2020, arXiv:2010.06192. There the update too is rounded before it is added to c. optax: none. torch: none;
    kahan_sum of the package torch-optimi.
    """

    State = KahanState

    @property
    def codec(self) -> ParamCodec:
        """The parameter, and what it lacks."""
        return Compensated()


class MasterWeights(ParamsKept):
    """Trains a float32 copy of bfloat16 and float16 parameters, of which these are the rounded ones.

        m <- m + u in float32;   p <- round(m)

    It is training in float32, bit for bit, for 4 bytes more a parameter; `split_weights` with 16 bits does the same for
    2 more. Where something else has changed a parameter, so that it is no longer the rounded copy, training goes on
    from the changed one. `step`, `update`, what may stand after it and what it leaves to the transform are as in
    `stochastic_rounding`.

    Args:
      inner: the transform of which the updates come, ours or optax's.
      strict: whether it is an error if no parameter has 16 bits, so that there is nothing to do.

    Raises:
      TypeError, ValueError: as `stochastic_rounding`.

    Micikevicius et al. 2018, arXiv:1710.03740, section 3.1. optax: none. torch: none; torch.amp keeps parameters in
    float32, and casts them where they are used.
    """

    State = MasterWeightsState

    @property
    def codec(self) -> ParamCodec:
        """The parameter twice."""
        return Master()


def _transform(node: ParamsKept) -> Transform:
    return Transform(name_stages([(None, node)]))


stochastic_rounding = factory(StochasticRounding, _transform, Transform)
split_weights = factory(SplitWeights, _transform, Transform)
kahan = factory(Kahan, _transform, Transform)
master_weights = factory(MasterWeights, _transform, Transform)
