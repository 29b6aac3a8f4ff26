"""An optimizer of torch.optim goes on in JAX; `torch_parity/generate_takeover.py` recorded how it goes on in torch."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from tests.test_torch_parity import ROUNDING, amsgrad, decaying

HERE = Path(__file__).parent.parent / "torch_parity"

with np.load(HERE / "takeover.npz", allow_pickle=False) as file:
    DATA = dict(file)

RUNS = sorted({"/".join(key.split("/")[:2]) for key in DATA if key.startswith("float")})
GRADIENTS = {key.removeprefix("gradients/"): leaf for key, leaf in DATA.items() if key.startswith("gradients/")}
TAKEN_OVER = 10

# torch's parameters in its order, where JAX has them, and what becomes of their axes.
NAMES = {
    "conv.weight": ("conv/kernel", (2, 3, 1, 0)),
    "dense.weight": ("dense/kernel", (1, 0)),
    "dense.bias": "dense/bias",
    "gain": "gain",
}
BY_ORDER = list(NAMES.values())


def weights_only(params):
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def labels(params):
    return jax.tree.map(lambda leaf: "weights" if leaf.ndim > 1 else "others", params)


GROUPS = {"weights": gx.adamw(0.1, weight_decay=0.1), "others": gx.adam(0.1)}
COUNTERPARTS = {
    "sgd": [gx.sgd(0.1)],
    "sgd_momentum": [gx.sgd(0.1, 0.9), gx.masked(gx.sgd(0.1, 0.9), True), gx.live(gx.sgd(0.1, 0.9))],
    "sgd_nesterov": [gx.sgd(0.1, 0.9, nesterov=True)],
    "sgd_dampening": [gx.chain(gx.trace(0.9, dampening=0.3), gx.scale_by_learning_rate(0.1))],
    "adam": [gx.adam(0.1), gx.chain(gx.clip_by_global_norm(1e3), gx.adam(0.1)), gx.MultiSteps(gx.adam(0.1), 1)],
    "adam_weight_decay": [gx.chain(gx.add_decayed_weights(0.1), gx.adam(0.1, 0.8, 0.95))],
    "adam_amsgrad": [amsgrad(0.9, 0.9)],
    "adamw": [gx.adamw(0.1, weight_decay=1e-2), gx.apply_if_finite(gx.adamw(0.1, weight_decay=1e-2), 3)],
    "adamw_schedule": [gx.adamw(decaying(0.1), weight_decay=0.1)],
    "adamw_groups": [gx.adamw(0.1, weight_decay=0.1, mask=weights_only), gx.partition(GROUPS, labels)],
}


def state_dict_of(run):
    """What optimizer.state_dict() returned, with NumPy's arrays."""
    state, groups = {}, {}
    for key, value in DATA.items():
        match key.removeprefix(f"{run}/").split("/"):
            case ["state", index, name]:
                state.setdefault(int(index), {})[name] = value
            case ["groups", index, name]:
                groups.setdefault(int(index), {})[name] = value.tolist()
    return {"state": state, "param_groups": [groups[index] for index in sorted(groups)]}


def as_jax_has_them(by_name, leading=0):
    """A tree of torch's arrays in JAX's layout; the first axes of each may be others than a parameter's."""
    tree = {}
    for name, leaf in by_name.items():
        path, axes = NAMES[name] if isinstance(NAMES[name], tuple) else (NAMES[name], tuple(range(leaf.ndim - leading)))
        *above, last = path.split("/")
        part = tree
        for key in above:
            part = part.setdefault(key, {})
        part[last] = jnp.asarray(np.transpose(leaf, (*range(leading), *(axis + leading for axis in axes))))
    return tree


def recorded(run, kind, leading=0):
    found = {key.split("/")[-1]: leaf for key, leaf in DATA.items() if key.startswith(f"{run}/{kind}/")}
    return as_jax_has_them(found, leading)


def test_generator_names_the_torch_that_made_the_data():
    assert f"torch {DATA['torch']};" in (HERE / "generate_takeover.py").read_text(encoding="utf-8")


def test_counterparts_and_recorded_cases_are_the_same():
    assert {run for run in RUNS if run.startswith("float64")} == {f"float64/{case}" for case in COUNTERPARTS}


