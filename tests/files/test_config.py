"""A transform goes to a dict and to JSON, and comes back equal; what cannot is an error that names its place."""

import inspect
import json
import math
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx
from gradxform.core import registry
from gradxform.rules.adam_variants import fourth_root
from gradxform.wrappers import borrowed
from tests.contract.cases import CASES
from tests.schedules.cases import every_case as every_schedule
from tests.wrappers.test_borrowed import CASES as WRAPPERS


def warm_up(step):
    return 0.1 * step


@gx.transform
class Halve(gx.LeafRule):
    """A rule of a user's, named by its decorator."""

    times: int = 1
    rate: gx.Positive = 1.0

    def update(self, grad, slots, leaf):
        return self.rate * grad / 2**self.times, slots


def back(tx):
    """A transform through a dict and through JSON, with what must hold on the way."""
    config, text = gx.to_dict(tx), gx.to_json(tx)
    assert_plain(config)
    assert json.loads(text) == config == gx.to_dict(tx)
    again = gx.from_dict(config)
    assert again == gx.from_json(text) == tx
    assert hash(again) == hash(tx)
    assert repr(again) == repr(tx)
    assert gx.to_json(again) == text
    return again


def assert_plain(value):
    assert type(value) in (dict, list, str, int, float, bool, type(None)), value
    if isinstance(value, dict):
        assert all(type(key) is str for key in value)
    assert not isinstance(value, float) or math.isfinite(value)
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        assert_plain(item)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_transform_comes_back(case):
    tx = case.make()
    if "<tests." not in repr(tx):
        back(tx)
        return
    # What holds a plain function is not saved.
    with pytest.raises(
        TypeError, match=r"^to_dict: [\w.]+ is the function <tests\.contract\.case\.(warm_up|total|often|halved)>; "
    ):
        gx.to_dict(tx)


@every_schedule
def test_every_schedule_comes_back(case):
    tx = gx.scale_by_schedule(case.of(gx))
    if "by_root" not in repr(tx):
        back(tx)
        return
    part = r"(schedules\.1|factors\.1|terms\.2)"
    place = rf"scale_by_schedule\.step_size_fn\.{part} is the function <tests\.schedules\.cases\.by_root>; "
    with pytest.raises(TypeError, match=place + "write it as a schedule of gradxform"):
        gx.to_dict(tx)


@pytest.mark.parametrize("name", [name for name in WRAPPERS if name != "MultiSteps"])
def test_every_wrapper_comes_back(name):
    tx = WRAPPERS[name](gx)
    if "<tests." not in repr(tx):
        back(tx)
        return
    with pytest.raises(TypeError, match=r"^to_dict: \w+\.(mask|f|should_\w+) is the function <tests\.wrappers"):
        gx.to_dict(tx)


def test_reads_as_the_calls_that_make_it():
    tx = gx.chain(gx.clip_by_global_norm(1.0), gx.sgd(gx.linear_schedule(0.1, 0.0, 100)))
    assert gx.to_json(tx) == textwrap.dedent("""\
        {
          "gradxform": 1,
          "chain": [
            {"call": "clip_by_global_norm", "max_norm": 1.0, "ord": 2},
            {
              "call": "scale_by_learning_rate",
              "learning_rate": {
                "call": "linear_schedule",
                "init_value": 0.1,
                "end_value": 0.0,
                "transition_steps": 100,
                "transition_begin": 0
              },
              "flip_sign": true
            }
          ]
        }""")


def test_what_is_left_out_of_a_file_is_at_its_default():
    text = '{"gradxform": 1, "chain": [{"call": "scale_by_adam", "b1": 0.8, "mu_dtype": "bfloat16"}]}'
    assert gx.from_json(text) == gx.scale_by_adam(0.8, mu_dtype="bfloat16")


def test_a_call_is_a_transform_also_without_a_chain():
    wrapped = {"call": "masked", "inner": {"call": "scale", "step_size": 2.0}, "mask": {"w": True}}
    assert gx.from_dict({"gradxform": 1, **wrapped}) == gx.masked(gx.scale(2.0), {"w": True})


