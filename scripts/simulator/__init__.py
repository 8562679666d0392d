"""A Claude API on loopback whose every answer is synthetic: for trying docmill, testing it and benching it.

`server` holds it together: `wire` speaks HTTP, `requests` reads and checks what came, `faults`, `buckets` and `latency`
say what becomes of it, `messages` makes the answer, `bill` writes down what was charged. Models, limits and prices are
in its own table (`models`), on purpose not docmill's: its bill is the independent witness of docmill's ledger.
"""
