"""What makes pages: those of the public symbols, the numbers in pages, and the formulas of docstrings as maths."""

import sys
from pathlib import Path

# What measured the numbers reads them, too.
sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
