"""Optimizers of signs, of step sizes that they find alone, and of optimistic gradients."""

from __future__ import annotations

from gradxform.core.chain import chain
from gradxform.core.fields import Dtype, Hyper, Mask, Seed
from gradxform.core.hints import hinting
from gradxform.core.transform import Transform
from gradxform.optimizers.descent import decayed, descent, one_mask
from gradxform.rules.adadelta import scale_by_adadelta
from gradxform.rules.adaptive import scale_by_adam
from gradxform.rules.momentum import ema
from gradxform.rules.noise import add_noise
from gradxform.rules.optimistic import scale_by_optimistic_gradient
from gradxform.rules.polyak import scale_by_polyak
from gradxform.rules.scaling import scale, scale_by_learning_rate
from gradxform.rules.sign import scale_by_lion, scale_by_rprop, scale_by_sign


@hinting
def lion(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    b2: Hyper = 0.99,
    mu_dtype: Dtype | None = None,
    weight_decay: Hyper = 1e-3,
    mask: Mask | None = None,
    *,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """Lion: steps by the sign of a mean of the gradients, with decoupled weight decay.

    Args:
      learning_rate: the step size, 3 to 10 times less than Adam's; a number or a schedule.
      b1, b2, mu_dtype: as in `scale_by_lion`.
      weight_decay, mask, independent, cautious: as in `adamw`.

    Chen et al. 2023, arXiv:2302.06675, algorithm 2. optax: lion. torch: none.
    """
    return chain(
        scale_by_lion(b1, b2, mu_dtype),
        descent(learning_rate, weight_decay, mask, independent, cautious),
    )


@hinting
def sign_sgd(
    learning_rate: Hyper,
    *,
    weight_decay: Hyper | None = None,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """Steps by the sign of the gradient.

    Args:
      learning_rate: the step size; a number or a schedule.
      weight_decay, mask, independent, cautious: as in `adamw`. None: no decay.

    Bernstein et al. 2018, arXiv:1802.04434, algorithm 1. optax: sign_sgd. torch: none.
    """
    return chain(scale_by_sign(), descent(learning_rate, weight_decay, mask, independent, cautious))


@hinting
def signum(
    learning_rate: Hyper,
    beta: Hyper = 0.9,
    accumulator_dtype: Dtype | None = None,
    *,
    weight_decay: Hyper | None = None,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """Steps by the sign of the running mean of the gradient.

    Args:
      learning_rate: the step size; a number or a schedule.
      beta: decay of the mean, in [0, 1).
      accumulator_dtype: what the mean is kept in. None: the parameter's dtype, float32 at least.
      weight_decay, mask, independent, cautious: as in `adamw`. None: no decay.

    Bernstein et al. 2018, arXiv:1802.04434, algorithm 2. optax: signum. torch: none.
    """
    return chain(
        ema(beta, debias=False, accumulator_dtype=accumulator_dtype),
        scale_by_sign(),
        descent(learning_rate, weight_decay, mask, independent, cautious),
    )


@hinting
def rprop(
    learning_rate: Hyper,
    eta_minus: Hyper = 0.5,
    eta_plus: Hyper = 1.2,
    min_step_size: Hyper = 1e-6,
    max_step_size: Hyper = 50.0,
) -> Transform:
    """Rprop: a step size for each element, which follows the signs of the gradient; for full batches.

    Args:
      learning_rate: the first step size; of a schedule, its first value.
      eta_minus, eta_plus, min_step_size, max_step_size: as in `scale_by_rprop`.

    Riedmiller & Braun 1993, as Rprop- of Igel & Huesken 2000. optax: rprop, whose steps come one update late. torch:
    torch.optim.Rprop, with learning rate 1e-2.
    """
    return chain(scale_by_rprop(learning_rate, eta_minus, eta_plus, min_step_size, max_step_size), scale(-1.0))


@hinting
def adadelta(
    learning_rate: Hyper | None = None,
    rho: Hyper = 0.9,
    eps: Hyper = 1e-6,
    weight_decay: Hyper = 0.0,
    weight_decay_mask: Mask | None = None,
    *,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """AdaDelta: the gradient times the root mean square of past updates over that of past gradients.

    Args:
      learning_rate: the step size, 1 in the paper; a number or a schedule. None leaves the sign of the gradient, and so
        goes uphill unless a step downhill follows in the chain, as in optax.
      rho, eps: as in `scale_by_adadelta`.
      weight_decay, mask, cautious: as in `add_decayed_weights`, before all else: an L2 penalty.
      weight_decay_mask: optax's name for mask.
      independent: decay by weight_decay p alone, after the learning rate.

    Zeiler 2012, arXiv:1212.5701, algorithm 1. optax: adadelta. torch: torch.optim.Adadelta, with learning rate 1.
    """
    descend = chain(scale_by_adadelta(rho, eps), scale_by_learning_rate(learning_rate))
    return decayed(descend, weight_decay, one_mask(mask, weight_decay_mask), independent, cautious)


@hinting
def optimistic_gradient_descent(
    learning_rate: Hyper,
    alpha: Hyper = 1.0,
    beta: Hyper = 1.0,
    *,
    weight_decay: Hyper | None = None,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """Gradient descent with a forecast of the gradient, for games and other saddle points.

    Args:
      learning_rate: the step size; a number or a schedule.
      alpha, beta: as in `scale_by_optimistic_gradient`.
      weight_decay, mask, independent, cautious: as in `adamw`. None: no decay.

    Daskalakis et al. 2018, arXiv:1711.00141, equation 3. optax: optimistic_gradient_descent, which takes no schedules
    for alpha and beta. torch: none.
    """
    return chain(
        scale_by_optimistic_gradient(alpha, beta), descent(learning_rate, weight_decay, mask, independent, cautious)
    )


@hinting
def optimistic_adam(
    learning_rate: Hyper,
    optimism: Hyper | None = None,
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    eps: Hyper = 1e-8,
    eps_root: Hyper = 0.0,
    mu_dtype: Dtype | None = None,
    *,
    nesterov: bool = True,
) -> Transform:
    """Adam with a forecast of its updates, with a rate for the update and another for its change.

    Args:
      learning_rate: the step size; a number or a schedule.
      optimism: the step size of the change. None: learning_rate.
      b1, b2, eps, eps_root, mu_dtype, nesterov: as in `scale_by_adam`; here nesterov is True by default.

    Daskalakis et al. 2018, arXiv:1711.00141, algorithm 1, where nesterov is False. optax: optimistic_adam, deprecated
    there for `optimistic_adam_v2`, which takes weight decay here, and without schedules. torch: none.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        scale_by_optimistic_gradient(learning_rate, learning_rate if optimism is None else optimism),
        scale_by_learning_rate(1.0),
    )


@hinting
def optimistic_adam_v2(
    learning_rate: Hyper,
    *,
    alpha: Hyper = 1.0,
    beta: Hyper = 1.0,
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    eps: Hyper = 1e-8,
    eps_root: Hyper = 0.0,
    mu_dtype: Dtype | None = None,
    nesterov: bool = True,
    weight_decay: Hyper | None = None,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """Adam with a forecast of its updates.

    Args:
      learning_rate: the step size; a number or a schedule.
      alpha, beta: as in `scale_by_optimistic_gradient`.
      b1, b2, eps, eps_root, mu_dtype, nesterov: as in `scale_by_adam`; here nesterov is True by default.
      weight_decay, mask, independent, cautious: as in `adamw`. None: no decay.

    Daskalakis et al. 2018, arXiv:1711.00141, algorithm 1, where nesterov is False. optax: optimistic_adam_v2. torch:
    none.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        scale_by_optimistic_gradient(alpha, beta),
        descent(learning_rate, weight_decay, mask, independent, cautious),
    )


@hinting
def noisy_sgd(
    learning_rate: Hyper,
    eta: Hyper = 0.01,
    gamma: Hyper = 0.55,
    key: Seed | None = None,
    *,
    seed: int | None = None,
    weight_decay: Hyper | None = None,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """Gradient descent with Gaussian noise whose variance falls over the steps.

    Args:
      learning_rate: the step size; a number or a schedule.
      eta, gamma, key, seed: as in `add_noise`.
      weight_decay, mask, independent, cautious: as in `adamw`. None: no decay.

    Neelakantan et al. 2015, arXiv:1511.06807. optax: noisy_sgd, which draws other numbers from the same key. torch:
    none.
    """
    return chain(
        add_noise(eta, gamma, key, seed=seed), descent(learning_rate, weight_decay, mask, independent, cautious)
    )


@hinting
def polyak_sgd(
    max_learning_rate: Hyper = 1.0,
    scaling: Hyper = 1.0,
    f_min: Hyper = 0.0,
    eps: Hyper = 0.0,
    variant: str = "sps",
    *,
    weight_decay: Hyper | None = None,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """Gradient descent with Polyak's step size; call `update(updates, state, params, value=loss)`.

        p <- p - scaling min((f - f_min) / (|g|^2 + eps), max_learning_rate) g

    Args:
      max_learning_rate, f_min, eps, variant: as in `scale_by_polyak`.
      scaling: times the step; a number or a schedule.
      weight_decay, mask, independent, cautious: as in `adamw`. None: no decay.

    Loizou et al. 2021, arXiv:2002.10542, equation 3. optax: polyak_sgd, which scales the gradient before its norm is
    taken, and so divides by scaling where its formula multiplies. torch: none.
    """
    return chain(
        scale_by_polyak(f_min, max_learning_rate, eps, variant),
        descent(scaling, weight_decay, mask, independent, cautious),
    )
