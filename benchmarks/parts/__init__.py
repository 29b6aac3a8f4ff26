"""What `bench.py` measures, part by part, and what it makes of the numbers: tables, a JSON file, a picture."""
