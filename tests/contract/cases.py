"""The list: every transform, how it is made, and what it is held against."""

from tests.contract.cases_classic import CLASSIC
from tests.contract.cases_free import RATE_FREE

CASES = [*CLASSIC, *RATE_FREE]
