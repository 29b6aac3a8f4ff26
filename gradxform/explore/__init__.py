"""For notebooks and searches: many transforms at once."""
