"""How a race is run, measured and shown; what the entry scripts in `benchmarks/` share."""
