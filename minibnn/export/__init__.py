"""A packed model in the forms that it leaves Python in."""
