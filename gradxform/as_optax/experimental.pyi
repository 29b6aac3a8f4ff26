# Made by `python docs/stubs.py`.
from optax.experimental import aggregating as aggregating
