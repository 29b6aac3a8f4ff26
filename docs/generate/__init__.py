"""What makes pages: those of the public symbols, the numbers in pages, and the formulas of docstrings as maths."""
