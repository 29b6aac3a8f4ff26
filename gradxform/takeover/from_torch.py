"""from_torch: the state of an optimizer of torch's becomes that of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradxform.takeover.kinds import is_rule
from gradxform.takeover.takeover import (
    MigrationReport,
    Path,
    fields,
    fitted,
    named,
    places,
    rebuilt,
    rule_of,
    states,
    told_apart,
)

# What torch calls what our rules remember: torch.optim.SGD, Adam and AdamW, the last two with amsgrad too.
SLOTS = {
    "trace": {"trace": "momentum_buffer"},
    "scale_by_adam": {"mu": "exp_avg", "nu": "exp_avg_sq"},
    "scale_by_amsgrad": {"mu": "exp_avg", "nu": "exp_avg_sq", "nu_max": "max_exp_avg_sq"},
}

# Our names of the hyperparameters in torch's groups.
HYPERPARAMS = {
    "lr": "learning_rate",
    "betas[0]": "b1",
    "betas[1]": "b2",
    "eps": "eps",
    "weight_decay": "weight_decay",
    "momentum": "trace.decay",
    "dampening": "trace.dampening",
    "nesterov": "trace.nesterov",
    "maximize": "maximize",
}


class Param(NamedTuple):
    """One of torch's parameters: its number, its path in JAX's tree, how its axes go, and what torch keeps of it."""

    number: int
    path: str
    axes: tuple[int, ...] | None
    kept: Mapping[str, Any]


def from_torch(
    state_dict: Mapping[str, Any],
    tx: Any,
    params: Any,
    names: Sequence[str | tuple[str, Sequence[int]] | None],
    *,
    count: int | None = None,
) -> tuple[Any, MigrationReport]:
    """The state of a transform, from that of torch.optim's SGD, Adam or AdamW, and a report.

        names = [("dense/kernel", (1, 0)), "dense/bias"]
        state, report = from_torch(optimizer.state_dict(), gx.adamw(1e-3, weight_decay=1e-2), params, names)

    Args:
      state_dict: what the optimizer's `state_dict()` returned, with torch's tensors or with NumPy's arrays.
      tx: the transform that is to go on, with its own hyperparameters: those of torch are compared, not taken.
      params: the parameters, as JAX has them.
      names: for each parameter, in the order in which torch's optimizer has them, the path of the leaf in `params`.
        Where JAX has its axes in another order, a pair of the path and the axes as of `numpy.transpose`: (1, 0) for a
        kernel (in, out) that torch keeps as (out, in), (2, 3, 1, 0) for that of a convolution. None for a parameter
        that JAX does not have. Shapes are checked; whether a square matrix is transposed, only you can know.
      count: how many updates were done, for where torch does not count, as in SGD, or where its counts disagree.

    Returns:
      The state, and a report. It prints as a table, and lists hyperparameters that differ from those of torch.

    Raises:
      ValueError: names that do not fit torch's parameters or ours; a rule for which torch has nothing, or the other way
        round; an array that does not fit, with its path and both shapes; counts that disagree.
      TypeError: what is no state_dict.

    optax: none. torch: torch.optim.Optimizer.load_state_dict.
    """
    if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= set(state_dict):
        raise TypeError("from_torch takes what optimizer.state_dict() returns, with 'state' and 'param_groups'")
    template = tx.init(params)
    theirs = _params(state_dict, params, names)
    kept: dict[str, str] = {}
    begun: dict[str, str] = {}
    values: dict[Path, jax.Array] = {}
    taken: set[tuple[int, str]] = set()
    here = places(template)
    for path, key, leaf in _needed(template):
        place, param = here[path], theirs.get(leaf)
        if param is None:
            raise ValueError(f"from_torch: names has nothing for the parameter {leaf!r}")
        if not any(key in other.kept for other in theirs.values()):
            has = sorted({name for other in theirs.values() for name in other.kept}) or ["nothing"]
            raise ValueError(f"from_torch: {place.name} goes on from {key}, torch's state has {', '.join(has)}")
        if key not in param.kept:
            begun[place.name] = "torch keeps nothing for it, as it had no gradient"
            continue
        if (param.number, key) in taken:
            raise ValueError(f"from_torch: more than one rule goes on from {key} of {leaf!r}; torch has one")
        taken.add((param.number, key))
        values[path], kept[place.name] = _fitted(param, key, place)
    for param in theirs.values():
        if left := sorted(key for key in param.kept if key != "step" and (param.number, key) not in taken):
            raise ValueError(
                f"from_torch: torch keeps {', '.join(left)} for {param.path!r}, the transform has no rule for that"
            )
    count, notes = _count(theirs, count)
    for path, within, _ in states(template):
        values[(*path, "count")], kept[f"{within}count"] = jnp.array(count, jnp.int32), f"{count} updates were done"
    begun |= {place.name: "torch has no such thing" for place in here.values() if place.name not in {*kept, *begun}}
    state = rebuilt(template, values)
    told = [(HYPERPARAMS[name], name, value) for name, value in _hyperparams(state_dict["param_groups"])]
    notes += told_apart(tx, state, "torch", told)
    return state, MigrationReport(kept, begun, {}, tuple(notes))


def _params(state_dict: Mapping[str, Any], params: Any, names: Sequence[Any]) -> dict[str, Param]:
    """torch's parameters by the paths of ours."""
    indices = [index for group in state_dict["param_groups"] for index in group["params"]]
    if len(names) != len(indices):
        raise ValueError(f"from_torch: torch's optimizer has {len(indices)} parameters, names has {len(names)}")
    ours = {"/".join(path): leaf for path, leaf in named(params).items()}
    theirs: dict[str, Param] = {}
    for index, name in zip(sorted(indices), names, strict=True):
        if name is None:
            continue
        path, axes = (name, None) if isinstance(name, str) else name
        if path not in ours:
            raise ValueError(f"from_torch: names has {path!r}, the parameters are {', '.join(map(repr, ours))}")
        if path in theirs:
            raise ValueError(
                f"from_torch: names has {path!r} for parameters {theirs[path].number} and {index} of torch"
            )
        kept = {key: value for key, value in state_dict["state"].get(index, {}).items() if value is not None}
        theirs[path] = Param(index, path, None if axes is None else tuple(axes), kept)
    return theirs


