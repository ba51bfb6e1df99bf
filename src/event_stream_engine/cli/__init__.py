"""The `ese` command, one module per group of commands. May import everything."""
