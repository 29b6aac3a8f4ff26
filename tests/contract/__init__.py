"""The contract: one list of transforms, crossed with what every transform must do."""