def test_every_argument_of_a_wrapper_is_told():
    (call,) = gx.to_dict(gx.scale_by_lbfgs())["chain"]
    assert call == {"call": "scale_by_lbfgs", "memory_size": 10, "scale_init_precond": True}
    # Arguments at their defaults make no difference, but 1 is not True.
    assert gx.scale_by_lbfgs(memory_size=10) == gx.scale_by_lbfgs()
    assert repr(gx.masked(gx.scale(2.0), True, mask_compatible_extra_args=False)).count("mask") == 2
    assert gx.scale_by_lbfgs(scale_init_precond=1).stages[0].node.arguments["scale_init_precond"] == 1


def test_injected_hyperparameters_come_back():
    rate = gx.cosine_decay_schedule(0.1, 10)
    back(gx.chain(gx.clip(1.0), gx.inject_hyperparams(gx.adamw)(rate, b2=0.9, mask=gx.by_ndim(2), mu_dtype="float32")))
    back(gx.inject_hyperparams(optax.sgd, "momentum", jnp.float32)(0.1, momentum=0.9))


def test_names_of_a_chain_come_back():
    tx = gx.named_chain(("clip", gx.clip(1.0)), ("descend", gx.adam(0.1)), ("last", gx.scale(1.0)))
    again = back(tx)
    assert [stage.name for stage in again.stages] == [stage.name for stage in tx.stages]
    assert gx.to_dict(tx)["named_chain"][0] == ["clip", {"call": "clip", "max_delta": 1.0}]
    twice = back(gx.chain(gx.scale(1.0), gx.scale(2.0)))
    assert [stage.name for stage in twice.stages] == ["scale", "scale_2"]
    assert back(gx.chain()) == gx.chain()


def test_transforms_in_transforms_come_back():
    estimator = gx.chain(gx.hutchinson_estimator_diag_hessian(3), gx.clip(5.0))
    inner = gx.masked(gx.mechanize(gx.named_chain(("rate", gx.sgd(0.1)))), gx.by_ndim(2) & ~gx.by_path("*/bias"))
    groups = {"chain": inner, "b": gx.apply_if_finite(gx.lookahead(gx.set_to_zero(), 5, 0.5), 3)}
    labels = gx.labels({gx.by_ndim(2): "chain"}, default="b")
    back(gx.chain(gx.scale_by_sophia(hessian_diagonal_fn=estimator), gx.partition(groups, labels)))


@pytest.mark.parametrize(
    "mask",
    [
        {"w": True, "b": False},
        {"call": True, "key": False},
        {"layers": [True, (False, True)], "head": None},
        {0: True, 1: False},
        {"w": np.True_},
        gx.not_biases_or_norms(also=("embedding",)),
        (gx.by_path(("*/w", "head")) | gx.by_path(r".*\d", regex=True)) & ~gx.by_ndim(at_least=1, at_most=3),
    ],
    ids=repr,
)
def test_masks_come_back(mask):
    back(gx.scale_by_trust_ratio(mask=mask))
    back(gx.chain(gx.adamw(0.1, mask=mask), gx.masked(gx.scale(1.0), mask)))


NUMBERS = [
    math.inf,
    -math.inf,
    math.nan,
    -0.0,
    10**30,
    5e-324,
    np.float64(0.1),
    np.float32(0.1),
    np.int32(3),
    np.array(0.1, np.float16),
    np.array([[0.1, np.inf], [np.nan, -0.0]]),
    jnp.float32(0.1),
    jnp.asarray(0.1),
    jnp.asarray(3),
    jnp.bfloat16(0.1),
    jnp.array([0.1, jnp.inf], jnp.float16),
    jnp.zeros((0,)),
    jnp.array([1, 2], jnp.int8),
    gx.Live(jnp.bfloat16(0.1)),
    gx.Live(0.1),
]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: f"{type(number).__name__} {number!r}")
def test_numbers_come_back_to_the_bit(number):
    again = back(gx.scale(number)).stages[0].node.step_size
    assert type(again) is type(number)
    given, came = (value.value if isinstance(value, gx.Live) else value for value in (number, again))
    assert getattr(came, "weak_type", None) == getattr(given, "weak_type", None)
    one, other = np.asarray(given), np.asarray(came)
    assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


def test_numbers_of_64_bits_come_back_where_jax_has_them():
    with jax.enable_x64(True):
        text = gx.to_json(gx.scale(jnp.float64(0.1)))
        assert gx.from_json(text) == gx.scale(jnp.float64(0.1))
    with pytest.raises(ValueError, match=r"^from_dict: chain\[0\]\.step_size: .* float64 needs jax_enable_x64$"):
        gx.from_json(text)


