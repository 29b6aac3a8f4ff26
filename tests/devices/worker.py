"""One of the two processes of the matrix's last column; `test_processes.py` starts them.

Each runs every chain at one of the places over the devices of both, and the replicas that are rounded at random. The
first writes the parameters to a file.
"""

import os
import sys

import jax

# Before the backend starts, and so before the module of the matrix makes its arrays.
ADDRESS, FILE, INDEX = sys.argv[1], sys.argv[2], int(sys.argv[3])
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.distributed.initialize(ADDRESS, 2, INDEX, coordinator_bind_address=ADDRESS)

import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec as P

import gradxform as gx
from tests.devices import replicas, test_matrix as matrix


def spread(tree, shardings):
    """Arrays over the devices of both processes, of which each makes the parts of its own."""

    def made(leaf, sharding):
        leaf = np.asarray(leaf)
        return jax.make_array_from_callback(leaf.shape, sharding, leaf.__getitem__)

    return jax.tree.map(made, tree, shardings)


def run(tx, place):
    """The parameters after twenty steps, whole."""
    on = matrix.mesh()

    def placed(specs):
        return jax.tree.map(lambda spec: NamedSharding(on, spec), specs, is_leaf=lambda node: isinstance(node, P))

    specs = matrix.specs_of(place)
    params = spread(matrix.PARAMS, placed(specs))
    noise = spread(matrix.NOISE, placed(matrix.over_steps(specs)))
    sizes = spread(matrix.SIZES, NamedSharding(on, P()))
    state = gx.init_sharded(tx, params)
    kept = jax.tree.map(lambda leaf: leaf.sharding, (params, state))
    twenty_steps = jax.jit(lambda *given: matrix.twenty_steps(tx, *given), out_shardings=kept)
    params, after = twenty_steps(params, state, noise, sizes)
    matrix.same_kind(after, state)
    return multihost_utils.process_allgather(params, tiled=True)


def main():
    assert (jax.process_count(), jax.device_count(), jax.local_device_count()) == (2, 8, 4)
    found = {}
    for name, _, place in matrix.pairs(["two processes"]):
        leaves = jax.tree.leaves(run(matrix.CHAINS[name](), place))
        found |= {f"{name}, {index}": leaf for index, leaf in enumerate(leaves)}
        print(name, place, flush=True)
    data = spread(replicas.DATA, NamedSharding(matrix.mesh(), P("data")))
    of_each = multihost_utils.process_allgather(replicas.of(matrix.mesh())(data), tiled=True)
    found |= {f"replicas, {index}": leaf.astype(np.float32) for index, leaf in enumerate(jax.tree.leaves(of_each))}
    if INDEX == 0:
        # Under its name only when it is whole.
        with open(f"{FILE}.part", "wb") as file:
            np.savez(file, **found)
        os.replace(f"{FILE}.part", FILE)


main()
