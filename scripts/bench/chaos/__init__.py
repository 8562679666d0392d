"""The chaos bench: parts of docmill die on purpose, and the simulator's bill says whether a promise was broken.

`scene` runs docmill, `harms` do the harm, `scenarios` say what dies when, `witness` and `timing` judge by the bill,
`__main__` prints.
"""
