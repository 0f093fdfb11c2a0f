"""Scripts that run other scripts one after the other, as a user would."""

import shlex
import subprocess
import sys
import time
from pathlib import Path

from .errors import UserError


def say_step(title: str) -> None:
    """Print the title of a step."""
    print(f'\n=== {title}', flush=True)


def run_script(script: Path, *arguments: object) -> None:
    """Run a Python script, printing the command and the seconds it took.

    Raises:
        UserError: The script failed.
    """
    command = [sys.executable, str(script), *map(str, arguments)]
    print('$ ' + shlex.join(['python', *command[1:]]), flush=True)
    start = time.monotonic()
    code = subprocess.run(command).returncode
    if code:
        raise UserError(f'{script.name} ended with exit status {code}; its own message is above.')
    print(f'({time.monotonic() - start:.0f} s)', flush=True)
