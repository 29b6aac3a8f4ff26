"""AdamW in seven bytes a parameter."""

from __future__ import annotations

from gradxform.core.fields import Hyper, Mask
from gradxform.core.hints import hinting
from gradxform.core.keep import Codec
from gradxform.core.transform import Transform
from gradxform.optimizers.classic import adamw
from gradxform.storage.codecs import int8
from gradxform.storage.params import split_weights
from gradxform.storage.stored import stored

INT8 = int8()


@hinting
def adamw_lean(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    eps: Hyper = 1e-8,
    eps_root: Hyper = 0.0,
    weight_decay: Hyper = 1e-4,
    mask: Mask | None = None,
    *,
    nesterov: bool = False,
    independent: bool = False,
    cautious: bool = False,
    bits: int = 8,
    codec: Codec = INT8,
    min_size: int = 4096,
    seed: int = 0,
) -> Transform:
    """AdamW of bfloat16 parameters and gradients, which trains as in float32 and takes 7.06 bytes a parameter.

        gx.split_weights(gx.stored(gx.adamw(...), gx.int8()), 8)

        bytes a parameter                adamw, float32   adamw, bfloat16   adamw_lean
        parameter                                 4               2             2
        gradient                                  4               2             2
        the bits that bfloat16 lacks              -               -             1
        mu and nu                                 8               8             2.06
        together                                 16              12             7.06

    It stands last in a chain; `step` takes parameters where they are to be, and so does nearly always `update`, as
    `stochastic_rounding` says. Leaves of float32, as norms often are, train as they are, with mu and nu in 8 bits.
    Arrays of fewer than 4096 elements keep mu and nu in float32.

    Args:
      learning_rate: the step size; a number or a schedule.
      b1, b2, eps, eps_root, nesterov: as in `scale_by_adam`.
      weight_decay, mask, independent, cautious: as in `adamw`.
      bits: how many bits the state keeps of each parameter, as in `split_weights`: 8, or 16 for the whole of float32.
      codec: how mu and nu are kept, such as `int4()` for 6.06 bytes a parameter.
      min_size: arrays with fewer elements keep mu and nu as they are.
      seed: of the random rounding of the bits.

    Raises:
      TypeError, ValueError: as `split_weights` and `stored`.

    Gonzalez Ortiz et al. 2026, arXiv:2602.23349. optax: none. torch: none; FlashAdamW of the package flashoptim.
    """
    adam = adamw(
        learning_rate,
        b1,
        b2,
        eps,
        eps_root,
        weight_decay=weight_decay,
        mask=mask,
        nesterov=nesterov,
        independent=independent,
        cautious=cautious,
    )
    return split_weights(stored(adam, codec, min_size=min_size), bits, seed=seed, strict=False)
