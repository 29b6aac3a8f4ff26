"""optax.experimental, as it is."""

import optax.experimental as _theirs

from gradxform.as_optax.mirroring import mirror as _mirror

_mirror(globals(), _theirs)
