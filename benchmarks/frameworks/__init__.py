"""The contestants that train: minibnn, plain NumPy and other frameworks, one module each."""