def test_live_hyperparameters_come_back():
    tx = gx.live(gx.chain(gx.clip(1.0), gx.dadapt_adamw(betas=(0.8, 0.9))), "max_delta", "betas.0")
    assert gx.to_dict(tx)["chain"][0] == {"call": "clip", "max_delta": {"call": "Live", "value": 1.0}}
    assert (
        gx.hyperparams(back(tx), tx.init({"w": jnp.ones(2)})).keys()
        == gx.hyperparams(tx, tx.init({"w": jnp.ones(2)})).keys()
    )


@pytest.mark.parametrize(
    "seed",
    [0, 2**70, jax.random.key(3), jax.random.key(3, impl="rbg")],
    ids=repr,
)
def test_seeds_come_back(seed):
    back(gx.add_noise(0.1, 0.55, seed))


def test_dtypes_come_back():
    assert gx.to_dict(gx.trace(0.9, accumulator_dtype=jnp.bfloat16))["chain"][0]["accumulator_dtype"] == "bfloat16"
    back(gx.trace(0.9, accumulator_dtype="float32"))
    for dtype in (jnp.bfloat16, np.float32, np.dtype("float16"), "float32"):
        back(gx.schedule_free(gx.sgd(0.1), 0.1, state_dtype=dtype))


@pytest.mark.parametrize("function", [jnp.sqrt, jnp.abs, jax.nn.relu, optax.global_norm, np.sqrt, fourth_root])
def test_functions_of_libraries_come_back(function):
    tx = gx.scale_by_adopt(clip_value_fn=function)
    assert back(tx).stages[0].node.clip_value_fn is function


def test_a_rule_of_one_s_own_comes_back():
    tx = gx.chain(Halve(3, 0.5), gx.scale(2.0))
    assert gx.to_dict(tx)["chain"][0] == {"call": f"{__name__}:Halve", "times": 3, "rate": 0.5}
    back(tx)


def test_all_that_the_library_makes_has_a_name_of_its_own():
    functions = [value for value in vars(gx).values() if inspect.isfunction(value) and hasattr(value, "record")]
    assert len(functions) > 80
    assert {registry.name_of(function.record) for function in functions} == {f.__name__ for f in functions}
    wrapped = [value for value in vars(borrowed).values() if hasattr(value, "__wrapped__")]
    assert wrapped
    assert all(registry.name_of(value.__wrapped__) for value in wrapped)


# A file, and a rule of one's own, in another process.

RULES = """
import gradxform as gx

@gx.transform
class Third(gx.LeafRule):
    times: int = 1

    def update(self, grad, slots, leaf):
        return grad / 3**self.times, slots
"""

SAVE = """
import pathlib, sys
import gradxform as gx
from rules_of_mine import Third

rate = gx.join_schedules([gx.linear_schedule(0.0, 0.1, 10), gx.cosine_decay_schedule(0.1, 90)], [10])
decay = gx.chain(gx.scale_by_adam(mu_dtype="bfloat16"), Third(2), gx.scale_by_learning_rate(rate))
tx = gx.partition({"train": decay, "keep": gx.set_to_zero()}, gx.labels({"*/bias": "keep"}, "train"))
pathlib.Path(sys.argv[1]).write_text(gx.to_json(tx))
print(repr(tx))
"""

LOAD = """
import pathlib, sys
import gradxform as gx

text = pathlib.Path(sys.argv[1]).read_text()
try:
    gx.from_json(text)
except ValueError as error:
    assert "rules_of_mine" not in sys.modules, "a file imports nothing"
    print(error, file=sys.stderr)
import rules_of_mine
print(repr(gx.from_json(text)))
"""


def run(program, directory):
    """What a program prints that is run in a directory, and what it reports."""
    command = [sys.executable, "-c", program, str(directory / "optimizer.json")]
    path = {"PYTHONPATH": f"{directory}:{gx.__file__.removesuffix('/gradxform/__init__.py')}", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=path)
    return done.stdout, done.stderr


def test_comes_back_from_a_file_in_another_process(tmp_path):
    (tmp_path / "rules_of_mine.py").write_text(RULES)
    saved, _ = run(SAVE, tmp_path)
    loaded, errors = run(LOAD, tmp_path)
    assert loaded == saved
    assert "Third(times=2)" in loaded
    place = "from_dict: transforms.train.chain[1]"
    assert f"{place}: rules_of_mine:Third is not known here; import rules_of_mine first" in errors.replace(
        "chain[0].", ""
    )
