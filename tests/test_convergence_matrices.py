"""Optimizers of matrices come to the minimum of the problems of the other table, whose parameters are matrices here."""

import functools

import jax
import pytest

import gradxform as gx
from tests.contract.cases import CASES
from tests.test_convergence import EXTRA, HOLDING, PARTS, PROBLEMS, TABLE, Given, cooling, falling, minimise

# The quadratic's ten numbers, the two of Rosenbrock's valley, and the weights of the regression, beside a bias.
SHAPES = {"quadratic": (5, 2), "rosenbrock": (2, 1), "logistic": (6, 5)}


class OfMatrices:
    """A problem whose vector is a matrix."""

    def __init__(self, name):
        self.problem, self.steps = PROBLEMS[name](), PROBLEMS[name].steps
        self.start = jax.tree.map(lambda leaf: leaf.reshape(SHAPES[name]) if leaf.ndim else leaf, self.problem.start)

    def flat(self, params):
        return jax.tree.map(lambda leaf: leaf.reshape(-1) if leaf.ndim else leaf, params)

    def loss(self, params, batch):
        return self.problem.loss(self.flat(params), batch)

    def batches(self, *args):
        return self.problem.batches(*args)

    def misses(self, params, closer):
        return self.problem.misses(self.flat(params), closer)


problem_of = functools.cache(OfMatrices)

# In the order of the problems.
MATRIX_TABLE = {
    "came": (Given(falling(0.1)), Given(falling(0.1)), Given(cooling(0.1))),
    "dion2": (
        Given(falling(0.1), weight_decay=0.0),
        Given(falling(0.1), weight_decay=0.0),
        Given(cooling(0.1), weight_decay=0.0),
    ),
    # Of full rank, so that every direction is in reach.
    "galore": (
        Given(falling(1.0), 2, side="shorter"),
        Given(falling(0.3), 1, side="shorter"),
        Given(cooling(0.3), 5, side="shorter"),
    ),
    "muon": (Given(falling(0.1)), Given(falling(0.1)), Given(cooling(0.1))),
    "normuon": (Given(falling(0.1)), Given(falling(0.1)), Given(cooling(0.1))),
    # The balls are as large as the way is long.
    "scion": (
        Given(falling(0.1), 1.0, constrained=False),
        Given(falling(0.1), 1.0, constrained=False),
        Given(cooling(0.1), 1.0, constrained=False),
    ),
    "kl_shampoo": (
        Given(falling(0.3), weight_decay=0.0),
        # Larger steps leave the valley, and what first comes from beside it is multiplied by the bound.
        Given(falling(0.01), weight_decay=0.0),
        Given(cooling(0.3), weight_decay=0.0),
    ),
    "psgd_kron": (Given(falling(0.3)), Given(falling(0.3)), Given(cooling(0.1))),
    # Sums, which are the default, make its steps shorter and shorter, as AdaGrad's.
    "shampoo": (
        Given(falling(0.3), b2=0.99, eps=1e-8),
        Given(falling(0.3), b2=0.99, eps=1e-8),
        Given(cooling(0.3), b2=0.99, eps=1e-8),
    ),
    "soap": (
        Given(falling(0.3), weight_decay=0.0),
        Given(falling(0.3), weight_decay=0.0),
        Given(cooling(0.3), weight_decay=0.0),
    ),
}


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", MATRIX_TABLE)
def test_converges(name, problem):
    given, problem = dict(zip(PROBLEMS, MATRIX_TABLE[name], strict=True))[problem], problem_of(problem)
    tx = getattr(gx, name)(*given.args, **given.kwargs)
    params = minimise(tx, problem, given.steps or problem.steps)
    assert problem.misses(params, given.closer) == []


def test_every_optimizer_is_in_one_of_the_tables():
    # lbfgs is optax's.
    transforms = {case.public_name for case in CASES} | {"lbfgs"}
    transforms -= HOLDING
    assert {name for name in transforms if not name.startswith(PARTS)} == set(TABLE) | set(MATRIX_TABLE)
    assert not set(TABLE) & set(MATRIX_TABLE)
    assert set(EXTRA) <= set(TABLE)
    assert all(jax.tree.leaves(problem_of(name).start)[-1].ndim == 2 for name in PROBLEMS)
