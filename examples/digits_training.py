"""Training on many devices at once, under `jax.pmap` or under `jax.jit` with `jax.shard_map`."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from digits_model import Images, Params, batch, cross_entropy, init
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tqdm import tqdm

import gradxform as gx

EARLY = SHOW_EVERY = 10
SAVE_EVERY = 50
BAR = "{desc:9} {bar} {n}/{total} [{elapsed}{postfix}]"


class Report(NamedTuple):
    """What a step has to tell; or, of all steps, the curves."""

    loss: Any
    learning_rate: Any
    gradient_norm: Any


class Run(NamedTuple):
    """All that there is to a run, and so to a checkpoint of it.

    Attributes:
      params, state: those after the last step.
      curves: what every step told; NaN for steps to come.
      early: the parameters after the first ten steps.
    """

    params: Params
    state: Any
    curves: Report
    early: Params


Gradients = Callable[[Params, jax.Array, jax.Array], tuple[jax.Array, Params]]
Step = Callable[[Params, Any, Any, Any], tuple[Params, Any, Report]]


def make_step(tx: gx.Transform, mean_gradients: Gradients) -> Step:
    """The step that each device does; only how the devices come to a mean differs between `pmap` and `shard_map`."""

    def step(params: Params, state: Any, pixels: jax.Array, labels: jax.Array) -> tuple[Params, Any, Report]:
        rate = gx.hyperparams(tx, state)["scale_by_learning_rate.learning_rate"]
        loss, grads = mean_gradients(params, pixels, labels)
        updates, state = tx.update(grads, state, params)
        params = gx.apply_updates(params, updates)
        report = Report(loss, rate, gx.metrics(state)["clip_by_global_norm.norm"])
        # The old params and state are donated: XLA writes the new over them, if these come back in the same order.
        return params, state, report

    return step


def under_pmap(tx: gx.Transform, mesh: Mesh) -> Step:
    """A step under `jax.pmap`, which gives each device one row of the batch's first axis."""

    def mean_gradients(params: Params, pixels: jax.Array, labels: jax.Array) -> tuple[jax.Array, Params]:
        # Each device has the gradient of its own images, until all take the mean.
        return lax.pmean(jax.value_and_grad(cross_entropy)(params, pixels, labels), "devices")

    parallel = jax.pmap(
        make_step(tx, mean_gradients),
        axis_name="devices",
        devices=list(mesh.devices),
        in_axes=(None, None, 0, 0),
        out_axes=None,
        donate_argnums=(0, 1),
    )

    def step(params: Params, state: Any, pixels: np.ndarray, labels: np.ndarray) -> tuple[Params, Any, Report]:
        rows = [array.reshape(mesh.size, -1, *array.shape[1:]) for array in (pixels, labels)]
        return parallel(params, state, *rows)

    return step


def under_shard_map(tx: gx.Transform, mesh: Mesh) -> Step:
    """A step under `jax.jit` and `jax.shard_map`, which checks that all devices come to the same parameters."""

    def mean_gradients(params: Params, pixels: jax.Array, labels: jax.Array) -> tuple[jax.Array, Params]:
        # The types say that params are the same on all devices, so their gradients are summed over the devices when
        # they are taken. For the gradient of the mean, the mean has to be inside of what is differentiated.
        return jax.value_and_grad(lambda params: lax.pmean(cross_entropy(params, pixels, labels), "devices"))(params)

    whole, split = PartitionSpec(), PartitionSpec("devices")
    parallel = jax.shard_map(
        make_step(tx, mean_gradients),
        mesh=mesh,
        in_specs=(whole, whole, split, split),
        out_specs=whole,
        check_vma=True,
    )
    return jax.jit(parallel, donate_argnums=(0, 1))


WAYS = {"pmap": under_pmap, "shard_map": under_shard_map}


def start(tx: gx.Transform, mesh: Mesh, steps: int) -> Run:
    """A run before its first step, with parameters and state on every device."""
    params = init()
    params, state = jax.device_put((params, tx.init(params)), NamedSharding(mesh, PartitionSpec()))
    return Run(params, state, Report(*np.full((3, steps), np.nan, np.float32)), jax.device_get(params))


@contextlib.contextmanager
def without_interruption() -> Iterator[None]:
    """Keeps Ctrl-C waiting until what is in progress is done, so that no checkpoint is left half written."""
    waiting = []
    before = signal.signal(signal.SIGINT, lambda *_: waiting.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if waiting:
        raise KeyboardInterrupt


def train(name: str, step: Step, run: Run, images: Images, saved: ocp.CheckpointManager) -> Run:
    """Trains to the end of the curves, from the last checkpoint if there is one, and saves on the way.

    Raises:
      FloatingPointError: the loss is no longer a finite number.
    """
    done, steps = saved.latest_step() or 0, len(run.curves.loss)
    checkpoint: Any = saved.restore(done, args=ocp.args.StandardRestore(run)) if done else run
    params, state, curves, early = checkpoint
    with tqdm(desc=name, initial=done, total=steps, bar_format=BAR) as bar:
        while done < steps:
            reports = []
            for index in range(done, min(done + SHOW_EVERY, steps)):
                params, state, report = step(params, state, *batch(images, index))
                reports.append(report)
            # Whoever reads a number waits for the devices, which run ahead of Python: so not at every step.
            reports = jax.device_get(reports)
            for curve, values in zip(curves, zip(*reports, strict=True), strict=True):
                curve[done : done + len(reports)] = values
            done += len(reports)
            loss, rate, norm = reports[-1]
            bar.set_postfix_str(f"loss {loss:.4f}, rate {rate:.1e}, norm {norm:.2f}", refresh=False)
            bar.update(len(reports))
            if not np.isfinite(loss):
                raise FloatingPointError(f"the loss is {loss} after {done} steps")
            if done <= EARLY:
                early = jax.device_get(params)
            if done % SAVE_EVERY == 0 or done == steps:
                with without_interruption():
                    saved.save(done, args=ocp.args.StandardSave(Run(params, state, curves, early)))
    return Run(params, state, curves, early)
