# Made by `python docs/stubs.py`.
from optax.second_order import fisher_diag as fisher_diag, hessian_diag as hessian_diag, hvp as hvp
