"""gradxform: gradient transformations for JAX that are values."""

from typing import TYPE_CHECKING

# For type checkers and editors. At run time `names` has the same list, by which a name is imported when it is first
# asked for; a test holds the two together.
if TYPE_CHECKING:
    # Transforms, in a row and alone.
    from gradxform.core.chain import (
        chain as chain,
        named_chain as named_chain,
        with_extra_args_support as with_extra_args_support,
    )
    from gradxform.core.apply import apply_updates as apply_updates
    from gradxform.core.evaluate import eval_params as eval_params
    from gradxform.core.state import State as State
    from gradxform.core.transform import Transform as Transform

    # Optimizers.
    from gradxform.optimizers.classic import (
        sgd as sgd,
        rmsprop as rmsprop,
        adagrad as adagrad,
        adam as adam,
        adamw as adamw,
        nadam as nadam,
        nadamw as nadamw,
    )
    from gradxform.optimizers.lean import adamw_lean as adamw_lean
    from gradxform.optimizers.adam_variants import (
        acprop as acprop,
        adabelief as adabelief,
        adam_mini as adam_mini,
        adamax as adamax,
        adamaxw as adamaxw,
        adopt as adopt,
        amsgrad as amsgrad,
        laprop as laprop,
        novograd as novograd,
        radam as radam,
        yogi as yogi,
    )
    from gradxform.optimizers.momentum_mixtures import (
        adan as adan,
        ademamix as ademamix,
        madgrad as madgrad,
        simplified_ademamix as simplified_ademamix,
    )
    from gradxform.optimizers.layers import adafactor as adafactor, came as came, lamb as lamb, lars as lars, sm3 as sm3
    from gradxform.rules.layerwise import fromage as fromage
    from gradxform.optimizers.signs import (
        adadelta as adadelta,
        lion as lion,
        noisy_sgd as noisy_sgd,
        optimistic_adam as optimistic_adam,
        optimistic_adam_v2 as optimistic_adam_v2,
        optimistic_gradient_descent as optimistic_gradient_descent,
        polyak_sgd as polyak_sgd,
        rprop as rprop,
        sign_sgd as sign_sgd,
        signum as signum,
    )

    # Optimizers that find their learning rate.
    from gradxform.optimizers.distance import cocob as cocob, dog as dog, dowg as dowg
    from gradxform.rules.adaptation import dadapt_adamw as dadapt_adamw, prodigy as prodigy
    from gradxform.rules.model_based import momo as momo, momo_adam as momo_adam
    from gradxform.rules.mechanic import mechanize as mechanize
    from gradxform.rules.betting import scale_by_cocob as scale_by_cocob
    from gradxform.rules.distance import (
        scale_by_distance_over_gradients as scale_by_distance_over_gradients,
        scale_by_dog as scale_by_dog,
        scale_by_dowg as scale_by_dowg,
    )

    # Matrices: optimizers and rules of weights as matrices, which matrices a weight is, and functions of them.
    from gradxform.optimizers.muon import muon as muon
    from gradxform.optimizers.dion2 import dion2 as dion2
    from gradxform.optimizers.galore import galore as galore, scale_by_galore as scale_by_galore
    from gradxform.optimizers.hyperball import adamh as adamh, hyperball as hyperball
    from gradxform.optimizers.normuon import normuon as normuon
    from gradxform.optimizers.scion import scion as scion
    from gradxform.rules.muon import scale_by_muon as scale_by_muon, scale_by_shape as scale_by_shape
    from gradxform.rules.dion2 import scale_by_dion2 as scale_by_dion2
    from gradxform.rules.hyperball import scale_by_hyperball as scale_by_hyperball
    from gradxform.rules.normuon import scale_by_normuon as scale_by_normuon
    from gradxform.rules.qk_clip import qk_clip as qk_clip
    from gradxform.rules.scion import normalize_vectors as normalize_vectors, scale_by_scion as scale_by_scion
    from gradxform.optimizers.preconditioned import (
        kl_shampoo as kl_shampoo,
        psgd_kron as psgd_kron,
        shampoo as shampoo,
        soap as soap,
    )
    from gradxform.rules.soap import scale_by_soap as scale_by_soap
    from gradxform.rules.psgd import scale_by_psgd_kron as scale_by_psgd_kron
    from gradxform.rules.shampoo import scale_by_kl_shampoo as scale_by_kl_shampoo, scale_by_shampoo as scale_by_shampoo
    from gradxform.core.matrix_axes import MatrixAxes as MatrixAxes
    from gradxform.matrix_labels import (
        hidden_matrices as hidden_matrices,
        labels_by_axes as labels_by_axes,
        layer_kinds as layer_kinds,
        matrices_and_rest as matrices_and_rest,
        matrix_axes as matrix_axes,
    )
    from gradxform.linalg import (
        eigenbasis as eigenbasis,
        inverse_root as inverse_root,
        newton_schulz_coefficients as newton_schulz_coefficients,
        orthogonal_iteration as orthogonal_iteration,
        orthogonalize as orthogonalize,
        spectral_norm as spectral_norm,
    )

    # How state and parameters lie in memory between steps.
    from gradxform.storage.offload import offloaded as offloaded
    from gradxform.storage.stored import decoded as decoded, stored as stored
    from gradxform.storage.codecs import int4 as int4, int8 as int8
    from gradxform.storage.floats import as_dtype as as_dtype
    from gradxform.storage.params import (
        kahan as kahan,
        master_weights as master_weights,
        split_weights as split_weights,
        stochastic_rounding as stochastic_rounding,
    )

    # Second derivatives and line searches.
    from gradxform.optimizers.curvature import sophia as sophia
    from gradxform.rules.curvature import (
        hutchinson_estimator_diag_hessian as hutchinson_estimator_diag_hessian,
        scale_by_sophia as scale_by_sophia,
    )
    from gradxform.wrappers.borrowed import (
        lbfgs as lbfgs,
        scale_by_backtracking_linesearch as scale_by_backtracking_linesearch,
        scale_by_lbfgs as scale_by_lbfgs,
        scale_by_zoom_linesearch as scale_by_zoom_linesearch,
    )

    # Two sets of parameters.
    from gradxform.rules.average import average_params as average_params
    from gradxform.wrappers.lookahead import lookahead as lookahead
    from gradxform.wrappers.sam import sam as sam
    from gradxform.rules.schedule_free import (
        gpa as gpa,
        schedule_free as schedule_free,
        schedule_free_eval_params as schedule_free_eval_params,
        schedule_free_plus as schedule_free_plus,
    )
    from gradxform.optimizers.schedule_free import (
        schedule_free_adamw as schedule_free_adamw,
        schedule_free_sgd as schedule_free_sgd,
    )

    # Differential privacy, from gradients of single examples.
    from gradxform.optimizers.private import dpsgd as dpsgd
    from gradxform.rules.private import (
        differentially_private_aggregate as differentially_private_aggregate,
        per_example_global_norm_clip as per_example_global_norm_clip,
        per_example_layer_norm_clip as per_example_layer_norm_clip,
    )

    # Momentum.
    from gradxform.rules.momentum import ema as ema, trace as trace, velocity as velocity

    # Adaptive scaling.
    from gradxform.rules.adaptive import (
        scale_by_adam as scale_by_adam,
        scale_by_nadam as scale_by_nadam,
        scale_by_rms as scale_by_rms,
        scale_by_rss as scale_by_rss,
        scale_by_stddev as scale_by_stddev,
    )
    from gradxform.rules.adam_variants import (
        scale_by_acprop as scale_by_acprop,
        scale_by_adamax as scale_by_adamax,
        scale_by_adopt as scale_by_adopt,
        scale_by_amsgrad as scale_by_amsgrad,
        scale_by_belief as scale_by_belief,
        scale_by_novograd as scale_by_novograd,
        scale_by_radam as scale_by_radam,
        scale_by_yogi as scale_by_yogi,
    )
    from gradxform.rules.adam_mini import scale_by_adam_mini as scale_by_adam_mini
    from gradxform.rules.dual_averaging import scale_by_madgrad as scale_by_madgrad
    from gradxform.rules.laprop import scale_by_laprop as scale_by_laprop
    from gradxform.rules.momentum_mixtures import (
        scale_by_adan as scale_by_adan,
        scale_by_ademamix as scale_by_ademamix,
        scale_by_simplified_ademamix as scale_by_simplified_ademamix,
    )
    from gradxform.rules.adadelta import scale_by_adadelta as scale_by_adadelta
    from gradxform.rules.optimistic import scale_by_optimistic_gradient as scale_by_optimistic_gradient
    from gradxform.rules.polyak import scale_by_polyak as scale_by_polyak

    # Scaling by signs, by layers, and by rows and columns.
    from gradxform.rules.sign import (
        scale_by_lion as scale_by_lion,
        scale_by_rprop as scale_by_rprop,
        scale_by_sign as scale_by_sign,
    )
    from gradxform.rules.layerwise import (
        scale_by_param_block_norm as scale_by_param_block_norm,
        scale_by_param_block_rms as scale_by_param_block_rms,
        scale_by_trust_ratio as scale_by_trust_ratio,
    )
    from gradxform.rules.factored import (
        scale_by_came as scale_by_came,
        scale_by_factored_rms as scale_by_factored_rms,
        scale_by_sm3 as scale_by_sm3,
    )

    # Clipping and normalizing.
    from gradxform.rules.adaptive_clipping import adagc as adagc, autoclip as autoclip, zclip as zclip
    from gradxform.rules.clipping import (
        adaptive_grad_clip as adaptive_grad_clip,
        clip as clip,
        clip_by_block_rms as clip_by_block_rms,
        clip_by_global_norm as clip_by_global_norm,
        clip_by_norm as clip_by_norm,
        normalize as normalize,
        normalize_by_global_norm as normalize_by_global_norm,
        normalize_by_update_norm as normalize_by_update_norm,
        zero_nans as zero_nans,
    )

    # Weight decay; which parameters decay, and which a transform sees.
    from gradxform.rules.decay import (
        add_decay_toward_first as add_decay_toward_first,
        add_decayed_weights as add_decayed_weights,
        descend_with_corrected_decay as descend_with_corrected_decay,
    )
    from gradxform.masks import (
        by_ndim as by_ndim,
        by_path as by_path,
        labels as labels,
        not_biases_or_norms as not_biases_or_norms,
    )

    # The learning rate, and scaling by a number.
    from gradxform.rules.scaling import (
        identity as identity,
        scale as scale,
        scale_by_learning_rate as scale_by_learning_rate,
        scale_by_schedule as scale_by_schedule,
        set_to_zero as set_to_zero,
    )
    from gradxform.rules.plateau import reduce_on_plateau as reduce_on_plateau

    # Schedules.
    from gradxform.schedules import (
        add_schedules as add_schedules,
        constant_schedule as constant_schedule,
        cosine_decay_schedule as cosine_decay_schedule,
        cosine_onecycle_schedule as cosine_onecycle_schedule,
        cyclic_schedule as cyclic_schedule,
        exponential_decay as exponential_decay,
        join_schedules as join_schedules,
        linear_onecycle_schedule as linear_onecycle_schedule,
        linear_schedule as linear_schedule,
        multiply_schedules as multiply_schedules,
        piecewise_constant_schedule as piecewise_constant_schedule,
        piecewise_interpolate_schedule as piecewise_interpolate_schedule,
        polynomial_schedule as polynomial_schedule,
        power_schedule as power_schedule,
        rsqrt_schedule as rsqrt_schedule,
        sgdr_schedule as sgdr_schedule,
        warmup_constant_schedule as warmup_constant_schedule,
        warmup_cosine_decay_schedule as warmup_cosine_decay_schedule,
        warmup_exponential_decay_schedule as warmup_exponential_decay_schedule,
        warmup_stable_decay as warmup_stable_decay,
    )

    # Shaping updates, and noise.
    from gradxform.rules.shaping import (
        apply_every as apply_every,
        centralize as centralize,
        keep_params_nonnegative as keep_params_nonnegative,
    )
    from gradxform.rules.gradient_filters import grokfast as grokfast, mars as mars
    from gradxform.rules.noise import add_noise as add_noise

    # Changing nothing, and reporting.
    from gradxform.rules.recording import (
        count_nonfinite as count_nonfinite,
        record_clipping as record_clipping,
        record_leaf_norms as record_leaf_norms,
        record_leaf_ratios as record_leaf_ratios,
        record_norms as record_norms,
        record_ratios as record_ratios,
    )
    from gradxform.rules.watching import (
        measure_with_ema as measure_with_ema,
        monitor as monitor,
        record_noise_scale as record_noise_scale,
        snapshot as snapshot,
    )

    # Which leaves a transform sees.
    from gradxform.wrappers.route import (
        masked as masked,
        multi_transform as multi_transform,
        partition as partition,
        selective_transform as selective_transform,
    )
    from gradxform.rules.freezing import freeze as freeze, scale_by_group as scale_by_group

    # How a transform sees the leaves.
    from gradxform.wrappers.layouts import flatten as flatten, split_real_and_imaginary as split_real_and_imaginary

    # When a transform runs.
    from gradxform.wrappers.accumulate import accumulate as accumulate
    from gradxform.wrappers.cautious import cautious as cautious
    from gradxform.wrappers.guard import guard as guard
    from gradxform.wrappers.conditional import (
        apply_if_finite as apply_if_finite,
        conditionally_mask as conditionally_mask,
        conditionally_transform as conditionally_transform,
    )
    from gradxform.wrappers.multi_steps import MultiSteps as MultiSteps

    # Functions as transforms.
    from gradxform.wrappers.functions import stateless as stateless, stateless_with_tree_map as stateless_with_tree_map

    # Hyperparameters: in a transform, and in its state.
    from gradxform.reading.hyperparameters import (
        adjust as adjust,
        hyperparams as hyperparams,
        live as live,
        replace as replace,
    )
    from gradxform.wrappers.inject import (
        InjectStatefulHyperparamsState as InjectStatefulHyperparamsState,
        inject_hyperparams as inject_hyperparams,
        inject_stateful_hyperparams as inject_stateful_hyperparams,
    )

    # Many devices.
    from gradxform.devices.axes import on_axes as on_axes
    from gradxform.devices.shardings import (
        init_sharded as init_sharded,
        state_shardings as state_shardings,
        state_specs as state_specs,
    )
    from gradxform.devices.updates import pmean_updates as pmean_updates, psum_updates as psum_updates
    from gradxform.devices.zero import zero as zero

    # Reading a transform and its state.
    from gradxform.reading.describe import describe as describe
    from gradxform.reading.description import Description as Description
    from gradxform.reading.metrics import metrics as metrics

    # Reading a schedule; its picture is `plots.schedules`.
    from gradxform.reading.schedules import ScheduleTable as ScheduleTable, schedule_table as schedule_table

    # Reading what XLA made of a step.
    from gradxform.reading.program import program as program
    from gradxform.reading.program_report import Program as Program

    # A transform in a file.
    from gradxform.files.config import (
        from_dict as from_dict,
        from_json as from_json,
        to_dict as to_dict,
        to_json as to_json,
    )

    # Taking over a state: of another chain, of optax, of torch.
    from gradxform.takeover.from_optax import from_optax as from_optax
    from gradxform.takeover.from_torch import from_torch as from_torch
    from gradxform.takeover.migration import migrate as migrate
    from gradxform.takeover.takeover import MigrationReport as MigrationReport

    # Exploring: functions to try, runs that are kept, many values at once, pictures.
    from gradxform.explore import landscapes as landscapes, plots as plots
    from gradxform.explore.learning_rates import (
        RangeTest as RangeTest,
        learning_rate_range_test as learning_rate_range_test,
    )
    from gradxform.explore.minimise import (
        Descent as Descent,
        Minimisation as Minimisation,
        descend as descend,
        minimise as minimise,
    )
    from gradxform.explore.sweep import Sweep as Sweep, sweep as sweep

    # What a rule of your own is made of.
    from gradxform.core.transform import transform as transform
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
    from gradxform.core.record import Live as Live
    from gradxform.core.declarations import (
        Extra as Extra,
        Inner as Inner,
        Key as Key,
        MatrixSlot as MatrixSlot,
        Metric as Metric,
        Slot as Slot,
    )
    from gradxform.core.rule import (
        LeafRule as LeafRule,
        MatrixRule as MatrixRule,
        TreeRule as TreeRule,
        TreeScaleRule as TreeScaleRule,
    )

else:
    from gradxform import names

    __all__, __dir__, __getattr__ = list(names.NAMES), names.__dir__, names.__getattr__

__version__ = "0.1.0"
