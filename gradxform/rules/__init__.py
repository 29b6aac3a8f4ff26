"""The maths: one family of rules a file."""
