# Made by `python docs/stubs.py`.
from optax.perturbations import Gumbel as Gumbel, Normal as Normal, make_perturbed_fun as make_perturbed_fun
