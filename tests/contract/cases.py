"""The list: every transform, how it is made, and what it is held against."""

from tests.contract.cases_classic import CLASSIC
from tests.contract.cases_layers import LAYERS_AND_SIGNS

CASES = [*CLASSIC, *LAYERS_AND_SIGNS]
