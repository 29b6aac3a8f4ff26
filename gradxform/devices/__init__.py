"""The same numbers on many devices, and state that divides among them."""
