"""The servers and processes that one `docmill` command starts for itself."""
