"""The list: every transform, how it is made, and what it is held against."""

from tests.contract.cases_adam import ADAM_RELATIVES, ADAM_RELATIVES_NEED_PARAMS
from tests.contract.cases_classic import CLASSIC, CLASSIC_NEED_PARAMS
from tests.contract.cases_free import RATE_FREE
from tests.contract.cases_layers import LAYERS_AND_SIGNS, LAYERS_AND_SIGNS_NEED_PARAMS
from tests.contract.cases_private import PRIVATE

CASES = [*CLASSIC, *ADAM_RELATIVES, *LAYERS_AND_SIGNS, *RATE_FREE, *PRIVATE]

# The public names of the transforms that read the parameters.
NEED_PARAMS = CLASSIC_NEED_PARAMS | ADAM_RELATIVES_NEED_PARAMS | LAYERS_AND_SIGNS_NEED_PARAMS
NEED_PARAMS |= {case.public_name for case in RATE_FREE if case.needs_params}
