"""A transform as a dict and as JSON, and back."""
