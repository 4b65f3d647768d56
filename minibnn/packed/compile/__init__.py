"""From a trained model to the stages of a packed one.

In the order in which `pack` uses them: `trained_input` checks what the model was trained on,
`lower` turns its layers into a `plan`: `weights` makes integers of weights, `values` fixed-point
numbers of what is between layers, and `bounds` keeps account of what that rounds. `fold` finds and
certifies the thresholds, `scores` turns the last layer into integers. `exact` is the arithmetic
that the last two share.
"""
