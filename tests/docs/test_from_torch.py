"""The tables of the guide from torch are what is compared with torch: of optimizers, and of schedulers."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from tests.docs.test_pages import DOCS
from tests.test_torch_parity import COUNTERPARTS

HERE = Path(__file__).parent.parent / "torch_parity"

with np.load(HERE / "schedules.npz", allow_pickle=False) as file:
    DATA = dict(file)

GUIDE = (DOCS / "guides" / "from_torch.md").read_text()
# What stands on the left of a row, and the first code on its right.
ROWS = dict(re.findall(r"^\| `([^`]+)`[^|]* \| `([^`]+)`", GUIDE, re.MULTILINE))

OPTIMIZERS = {
    "SGD(lr)": "sgd",
    "SGD(lr, momentum, nesterov=True)": "sgd_nesterov",
    "SGD(lr, momentum, dampening)": "sgd_dampening",
    "SGD(lr, momentum, nesterov=True, weight_decay=...)": "sgd_nesterov_weight_decay",
    "SGD(lr, momentum, weight_decay=..., maximize=True)": "sgd_maximize",
    "Adam(lr, (b1, b2), eps)": "adam_betas_eps",
    "Adam(lr, weight_decay=...)": "adam_weight_decay",
    "AdamW(lr)": "adamw",
    "NAdam(lr)": "nadam",
    "Adamax(lr)": "adamax",
    "RMSprop(lr)": "rmsprop",
    "RMSprop(lr, momentum=m)": "rmsprop_momentum_schedule",
    "Adagrad(lr)": "adagrad",
    "Adadelta(lr)": "adadelta",
    "Rprop(lr)": "rprop",
}
# Functions are equal to themselves alone.
SCHEDULED = COUNTERPARTS["rmsprop_momentum_schedule"].stages[-1].node.learning_rate
RATES = {"rmsprop": 0.01, "rmsprop_momentum_schedule": SCHEDULED, "adadelta": 1.0}
NUMBERS = {
    "l2": gx.add_decayed_weights(0.1),
    "momentum": 0.9,
    "m": 0.9,
    "dampening": 0.3,
    "b1": 0.8,
    "b2": 0.95,
    "eps": 1e-3,
}

# The arguments with which `generate_schedules.py` made each scheduler, by their names in the table.
ARGUMENTS = {
    "lr": 0.1,
    "f": lambda step: 1 / (1 + step),
    "n": 20,
    "gamma": 0.5,
    "start": 0.25,
    "end": 0.75,
    "power": 2.0,
    "eta_min": 0.01,
    "base": 0.01,
    "max": 0.1,
    "up": 20,
    "a": gx.linear_schedule(0.025, 0.075, 20),
    "b": gx.exponential_decay(0.1, 1, 0.5),
}
SCHEDULERS = sorted({*DATA} - {"torch", "losses", "ReduceLROnPlateau"})


@pytest.mark.parametrize("row", OPTIMIZERS)
def test_an_optimizer_is_the_one_that_is_compared(row):
    case = OPTIMIZERS[row]
    assert eval(ROWS[row], {"gx": gx, "lr": RATES.get(case, 0.1), **NUMBERS}) == COUNTERPARTS[case]


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_schedule_has_the_rates_of_torch(name):
    (row,) = [code for left, code in ROWS.items() if left.startswith(f"{name}(")]
    steps = np.arange(21 if name == "CosineAnnealingLR" else len(DATA[name]))
    rates = eval(row, {"gx": gx, **ARGUMENTS})(jnp.asarray(steps))
    # Of rates of 0.1 in float32, computed in a few roundings.
    np.testing.assert_allclose(rates, DATA[name][: len(steps)], rtol=0, atol=1e-7)


def test_plateaus_are_those_of_torch():
    (row,) = [code for left, code in ROWS.items() if left.startswith("ReduceLROnPlateau(")]
    tx = eval(row, {"gx": gx, "n": 2})

    def step(state, loss):
        updates, state = tx.update(jnp.ones(()), state, value=loss)
        return state, updates

    _, scales = jax.lax.scan(step, tx.init(jnp.ones(())), jnp.asarray(DATA["losses"], jnp.float32))
    np.testing.assert_allclose(0.1 * scales, DATA["ReduceLROnPlateau"], rtol=1e-6)


def test_generator_names_the_torch_that_made_the_data():
    assert f"torch {DATA['torch']};" in (HERE / "generate_schedules.py").read_text(encoding="utf-8")
