# Made by `python docs/stubs.py`.
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from jax import Array
from jax.typing import ArrayLike, DTypeLike

from gradxform.core.apply import apply_updates as apply_updates
from gradxform.core.declarations import (
    Extra as Extra,
    Inner as Inner,
    Key as Key,
    MatrixSlot as MatrixSlot,
    Metric as Metric,
    Slot as Slot,
)
from gradxform.core.evaluate import eval_params as eval_params
from gradxform.core.fields import (
    Decay as Decay,
    DecayMask as DecayMask,
    Dtype as Dtype,
    Hyper as Hyper,
    Mask as Mask,
    NonNegative as NonNegative,
    Positive as Positive,
    Seed as Seed,
    SumDecay as SumDecay,
    WeightAxes as WeightAxes,
)
from gradxform.core.flow import Flow as Flow, Node as Node, Step as Step
from gradxform.core.keep import Codec
from gradxform.core.matrix_axes import MatrixAxes as MatrixAxes
from gradxform.core.record import Live as Live
from gradxform.core.rule import (
    LeafRule as LeafRule,
    MatrixRule as MatrixRule,
    TreeRule as TreeRule,
    TreeScaleRule as TreeScaleRule,
)
from gradxform.core.state import State as State
from gradxform.core.transform import Transform as Transform, transform as transform
from gradxform.core.types import GradientTransformation, Scalar, ScalarOrSchedule
from gradxform.devices.axes import on_axes as on_axes
from gradxform.devices.zero import zero as zero
from gradxform.explore import landscapes as landscapes, plots as plots
from gradxform.explore.learning_rates import RangeTest as RangeTest
from gradxform.explore.minimise import Descent as Descent, Minimisation as Minimisation
from gradxform.explore.sweep import Sweep as Sweep, sweep as sweep
from gradxform.files.config import (
    from_dict as from_dict,
    from_json as from_json,
    to_dict as to_dict,
    to_json as to_json,
)
from gradxform.linalg import (
    eigenbasis as eigenbasis,
    inverse_root as inverse_root,
    newton_schulz_coefficients as newton_schulz_coefficients,
    orthogonal_iteration as orthogonal_iteration,
    orthogonalize as orthogonalize,
    spectral_norm as spectral_norm,
)
from gradxform.masks import ByNdim, ByPath, Labels, LeafMask, NotBiasesOrNorms
from gradxform.matrix_labels import (
    AxesByRule,
    LabelsByAxes,
    hidden_matrices as hidden_matrices,
    layer_kinds as layer_kinds,
    matrices_and_rest as matrices_and_rest,
)
from gradxform.reading.describe import describe as describe
from gradxform.reading.description import Description as Description
from gradxform.reading.hyperparameters import (
    adjust as adjust,
    hyperparams as hyperparams,
    live as live,
    replace as replace,
)
from gradxform.reading.metrics import metrics as metrics
from gradxform.reading.program import program as program
from gradxform.reading.program_report import Program as Program
from gradxform.reading.schedules import ScheduleTable as ScheduleTable, schedule_table as schedule_table
from gradxform.rules.clipping import normalize as normalize
from gradxform.rules.private import (
    per_example_global_norm_clip as per_example_global_norm_clip,
    per_example_layer_norm_clip as per_example_layer_norm_clip,
)
from gradxform.rules.schedule_free import schedule_free_eval_params as schedule_free_eval_params
from gradxform.schedules.schedule import AddSchedules, JoinSchedules, MultiplySchedules, Schedule
from gradxform.storage.codecs import Int4, Int8
from gradxform.storage.floats import AsDtype
from gradxform.storage.stored import decoded as decoded
from gradxform.takeover.from_optax import from_optax as from_optax
from gradxform.takeover.from_torch import from_torch as from_torch
from gradxform.takeover.migration import migrate as migrate
from gradxform.takeover.takeover import MigrationReport as MigrationReport
from gradxform.wrappers.inject import InjectStatefulHyperparamsState as InjectStatefulHyperparamsState
from gradxform.wrappers.multi_steps import MultiSteps as MultiSteps

