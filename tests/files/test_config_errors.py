"""What cannot be saved, and what cannot be read, is an error that names its place and says what to do."""

import functools

import jax
import jax.numpy as jnp
import optax
import pytest

import gradxform as gx


def warm_up(step):
    return 0.1 * step


# What cannot be saved.


def test_what_has_no_name_is_named_with_its_place():
    def local(tree):
        return True

    with pytest.raises(TypeError, match=r"^to_dict: add_decayed_weights\.mask is the function <.*local>; .*by_path"):
        gx.to_dict(gx.adamw(0.1, mask=local))
    with pytest.raises(TypeError, match=r"^to_dict: scale\.step_size is functools\.partial\(.*; write it as a sch"):
        gx.to_dict(gx.scale(functools.partial(warm_up)))
    groups = {"a": gx.adam(warm_up), "b": gx.adam(0.1)}
    place = r"partition\.transforms\.a\.scale_by_learning_rate\.learning_rate is the function <.*warm_up>; write"
    with pytest.raises(TypeError, match=place):
        gx.to_dict(gx.partition(groups, {"w": "a"}))
    with pytest.raises(TypeError, match=r"partition\.param_labels is the function <.*>; .* labels"):
        gx.to_dict(gx.partition({"a": gx.scale(1.0)}, lambda params: "a"))
    with pytest.raises(TypeError, match=r"^to_dict: scale_2\.step_size is the function <optax.*constant_schedule"):
        gx.to_dict(gx.chain(gx.scale(1.0), gx.scale(optax.constant_schedule(0.1))))


@pytest.mark.parametrize(
    ("tx", "place"),
    [
        (gx.chain(gx.clip(1.0), optax.scale_by_adam()), "scale_by_adam"),
        (gx.mechanize(optax.scale_by_adam()), "mechanize.base_optimizer"),
        (gx.masked(optax.scale_by_adam(), True), "masked.inner"),
    ],
)
def test_transforms_of_optax_are_named_with_their_place(tx, place):
    with pytest.raises(TypeError, match=f"^to_dict: {place} is <optax.scale_by_adam>, .* make it with gradxform's"):
        gx.to_dict(tx)


def test_what_is_no_transform_is_an_error():
    for thing in (optax.MultiSteps(optax.sgd(0.1), 2), optax.sgd(0.1), gx.sgd):
        with pytest.raises(
            TypeError, match=r"to_dict takes a gradxform transform, got \w+(; .* of that name|; call it .*)?$"
        ):
            gx.to_dict(thing)
        with pytest.raises(
            TypeError, match=r"to_dict takes a gradxform transform, got \w+(; .* of that name|; call it .*)?$"
        ):
            gx.to_json(thing)


def test_values_without_a_form_are_errors():
    with pytest.raises(TypeError, match=r"snapshot\.measure_name is \{1\}; a file has no form for set"):
        gx.to_dict(gx.snapshot({1}, jnp.sqrt))
    with pytest.raises(TypeError, match=r"scale\.step_size is .*; a file holds arrays of real numbers"):
        gx.to_dict(gx.scale(jnp.zeros((0, 3))))
    with pytest.raises(TypeError, match=r"scale\.step_size is <traced float32\[\]>; save it outside of jit"):
        jax.jit(lambda x: gx.to_dict(gx.scale(x)))(0.1)


def define(**body):
    """A class of a name that is always the same, at the top of this module."""
    update = {"update": lambda self, grad, slots, leaf: (grad, slots), "__module__": __name__}
    return gx.transform(type("Twice", (gx.LeafRule,), {**update, **body, "__qualname__": "Twice"}))


def test_of_two_classes_of_one_name_the_first_is_not_taken_for_the_second():
    first = define(__annotations__={"a": int}, a=1)()
    assert gx.from_dict(gx.to_dict(first)) == first
    second = define(__annotations__={"b": int}, b=1)()
    assert gx.from_dict(gx.to_dict(second)) == second
    with pytest.raises(TypeError, match=rf"twice is of the class {__name__}\.Twice, which has no name"):
        gx.to_dict(first)


def test_a_class_inside_a_function_has_no_name():
    @gx.transform
    class Local(gx.LeafRule):
        def update(self, grad, slots, leaf):
            return grad, slots

    with pytest.raises(TypeError, match=r"^to_dict: local is of the class .*Local, .* at the top of a module"):
        gx.to_dict(Local())


def test_a_rule_with_a_field_of_the_format_is_an_error():
    tx = define(__annotations__={"call": int}, call=1)()
    with pytest.raises(TypeError, match="twice has a field 'call', which in a file is the name of the rule"):
        gx.to_dict(tx)


# What cannot be read.


def chained(*calls):
    return {"gradxform": 1, "chain": list(calls)}


