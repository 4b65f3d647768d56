"""What the documentation site needs beside Sphinx, for `tools/build_site.py` and `docs/conf.py`."""
