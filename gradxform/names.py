"""Which module has which public name, by purpose, and how a name is found: it is imported when it is first asked for.

So `import gradxform` costs little more than `import optax`, whatever there is to be asked for. `gradxform/__init__.py`
has the same list once more, as imports for type checkers and editors.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from gradxform import missing

MODULES = (
    # Transforms, in a row and alone.
    ("core.chain", "chain named_chain with_extra_args_support"),
    ("core.apply", "apply_updates"),
    ("core.evaluate", "eval_params"),
    ("core.state", "State"),
    ("core.transform", "Transform"),
    # Optimizers.
    ("optimizers.classic", "sgd rmsprop adagrad adam adamw nadam nadamw"),
    ("optimizers.lean", "adamw_lean"),
    ("optimizers.adam_variants", "acprop adabelief adam_mini adamax adamaxw adopt amsgrad laprop novograd radam yogi"),
    ("optimizers.momentum_mixtures", "adan ademamix madgrad simplified_ademamix"),
    ("optimizers.layers", "adafactor came lamb lars sm3"),
    ("rules.layerwise", "fromage"),
    (
        "optimizers.signs",
        "adadelta lion noisy_sgd optimistic_adam optimistic_adam_v2 optimistic_gradient_descent polyak_sgd rprop "
        "sign_sgd signum",
    ),
    # Optimizers that find their learning rate.
    ("optimizers.distance", "cocob dog dowg"),
    ("rules.adaptation", "dadapt_adamw prodigy"),
    ("rules.model_based", "momo momo_adam"),
    ("rules.mechanic", "mechanize"),
    ("rules.betting", "scale_by_cocob"),
    ("rules.distance", "scale_by_distance_over_gradients scale_by_dog scale_by_dowg"),
    # Matrices: optimizers and rules of weights as matrices, which matrices a weight is, and functions of them.
    ("optimizers.muon", "muon"),
    ("optimizers.dion2", "dion2"),
    ("optimizers.galore", "galore scale_by_galore"),
    ("optimizers.hyperball", "adamh hyperball"),
    ("optimizers.normuon", "normuon"),
    ("optimizers.scion", "scion"),
    ("rules.muon", "scale_by_muon scale_by_shape"),
    ("rules.dion2", "scale_by_dion2"),
    ("rules.hyperball", "scale_by_hyperball"),
    ("rules.normuon", "scale_by_normuon"),
    ("rules.qk_clip", "qk_clip"),
    ("rules.scion", "normalize_vectors scale_by_scion"),
    ("optimizers.preconditioned", "kl_shampoo psgd_kron shampoo soap"),
    ("rules.soap", "scale_by_soap"),
    ("rules.psgd", "scale_by_psgd_kron"),
    ("rules.shampoo", "scale_by_kl_shampoo scale_by_shampoo"),
    ("core.matrix_axes", "MatrixAxes"),
    ("matrix_labels", "hidden_matrices labels_by_axes layer_kinds matrices_and_rest matrix_axes"),
    (
        "linalg",
        "eigenbasis inverse_root newton_schulz_coefficients orthogonal_iteration orthogonalize spectral_norm",
    ),
    # How state and parameters lie in memory between steps.
    ("storage.offload", "offloaded"),
    ("storage.stored", "decoded stored"),
    ("storage.codecs", "int4 int8"),
    ("storage.floats", "as_dtype"),
    ("storage.params", "kahan master_weights split_weights stochastic_rounding"),
    # Second derivatives and line searches.
    ("optimizers.curvature", "sophia"),
    ("rules.curvature", "hutchinson_estimator_diag_hessian scale_by_sophia"),
    ("wrappers.borrowed", "lbfgs scale_by_backtracking_linesearch scale_by_lbfgs scale_by_zoom_linesearch"),
    # Two sets of parameters.
    ("rules.average", "average_params"),
    ("wrappers.lookahead", "lookahead"),
    ("wrappers.sam", "sam"),
    ("rules.schedule_free", "gpa schedule_free schedule_free_eval_params schedule_free_plus"),
    ("optimizers.schedule_free", "schedule_free_adamw schedule_free_sgd"),
    # Differential privacy, from gradients of single examples.
    ("optimizers.private", "dpsgd"),
    ("rules.private", "differentially_private_aggregate per_example_global_norm_clip per_example_layer_norm_clip"),
    # Momentum.
    ("rules.momentum", "ema trace velocity"),
    # Adaptive scaling.
    ("rules.adaptive", "scale_by_adam scale_by_nadam scale_by_rms scale_by_rss scale_by_stddev"),
    (
        "rules.adam_variants",
        "scale_by_acprop scale_by_adamax scale_by_adopt scale_by_amsgrad scale_by_belief scale_by_novograd "
        "scale_by_radam scale_by_yogi",
    ),
    ("rules.adam_mini", "scale_by_adam_mini"),
    ("rules.dual_averaging", "scale_by_madgrad"),
    ("rules.laprop", "scale_by_laprop"),
    ("rules.momentum_mixtures", "scale_by_adan scale_by_ademamix scale_by_simplified_ademamix"),
    ("rules.adadelta", "scale_by_adadelta"),
    ("rules.optimistic", "scale_by_optimistic_gradient"),
    ("rules.polyak", "scale_by_polyak"),
    # Scaling by signs, by layers, and by rows and columns.
    ("rules.sign", "scale_by_lion scale_by_rprop scale_by_sign"),
    ("rules.layerwise", "scale_by_param_block_norm scale_by_param_block_rms scale_by_trust_ratio"),
    ("rules.factored", "scale_by_came scale_by_factored_rms scale_by_sm3"),
    # Clipping and normalizing.
    ("rules.adaptive_clipping", "adagc autoclip zclip"),
    (
        "rules.clipping",
        "adaptive_grad_clip clip clip_by_block_rms clip_by_global_norm clip_by_norm normalize "
        "normalize_by_global_norm normalize_by_update_norm zero_nans",
    ),
    # Weight decay; which parameters decay, and which a transform sees.
    ("rules.decay", "add_decay_toward_first add_decayed_weights descend_with_corrected_decay"),
    ("masks", "by_ndim by_path labels not_biases_or_norms"),
    # The learning rate, and scaling by a number.
    ("rules.scaling", "identity scale scale_by_learning_rate scale_by_schedule set_to_zero"),
    ("rules.plateau", "reduce_on_plateau"),
    # Schedules.
    (
        "schedules",
        "add_schedules constant_schedule cosine_decay_schedule cosine_onecycle_schedule cyclic_schedule "
        "exponential_decay join_schedules linear_onecycle_schedule linear_schedule multiply_schedules "
        "piecewise_constant_schedule piecewise_interpolate_schedule polynomial_schedule power_schedule rsqrt_schedule "
        "sgdr_schedule warmup_constant_schedule warmup_cosine_decay_schedule warmup_exponential_decay_schedule "
        "warmup_stable_decay",
    ),
    # Shaping updates, and noise.
    ("rules.shaping", "apply_every centralize keep_params_nonnegative"),
    ("rules.gradient_filters", "grokfast mars"),
    ("rules.noise", "add_noise"),
    # Changing nothing, and reporting.
    (
        "rules.recording",
        "count_nonfinite record_clipping record_leaf_norms record_leaf_ratios record_norms record_ratios",
    ),
    ("rules.watching", "measure_with_ema monitor record_noise_scale snapshot"),
    # Which leaves a transform sees.
    ("wrappers.route", "masked multi_transform partition selective_transform"),
    ("rules.freezing", "freeze scale_by_group"),
    # How a transform sees the leaves.
    ("wrappers.layouts", "flatten split_real_and_imaginary"),
    # When a transform runs.
    ("wrappers.accumulate", "accumulate"),
    ("wrappers.cautious", "cautious"),
    ("wrappers.guard", "guard"),
    ("wrappers.conditional", "apply_if_finite conditionally_mask conditionally_transform"),
    ("wrappers.multi_steps", "MultiSteps"),
    # Functions as transforms.
    ("wrappers.functions", "stateless stateless_with_tree_map"),
    # Hyperparameters: in a transform, and in its state.
    ("reading.hyperparameters", "adjust hyperparams live replace"),
    ("wrappers.inject", "InjectStatefulHyperparamsState inject_hyperparams inject_stateful_hyperparams"),
    # Many devices.
    ("devices.axes", "on_axes"),
    ("devices.shardings", "init_sharded state_shardings state_specs"),
    ("devices.updates", "pmean_updates psum_updates"),
    ("devices.zero", "zero"),
    # Reading a transform and its state.
    ("reading.describe", "describe"),
    ("reading.description", "Description"),
    ("reading.metrics", "metrics"),
    # Reading a schedule; its picture is `plots.schedules`.
    ("reading.schedules", "ScheduleTable schedule_table"),
    # Reading what XLA made of a step.
    ("reading.program", "program"),
    ("reading.program_report", "Program"),
    # A transform in a file.
    ("files.config", "from_dict from_json to_dict to_json"),
    # Taking over a state: of another chain, of optax, of torch.
    ("takeover.from_optax", "from_optax"),
    ("takeover.from_torch", "from_torch"),
    ("takeover.migration", "migrate"),
    ("takeover.takeover", "MigrationReport"),
    # Exploring: functions to try, runs that are kept, many values at once, pictures.
    ("explore", "landscapes plots"),
    ("explore.learning_rates", "RangeTest learning_rate_range_test"),
    ("explore.minimise", "Descent Minimisation descend minimise"),
    ("explore.sweep", "Sweep sweep"),
    # What a rule of your own is made of.
    ("core.transform", "transform"),
    ("core.fields", "Decay DecayMask Dtype Hyper Mask NonNegative Positive Seed SumDecay WeightAxes"),
    ("core.flow", "Flow Node Step"),
    ("core.record", "Live"),
    ("core.declarations", "Extra Inner Key MatrixSlot Metric Slot"),
    ("core.rule", "LeafRule MatrixRule TreeRule TreeScaleRule"),
)
NAMES = tuple(name for _, names in MODULES for name in names.split())

_PACKAGE = __name__.partition(".")[0]
_MODULE_OF = {name: f"{_PACKAGE}.{module}" for module, names in MODULES for name in names.split()}


def __getattr__(name: str) -> Any:
    """A public name of the package, or a module in it, which is imported for it.

    Raises:
      AttributeError: there is none.
    """
    if name in _MODULE_OF:
        # With a list of names, `__import__` returns the module itself, and imports what of the names is a module.
        __import__(_MODULE_OF[name], fromlist=[name])
        _publish()
        return vars(sys.modules[_PACKAGE])[name]
    if not name.startswith("_") and find_spec(f"{_PACKAGE}.{name}"):
        return import_module(f"{_PACKAGE}.{name}")
    raise missing.error(name, NAMES)


def __dir__() -> list[str]:
    """The public names."""
    return sorted(NAMES)


def _publish() -> None:
    """Puts the names of all modules that are loaded into the package.

    There they are found without `__getattr__`; and what a transform prints can be read with `vars(gradxform)`, since
    the rules of a transform that is there are loaded.
    """
    loaded = {name: vars(sys.modules[module]) for name, module in _MODULE_OF.items() if module in sys.modules}
    vars(sys.modules[_PACKAGE]).update({name: found[name] for name, found in loaded.items() if name in found})
