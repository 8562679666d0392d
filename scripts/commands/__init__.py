"""The commands of `docmill`, a module each: `configure(parser)` says what it takes, `run(args)` returns its exit code.

`scripts.cli` imports the module of the command that was asked for and no other. What several of them need is in
`shared`.
"""
