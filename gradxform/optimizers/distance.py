"""Gradient descent without a learning rate: by the distance travelled, and by coin betting."""

from __future__ import annotations

from gradxform.core.chain import chain
from gradxform.core.fields import Hyper, Mask
from gradxform.core.hints import hinting
from gradxform.core.transform import Transform
from gradxform.optimizers.descent import decayed
from gradxform.rules.betting import scale_by_cocob
from gradxform.rules.distance import scale_by_dog, scale_by_dowg
from gradxform.rules.scaling import scale_by_learning_rate


@hinting
def dog(
    learning_rate: Hyper = 1.0,
    init_step: tuple[str, Hyper] = ("heuristic", 1e-6),
    eps: Hyper = 1e-8,
    weight_decay: Hyper | None = None,
    mask: Mask | None = None,
    *,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """Distance over gradients: descent with the distance travelled over the root of the sum of squared gradient norms.

    The authors recommend to average the parameters.

    Args:
      learning_rate: what the step size is multiplied by; a number or a schedule.
      init_step: what the first step is told by, and the number: `init_step` and `init_value` of `scale_by_dog`.
      eps: as in `scale_by_dog`.
      weight_decay, mask, cautious: as in `add_decayed_weights`, before all else: an L2 penalty. None: no decay.
      independent: decay by weight_decay p alone, after the learning rate.

    Ivgi, Hinder & Carmon 2023, arXiv:2302.12022, algorithm 1, without the averaging. optax: contrib.dog. torch: none;
    DoG of the package dog-optimizer.
    """
    descend = chain(scale_by_dog(*init_step, eps), scale_by_learning_rate(learning_rate))
    return decayed(descend, weight_decay, mask, independent, cautious)


@hinting
def dowg(
    learning_rate: Hyper = 1.0,
    init_estim_sq_dist: Hyper | None = None,
    eps: Hyper = 1e-4,
    weight_decay: Hyper | None = None,
    mask: Mask | None = None,
    *,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """Distance over weighted gradients: as `dog`, with gradients weighted by the distance at which they were seen.

    Args:
      learning_rate: what the step size is multiplied by; a number or a schedule.
      init_estim_sq_dist, eps: as in `scale_by_dowg`.
      weight_decay, mask, cautious: as in `add_decayed_weights`, before all else: an L2 penalty. None: no decay.
      independent: decay by weight_decay p alone, after the learning rate.

    Khaled, Mishchenko & Jin 2023, arXiv:2305.16284, algorithm 1. optax: contrib.dowg. torch: none.
    """
    descend = chain(scale_by_dowg(init_estim_sq_dist, eps), scale_by_learning_rate(learning_rate))
    return decayed(descend, weight_decay, mask, independent, cautious)


@hinting
def cocob(
    learning_rate: Hyper = 1.0,
    alpha: Hyper = 100.0,
    eps: Hyper = 1e-8,
    weight_decay: Hyper = 0.0,
    mask: Mask | None = None,
    *,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """Coin betting: each parameter stands where a gambler who bets on its gradients would.

    Args:
      learning_rate: what the gradients are multiplied by; a number or a schedule.
      alpha, eps: as in `scale_by_cocob`.
      weight_decay, mask, cautious: as in `add_decayed_weights`, before all else: an L2 penalty.
      independent: decay by weight_decay p alone, after all else.

    Orabona & Tommasi 2017, arXiv:1705.07795, algorithm 2. optax: contrib.cocob. torch: none.
    """
    bet = chain(scale_by_learning_rate(learning_rate, flip_sign=False), scale_by_cocob(alpha, eps))
    return decayed(bet, weight_decay, mask, independent, cautious)