INJECTED = {"gradxform": 1, "call": "inject_hyperparams", "numbers": {"arr": 1.0}}
WRONG = {
    "no version": (
        {"chain": []},
        r'^from_dict: expected the version of the format, as in \{"gradxform": 1, .* None',
    ),
    "a version that is none": ({"gradxform": True, "chain": []}, "expected the version of the format, .* got True"),
    "a newer version": (
        {"gradxform": 2, "chain": []},
        "version 2 .* versions up to 1 are known; install a newer",
    ),
    "nothing": ({"gradxform": 1}, "expected a transform"),
    "no transform": ({"gradxform": 1, "call": "by_ndim", "ndim": 2}, "expected a transform"),
    "a mask in a chain": (chained({"call": "by_ndim", "ndim": 2}), r"from_dict: chain\[0\]: expected a transform"),
    "no list": ({"gradxform": 1, "chain": {}}, r"^from_dict: chain: expected a list, got \{\}$"),
    "another key": ({"gradxform": 1, "chain": [], "seed": 1}, "^from_dict: expected on_axes beside 'chain', got seed"),
    "a misspelt rule": (
        chained({"call": "clip", "max_delta": 1.0}, {"call": "scale_by_adm"}),
        r"^from_dict: chain\[1\]: there is no 'scale_by_adm'; did you mean scale_by_adam or ",
    ),
    "an unknown rule": (
        chained({"call": "xyzzy"}),
        "there is no 'xyzzy'; there are Live, .*, clip, .* newer",
    ),
    "no name": (chained({"call": 3}), "expected the name of a rule, a schedule or a mask, got 3"),
    "an optimizer": (
        chained({"call": "adamw"}),
        r"adamw is no rule, but made of rules; .* to_json\(gx\.adamw",
    ),
    "a module": (chained({"call": "os:system"}), "os:system is not known: os has no rule system at its top"),
    "an unknown module": (chained({"call": "some.where:Rule"}), "some.where:Rule is not known here; import some.where"),
    "an unknown argument": (
        chained({"call": "scale_by_rms", "deca": 0.9}),
        r"chain\[0\]: scale_by_rms has no deca; it has decay, eps, .*; a file of a newer gradxform may have more",
    ),
    "no argument": (chained({"call": "clip_by_global_norm"}), "clip_by_global_norm needs max_norm, which is missing"),
    "an unknown argument of a wrapper": (
        chained({"call": "flatten", "outer": 1}),
        r"chain\[0\]: flatten has no outer; it has inner",
    ),
    "a negative rate": (
        chained({"call": "scale", "step_size": 1.0}, {"call": "scale_by_learning_rate", "learning_rate": -0.1}),
        r"^from_dict: chain\[1\]: scale_by_learning_rate: learning_rate must be at least 0; got -0.1$",
    ),
    "a schedule that cannot be": (
        chained({"call": "scale", "step_size": {"call": "cosine_decay_schedule", "init_value": 1.0, "decay_steps": 0}}),
        r"^from_dict: chain\[0\]\.step_size: cosine_decay_schedule: decay_steps must be more than 0; got 0$",
    ),
    "two of one name": (
        {"gradxform": 1, "named_chain": [["a", {"call": "identity"}], ["a", {"call": "identity"}]]},
        "^from_dict: named_chain: expected names of their own, got more than one a$",
    ),
    "no pair": ({"gradxform": 1, "named_chain": [["a"]]}, r"named_chain\[0\]: expected a list of two, got \['a'\]"),
    "no name of a pair": ({"gradxform": 1, "named_chain": [[1, {"call": "identity"}]]}, "expected a name, got 1"),
    "a function that is none": (
        chained({"call": "scale", "step_size": {"function": "os.system"}}),
        r"^from_dict: chain\[0\]\.step_size: expected the name of a function of .* or numpy, got 'os\.system'",
    ),
    "a function by the way of a library": (
        chained({"call": "scale", "step_size": {"function": "optax._src.base.Callable"}}),
        "expected the name of a function",
    ),
    "a factory that may do anything": (
        {**INJECTED, "function": {"function": "jax.numpy.save"}, "static": {"file": "x"}},
        "^from_dict: inject_hyperparams: from a file only factories of gradxform and optax; got <.*save>",
    ),
    "an array of another type": (
        chained({"call": "scale", "step_size": {"array": 1.0, "dtype": "float32", "type": "torch.Tensor"}}),
        "expected a type among jax.Array, numpy.ndarray, numpy.generic, got 'torch.Tensor'",
    ),
    "an array that is none": (
        chained({"call": "scale", "step_size": {"array": "one", "dtype": "float32"}}),
        r"^from_dict: chain\[0\]\.step_size: could not convert",
    ),
    "an array without dtype": (
        chained({"call": "scale", "step_size": {"array": 1.0}}),
        "array needs its dtype",
    ),
    "a key that is none": (
        chained({"call": "add_noise", "eta": 1.0, "gamma": 1.0, "key": {"random_key": [1], "impl": "threefry2x32"}}),
        r"^from_dict: chain\[0\]\.key: expected the data of a key and its implementation, got \[1\] and 'threefry2x32'",
    ),
    "a float that is none": (
        chained({"call": "scale", "step_size": {"float": "0.1"}}),
        r"step_size: expected 'inf', '-inf' or 'nan', got '0\.1'",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_read_is_an_error_that_says_where_and_why(name):
    config, match = WRONG[name]
    with pytest.raises(ValueError, match=match):
        gx.from_dict(config)


def test_errors_of_type_stay_such():
    with pytest.raises(TypeError, match=r"^from_dict: chain\[0\]: scale: step_size must be a real number.* got 'two'$"):
        gx.from_dict(chained({"call": "scale", "step_size": "two"}))
    with pytest.raises(TypeError, match=r"^from_dict: chain\[0\]\.step_size: expected None, a bool, .* got 1j$"):
        gx.from_dict(chained({"call": "scale", "step_size": 1j}))
    with pytest.raises(TypeError, match=r"from_dict takes a dict such as .*, got list"):
        gx.from_json("[]")


def test_a_text_that_is_no_json_is_an_error():
    with pytest.raises(ValueError, match=r'Infinity is no JSON; write \{"float": "inf"\}'):
        gx.from_json('{"gradxform": 1, "chain": [{"call": "scale", "step_size": Infinity}]}')
    with pytest.raises(ValueError, match="from_json: got chain twice in one object"):
        gx.from_json('{"gradxform": 1, "chain": [], "chain": []}')
    with pytest.raises(ValueError, match="line 1 column 1"):
        gx.from_json("chain")
