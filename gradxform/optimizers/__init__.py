"""Optimizers: chains of rules that end with the learning rate, under the names and arguments of optax."""
