"""The one list of what the contract runs over: a new transform joins by being named in the list of its family."""

from tests.contract.cases_adam import ADAM_RELATIVES
from tests.contract.cases_classic import CLASSIC
from tests.contract.cases_free import RATE_FREE
from tests.contract.cases_layers import LAYERS_AND_SIGNS
from tests.contract.cases_private import PRIVATE
from tests.contract.cases_watching import WATCHING
from tests.contract.cases_wrappers import WRAPPERS

CASES = [*CLASSIC, *ADAM_RELATIVES, *LAYERS_AND_SIGNS, *RATE_FREE, *PRIVATE, *WATCHING, *WRAPPERS]
