"""Data: IDX files, MNIST and batches."""
