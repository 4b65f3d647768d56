"""The forms in which a trained network ships, and what `deploy.py` and `agree.py` share."""
