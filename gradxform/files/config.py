"""A transform as a plain dict and as JSON, and back.

What a dict says is the call that makes the transform, with every argument, so that it means the same when a default
changes:

    {
      "gradxform": 1,
      "chain": [
        {"call": "clip_by_global_norm", "max_norm": 1.0, "ord": 2},
        {
          "call": "scale_by_learning_rate",
          "learning_rate": {"call": "cosine_decay_schedule", "init_value": 0.1, ...},
          "flip_sign": true
        }
      ]
    }

`gradxform` is the version of this format. Rules, schedules, masks and wrappers of the library have their own names; a
rule of a user's is `module:Class`. Beside calls there are

    {"named_chain": [[name, call], ...]}
    {"chain": [...], "on_axes": specs}                                   what `on_axes` told, of named chains too
    {"partition_spec": ["data", null, ["data", "model"]]}                a PartitionSpec
    {"function": "jax.numpy.abs"}                                        a function of a library
    {"array": 0.5, "dtype": "float32", "type": "jax.Array"}              or numpy.ndarray, or numpy.generic
    {"random_key": [0, 42], "impl": "threefry2x32"}
    {"dtype": "bfloat16"}                                                where an argument may be something else too
    {"float": "inf"}                                                     which JSON has not
    [0.9, 0.999]                                                         a tuple
    {"list": [...]}                                                      a list
    {"dict": [[key, value], ...]}                                        a dict with other keys, or with those of these
"""

from __future__ import annotations

import json
from typing import Any

from gradxform.core.hints import make_ours
from gradxform.core.transform import Transform
from gradxform.files.read import read
from gradxform.files.written import written

FORMAT = 1
_EXAMPLE = '{"gradxform": 1, "chain": [...]}'
_WIDTH = 100


def to_dict(tx: Transform) -> dict[str, Any]:
    """A transform as a dict of strings, numbers, bools, None, lists and dicts, from which `from_dict` makes it again.

    Chains and their names, schedules, masks by rule, wrappers with what they wrap, seeds, dtypes, arrays and live
    hyperparameters are kept, and every argument is told. A rule of your own is kept by the name of its class if it went
    through `gx.transform` at the top of a module. `optax.MultiSteps` is no transform; ours is.

    Args:
      tx: a gradxform transform.

    Returns:
      A dict with the version of the format under "gradxform".

    Raises:
      TypeError: not a gradxform transform, or one that holds what has no name: a function of your own, such as a
        schedule or a mask, or a transform of optax's. The error names its place.

    optax: none. torch: none; `state_dict` holds the hyperparameters of a group, without schedules.
    """
    if not isinstance(tx, Transform):
        raise TypeError(f"to_dict takes a gradxform transform, got {type(tx).__name__}{make_ours(tx)}")
    return {"gradxform": FORMAT, **written(tx)}


def from_dict(config: dict[str, Any]) -> Transform:
    """The transform of a dict that `to_dict` made, or that was written by hand.

    It imports nothing: import modules with rules of your own before. Arguments that are left out are at
    their defaults.

    Args:
      config: the dict.

    Returns:
      A Transform, equal to the one that was saved.

    Raises:
      ValueError, TypeError: another version of the format, a name or an argument that is not known, or an argument that
        the transform itself refuses, such as a negative rate. The error names the place in the dict.

    optax: none. torch: none; see `to_dict`.
    """
    if not isinstance(config, dict):
        raise TypeError(f"from_dict takes a dict such as {_EXAMPLE}, got {type(config).__name__}")
    version = config.get("gradxform")
    if type(version) is not int or version < 1:
        raise ValueError(f"from_dict: expected the version of the format, as in {_EXAMPLE}, got {version!r}")
    if version > FORMAT:
        raise ValueError(
            f"from_dict: this is version {version} of the format, and here versions up to {FORMAT} are known; install "
            "a newer gradxform"
        )
    tx = read({key: value for key, value in config.items() if key != "gradxform"})
    if not isinstance(tx, Transform):
        raise ValueError(f"from_dict: expected a transform, as in {_EXAMPLE}, got {', '.join(map(repr, config))}")
    return tx


def to_json(tx: Transform) -> str:
    """A transform as JSON: `to_dict` in lines that a person can read and edit.

    Args:
      tx: a gradxform transform.

    Returns:
      The text, without a newline at its end.

    Raises:
      TypeError: as `to_dict`.

    optax: none. torch: none; see `to_dict`.
    """
    return _lines(to_dict(tx), "", 0)


def from_json(text: str) -> Transform:
    """The transform of a text that `to_json` made, or that was written by hand.

    Args:
      text: JSON.

    Returns:
      A Transform, equal to the one that was saved.

    Raises:
      ValueError, TypeError: as `from_dict`; and what is no JSON, or has a key twice.

    optax: none. torch: none; see `to_dict`.
    """
    return from_dict(json.loads(text, object_pairs_hook=_once, parse_constant=_not_json))


def _lines(value: Any, indent: str, before: int) -> str:
    """A value in one line if that is short, with what stands before it, else an item a line."""
    line = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if before + len(line) < _WIDTH or not value or not isinstance(value, dict | list):
        return line
    inner = indent + "  "
    if isinstance(value, list):
        items = [_lines(item, inner, len(inner)) for item in value]
        return "[" + ",".join(f"\n{inner}{item}" for item in items) + f"\n{indent}]"
    keys = [f"\n{inner}{json.dumps(key, ensure_ascii=False)}: " for key in value]
    items = [key + _lines(item, inner, len(key)) for key, item in zip(keys, value.values(), strict=True)]
    return "{" + ",".join(items) + f"\n{indent}}}"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise ValueError(f"from_json: got {', '.join(twice)} twice in one object")
    return dict(pairs)


def _not_json(name: str) -> Any:
    written_as = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}[name]
    raise ValueError(f'from_json: {name} is no JSON; write {{"float": "{written_as}"}}')
