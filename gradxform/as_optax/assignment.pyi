# Made by `python docs/stubs.py`.
from optax.assignment import (
    base_hungarian_algorithm as base_hungarian_algorithm,
    hungarian_algorithm as hungarian_algorithm,
)
