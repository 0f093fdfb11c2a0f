"""Subcommands of ``mmuniqrnet``, a module each; their imports that take seconds are inside of the functions."""