def chain(*args: GradientTransformation) -> Transform: ...
def named_chain(*args: tuple[str, GradientTransformation]) -> Transform: ...
def with_extra_args_support(tx: GradientTransformation) -> GradientTransformation: ...
def sgd(
    learning_rate: ScalarOrSchedule,
    momentum: ScalarOrSchedule | None = None,
    nesterov: bool = False,
    accumulator_dtype: DTypeLike | None = None,
    *,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def rmsprop(
    learning_rate: ScalarOrSchedule,
    decay: ScalarOrSchedule = 0.9,
    eps: ScalarOrSchedule = 1e-08,
    initial_scale: ScalarOrSchedule = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: ScalarOrSchedule | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
    *,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def adagrad(
    learning_rate: ScalarOrSchedule,
    initial_accumulator_value: ScalarOrSchedule = 0.1,
    eps: ScalarOrSchedule = 1e-07,
    *,
    eps_in_sqrt: bool = True,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def adam(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-08,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def adamw(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-08,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    weight_decay: ScalarOrSchedule = 0.0001,
    mask: Any | None = None,
    *,
    nesterov: bool = False,
    independent: bool = False,
    cautious: bool = False,
    max_learning_rate: ScalarOrSchedule | None = None,
    clipping_threshold: ScalarOrSchedule | None = None,
) -> Transform: ...
def nadam(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-08,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    momentum_decay: ScalarOrSchedule | None = None,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def nadamw(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-08,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    weight_decay: ScalarOrSchedule = 0.0001,
    mask: Any | None = None,
    *,
    momentum_decay: ScalarOrSchedule | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def adamw_lean(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-08,
    eps_root: ScalarOrSchedule = 0.0,
    weight_decay: ScalarOrSchedule = 0.0001,
    mask: Any | None = None,
    *,
    nesterov: bool = False,
    independent: bool = False,
    cautious: bool = False,
    bits: int = 8,
    codec: Codec = ...,
    min_size: int = 4096,
    seed: int = 0,
) -> Transform: ...
def acprop(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-16,
    eps_root: ScalarOrSchedule = 1e-16,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Any | None = None,
    *,
    paper: bool = False,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def adabelief(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-16,
    eps_root: ScalarOrSchedule = 1e-16,
    *,
    nesterov: bool = False,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def adam_mini(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-08,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
    blocks: int | tuple[int, ...] | None = None,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def adamax(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-08,
    *,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def adamaxw(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-08,
    weight_decay: ScalarOrSchedule = 0.0001,
    mask: Any | None = None,
    *,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def adopt(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.9999,
    eps: ScalarOrSchedule = 1e-06,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Callable[[Array], Array] = ...,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def amsgrad(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-08,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
    *,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def laprop(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-15,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def novograd(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.25,
    eps: ScalarOrSchedule = 1e-06,
    eps_root: ScalarOrSchedule = 0.0,
    weight_decay: ScalarOrSchedule = 0.0,
    *,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def radam(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-08,
    eps_root: ScalarOrSchedule = 0.0,
    threshold: ScalarOrSchedule = 5.0,
    *,
    nesterov: bool = False,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def yogi(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 0.001,
    *,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def adan(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.98,
    b2: ScalarOrSchedule = 0.92,
    b3: ScalarOrSchedule = 0.99,
    eps: ScalarOrSchedule = 1e-08,
    eps_root: ScalarOrSchedule = 1e-08,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Any | None = None,
    *,
    difference_weight: ScalarOrSchedule | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def ademamix(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    b3: ScalarOrSchedule = 0.9999,
    alpha: ScalarOrSchedule = 5.0,
    eps: ScalarOrSchedule = 1e-08,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Any | None = None,
    *,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def madgrad(
    learning_rate: ScalarOrSchedule,
    momentum: ScalarOrSchedule = 0.9,
    weight_decay: ScalarOrSchedule = 0.0,
    eps: ScalarOrSchedule = 1e-06,
    *,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def simplified_ademamix(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.99,
    b2: ScalarOrSchedule = 0.95,
    alpha: ScalarOrSchedule = 0.0,
    eps: ScalarOrSchedule = 1e-08,
    eps_root: ScalarOrSchedule = 0.0,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Any | None = None,
    *,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def adafactor(
    learning_rate: ScalarOrSchedule | None = None,
    min_dim_size_to_factor: int = 128,
    decay_rate: ScalarOrSchedule = 0.8,
    decay_offset: int = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: ScalarOrSchedule | None = 1.0,
    momentum: ScalarOrSchedule | None = None,
    dtype_momentum: DTypeLike = ...,
    weight_decay_rate: ScalarOrSchedule | None = None,
    eps: ScalarOrSchedule = 1e-30,
    factored: bool = True,
    weight_decay_mask: Any | None = None,
    *,
    min_rms: ScalarOrSchedule | None = None,
    weight_dimension_numbers: Any | None = None,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def came(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    b3: ScalarOrSchedule = 0.9999,
    eps: ScalarOrSchedule = 1e-30,
    eps_instability: ScalarOrSchedule = 1e-16,
    clipping_threshold: ScalarOrSchedule = 1.0,
    mu_dtype: DTypeLike | None = None,
    *,
    weight_dimension_numbers: Any | None = None,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def lamb(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-06,
    eps_root: ScalarOrSchedule = 0.0,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Any | None = None,
    *,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def lars(
    learning_rate: ScalarOrSchedule,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_decay_mask: Any | None = True,
    trust_coefficient: ScalarOrSchedule = 0.001,
    eps: ScalarOrSchedule = 0.0,
    trust_ratio_mask: Any | None = True,
    momentum: ScalarOrSchedule = 0.9,
    nesterov: bool = False,
    *,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def sm3(
    learning_rate: ScalarOrSchedule,
    momentum: ScalarOrSchedule = 0.9,
    *,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def fromage(learning_rate: ScalarOrSchedule, min_norm: ScalarOrSchedule = 1e-06) -> Transform:
    """Steps of a fixed size relative to each leaf, then shrinks the leaf so that it does not grow."""

def adadelta(
    learning_rate: ScalarOrSchedule | None = None,
    rho: ScalarOrSchedule = 0.9,
    eps: ScalarOrSchedule = 1e-06,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_decay_mask: Any | None = None,
    *,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def lion(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.99,
    mu_dtype: DTypeLike | None = None,
    weight_decay: ScalarOrSchedule = 0.001,
    mask: Any | None = None,
    *,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def noisy_sgd(
    learning_rate: ScalarOrSchedule,
    eta: ScalarOrSchedule = 0.01,
    gamma: ScalarOrSchedule = 0.55,
    key: int | Array | None = None,
    *,
    seed: int | None = None,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def optimistic_adam(
    learning_rate: ScalarOrSchedule,
    optimism: ScalarOrSchedule | None = None,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-08,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = True,
) -> Transform: ...
def optimistic_adam_v2(
    learning_rate: ScalarOrSchedule,
    *,
    alpha: ScalarOrSchedule = 1.0,
    beta: ScalarOrSchedule = 1.0,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-08,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    nesterov: bool = True,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def optimistic_gradient_descent(
    learning_rate: ScalarOrSchedule,
    alpha: ScalarOrSchedule = 1.0,
    beta: ScalarOrSchedule = 1.0,
    *,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def polyak_sgd(
    max_learning_rate: ScalarOrSchedule = 1.0,
    scaling: ScalarOrSchedule = 1.0,
    f_min: ScalarOrSchedule = 0.0,
    eps: ScalarOrSchedule = 0.0,
    variant: str = "sps",
    *,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def rprop(
    learning_rate: ScalarOrSchedule,
    eta_minus: ScalarOrSchedule = 0.5,
    eta_plus: ScalarOrSchedule = 1.2,
    min_step_size: ScalarOrSchedule = 1e-06,
    max_step_size: ScalarOrSchedule = 50.0,
) -> Transform: ...
def sign_sgd(
    learning_rate: ScalarOrSchedule,
    *,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def signum(
    learning_rate: ScalarOrSchedule,
    beta: ScalarOrSchedule = 0.9,
    accumulator_dtype: DTypeLike | None = None,
    *,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def cocob(
    learning_rate: ScalarOrSchedule = 1.0,
    alpha: ScalarOrSchedule = 100.0,
    eps: ScalarOrSchedule = 1e-08,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Any | None = None,
    *,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def dog(
    learning_rate: ScalarOrSchedule = 1.0,
    init_step: tuple[str, ScalarOrSchedule] = ...,
    eps: ScalarOrSchedule = 1e-08,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Any | None = None,
    *,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def dowg(
    learning_rate: ScalarOrSchedule = 1.0,
    init_estim_sq_dist: ScalarOrSchedule | None = None,
    eps: ScalarOrSchedule = 0.0001,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Any | None = None,
    *,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def dadapt_adamw(
    learning_rate: ScalarOrSchedule = 1.0,
    betas: tuple[ScalarOrSchedule, ScalarOrSchedule] = ...,
    eps: ScalarOrSchedule = 1e-08,
    estim_lr0: ScalarOrSchedule = 1e-06,
    weight_decay: ScalarOrSchedule = 0.0,
    *,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """AdamW whose learning rate is an estimate of the distance to the solution, by D-Adaptation."""

def prodigy(
    learning_rate: ScalarOrSchedule = 1.0,
    betas: tuple[ScalarOrSchedule, ScalarOrSchedule] = ...,
    beta3: ScalarOrSchedule | None = None,
    eps: ScalarOrSchedule = 1e-08,
    estim_lr0: ScalarOrSchedule = 1e-06,
    estim_lr_coef: ScalarOrSchedule = 1.0,
    weight_decay: ScalarOrSchedule = 0.0,
    safeguard_warmup: bool = False,
    *,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """AdamW whose learning rate is an estimate of the distance to the solution, which grows faster than
    D-Adaptation's."""

def momo(
    learning_rate: ScalarOrSchedule = 1.0,
    beta: ScalarOrSchedule = 0.9,
    lower_bound: ScalarOrSchedule = 0.0,
    weight_decay: ScalarOrSchedule = 0.0,
    adapt_lower_bound: bool = False,
    *,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """Momentum whose step is the one that brings a model of the loss down to its lower bound, if that is shorter."""

def momo_adam(
    learning_rate: ScalarOrSchedule = 0.01,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-08,
    lower_bound: ScalarOrSchedule = 0.0,
    weight_decay: ScalarOrSchedule = 0.0,
    adapt_lower_bound: bool = False,
    *,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform:
    """Adam whose step is the one that brings a model of the loss down to its lower bound, if that is shorter."""

def mechanize(
    base_optimizer: GradientTransformation,
    weight_decay: ScalarOrSchedule = 0.01,
    eps: ScalarOrSchedule = 1e-08,
    s_init: ScalarOrSchedule = 1e-06,
    num_betas: int = 6,
) -> Transform:
    """Scales the way that an optimizer has come by a number that is learned: its learning rate, up to a factor."""

def scale_by_cocob(alpha: ScalarOrSchedule = 100.0, eps: ScalarOrSchedule = 1e-08) -> Transform:
    """Moves each parameter to where a gambler who bets on its gradients would stand."""

def scale_by_distance_over_gradients(
    reps_rel: ScalarOrSchedule = 1e-06,
    eps: ScalarOrSchedule = 1e-08,
    param_dtype: DTypeLike = ...,
    global_scale: ScalarOrSchedule = 1.0,
) -> Transform:
    """Scales each leaf by its distance from where it began over the root of the sum of its squared gradient norms."""

def scale_by_dog(
    init_step: str = "heuristic", init_value: ScalarOrSchedule = 1e-06, eps: ScalarOrSchedule = 1e-08
) -> Transform:
    """Scales by the distance from the first parameters over the root of the sum of squared gradient norms."""

def scale_by_dowg(init_estim_sq_dist: ScalarOrSchedule | None = None, eps: ScalarOrSchedule = 0.0001) -> Transform:
    """Scales by the squared distance over the root of the sum of squared gradient norms, weighted by those
    distances."""

def muon(
    learning_rate: ScalarOrSchedule,
    ns_coeffs: Any = ...,
    ns_steps: int = 5,
    beta: ScalarOrSchedule = 0.95,
    eps: ScalarOrSchedule = 1e-08,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_decay_mask: Any | None = None,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: Literal["frobenius", "spectral", "aol", "schatten"] = "frobenius",
    adam_b1: ScalarOrSchedule = 0.9,
    adam_b2: ScalarOrSchedule = 0.999,
    adam_eps_root: ScalarOrSchedule = 0.0,
    adam_weight_decay: ScalarOrSchedule = 0.0,
    adam_learning_rate: ScalarOrSchedule | None = None,
    muon_weight_dimension_numbers: Any | None = None,
    consistent_rms: ScalarOrSchedule | None = None,
    scale: str = "keller",
    debias: bool = True,
    gram: bool | None = None,
    batched: bool = False,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def dion2(
    learning_rate: ScalarOrSchedule,
    fraction: float = 0.25,
    decay: ScalarOrSchedule = 0.95,
    ns_coeffs: Any = "polar_express",
    ns_steps: int = 5,
    eps: ScalarOrSchedule = 1e-07,
    weight_decay: ScalarOrSchedule = 0.01,
    mask: Any | None = None,
    *,
    scale: str = "spectral",
    weight_dimension_numbers: Any | None = None,
    gram: bool | None = None,
    batched: bool = False,
    independent: bool = False,
    cautious: bool = False,
    adam_b1: ScalarOrSchedule = 0.9,
    adam_b2: ScalarOrSchedule = 0.999,
    adam_eps: ScalarOrSchedule = 1e-08,
    adam_weight_decay: ScalarOrSchedule = 0.0,
    adam_learning_rate: ScalarOrSchedule | None = None,
) -> Transform: ...
def galore(
    learning_rate: ScalarOrSchedule,
    rank: int = 128,
    update_proj_gap: int = 200,
    scale: float = 1.0,
    base_optimizer: GradientTransformation | None = None,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Any | None = None,
    weight_dimension_numbers: Any | None = None,
    *,
    side: str = "longer",
    cautious: bool = False,
) -> Transform: ...
def scale_by_galore(
    rank: int = 128,
    update_proj_gap: int = 200,
    scale: float = 1.0,
    base_optimizer: GradientTransformation | None = None,
    weight_dimension_numbers: Any | None = None,
    *,
    side: str = "longer",
) -> Transform: ...
def adamh(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-08,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
    adam_learning_rate: ScalarOrSchedule | None = None,
    weight_dimension_numbers: Any | None = None,
    radius: str = "present",
) -> Transform: ...
def hyperball(
    inner: GradientTransformation,
    learning_rate: ScalarOrSchedule,
    weight_dimension_numbers: Any | None = None,
    *,
    radius: str = "present",
) -> Transform: ...
def normuon(
    learning_rate: ScalarOrSchedule,
    ns_coeffs: Any = ...,
    ns_steps: int = 5,
    beta: ScalarOrSchedule = 0.95,
    b2: ScalarOrSchedule = 0.95,
    eps: ScalarOrSchedule = 1e-10,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Any | None = None,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = True,
    rescale: str = "norm",
    scale: str = "keller",
    preconditioning: Any = "frobenius",
    weight_dimension_numbers: Any | None = None,
    gram: bool | None = None,
    batched: bool = False,
    independent: bool = False,
    cautious: bool = False,
    adam_b1: ScalarOrSchedule = 0.9,
    adam_b2: ScalarOrSchedule = 0.999,
    adam_eps: ScalarOrSchedule = 1e-08,
    adam_weight_decay: ScalarOrSchedule = 0.0,
    adam_learning_rate: ScalarOrSchedule | None = None,
) -> Transform: ...
def scion(
    learning_rate: ScalarOrSchedule,
    radius: ScalarOrSchedule = 50.0,
    head_radius: ScalarOrSchedule = 3000.0,
    beta: ScalarOrSchedule = 0.9,
    ns_coeffs: Any = ...,
    ns_steps: int = 5,
    mu_dtype: DTypeLike | None = None,
    *,
    constrained: bool = True,
    embedding_norm: str = "rows",
    embedding_radius: ScalarOrSchedule | None = None,
    head_norm: str = "sign",
    weight_dimension_numbers: Any = ...,
    param_labels: Any = ...,
    gram: bool | None = None,
    batched: bool = False,
) -> Transform: ...
def scale_by_muon(
    ns_coeffs: Any = ...,
    ns_steps: int = 5,
    beta: ScalarOrSchedule = 0.95,
    eps: ScalarOrSchedule = 1e-08,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: Literal["frobenius", "spectral", "aol", "schatten"] = "frobenius",
    weight_dimension_numbers: Any | None = None,
    batched: bool = False,
    debias: bool = True,
    gram: bool | None = None,
) -> Transform:
    """Makes the running mean of the gradient orthogonal, matrix by matrix."""

def scale_by_shape(
    weight_dimension_numbers: Any | None = None,
    consistent_rms: ScalarOrSchedule | None = None,
    *,
    scale: str = "keller",
) -> Transform:
    """Multiplies by a factor of each matrix's shape, so that one learning rate fits all."""

def scale_by_dion2(
    fraction: float = 0.25,
    decay: ScalarOrSchedule = 0.95,
    ns_coeffs: Any = "polar_express",
    ns_steps: int = 5,
    eps: ScalarOrSchedule = 1e-07,
    *,
    weight_dimension_numbers: Any | None = None,
    gram: bool | None = None,
    batched: bool = False,
) -> Transform:
    """Makes the largest rows or columns of the sum of gradients orthogonal, and moves only these."""

def scale_by_hyperball(
    learning_rate: ScalarOrSchedule,
    weight_dimension_numbers: Any | None = None,
    *,
    radius: str = "present",
    flip_sign: bool = True,
) -> Transform:
    """Turns each matrix by a learning rate, so that its norm stays."""

def scale_by_normuon(
    ns_coeffs: Any = ...,
    ns_steps: int = 5,
    beta: ScalarOrSchedule = 0.95,
    b2: ScalarOrSchedule = 0.95,
    eps: ScalarOrSchedule = 1e-10,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = True,
    rescale: str | None = "norm",
    preconditioning: Literal["frobenius", "spectral", "aol", "schatten"] = "frobenius",
    weight_dimension_numbers: Any | None = None,
    gram: bool | None = None,
    batched: bool = False,
) -> Transform:
    """Makes the running mean of the gradient orthogonal, and gives each neuron's weights the same size."""

def qk_clip(
    query: str | tuple[str, ...],
    key: str | tuple[str, ...],
    max_logit: ScalarOrSchedule = 100.0,
    *,
    rotary_query: str | tuple[str, ...] | None = None,
    heads_axis: int = -2,
    key_heads: int | None = None,
    alpha: float = 0.5,
) -> Transform:
    """Shrinks the queries and keys of those attention heads whose largest logit is more than `max_logit`."""

def normalize_vectors(eps: ScalarOrSchedule = 1e-08) -> Transform:
    """Divides each vector by its root mean square."""

def scale_by_scion(
    norm: str = "spectral",
    radius: ScalarOrSchedule = 1.0,
    beta: ScalarOrSchedule = 0.9,
    ns_coeffs: Any = ...,
    ns_steps: int = 5,
    eps: ScalarOrSchedule = 1e-08,
    mu_dtype: DTypeLike | None = None,
    *,
    weight_dimension_numbers: Any | None = None,
    gram: bool | None = None,
    batched: bool = False,
) -> Transform:
    """Takes the running mean of the gradient to where a ball of each matrix's norm is steepest."""

def kl_shampoo(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.98,
    eps: ScalarOrSchedule = 1e-08,
    precondition_frequency: ScalarOrSchedule = 10,
    init_factor: ScalarOrSchedule = 0.1,
    clamp: ScalarOrSchedule = 4000.0,
    *,
    spread: bool = False,
    batched: bool = False,
    weight_dimension_numbers: Any | None = None,
    weight_decay: ScalarOrSchedule = 0.01,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
    adam_b1: ScalarOrSchedule = 0.9,
    adam_b2: ScalarOrSchedule = 0.999,
    adam_eps: ScalarOrSchedule = 1e-08,
    adam_weight_decay: ScalarOrSchedule = 0.0,
    adam_learning_rate: ScalarOrSchedule | None = None,
) -> Transform: ...
def psgd_kron(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    precondition_frequency: ScalarOrSchedule = ...,
    precond_lr: ScalarOrSchedule = 0.1,
    max_size_triangular: int = 8192,
    max_skew: float | None = None,
    precond_init_scale: float = 1.0,
    max_rms: ScalarOrSchedule | None = 1.1,
    key: int | Array = 0,
    *,
    spread: bool = False,
    batched: bool = False,
    weight_dimension_numbers: Any | None = None,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
    adam_b1: ScalarOrSchedule = 0.9,
    adam_b2: ScalarOrSchedule = 0.999,
    adam_eps: ScalarOrSchedule = 1e-08,
    adam_weight_decay: ScalarOrSchedule = 0.0,
    adam_learning_rate: ScalarOrSchedule | None = None,
) -> Transform: ...
def shampoo(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 1.0,
    eps: ScalarOrSchedule = 1e-12,
    precondition_frequency: ScalarOrSchedule = 1,
    block_size: int = 1024,
    exponents: tuple[float, float] = ...,
    *,
    graft: str = "none",
    graft_b2: ScalarOrSchedule = 0.999,
    graft_eps: ScalarOrSchedule = 1e-08,
    root: Literal["eigh", "newton"] = "eigh",
    debias: bool = True,
    spread: bool = False,
    batched: bool = False,
    weight_dimension_numbers: Any | None = None,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
    adam_b1: ScalarOrSchedule = 0.9,
    adam_b2: ScalarOrSchedule = 0.999,
    adam_eps: ScalarOrSchedule = 1e-08,
    adam_weight_decay: ScalarOrSchedule = 0.0,
    adam_learning_rate: ScalarOrSchedule | None = None,
) -> Transform: ...
def soap(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.95,
    b2: ScalarOrSchedule = 0.95,
    eps: ScalarOrSchedule = 1e-08,
    precondition_frequency: ScalarOrSchedule = 10,
    max_precond_dim: int = 10000,
    shampoo_beta: ScalarOrSchedule | None = None,
    *,
    debias: bool = True,
    spread: bool = False,
    batched: bool = False,
    weight_dimension_numbers: Any | None = None,
    weight_decay: ScalarOrSchedule = 0.01,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
    adam_b1: ScalarOrSchedule = 0.9,
    adam_b2: ScalarOrSchedule = 0.999,
    adam_eps: ScalarOrSchedule = 1e-08,
    adam_weight_decay: ScalarOrSchedule = 0.0,
    adam_learning_rate: ScalarOrSchedule | None = None,
) -> Transform: ...
def scale_by_soap(
    b1: ScalarOrSchedule = 0.95,
    b2: ScalarOrSchedule = 0.95,
    eps: ScalarOrSchedule = 1e-08,
    precondition_frequency: ScalarOrSchedule = 10,
    max_precond_dim: int = 10000,
    shampoo_beta: ScalarOrSchedule | None = None,
    *,
    debias: bool = True,
    spread: bool = False,
    weight_dimension_numbers: Any | None = None,
    batched: bool = False,
) -> Transform:
    """Adam in the bases in which the mean products g g^T and g^T g of each matrix are nearly diagonal."""

def scale_by_psgd_kron(
    b1: ScalarOrSchedule = 0.9,
    precondition_frequency: ScalarOrSchedule = 1,
    precond_lr: ScalarOrSchedule = 0.1,
    max_size_triangular: int = 8192,
    max_skew: float | None = None,
    precond_init_scale: float = 1.0,
    max_rms: ScalarOrSchedule | None = 1.1,
    key: int | Array = 0,
    *,
    spread: bool = False,
    weight_dimension_numbers: Any | None = None,
    batched: bool = False,
) -> Transform:
    """Multiplies the mean of the gradient by Ql^T Ql and Qr^T Qr, which are learnt so that what results is white."""

def scale_by_kl_shampoo(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.98,
    eps: ScalarOrSchedule = 1e-08,
    precondition_frequency: ScalarOrSchedule = 10,
    init_factor: ScalarOrSchedule = 0.1,
    clamp: ScalarOrSchedule = 4000.0,
    *,
    spread: bool = False,
    weight_dimension_numbers: Any | None = None,
    batched: bool = False,
) -> Transform:
    """Shampoo whose factors each see the gradient without what the other has of it, in bases that QR turns."""

def scale_by_shampoo(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 1.0,
    eps: ScalarOrSchedule = 1e-12,
    precondition_frequency: ScalarOrSchedule = 1,
    block_size: int = 1024,
    exponents: tuple[float, float] = ...,
    *,
    graft: str = "none",
    graft_b2: ScalarOrSchedule = 0.999,
    graft_eps: ScalarOrSchedule = 1e-08,
    root: Literal["eigh", "newton"] = "eigh",
    debias: bool = True,
    spread: bool = False,
    weight_dimension_numbers: Any | None = None,
    batched: bool = False,
) -> Transform:
    """Multiplies the mean of the gradient by inverse roots of the sums of g g^T and of g^T g."""

def labels_by_axes(
    weight_dimension_numbers: Any | None = None, matrices: str = "matrices", rest: str = "rest"
) -> LabelsByAxes:
    """Labels for `partition`: one for the parameters that have matrix axes, another for all others."""

def matrix_axes(
    rules: Mapping[str | LeafMask, Any] | tuple[tuple[str | LeafMask, Any], ...], default: Any = None
) -> AxesByRule:
    """Matrix axes by rule: of each parameter those of the first rule that fits it."""

def offloaded(inner: GradientTransformation, *, where: Any = None, min_size: int = 4096) -> Transform: ...
def stored(
    inner: GradientTransformation,
    codec: Codec | None = None,
    *,
    where: Any = None,
    min_size: int = 4096,
    fused: bool | None = None,
    **slots: Codec | None,
) -> Transform: ...
def int4(
    block: int = 128,
    *,
    companded: bool = True,
    stochastic: bool = True,
    axis: int | None = None,
    signed: bool | None = None,
    seed: int = 0,
) -> Int4:
    """Keeps arrays in 4 bits an element, two in a byte, and a float32 scale a block: 0.53 bytes with blocks of 128."""

def int8(
    block: int = 128,
    *,
    companded: bool = True,
    stochastic: bool = False,
    axis: int | None = None,
    signed: bool | None = None,
    seed: int = 0,
) -> Int8:
    """Keeps arrays in 8 bits an element, and a float32 scale a block: 1.03 bytes with blocks of 128."""

def as_dtype(
    dtype: Any,
    block: int = 128,
    *,
    companded: bool = True,
    stochastic: bool = True,
    axis: int | None = None,
    signed: bool | None = None,
    seed: int = 0,
) -> AsDtype:
    """Keeps arrays in a smaller floating-point dtype."""

def kahan(inner: GradientTransformation, *, strict: bool = True) -> Transform:
    """Keeps what rounding took from bfloat16 and float16 parameters, and adds it to the next update."""

def master_weights(inner: GradientTransformation, *, strict: bool = True) -> Transform:
    """Trains a float32 copy of bfloat16 and float16 parameters, of which these are the rounded ones."""

def split_weights(inner: GradientTransformation, bits: int = 8, *, strict: bool = True, seed: int = 0) -> Transform:
    """Trains bfloat16 and float16 parameters as float32 ones, of which the state keeps what they lack."""

def stochastic_rounding(inner: GradientTransformation, seed: int = 0, *, strict: bool = True) -> Transform:
    """Rounds new parameters of bfloat16 and float16 to one of the two nearest numbers, so that the mean is right."""

def sophia(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.965,
    b2: ScalarOrSchedule = 0.99,
    eps: ScalarOrSchedule = 1e-08,
    weight_decay: ScalarOrSchedule = 0.0001,
    weight_decay_mask: Any | None = None,
    gamma: ScalarOrSchedule = 0.01,
    clip_threshold: ScalarOrSchedule | None = 1.0,
    update_interval: int = 10,
    hessian_diagonal_fn: GradientTransformation = ...,
    mu_dtype: DTypeLike | None = None,
    verbose: bool = False,
    print_win_rate_every_n_steps: int = 0,
    *,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def hutchinson_estimator_diag_hessian(random_seed: int | Array | None = None) -> Transform:
    """Puts an unbiased estimate of the diagonal of the loss's Hessian in the place of the gradient."""

def scale_by_sophia(
    b1: ScalarOrSchedule = 0.965,
    b2: ScalarOrSchedule = 0.99,
    eps: ScalarOrSchedule = 1e-08,
    gamma: ScalarOrSchedule = 0.01,
    clip_threshold: ScalarOrSchedule | None = 1.0,
    update_interval: int = 10,
    hessian_diagonal_fn: GradientTransformation = ...,
    mu_dtype: DTypeLike | None = None,
    verbose: bool = False,
    print_win_rate_every_n_steps: int = 0,
) -> Transform:
    """Divides the running mean of the gradient by that of the Hessian's diagonal, and bounds each element."""

def lbfgs(
    learning_rate: ScalarOrSchedule | None = None,
    memory_size: int = 10,
    scale_init_precond: bool = True,
    linesearch: GradientTransformation | None = ...,
) -> Transform:
    """L-BFGS: steps by an approximation of the inverse Hessian, as far as a line search goes."""

def scale_by_backtracking_linesearch(
    max_backtracking_steps: ArrayLike,
    slope_rtol: ArrayLike = 0.0001,
    decrease_factor: ArrayLike = 0.8,
    increase_factor: ArrayLike = 1.5,
    max_learning_rate: ArrayLike = 1.0,
    atol: ArrayLike = 0.0,
    rtol: ArrayLike = 0.0,
    store_grad: bool = False,
    verbose: bool = False,
) -> Transform:
    """Shortens a step until the loss falls by a part of what its slope promises."""

def scale_by_lbfgs(memory_size: int = 10, scale_init_precond: bool = True) -> Transform:
    """Multiplies by an approximation of the inverse Hessian, made of the last changes of gradient and parameters."""

def scale_by_zoom_linesearch(
    max_linesearch_steps: ArrayLike,
    max_learning_rate: ArrayLike | None = None,
    tol: ArrayLike = 0.0,
    increase_factor: ArrayLike = 2.0,
    slope_rtol: ArrayLike = 0.0001,
    curv_rtol: ArrayLike = 0.9,
    approx_dec_rtol: ArrayLike | None = 1e-06,
    stepsize_precision: ArrayLike = 1e-05,
    initial_guess_strategy: str = "keep",
    verbose: bool = False,
) -> Transform:
    """Finds how far to step, so that the loss falls enough and its slope flattens."""

def average_params(
    decay: ScalarOrSchedule | None = 0.999, start: int = 0, every: int = 1, debias: bool = True
) -> Transform:
    """Keeps an average of the parameters, to evaluate with: exponential, uniform, or of the end of a run."""

def lookahead(
    fast_optimizer: GradientTransformation,
    sync_period: int,
    slow_step_size: ScalarOrSchedule,
    reset_state: bool = False,
) -> Transform:
    """Steps fast parameters by an optimizer, and every sync_period steps moves slow ones to them and them back."""

def sam(
    optimizer: GradientTransformation,
    adv_optimizer: GradientTransformation,
    sync_period: int = 2,
    reset_state: bool = True,
    opaque_mode: bool = False,
    batch_axis_name: str | None = None,
) -> Transform:
    """Moves the parameters against the loss before each step of an optimizer, which then steps from where they were."""

def gpa(
    base_optimizer: GradientTransformation,
    mu_x: ScalarOrSchedule = 0.9967,
    mu_y: ScalarOrSchedule = 0.7,
    state_dtype: DTypeLike | None = None,
) -> Transform:
    """Generalized primal averaging: gradients are taken between the steps of an optimizer and their running mean."""

def schedule_free(
    base_optimizer: GradientTransformation,
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    weight_lr_power: ScalarOrSchedule = 2.0,
    state_dtype: DTypeLike | None = None,
) -> Transform:
    """Trains at a point between the steps of an optimizer and their average, in place of a decaying learning rate."""

def schedule_free_plus(
    base_optimizer: GradientTransformation,
    learning_rate: ScalarOrSchedule = 1.0,
    b1: ScalarOrSchedule = 0.9,
    weight_decay: ScalarOrSchedule = 0.0,
    r: ScalarOrSchedule = 0.0,
    polyak_beta: ScalarOrSchedule = 0.0,
    c_warmup: int = 0,
    weight_lr_power: ScalarOrSchedule = 2.0,
    state_dtype: DTypeLike | None = None,
    *,
    mask: Any | None = None,
) -> Transform:
    """Schedule-free learning whose step comes from the value of the loss, for whole runs of large models."""

def schedule_free_adamw(
    learning_rate: ScalarOrSchedule = 0.0025,
    warmup_steps: int | None = None,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-08,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_lr_power: ScalarOrSchedule = 2.0,
    state_dtype: DTypeLike | None = None,
    *,
    cautious: bool = False,
) -> Transform: ...
def schedule_free_sgd(
    learning_rate: ScalarOrSchedule = 1.0,
    warmup_steps: int | None = None,
    b1: ScalarOrSchedule = 0.9,
    weight_decay: ScalarOrSchedule | None = None,
    weight_lr_power: ScalarOrSchedule = 2.0,
    state_dtype: DTypeLike | None = None,
    *,
    cautious: bool = False,
) -> Transform: ...
def dpsgd(
    learning_rate: ScalarOrSchedule,
    l2_norm_clip: ScalarOrSchedule,
    noise_multiplier: ScalarOrSchedule,
    seed: int | Array,
    momentum: ScalarOrSchedule | None = None,
    nesterov: bool = False,
    *,
    per_layer: bool = False,
    uniform: bool = True,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Any | None = None,
    independent: bool = False,
    cautious: bool = False,
) -> Transform: ...
def differentially_private_aggregate(
    l2_norm_clip: ScalarOrSchedule,
    noise_multiplier: ScalarOrSchedule,
    key: int | Array | None = None,
    *,
    seed: int | None = None,
    per_layer: bool = False,
    uniform: bool = True,
) -> Transform: ...
def ema(decay: ScalarOrSchedule, debias: bool = True, accumulator_dtype: DTypeLike | None = None) -> Transform:
    """The running mean of the gradients."""

def trace(
    decay: ScalarOrSchedule,
    nesterov: bool = False,
    accumulator_dtype: DTypeLike | None = None,
    *,
    dampening: ScalarOrSchedule = 0.0,
) -> Transform:
    """Heavy-ball momentum: a decaying sum of the gradients, the learning rate outside."""

def velocity(
    learning_rate: ScalarOrSchedule,
    decay: ScalarOrSchedule = 0.9,
    nesterov: bool = False,
    accumulator_dtype: DTypeLike | None = None,
) -> Transform:
    """Momentum with the learning rate inside the velocity; what leaves is the step to add to the parameters."""

def scale_by_adam(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-08,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
    clipping_threshold: ScalarOrSchedule | None = None,
) -> Transform:
    """Divides the running mean of the gradient by the root of its running mean square."""

def scale_by_nadam(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-08,
    momentum_decay: ScalarOrSchedule = 0.004,
) -> Transform:
    """Adam with Nesterov's look-ahead and a decay of the mean that warms up, as torch has it."""

def scale_by_rms(
    decay: ScalarOrSchedule = 0.9,
    eps: ScalarOrSchedule = 1e-08,
    initial_scale: ScalarOrSchedule = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> Transform:
    """Divides the gradient by the root of its running mean square."""

def scale_by_rss(
    initial_accumulator_value: ScalarOrSchedule = 0.1, eps: ScalarOrSchedule = 1e-07, *, eps_in_sqrt: bool = True
) -> Transform:
    """Divides the gradient by the root of the sum of all its squares."""

def scale_by_stddev(
    decay: ScalarOrSchedule = 0.9,
    eps: ScalarOrSchedule = 1e-08,
    initial_scale: ScalarOrSchedule = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> Transform:
    """Divides the gradient by its running standard deviation: centred RMSprop."""

def scale_by_acprop(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-16,
    eps_root: ScalarOrSchedule = 1e-16,
    *,
    paper: bool = False,
) -> Transform:
    """AdaBelief whose denominator is that of the step before, so that it does not depend on the gradient it divides."""

def scale_by_adamax(
    b1: ScalarOrSchedule = 0.9, b2: ScalarOrSchedule = 0.999, eps: ScalarOrSchedule = 1e-08
) -> Transform:
    """Adam with the decaying maximum of the gradient in the place of its root mean square."""

def scale_by_adopt(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.9999,
    eps: ScalarOrSchedule = 1e-06,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Callable[[Array], Array] = ...,
) -> Transform:
    """Momentum of gradients that were divided by the root mean square of those before them, and then clipped."""

def scale_by_amsgrad(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-08,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
) -> Transform:
    """Adam whose denominator never shrinks: it takes the largest mean square so far."""

def scale_by_belief(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-16,
    eps_root: ScalarOrSchedule = 1e-16,
    *,
    nesterov: bool = False,
) -> Transform:
    """Adam with the mean square of the gradient's surprise, g - mu, in the place of its own."""

def scale_by_novograd(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.25,
    eps: ScalarOrSchedule = 1e-08,
    eps_root: ScalarOrSchedule = 0.0,
    weight_decay: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    mask: Any | None = None,
    cautious: bool = False,
) -> Transform:
    """Momentum of gradients that were divided, a whole leaf at a time, by their running norm."""

def scale_by_radam(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-08,
    eps_root: ScalarOrSchedule = 0.0,
    threshold: ScalarOrSchedule = 5.0,
    *,
    nesterov: bool = False,
) -> Transform:
    """Adam whose denominator waits until it can be trusted, and is rectified for its variance from then on."""

def scale_by_yogi(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 0.001,
    eps_root: ScalarOrSchedule = 0.0,
    initial_accumulator_value: ScalarOrSchedule = 1e-06,
) -> Transform:
    """Adam whose mean square moves by a step of the gradient's size, and so shrinks slowly."""

def scale_by_adam_mini(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-08,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
    blocks: int | tuple[int, ...] | None = None,
) -> Transform:
    """Adam that divides each block of a leaf by one number: the root of the running mean of its mean square."""

def scale_by_madgrad(
    learning_rate: ScalarOrSchedule, momentum: ScalarOrSchedule = 0.9, eps: ScalarOrSchedule = 1e-06
) -> Transform:
    """Dual averaging with a cube root and momentum; what leaves is the step to add to the parameters."""

def scale_by_laprop(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-15,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
) -> Transform:
    """The running mean of gradients, each divided by the root mean square of those up to it."""

def scale_by_adan(
    b1: ScalarOrSchedule = 0.98,
    b2: ScalarOrSchedule = 0.92,
    b3: ScalarOrSchedule = 0.99,
    eps: ScalarOrSchedule = 1e-08,
    eps_root: ScalarOrSchedule = 0.0,
    *,
    difference_weight: ScalarOrSchedule | None = None,
) -> Transform:
    """Adam with Nesterov's look-ahead, which adds the running mean of the gradient's change to that of the gradient."""

def scale_by_ademamix(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    b3: ScalarOrSchedule = 0.9999,
    alpha: ScalarOrSchedule = 6.0,
    eps: ScalarOrSchedule = 1e-08,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
) -> Transform:
    """Adam with a second, slower running mean of the gradient beside the first."""

def scale_by_simplified_ademamix(
    b1: ScalarOrSchedule = 0.99,
    b2: ScalarOrSchedule = 0.95,
    alpha: ScalarOrSchedule = 0.0,
    eps: ScalarOrSchedule = 1e-08,
    eps_root: ScalarOrSchedule = 0.0,
) -> Transform:
    """AdEMAMix with one mean: the decaying sum of the gradients, and the gradient itself beside it."""

def scale_by_adadelta(rho: ScalarOrSchedule = 0.9, eps: ScalarOrSchedule = 1e-06) -> Transform:
    """Scales the gradient by the root mean square of past updates over that of past gradients."""

def scale_by_optimistic_gradient(alpha: ScalarOrSchedule = 1.0, beta: ScalarOrSchedule = 1.0) -> Transform:
    """Adds how the gradient has changed since the step before, as a forecast of how it will change."""

def scale_by_polyak(
    f_min: ScalarOrSchedule = 0.0,
    max_learning_rate: ScalarOrSchedule = 1.0,
    eps: ScalarOrSchedule = 0.0,
    variant: str = "sps",
) -> Transform:
    """Multiplies the gradient by the step that would reach the least loss if the loss were linear."""

def scale_by_lion(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.99,
    mu_dtype: DTypeLike | None = None,
    *,
    mode: str = "hard",
    smooth_beta: ScalarOrSchedule = 1.0,
) -> Transform:
    """The sign of a mean of the gradient and its running mean, which itself runs at another decay."""

def scale_by_rprop(
    learning_rate: ScalarOrSchedule,
    eta_minus: ScalarOrSchedule = 0.5,
    eta_plus: ScalarOrSchedule = 1.2,
    min_step_size: ScalarOrSchedule = 1e-06,
    max_step_size: ScalarOrSchedule = 50.0,
) -> Transform:
    """A step size for each element, which grows while the gradient keeps its sign and shrinks when it turns."""

def scale_by_sign() -> Transform:
    """The sign of each element."""

def scale_by_param_block_norm(min_scale: ScalarOrSchedule = 0.001) -> Transform:
    """Multiplies each leaf's update by the norm of its parameter."""

def scale_by_param_block_rms(min_scale: ScalarOrSchedule = 0.001) -> Transform:
    """Multiplies each leaf's update by the root mean square of its parameter."""

def scale_by_trust_ratio(
    min_norm: ScalarOrSchedule = 0.0,
    trust_coefficient: ScalarOrSchedule = 1.0,
    eps: ScalarOrSchedule = 0.0,
    *,
    mask: Any | None = None,
) -> Transform:
    """Gives each leaf's update the size of its parameter."""

def scale_by_came(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    b3: ScalarOrSchedule = 0.9999,
    eps: ScalarOrSchedule = 1e-30,
    eps_instability: ScalarOrSchedule = 1e-16,
    clipping_threshold: ScalarOrSchedule = 1.0,
    mu_dtype: DTypeLike | None = None,
    *,
    weight_dimension_numbers: Any = None,
) -> Transform:
    """Adafactor with momentum that is divided by how far the steps are from it, by rows and columns too."""

def scale_by_factored_rms(
    factored: bool = True,
    decay_rate: ScalarOrSchedule = 0.8,
    step_offset: int = 0,
    min_dim_size_to_factor: int = 128,
    epsilon: ScalarOrSchedule = 1e-30,
    decay_rate_fn: Callable[[Any, Any], Any] = ...,
    *,
    min_rms: ScalarOrSchedule | None = None,
    weight_dimension_numbers: Any = None,
) -> Transform:
    """Divides by the root of a running mean square of which only the means of rows and columns are kept."""

def scale_by_sm3(b1: ScalarOrSchedule = 0.9, b2: ScalarOrSchedule = 1.0, eps: ScalarOrSchedule = 1e-08) -> Transform:
    """Divides by the root of a bound on the sum of squares, of which one vector for each axis is kept."""

def adagc(
    max_ratio: ScalarOrSchedule = 1.04,
    decay: ScalarOrSchedule = 0.99,
    warm_up: int = 100,
    *,
    max_norm: ScalarOrSchedule = 1.0,
) -> Transform:
    """Shrinks each leaf alone until its norm is at most a multiple of its own running norm."""

def autoclip(percentile: ScalarOrSchedule = 10.0, window: int = 1000) -> Transform:
    """Shrinks all updates together until their joint norm is at most a percentile of the last norms, its own
    included."""

def zclip(
    max_deviations: ScalarOrSchedule = 2.5,
    decay: ScalarOrSchedule = 0.97,
    warm_up: int = 25,
    *,
    eps: ScalarOrSchedule = 1e-06,
) -> Transform:
    """Shrinks all updates together when their joint norm is an outlier among the norms so far, the more the farther."""

def adaptive_grad_clip(
    clipping: ScalarOrSchedule, eps: ScalarOrSchedule = 0.001, axis: int | tuple[int, ...] | None = None
) -> Transform:
    """Shrinks the update of each unit until its norm is at most a fraction of the norm of the unit's weights."""

def clip(max_delta: ScalarOrSchedule) -> Transform:
    """Bounds each element."""

def clip_by_block_rms(threshold: ScalarOrSchedule) -> Transform:
    """Shrinks each leaf alone until its root mean square is at most `threshold`."""

def clip_by_global_norm(max_norm: ScalarOrSchedule, *, ord: float = 2) -> Transform:
    """Shrinks all updates together until their joint norm is at most `max_norm`; the direction is kept."""

def clip_by_norm(max_norm: ScalarOrSchedule, *, ord: float = 2) -> Transform:
    """Shrinks each leaf alone until its norm is at most `max_norm`."""

def normalize_by_global_norm(scale_factor: ScalarOrSchedule = 1.0, *, ord: float = 2) -> Transform:
    """Makes the joint norm of all updates `scale_factor`, whatever it was: gradient normalisation."""

def normalize_by_update_norm(scale_factor: ScalarOrSchedule = 1.0, eps: ScalarOrSchedule = 1e-06) -> Transform:
    """Divides all updates by their joint norm plus a small number."""

def zero_nans() -> Transform:
    """Puts 0 in the place of NaN; infinity stays."""

def add_decay_toward_first(
    weight_decay: ScalarOrSchedule = 0.0, mask: Any | None = None, *, flip_sign: bool = False, cautious: bool = False
) -> Transform:
    """Adds the way from the first parameters to the present ones, times a number, to the update: for fine-tuning."""

def add_decayed_weights(
    weight_decay: ScalarOrSchedule = 0.0, mask: Any | None = None, *, flip_sign: bool = False, cautious: bool = False
) -> Transform:
    """Adds the parameters, times a number, to the update."""

def descend_with_corrected_decay(
    learning_rate: ScalarOrSchedule,
    max_learning_rate: ScalarOrSchedule,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Any | None = None,
    *,
    cautious: bool = False,
) -> Transform:
    """The learning rate with decoupled weight decay that follows its square, for layers that are normalised."""

def by_ndim(ndim: int | None = None, *, at_least: int | None = None, at_most: int | None = None) -> ByNdim:
    """A mask that is True for the parameters with a number of axes."""

def by_path(pattern: str | tuple[str, ...], *, regex: bool = False) -> ByPath:
    """A mask that is True for the parameters whose path matches a pattern."""

def labels(
    rules: Mapping[str | LeafMask, str] | tuple[tuple[str | LeafMask, str], ...], default: str | None = None
) -> Labels:
    """Labels for `partition`: of each parameter that of the first rule that fits it."""

def not_biases_or_norms(also: tuple[str, ...] = ...) -> NotBiasesOrNorms:
    """A mask that is True for weights and False for biases and for the parameters of normalisation layers."""

def identity() -> Transform:
    """Leaves the updates as they are."""

def scale(step_size: ScalarOrSchedule) -> Transform:
    """Multiplies by a number."""

def scale_by_learning_rate(learning_rate: ScalarOrSchedule | None = None, *, flip_sign: bool = True) -> Transform:
    """Multiplies by the learning rate and turns the gradient into a step downhill."""

def scale_by_schedule(step_size_fn: ScalarOrSchedule) -> Transform:
    """Multiplies by a number that depends on the step."""

def set_to_zero() -> Transform:
    """Makes every update 0, so that the parameters stay; integers too."""

def reduce_on_plateau(
    factor: ScalarOrSchedule = 0.1,
    patience: int = 10,
    rtol: ScalarOrSchedule = 0.0001,
    atol: ScalarOrSchedule = 0.0,
    cooldown: int = 0,
    accumulation_size: int = 1,
    min_scale: ScalarOrSchedule = 0.0,
) -> Transform:
    """Scales by a number that is reduced when a value has not improved for a while."""

def add_schedules(terms: Sequence[Scalar]) -> AddSchedules:
    """Adds schedules and numbers; `+` of a schedule makes one."""

def constant_schedule(value: Scalar) -> Schedule:
    """One value for ever."""

def cosine_decay_schedule(
    init_value: Scalar, decay_steps: Scalar, alpha: Scalar = 0.0, exponent: Scalar = 1.0
) -> Schedule:
    """Falls along half a cosine, to a fraction of the first value, and stays there."""

def cosine_onecycle_schedule(
    transition_steps: Scalar,
    peak_value: Scalar,
    pct_start: Scalar = 0.3,
    div_factor: Scalar = 25.0,
    final_div_factor: Scalar = 10000.0,
) -> Schedule:
    """One cycle of two half cosines: up to the peak at pct_start, down to the last value."""

def cyclic_schedule(
    init_value: Scalar,
    peak_value: Scalar,
    rise_steps: Scalar,
    fall_steps: Scalar | None = None,
    mode: str = "triangular",
    gamma: Scalar = 1.0,
) -> Schedule:
    """Rises and falls along lines, again and again."""

def exponential_decay(
    init_value: Scalar,
    transition_steps: Scalar,
    decay_rate: Scalar,
    transition_begin: Scalar = 0,
    staircase: bool = False,
    end_value: Scalar | None = None,
) -> Schedule:
    """Multiplies by a rate every so many steps, smoothly or in a staircase."""

def join_schedules(schedules: Sequence[Scalar], boundaries: Sequence[Scalar]) -> JoinSchedules:
    """Applies schedules one after another, each to the steps since its boundary; `then` of a schedule makes one."""

def linear_onecycle_schedule(
    transition_steps: Scalar,
    peak_value: Scalar,
    pct_start: Scalar = 0.3,
    pct_final: Scalar = 0.85,
    div_factor: Scalar = 25.0,
    final_div_factor: Scalar = 10000.0,
) -> Schedule:
    """One cycle of three lines: up to the peak at pct_start, back to the first value at pct_final, on to the last."""

def linear_schedule(
    init_value: Scalar, end_value: Scalar, transition_steps: Scalar, transition_begin: Scalar = 0
) -> Schedule:
    """From one value to another, along a line."""

def multiply_schedules(factors: Sequence[Scalar]) -> MultiplySchedules:
    """Multiplies schedules and numbers; `*` of a schedule makes one."""

def piecewise_constant_schedule(init_value: Scalar, boundaries_and_scales: Scalar | None = None) -> Schedule:
    """Multiplies by a scale at each boundary: init_value times every scale whose boundary <= t."""

def piecewise_interpolate_schedule(
    interpolate_type: str, init_value: Scalar, boundaries_and_scales: Scalar | None = None
) -> Schedule:
    """Takes the values of `piecewise_constant_schedule` at 0 and at each boundary, and interpolates in between."""

def polynomial_schedule(
    init_value: Scalar, end_value: Scalar, power: Scalar, transition_steps: Scalar, transition_begin: Scalar = 0
) -> Schedule:
    """From one value to another, along a power of the time that is left."""

def power_schedule(
    max_value: Scalar,
    amplitude: Scalar,
    exponent: Scalar,
    warmup_steps: Scalar,
    power_steps: Scalar = 0,
    decay_steps: Scalar = 0,
    tokens_per_step: Scalar = 1.0,
    init_value: Scalar = 0.0,
    end_value: Scalar = 0.0,
    shape: str = "linear",
) -> Schedule:
    """Rises along a line, falls by a power of the tokens that were seen, and decays at the end."""

def rsqrt_schedule(
    peak_value: Scalar,
    warmup_steps: Scalar,
    rsqrt_steps: Scalar = 0,
    cooldown_steps: Scalar = 0,
    timescale: Scalar = 10000.0,
    init_value: Scalar = 0.0,
) -> Schedule:
    """Rises along a line, falls by the reciprocal square root of the step, and cools down to 0 at the end."""

def sgdr_schedule(cosine_kwargs: Iterable[dict[str, Scalar]]) -> Schedule:
    """Rises and falls in cycles, each a `warmup_cosine_decay_schedule` that begins where the last one ends."""

def warmup_constant_schedule(init_value: Scalar, peak_value: Scalar, warmup_steps: Scalar) -> Schedule:
    """Rises along a line, and stays."""

def warmup_cosine_decay_schedule(
    init_value: Scalar,
    peak_value: Scalar,
    warmup_steps: Scalar,
    decay_steps: Scalar,
    end_value: Scalar = 0.0,
    exponent: Scalar = 1.0,
) -> Schedule:
    """Rises along a line, and falls as `cosine_decay_schedule` does."""

def warmup_exponential_decay_schedule(
    init_value: Scalar,
    peak_value: Scalar,
    warmup_steps: Scalar,
    transition_steps: Scalar,
    decay_rate: Scalar,
    transition_begin: Scalar = 0,
    staircase: bool = False,
    end_value: Scalar | None = None,
) -> Schedule:
    """Rises along a line from init_value to peak_value, and goes on from there with `exponential_decay`."""

def warmup_stable_decay(
    peak_value: Scalar,
    warmup_steps: Scalar,
    stable_steps: Scalar,
    decay_steps: Scalar,
    init_value: Scalar = 0.0,
    end_value: Scalar = 0.0,
    shape: str = "1-sqrt",
) -> Schedule:
    """Rises along a line, stays, and decays at the end."""

def apply_every(k: int = 1) -> Transform:
    """Sums the updates of k steps: at the last of them it returns the sum, at the others 0."""

def centralize(*, axis: int | tuple[int, ...] | str | None = None) -> Transform:
    """Subtracts from each leaf of two axes or more its mean over all axes but the first."""

def keep_params_nonnegative() -> Transform:
    """Shortens updates so that no parameter that begins at 0 or more becomes negative."""

def grokfast(alpha: ScalarOrSchedule = 0.98, lamb: ScalarOrSchedule = 2.0) -> Transform:
    """Adds to the gradient its running mean, which makes what all batches agree on weigh more."""

def mars(
    b1: ScalarOrSchedule = 0.95, gamma: ScalarOrSchedule = 0.025, max_norm: ScalarOrSchedule | None = 1.0
) -> Transform:
    """Adds to the gradient its change since the step before, against the variance of stochastic gradients, and
    clips."""

def add_noise(
    eta: ScalarOrSchedule, gamma: ScalarOrSchedule, key: int | Array | None = None, *, seed: int | None = None
) -> Transform: ...
def count_nonfinite() -> Transform:
    """Counts the elements of the updates that pass which are NaN or infinite."""

def record_clipping(max_norm: ScalarOrSchedule, decay: ScalarOrSchedule = 0.99, *, ord: float = 2) -> Transform:
    """Reports how often the joint norm of the updates that pass is over a bound."""

def record_leaf_norms(ord: float = 2) -> Transform:
    """Reports the norm of each leaf of the updates that pass."""

def record_leaf_ratios(ord: float = 2) -> Transform:
    """Reports for each leaf how large the update that passes is, next to the parameter."""

def record_norms(groups: dict[str, Any] | None = None, *, ord: float = 2) -> Transform:
    """Reports the joint norm of the updates that pass."""

def record_ratios(groups: dict[str, Any] | None = None, *, ord: float = 2) -> Transform:
    """Reports how large the updates that pass are, next to the parameters."""

def measure_with_ema(
    measure: Callable[[Any], Any],
    decay: ScalarOrSchedule,
    debias: bool = True,
    accumulator_dtype: DTypeLike | None = None,
) -> Transform:
    """The running mean of a measurement, for `monitor`: it returns the mean in the place of updates."""

def monitor(measures: dict[str, Any]) -> Transform:
    """Takes measurements of the updates that pass, with a memory if they want one, and keeps them in the state."""

def record_noise_scale(
    batch_size: ScalarOrSchedule,
    *,
    every: int = 2,
    axis_name: str | tuple[str, ...] | None = None,
    decay: ScalarOrSchedule = 0.99,
) -> Transform:
    """Reports the simple noise scale: about how many examples a batch may have before more of them help little."""

def snapshot(measure_name: str, measure: Callable[[Any], Any]) -> Transform:
    """Measures the updates that pass, and keeps the measurement in the state."""

def masked(inner: GradientTransformation, mask: Any, *, mask_compatible_extra_args: bool = False) -> Transform:
    """Hands some leaves to a transform, and leaves the others as they are."""

def multi_transform(
    transforms: Mapping[Any, GradientTransformation], param_labels: Any, *, mask_compatible_extra_args: bool = False
) -> Transform:
    """Hands the leaves of each label to a transform of their own."""

def partition(
    transforms: Mapping[Any, GradientTransformation], param_labels: Any, *, mask_compatible_extra_args: bool = False
) -> Transform:
    """Hands the leaves of each label to a transform of their own."""

def selective_transform(optimizer: GradientTransformation, *, freeze_mask: Any) -> Transform:
    """Hands all leaves but frozen ones to an optimizer; the updates of these are 0, and it keeps nothing for them."""

def freeze(mask: Any, *, until: ScalarOrSchedule | None = None) -> Transform:
    """Makes the updates of some leaves 0, so that these stay; and leaves the others as they are."""

def scale_by_group(factors: Mapping[Any, ScalarOrSchedule], labels: Any) -> Transform:
    """Multiplies the leaves of each label by a factor of their own, as for layer-wise learning rates."""

def flatten(inner: GradientTransformation) -> Transform:
    """Shows a transform all leaves as one vector, in their order and in the dtype that holds them all."""

def split_real_and_imaginary(inner: GradientTransformation) -> Transform:
    """Shows a transform each complex leaf as a pair of real ones, and joins the pairs of its update."""

def accumulate(inner: GradientTransformation, every: int | Callable[[Any], Any], *, mean: bool = True) -> Transform:
    """Gathers the gradients of `every` micro-steps, and takes one step of a transform for all of them."""

def cautious(inner: GradientTransformation, *, flip_sign: bool = True) -> Transform:
    """Leaves out the elements of an update that would move against the present gradient, and makes the rest larger."""

def guard(
    inner: GradientTransformation,
    *,
    max_norm: ScalarOrSchedule | None = None,
    max_deviations: ScalarOrSchedule | None = None,
    max_loss_deviations: ScalarOrSchedule | None = None,
    decay: ScalarOrSchedule = 0.99,
    warm_up: int = 100,
    patience: int | None = None,
    when_stuck: str = "apply",
) -> Transform:
    """Skips a step whose gradients are not finite, or whose norm or loss is a spike."""

def apply_if_finite(inner: GradientTransformation, max_consecutive_errors: ScalarOrSchedule) -> Transform:
    """Skips a step whose gradients are not finite, unless too many came in a row; the transform within does not see
    it."""

def conditionally_mask(
    inner: GradientTransformation, should_transform_fn: Callable[..., Any], forward_extra_args: bool = False
) -> Transform:
    """Runs a transform at the steps of which a function says so; at the others the updates are 0."""

def conditionally_transform(
    inner: GradientTransformation, should_transform_fn: Callable[..., Any], forward_extra_args: bool = False
) -> Transform:
    """Runs a transform at the steps of which a function says so; at the others the updates pass through as they
    come."""

def stateless(f: Callable[[Any, Any], Any]) -> Transform:
    """Makes a transform of a function of the updates and the parameters."""

def stateless_with_tree_map(f: Callable[[Any, Any], Any]) -> Transform:
    """Makes a transform of a function of one update and its parameter."""

def inject_hyperparams(
    inner_factory: Callable[..., GradientTransformation],
    static_args: str | Iterable[str] = ...,
    hyperparam_dtype: DTypeLike | None = None,
) -> Callable[..., Transform]: ...
def inject_stateful_hyperparams(
    inner_factory: Callable[..., GradientTransformation],
    static_args: str | Iterable[str] = ...,
    hyperparam_dtype: DTypeLike | None = None,
) -> Callable[..., Transform]: ...
def init_sharded(
    tx: GradientTransformation, params: Any, shardings: Any = None, *, zero: str | None = None, min_size: int = 1024
) -> Any: ...
def state_shardings(
    tx: GradientTransformation, params: Any, shardings: Any = None, *, zero: str | None = None, min_size: int = 1024
) -> Any: ...
def state_specs(
    tx: GradientTransformation, params: Any, specs: Any, mesh: Any, *, zero: str | None = None, min_size: int = 1024
) -> Any: ...
def pmean_updates(axis_name: str | tuple[str, ...]) -> Transform:
    """Averages the gradients of all devices along mesh axes, inside `pmap` or `shard_map`."""

def psum_updates(axis_name: str | tuple[str, ...]) -> Transform:
    """Sums the gradients of all devices along mesh axes, inside `pmap` or `shard_map`."""

def learning_rate_range_test(
    loss: Callable[..., Array],
    params: Any,
    make: Callable[[Any], GradientTransformation],
    batches: Iterable[Any] | None = None,
    *,
    low: float = 1e-06,
    high: float = 10.0,
    steps: int = 100,
    smoothing: float = 0.9,
    blow_up: float = 4.0,
) -> RangeTest: ...
def descend(fun: Callable[[Any], Array], x0: Any, tx: GradientTransformation, steps: int) -> Descent: ...
def minimise(
    fun: Callable[[Any], Array],
    x0: Any,
    tx: GradientTransformation,
    steps: int = 1000,
    tol: float = 1e-06,
    *,
    blow_up: float = 1000000.0,
    keep_path: bool = True,
) -> Minimisation: ...
