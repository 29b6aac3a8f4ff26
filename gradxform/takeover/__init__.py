"""States that go on in another transform: of another chain, of optax, of torch."""
