"""The classics: gradient descent, momentum, the Adam family of 2015 to 2019, RMSprop and AdaGrad."""

from __future__ import annotations

from gradxform.core.chain import chain
from gradxform.core.fields import Dtype, Hyper, Mask
from gradxform.core.hints import hinting
from gradxform.core.transform import Transform
from gradxform.optimizers.descent import descent
from gradxform.rules.adaptive import scale_by_adam, scale_by_nadam, scale_by_rms, scale_by_rss, scale_by_stddev
from gradxform.rules.momentum import trace


@hinting
def sgd(
    learning_rate: Hyper,
    momentum: Hyper | None = None,
    nesterov: bool = False,
    accumulator_dtype: Dtype | None = None,
    *,
    weight_decay: Hyper | None = None,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """Stochastic gradient descent, with momentum if asked.

        v <- momentum v + g,   p <- p - learning_rate v,   with nesterov p <- p - learning_rate (g + momentum v)

    Args:
      learning_rate: the step size; a number or a schedule.
      momentum: how much of v stays, in [0, 1]. None: no momentum, and no state for it.
      nesterov: look ahead by one step.
      accumulator_dtype: what v is kept in. None: the parameter's dtype, float32 at least.
      weight_decay, mask, independent, cautious: as in `adamw`. None: no decay.

    Polyak 1964; Sutskever et al. 2013. optax: sgd. torch: torch.optim.SGD; its dampening is an argument of `trace`.
    """
    descend = descent(learning_rate, weight_decay, mask, independent, cautious)
    return descend if momentum is None else chain(trace(momentum, nesterov, accumulator_dtype), descend)


@hinting
def adam(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    eps: Hyper = 1e-8,
    eps_root: Hyper = 0.0,
    mu_dtype: Dtype | None = None,
    *,
    nesterov: bool = False,
    weight_decay: Hyper | None = None,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """Adam: the running mean of the gradient over the root of its running mean square, both bias-corrected.

    Args:
      learning_rate: the step size; a number or a schedule.
      b1, b2, eps, eps_root, mu_dtype, nesterov: as in `scale_by_adam`.
      weight_decay, mask, independent, cautious: as in `adamw`. None: no decay.

    Kingma & Ba 2015, arXiv:1412.6980, algorithm 1. optax: adam. torch: torch.optim.Adam.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        descent(learning_rate, weight_decay, mask, independent, cautious),
    )


@hinting
def adamw(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    eps: Hyper = 1e-8,
    eps_root: Hyper = 0.0,
    mu_dtype: Dtype | None = None,
    weight_decay: Hyper = 1e-4,
    mask: Mask | None = None,
    *,
    nesterov: bool = False,
    independent: bool = False,
    cautious: bool = False,
    max_learning_rate: Hyper | None = None,
    clipping_threshold: Hyper | None = None,
) -> Transform:
    """AdamW: Adam with weight decay that is decoupled from the gradient.

        p <- p - learning_rate (scale_by_adam(g) + weight_decay p)

    Args:
      learning_rate: the step size; a number or a schedule.
      b1, b2, eps, eps_root, mu_dtype, nesterov, clipping_threshold: as in `scale_by_adam`. With clipping_threshold 1
        it is StableAdamW as its authors' code has it; their algorithm 2 shrinks the decay of a leaf as well.
      weight_decay, mask: as in `add_decayed_weights`; the decay is times the learning rate.
      independent: whether the decay is weight_decay p alone, not times the learning rate.
      cautious: whether an element decays only where Adam's step does not move it the other way, as in
        `add_decayed_weights`.
      max_learning_rate: the largest learning rate of the run, by which AdamC corrects the decay of layers that are
        normalised: it is times learning_rate / max_learning_rate as well. See `descend_with_corrected_decay`, also for
        how such layers alone have it. None: no correction.

    Raises:
      ValueError: max_learning_rate with independent.

    Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2; clipping: Wortsman et al. 2023, arXiv:2304.13013. optax:
    adamw, without clipping. torch: torch.optim.AdamW, which decays by 1e-2 unless told; with clipping StableAdamW of
    the package optimi.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov, clipping_threshold=clipping_threshold),
        descent(learning_rate, weight_decay, mask, independent, cautious, max_learning_rate),
    )


