"""Subcommands of ``mmuniqrnet``, one module for each; imports that take seconds are inside the functions."""
