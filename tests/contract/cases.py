"""The list: every transform, how it is made, and what it is held against."""

from tests.contract.cases_adam import ADAM_RELATIVES
from tests.contract.cases_classic import CLASSIC

CASES = [*CLASSIC, *ADAM_RELATIVES]
