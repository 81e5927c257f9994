"""Shift fields: arrays in, arrays out; numpy and scipy only.

What a field needs that is read and applied reaches the parts of scipy through ``import scipy``, which loads them at
first use: loading them all takes longer than to move a small layer.
"""