def _needed(template: Any) -> Iterator[tuple[Path, str, str]]:
    """Each array that is to be filled: its path, torch's name of the slot, and the path of the parameter."""
    for above, _, state in states(template):
        for stage, record in fields(state)["stages"].items():
            # Torch has no such wrappers: ours begin their own counts around a state that goes on.
            if not is_rule(record):
                continue
            slots = SLOTS.get(rule_of(record), {})
            for name in record._fields:
                if name not in (*slots, *record.metrics) and jax.tree.leaves(getattr(record, name)):
                    raise ValueError(
                        f"from_torch knows of nothing in torch that {rule_of(record)} goes on from; it knows "
                        f"{', '.join(SLOTS)}"
                    )
            for slot, key in slots.items():
                for leaf in named(getattr(record, slot)):
                    yield (*above, "stages", stage, slot, *leaf), key, "/".join(leaf)


def _fitted(param: Param, key: str, place: Any) -> tuple[jax.Array, str]:
    array = _array(param.kept[key])
    if param.axes is not None:
        if sorted(param.axes) != list(range(array.ndim)):
            raise ValueError(
                f"from_torch: axes {param.axes} of {param.path!r} do not fit its shape {array.shape} in torch"
            )
        array = np.transpose(array, param.axes)
    value, how = fitted(array, place.array)
    if value is None:
        hint = (
            f"with its axes taken as {param.axes}"
            if param.axes
            else f"if its axes go otherwise: ({param.path!r}, axes)"
        )
        raise ValueError(f"from_torch: {place.name} does not fit parameter {param.number} of torch: {how}; {hint}")
    return value, how


def _array(value: Any) -> np.ndarray[Any, Any]:
    """A tensor of torch's, or anything that NumPy takes, as an array."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        # NumPy knows no bfloat16.
        value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
    return np.asarray(value)


def _count(theirs: Mapping[str, Param], told: int | None) -> tuple[int, list[str]]:
    """How many updates torch did, and notes on that."""
    steps = {path: int(_array(param.kept["step"])) for path, param in theirs.items() if "step" in param.kept}
    if len(set(steps.values())) == 1:
        return next(iter(steps.values())), []
    if told is not None:
        return told, []
    if steps:
        each = ", ".join(f"{path} {step}" for path, step in steps.items())
        raise ValueError(f"from_torch: torch's parameters saw different numbers of steps ({each}); say count=...")
    # After the first step, at which dampening spares the gradient.
    count = int(any(param.kept for param in theirs.values()))
    return count, [f"count is {count}, as torch's SGD does not count; say count=... if schedules go by it"]


def _hyperparams(groups: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The hyperparameters of torch's groups, each value once."""
    seen = set()
    for group in groups:
        flat = dict(group)
        flat |= {f"betas[{index}]": beta for index, beta in enumerate(group.get("betas", ()))}
        for name in HYPERPARAMS:
            if name in flat and (name, float(_array(flat[name]))) not in seen:
                seen.add((name, float(_array(flat[name]))))
                yield name, float(_array(flat[name]))
