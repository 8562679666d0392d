"""Who asks: the `docmill` command line, the simulator, the benches."""