@pytest.mark.parametrize(
    ("run", "tx"), [(run, tx) for run in RUNS for tx in COUNTERPARTS[run.split("/")[1]]], ids=lambda x: repr(x)[:40]
)
def test_the_next_20_steps_are_those_of_torch(run, tx):
    dtype = run.split("/")[0]
    with jax.enable_x64(dtype == "float64"), jax.numpy_dtype_promotion("standard"):
        params = recorded(run, "params")
        state, report = gx.from_torch(state_dict_of(run), tx, params, BY_ORDER)
        grads = jax.tree.map(lambda leaf: leaf.astype(dtype)[TAKEN_OVER:], as_jax_has_them(GRADIENTS, leading=1))

        def step(carry, grads):
            params, state = carry
            updates, state = tx.update(grads, state, params)
            params = gx.apply_updates(params, updates)
            return (params, state), params

        _, ours = jax.lax.scan(step, (params, state), grads)
        theirs = recorded(run, "path", leading=1)
        largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(theirs))
        # As in the parity tests: what 20 steps round, relative to the largest parameter.
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=ROUNDING[dtype] * largest), ours, theirs
        )
    assert report.dropped == {}
    if "sgd" not in run:
        assert {int(leaf) for name, leaf in counts(state).items()} == {TAKEN_OVER}


def counts(state):
    states = [part for part in jax.tree.leaves(state, is_leaf=is_state) if is_state(part)]
    inner = [part for outer in states for part in jax.tree.leaves(outer.stages, is_leaf=is_state) if is_state(part)]
    return {index: part.count for index, part in enumerate((*states, *inner))}


def is_state(part):
    return isinstance(part, gx.State)


ADAMW = "float32/adamw_groups"
PARAMS = recorded(ADAMW, "params")
DECAYS = gx.adamw(0.1, weight_decay=0.1, mask=weights_only)


class Tensor:
    """What from_torch may ask of a tensor."""

    def __init__(self, array, dtype="torch.float32", device="cuda", requires_grad=True):
        self.array, self.dtype, self.device, self.requires_grad = array, dtype, device, requires_grad

    def detach(self):
        return Tensor(self.array, self.dtype, self.device, requires_grad=False)

    def cpu(self):
        return Tensor(self.array, self.dtype, "cpu", self.requires_grad)

    def float(self):
        return Tensor(self.array, "torch.float32", self.device, self.requires_grad)

    def numpy(self):
        assert (self.device, self.requires_grad) == ("cpu", False)
        if self.dtype == "torch.bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self.array


@pytest.mark.parametrize("dtype", ["torch.float32", "torch.bfloat16"])
def test_tensors_are_taken_without_torch(dtype):
    arrays = state_dict_of(ADAMW)
    tensors = {
        "state": {
            index: {key: Tensor(value, dtype) for key, value in kept.items()} for index, kept in arrays["state"].items()
        },
        "param_groups": arrays["param_groups"],
    }
    of_arrays, of_tensors = (gx.from_torch(d, DECAYS, PARAMS, BY_ORDER) for d in (arrays, tensors))
    jax.tree.map(np.testing.assert_array_equal, of_arrays[0], of_tensors[0])
    assert of_arrays[1] == of_tensors[1]


def test_report_tells_of_other_hyperparameters():
    state_dict = state_dict_of(ADAMW)
    _, report = gx.from_torch(state_dict, DECAYS, PARAMS, BY_ORDER)
    assert report.notes == ("weight_decay was 0 with torch; in the transform it is 0.1",)
    _, report = gx.from_torch(state_dict, gx.adam(0.05, 0.8), PARAMS, BY_ORDER)
    assert report.notes == (
        "lr was 0.1 with torch; in the transform it is 0.05",
        "betas[0] was 0.9 with torch; in the transform it is 0.8",
        "weight_decay was 0.1 with torch; the transform has no weight_decay",
    )
    assert report.kept["scale_by_adam.nu/dense/kernel"] == "as it was"
    assert report.kept["count"] == "10 updates were done"


def test_sgd_does_not_count():
    state_dict = state_dict_of("float32/sgd_momentum")
    params = recorded("float32/sgd_momentum", "params")
    state, report = gx.from_torch(state_dict, gx.sgd(0.1, 0.9), params, BY_ORDER)
    # Not 0: that would be the first step, whose gradient dampening spares.
    assert state.count == 1
    assert report.notes == ("count is 1, as torch's SGD does not count; say count=... if schedules go by it",)
    state, report = gx.from_torch(state_dict, gx.sgd(0.1, 0.9), params, BY_ORDER, count=10)
    assert state.count == 10
    assert report.notes == ()


