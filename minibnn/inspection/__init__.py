"""Looking at a model without changing it: what passes through its layers, its sizes and costs."""
