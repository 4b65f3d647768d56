"""Inspection of a model without side effects: its sizes, its costs, and what passes through it."""