@hinting
def nadam(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    eps: Hyper = 1e-8,
    eps_root: Hyper = 0.0,
    mu_dtype: Dtype | None = None,
    *,
    momentum_decay: Hyper | None = None,
    weight_decay: Hyper | None = None,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """Adam with Nesterov's look-ahead.

    Args:
      learning_rate: the step size; a number or a schedule.
      b1, b2, eps, eps_root, mu_dtype: as in `scale_by_adam`.
      momentum_decay: how fast the decay of the mean warms up, as in `scale_by_nadam`, which takes neither eps_root nor
        mu_dtype. None: it is b1 from the start.
      weight_decay, mask, independent, cautious: as in `adamw`. None: no decay.

    Raises:
      ValueError: momentum_decay together with eps_root or mu_dtype.

    Dozat 2016, "Incorporating Nesterov momentum into Adam". optax: nadam, which has no momentum_decay. torch:
    torch.optim.NAdam, with momentum_decay 4e-3 and learning rate 2e-3.
    """
    return chain(
        _nesterov_adam("nadam", b1, b2, eps, eps_root, mu_dtype, momentum_decay),
        descent(learning_rate, weight_decay, mask, independent, cautious),
    )


@hinting
def nadamw(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    eps: Hyper = 1e-8,
    eps_root: Hyper = 0.0,
    mu_dtype: Dtype | None = None,
    weight_decay: Hyper = 1e-4,
    mask: Mask | None = None,
    *,
    momentum_decay: Hyper | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """NAdamW: NAdam with weight decay that is decoupled from the gradient.

        p <- p - learning_rate (scale_by_nadam(g) + weight_decay p)

    Args:
      learning_rate: the step size; a number or a schedule.
      b1, b2, eps, eps_root, mu_dtype, momentum_decay: as in `nadam`.
      weight_decay, mask, independent, cautious: as in `adamw`.

    Raises:
      ValueError: momentum_decay together with eps_root or mu_dtype.

    Dozat 2016; Loshchilov & Hutter 2019, arXiv:1711.05101. optax: nadamw, which has no momentum_decay. torch:
    torch.optim.NAdam(decoupled_weight_decay=True), with momentum_decay 4e-3.
    """
    return chain(
        _nesterov_adam("nadamw", b1, b2, eps, eps_root, mu_dtype, momentum_decay),
        descent(learning_rate, weight_decay, mask, independent, cautious),
    )


@hinting
def rmsprop(
    learning_rate: Hyper,
    decay: Hyper = 0.9,
    eps: Hyper = 1e-8,
    initial_scale: Hyper = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: Hyper | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
    *,
    weight_decay: Hyper | None = None,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """RMSprop: the gradient over the root of its running mean square, then momentum if asked.

    Args:
      learning_rate: the step size; a number or a schedule.
      decay, eps, initial_scale, eps_in_sqrt, bias_correction: as in `scale_by_rms`.
      centered: divide by the standard deviation instead, as in `scale_by_stddev`.
      momentum, nesterov: as `decay` and `nesterov` in `trace`, after the learning rate; where weights decay, before it,
        so that the decay is not gathered. None: no momentum.
      weight_decay, mask, independent, cautious: as in `adamw`. None: no decay.

    Tieleman & Hinton 2012, lecture 6.5. optax: rmsprop. torch: torch.optim.RMSprop, with decay (its alpha) 0.99, eps
    outside the root, and the rate after the momentum.
    """
    scale_by = scale_by_stddev if centered else scale_by_rms
    scaled = scale_by(decay, eps, initial_scale, eps_in_sqrt, bias_correction)
    descend = descent(learning_rate, weight_decay, mask, independent, cautious)
    if momentum is None:
        return chain(scaled, descend)
    gathered = trace(momentum, nesterov)
    return chain(scaled, descend, gathered) if weight_decay is None else chain(scaled, gathered, descend)


@hinting
def adagrad(
    learning_rate: Hyper,
    initial_accumulator_value: Hyper = 0.1,
    eps: Hyper = 1e-7,
    *,
    eps_in_sqrt: bool = True,
    weight_decay: Hyper | None = None,
    mask: Mask | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """AdaGrad: the gradient over the root of the sum of all its squares.

    Args:
      learning_rate: the step size; a number or a schedule.
      initial_accumulator_value, eps, eps_in_sqrt: as in `scale_by_rss`.
      weight_decay, mask, independent, cautious: as in `adamw`. None: no decay.

    Duchi, Hazan & Singer 2011, figure 1 (diagonal). optax: adagrad. torch: torch.optim.Adagrad, which begins at 0 and
    has eps 1e-10 outside the root.
    """
    return chain(
        scale_by_rss(initial_accumulator_value, eps, eps_in_sqrt=eps_in_sqrt),
        descent(learning_rate, weight_decay, mask, independent, cautious),
    )


def _nesterov_adam(
    name: str, b1: Hyper, b2: Hyper, eps: Hyper, eps_root: Hyper, mu_dtype: Dtype | None, momentum_decay: Hyper | None
) -> Transform:
    if momentum_decay is None:
        return scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=True)
    if mu_dtype is not None or not (isinstance(eps_root, int | float) and eps_root == 0):
        raise ValueError(f"{name}: momentum_decay goes with neither eps_root nor mu_dtype")
    return scale_by_nadam(b1, b2, eps, momentum_decay)
