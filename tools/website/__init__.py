"""What the documentation site needs beside Sphinx: `tools/build_site.py` and `docs/conf.py` use it."""
