"""How state and parameters lie in memory between steps: codecs, and what keeps arrays by them."""
