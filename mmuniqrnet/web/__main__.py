from mmuniqrnet.utils.errors import run_tool

from .command import main

run_tool(main)