def test_a_parameter_without_a_gradient_begins_anew():
    state_dict = state_dict_of(ADAMW)
    del state_dict["state"][3]
    state, report = gx.from_torch(state_dict, DECAYS, PARAMS, BY_ORDER)
    assert state.stages["scale_by_adam"].mu["gain"] == 0
    assert report.new["scale_by_adam.mu/gain"] == "torch keeps nothing for it, as it had no gradient"


def test_a_parameter_that_jax_does_not_have():
    state_dict = state_dict_of(ADAMW)
    params = {key: leaf for key, leaf in PARAMS.items() if key != "gain"}
    state, _ = gx.from_torch(state_dict, DECAYS, params, [*BY_ORDER[:3], None])
    assert "gain" not in state.stages["scale_by_adam"].mu


def test_steps_that_differ():
    state_dict = state_dict_of(ADAMW)
    state_dict["state"][2]["step"] = np.float32(7)
    with pytest.raises(ValueError, match=r"different numbers of steps \(conv/kernel 10, .*dense/bias 7.*say count="):
        gx.from_torch(state_dict, DECAYS, PARAMS, BY_ORDER)
    state, _ = gx.from_torch(state_dict, DECAYS, PARAMS, BY_ORDER, count=7)
    assert state.count == 7


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (BY_ORDER[:3], "torch's optimizer has 4 parameters, names has 3"),
        (["conv", *BY_ORDER[1:]], "names has 'conv', the parameters are 'conv/kernel', 'dense/bias'"),
        ([BY_ORDER[2], *BY_ORDER[1:]], "names has 'dense/bias' for parameters 0 and 2 of torch"),
        ([*BY_ORDER[:3], None], "names has nothing for the parameter 'gain'"),
        (
            [BY_ORDER[0], "dense/kernel", *BY_ORDER[2:]],
            r"scale_by_adam.mu/dense/kernel does not fit parameter 1 of torch: shape \(4, 3\), was \(3, 4\); if its",
        ),
        (
            [("conv/kernel", (3, 2, 0, 1)), *BY_ORDER[1:]],
            r"shape \(2, 2, 3, 2\), was \(2, 2, 2, 3\); with its axes taken as \(3, 2, 0, 1\)",
        ),
        (
            [("conv/kernel", (1, 0)), *BY_ORDER[1:]],
            r"axes \(1, 0\) of 'conv/kernel' do not fit its shape \(2, 3, 2, 2\)",
        ),
    ],
)
def test_names_that_do_not_fit_are_errors(names, match):
    with pytest.raises(ValueError, match=match):
        gx.from_torch(state_dict_of(ADAMW), DECAYS, PARAMS, names)


@pytest.mark.parametrize(
    ("run", "tx", "match"),
    [
        (
            ADAMW,
            gx.sgd(0.1, 0.9),
            "trace.trace/conv/kernel goes on from momentum_buffer, torch's state has exp_avg, exp_avg",
        ),
        (ADAMW, gx.sgd(0.1), "torch keeps exp_avg, exp_avg_sq for 'conv/kernel', the transform has no rule for that"),
        (
            ADAMW,
            gx.amsgrad(0.1),
            "nu_max/conv/kernel goes on from max_exp_avg_sq, torch's state has exp_avg, exp_avg_sq",
        ),
        ("float32/adam_amsgrad", gx.adam(0.1), "torch keeps max_exp_avg_sq for 'conv/kernel'"),
        (
            ADAMW,
            gx.lion(0.1),
            "knows of nothing in torch that scale_by_lion goes on from; it knows trace, scale_by_adam",
        ),
        (ADAMW, gx.chain(gx.adam(0.1), gx.adam(0.1)), "more than one rule goes on from exp_avg of 'conv/kernel'"),
    ],
)
def test_rules_that_torch_has_nothing_for_are_errors(run, tx, match):
    with pytest.raises(ValueError, match=match):
        gx.from_torch(state_dict_of(run), tx, PARAMS, BY_ORDER)


def test_what_is_no_state_dict_is_an_error():
    with pytest.raises(TypeError, match=r"what optimizer.state_dict\(\) returns"):
        gx.from_torch({"exp_avg": 1}, DECAYS, PARAMS, BY_ORDER)
