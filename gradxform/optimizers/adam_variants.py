"""Adam's relatives that differ in the denominator."""

from __future__ import annotations

from collections.abc import Callable

import jax

from gradxform.core.chain import chain
from gradxform.core.fields import Dtype, Hyper, Mask
from gradxform.core.hints import hinting
from gradxform.core.transform import Transform
from gradxform.optimizers.descent import descent
from gradxform.rules.adam_mini import scale_by_adam_mini
from gradxform.rules.adam_variants import (
    fourth_root,
    scale_by_acprop,
    scale_by_adamax,
    scale_by_adopt,
    scale_by_amsgrad,
    scale_by_belief,
    scale_by_novograd,
    scale_by_radam,
    scale_by_yogi,
)
from gradxform.rules.laprop import scale_by_laprop
from gradxform.rules.scaling import scale_by_learning_rate


@hinting
def amsgrad(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    eps: Hyper = 1e-8,
    eps_root: Hyper = 0.0,
    mu_dtype: Dtype | None = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
    *,
    weight_decay: Hyper | None = None,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """AMSGrad: Adam whose denominator never shrinks.

    Args:
      learning_rate: the step size; a number or a schedule.
      b1, b2, eps, eps_root, mu_dtype, bias_correction_mu, bias_correction_nu: as in `scale_by_amsgrad`.
      weight_decay, mask, independent, cautious: as in `adamw`. None: no decay.

    Reddi, Kale & Kumar 2018, arXiv:1904.09237, algorithm 2, which corrects neither mean. optax: amsgrad. torch:
    torch.optim.Adam(amsgrad=True), which takes the maximum of nu as it is and corrects it afterwards.
    """
    return chain(
        scale_by_amsgrad(b1, b2, eps, eps_root, mu_dtype, bias_correction_mu, bias_correction_nu),
        descent(learning_rate, weight_decay, mask, independent, cautious),
    )


@hinting
def adamax(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    eps: Hyper = 1e-8,
    *,
    weight_decay: Hyper | None = None,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """Adamax: Adam with the decaying maximum of the gradient in the place of its root mean square.

    Args:
      learning_rate: the step size; a number or a schedule.
      b1, b2, eps: as in `scale_by_adamax`.
      weight_decay, mask, independent, cautious: as in `adamw`. None: no decay.

    Kingma & Ba 2015, arXiv:1412.6980, algorithm 2. optax: adamax. torch: torch.optim.Adamax.
    """
    return chain(scale_by_adamax(b1, b2, eps), descent(learning_rate, weight_decay, mask, independent, cautious))


@hinting
def adamaxw(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    eps: Hyper = 1e-8,
    weight_decay: Hyper = 1e-4,
    mask: Mask | None = None,
    *,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """Adamax with weight decay that is decoupled from the gradient.

        p <- p - learning_rate (scale_by_adamax(g) + weight_decay p)

    Args:
      learning_rate: the step size; a number or a schedule.
      b1, b2, eps: as in `scale_by_adamax`.
      weight_decay, mask, independent, cautious: as in `adamw`.

    Kingma & Ba 2015, arXiv:1412.6980, algorithm 2; Loshchilov & Hutter 2019, arXiv:1711.05101. optax: adamaxw. torch:
    none; the weight_decay of torch.optim.Adamax is an L2 penalty.
    """
    return chain(scale_by_adamax(b1, b2, eps), descent(learning_rate, weight_decay, mask, independent, cautious))


@hinting
def adabelief(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    eps: Hyper = 1e-16,
    eps_root: Hyper = 1e-16,
    *,
    nesterov: bool = False,
    weight_decay: Hyper | None = None,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """AdaBelief: Adam that steps far where the gradient is as expected, and little where it surprises.

    Args:
      learning_rate: the step size; a number or a schedule.
      b1, b2, eps, eps_root, nesterov: as in `scale_by_belief`.
      weight_decay, mask, independent, cautious: as in `adamw`. None: no decay.

    Zhuang et al. 2020, arXiv:2010.07468, algorithm 2. optax: adabelief. torch: none.
    """
    return chain(
        scale_by_belief(b1, b2, eps, eps_root, nesterov=nesterov),
        descent(learning_rate, weight_decay, mask, independent, cautious),
    )


@hinting
def yogi(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    eps: Hyper = 1e-3,
    *,
    weight_decay: Hyper | None = None,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """Yogi: Adam whose mean square moves by a step of the gradient's size, and so shrinks slowly.

    Args:
      learning_rate: the step size; a number or a schedule.
      b1, b2, eps: as in `scale_by_yogi`.
      weight_decay, mask, independent, cautious: as in `adamw`. None: no decay.

    Zaheer et al. 2018, "Adaptive Methods for Nonconvex Optimization", algorithm 2. optax: yogi. torch: none.
    """
    return chain(scale_by_yogi(b1, b2, eps), descent(learning_rate, weight_decay, mask, independent, cautious))


@hinting
def radam(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    eps: Hyper = 1e-8,
    eps_root: Hyper = 0.0,
    threshold: Hyper = 5.0,
    *,
    nesterov: bool = False,
    weight_decay: Hyper | None = None,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """Rectified Adam: momentum for the first steps, then Adam, rectified for the variance of its denominator.

    Args:
      learning_rate: the step size; a number or a schedule.
      b1, b2, eps, eps_root, threshold, nesterov: as in `scale_by_radam`.
      weight_decay, mask, independent, cautious: as in `adamw`. None: no decay.

    Liu et al. 2020, arXiv:1908.03265, algorithm 2. optax: radam. torch: torch.optim.RAdam, with eps before the bias
    correction.
    """
    return chain(
        scale_by_radam(b1, b2, eps, eps_root, threshold, nesterov=nesterov),
        descent(learning_rate, weight_decay, mask, independent, cautious),
    )


@hinting
def novograd(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    b2: Hyper = 0.25,
    eps: Hyper = 1e-6,
    eps_root: Hyper = 0.0,
    weight_decay: Hyper = 0.0,
    *,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """NovoGrad: momentum of gradients that were divided, a whole leaf at a time, by their running norm.

    Args:
      learning_rate: the step size; a number or a schedule.
      b1, b2, eps, eps_root, weight_decay, mask, cautious: as in `scale_by_novograd`, which gathers the decay with the
        gradients.
      independent: decay by weight_decay p alone, after the learning rate.

    Ginsburg et al. 2019, arXiv:1905.11286, algorithm 1. optax: novograd. torch: none.
    """
    if independent:
        return chain(
            scale_by_novograd(b1, b2, eps, eps_root),
            descent(learning_rate, weight_decay, mask, independent, cautious),
        )
    return chain(
        scale_by_novograd(b1, b2, eps, eps_root, weight_decay, mask=mask, cautious=cautious),
        scale_by_learning_rate(learning_rate),
    )


@hinting
def acprop(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    eps: Hyper = 1e-16,
    eps_root: Hyper = 1e-16,
    weight_decay: Hyper = 0.0,
    mask: Mask | None = None,
    *,
    paper: bool = False,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """ACProp: AdaBelief whose denominator is that of the step before.

    Args:
      learning_rate: the step size; a number or a schedule.
      b1, b2, eps, eps_root, paper: as in `scale_by_acprop`.
      weight_decay, mask, independent, cautious: as in `adamw`.

    Zhuang et al. 2021, arXiv:2110.05454. optax: contrib.acprop. torch: none.
    """
    return chain(
        scale_by_acprop(b1, b2, eps, eps_root, paper=paper),
        descent(learning_rate, weight_decay, mask, independent, cautious),
    )


@hinting
def adopt(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    b2: Hyper = 0.9999,
    eps: Hyper = 1e-6,
    mu_dtype: Dtype | None = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Callable[[jax.Array], jax.Array] = fourth_root,
    weight_decay: Hyper | None = None,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """ADOPT: momentum of gradients that were divided by the root mean square of those before; any b2 converges.

    Args:
      learning_rate: the step size; a number or a schedule.
      b1, b2, eps, mu_dtype, nesterov, use_clipping, clip_value_fn: as in `scale_by_adopt`.
      weight_decay, mask, independent, cautious: as in `adamw`. None: no decay.

    Taniguchi et al. 2024, arXiv:2411.02853, algorithm 2. optax: contrib.adopt. torch: none.
    """
    return chain(
        scale_by_adopt(
            b1, b2, eps, mu_dtype, nesterov=nesterov, use_clipping=use_clipping, clip_value_fn=clip_value_fn
        ),
        descent(learning_rate, weight_decay, mask, independent, cautious),
    )


@hinting
def laprop(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    eps: Hyper = 1e-15,
    eps_root: Hyper = 0.0,
    mu_dtype: Dtype | None = None,
    *,
    weight_decay: Hyper | None = None,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """LaProp: momentum of gradients that were divided by their root mean square first.

    Args:
      learning_rate: the step size; a number or a schedule.
      b1, b2, eps, eps_root, mu_dtype: as in `scale_by_laprop`.
      weight_decay, mask, independent, cautious: as in `adamw`. None: no decay.

    Ziyin, Wang & Ueda 2020, arXiv:2002.04839, algorithm 1; the authors' code decays as independent=True does. optax:
    none. torch: none.
    """
    return chain(
        scale_by_laprop(b1, b2, eps, eps_root, mu_dtype),
        descent(learning_rate, weight_decay, mask, independent, cautious),
    )


@hinting
def adam_mini(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    eps: Hyper = 1e-8,
    eps_root: Hyper = 0.0,
    mu_dtype: Dtype | None = None,
    *,
    nesterov: bool = False,
    blocks: int | tuple[int, ...] | None = None,
    weight_decay: Hyper | None = None,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """Adam-mini: Adam in half the memory, with one mean square for each block of parameters.

    Args:
      learning_rate: the step size; a number or a schedule.
      b1, b2, eps, eps_root, mu_dtype, nesterov: as in `scale_by_adam_mini`.
      blocks: as in `scale_by_adam_mini`, of which a `partition` gives each kind of parameter its own.
      weight_decay, mask, independent, cautious: as in `adamw`. None: no decay.

    Zhang et al. 2024, arXiv:2406.16793, algorithm 1. optax: none. torch: none.
    """
    return chain(
        scale_by_adam_mini(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov, blocks=blocks),
        descent(learning_rate, weight_decay, mask, independent, cautious),
    )
