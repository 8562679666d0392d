"""The chaos bench: parts of docmill die on purpose, and the simulator's bill says whether a promise was broken.

`witness` compares, `scene` runs docmill and does the harm, `scenarios` says what dies when, `__main__` prints.
"""
