"""What each process of `processes.py` does: joins the others, trains with ZeRO, saves, and goes on where it ended.

    python examples/processes_training.py --index 0 --count 2 --port 12345 --steps 60 --directory out/two &
    python examples/processes_training.py --index 1 --count 2 --port 12345 --steps 60 --directory out/two

With one process it is the same training on its devices alone. On a cluster, one such process runs on each machine;
there the address is that of the first, and where Slurm or Kubernetes starts them `jax.distributed.initialize()` finds
address, count and index by itself.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from digits_model import Images, Params, batch, cross_entropy, init, load
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import gradxform as gx


def main() -> None:
    """Joins the other processes, and trains with them."""
    options = read_options()
    if options.count > 1:
        # Before anything else asks for devices: from here on `jax.devices()` are those of all processes.
        address = f"127.0.0.1:{options.port}"
        # The first process listens there alone, and not on all of the machine's addresses.
        jax.distributed.initialize(address, options.count, options.index, coordinator_bind_address=address)
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    saving = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
    with ocp.CheckpointManager(options.directory.resolve() / "checkpoints", options=saving) as saved:
        params, state = train(mesh, saved, options.steps, options.save_every)
    if options.index == 0:
        with (options.directory / "parameters.npz").open("wb") as file:
            np.savez(file, allow_pickle=False, **named(params))
        own, whole = bytes_of_state(state)
        say(f"state {own} {whole}")


def train(mesh: Mesh, saved: ocp.CheckpointManager, steps: int, save_every: int) -> tuple[Params, Any]:
    """Trains from the last whole checkpoint, or from the beginning where there is none, and saves on the way."""
    whole = NamedSharding(mesh, PartitionSpec())
    # With this eps, a gradient that is nothing but rounding makes no step of full length in a direction of chance.
    tx = gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(3e-3, eps=1e-4))
    # Under jit every process makes its part of an array; no process holds the devices of another.
    params = jax.jit(init, out_shardings=whole)()
    state = gx.init_sharded(tx, params, zero="data")
    shardings = jax.tree.map(lambda leaf: leaf.sharding, (params, state))

    # Without out_shardings XLA may put the state on every device whole; with them it stays cut.
    @partial(jax.jit, donate_argnums=(0, 1), out_shardings=(*shardings, whole))
    def step(params: Params, state: Any, pixels: jax.Array, labels: jax.Array) -> tuple[Params, Any, jax.Array]:
        # The images are cut over the devices and the mean is over all of them, so XLA sums the gradients over all.
        loss, grads = jax.value_and_grad(cross_entropy)(params, pixels, labels)
        updates, state = tx.update(grads, state, params)
        return gx.apply_updates(params, updates), state, loss

    done = saved.latest_step() or 0
    if done:
        # The arrays tell shapes, dtypes and shardings: each process reads the parts of its own devices.
        restored: Any = saved.restore(done, args=ocp.args.StandardRestore((params, state)))
        params, state = restored
    is_first = jax.process_index() == 0
    if is_first:
        say(f"begin {done}")
    images = load()[0]
    for index in range(done, steps):
        params, state, loss = step(params, state, *spread(batch(images, index), mesh))
        # Every process waits for its step, not the first alone: steps that queue up on a CPU of few cores can take the
        # threads for which the devices of an earlier step wait, and then none goes on.
        loss = float(loss)
        if is_first:
            say(f"step {index + 1} {loss:.4f}")
        if (index + 1) % save_every == 0 or index + 1 == steps:
            # All processes call it: each writes its parts, and the first makes the whole a checkpoint at the end.
            saved.save(index + 1, args=ocp.args.StandardSave((params, state)))
    return params, state


def spread(images: Images, mesh: Mesh) -> list[jax.Array]:
    """Pixels and labels of a step over all devices, of which each process makes the parts of its own devices."""
    split = NamedSharding(mesh, PartitionSpec("data"))
    return [jax.make_array_from_callback(array.shape, split, array.__getitem__) for array in images]


def named(params: Params) -> dict[str, np.ndarray]:
    """Parameters by their paths; whole, as every device has all of them."""
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(params)}


def bytes_of_state(state: Any) -> tuple[int, int]:
    """How many bytes of a state lie on one device, and how many there are of it in all."""
    leaves = jax.tree.leaves(state)
    return sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves), sum(leaf.nbytes for leaf in leaves)


def say(line: str) -> None:
    """A line for whoever started this process, at once."""
    print(line, flush=True)


def read_options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--index", type=int, default=0, help="which of the processes this is, from 0 on")
    parser.add_argument("--count", type=int, default=1, help="how many there are; default: 1")
    parser.add_argument("--port", type=int, help="where the first of them listens")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--save-every", type=int, default=10, metavar="STEPS", help="default: 10")
    parser.add_argument("--directory", type=Path, required=True, help="for checkpoints and the last parameters")
    return parser.parse_args()


if __name__ == "__main__":
    main()
