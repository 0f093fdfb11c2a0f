"""Runs commands of this package in processes that have torch and the stack imported: a second less waiting each than it
takes to import them ten times over.

As a script it is the server: a line of JSON in is a command, a line out is its exit status. It forks a child per command,
so commands are as separate as they are in a shell.
"""
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

# Programs that set up a machine, or need several GPUs or another shell: looked at, never run.
NEVER_RUN = ('make', 'pip', 'torchrun', 'apt-get', 'git', 'source')


class WarmShell:
    """Runs shell commands in a folder; those of this package's Python in forks of one process.

    Args:
        folder: Where the commands run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def close(self) -> None:
        self.server.stdin.close()
        self.server.wait()

    def words(self, command: str) -> list[str]:
        """A command's words as bash sees them: quotes, wildcards, comments."""
        script = f'printf "%s\\0" {command}'
        done = subprocess.run(['bash', '-c', script], cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout.split('\0')[:-1]

    def run(self, words: list[str], parse_only: bool = False) -> tuple[int, str]:
        """Exit status and output of a command; ``parse_only`` stops where its arguments were found to be good."""
        output = self.folder / 'output.txt'
        if warm(words):
            job = dict(words=words, folder=str(self.folder), output=str(output), parse_only=parse_only)
            print(json.dumps(job), file=self.server.stdin, flush=True)
            status = int(self.server.stdout.readline())
        else:
            with output.open('w') as file:
                status = subprocess.run(words, cwd=self.folder, stdout=file, stderr=subprocess.STDOUT).returncode
        return status, output.read_text(errors='replace')


def warm(words: list[str]) -> bool:
    return words[0] == 'mmuniqrnet' or words[0] == 'python' and (words[1] == '-m' or words[1].endswith('.py'))


def serve() -> None:
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # what libraries print on import is no answer
    import mmdet.apis  # noqa: F401
    import mmengine.runner  # noqa: F401
    import transformers  # noqa: F401

    import mmuniqrnet.datasets  # noqa: F401
    import mmuniqrnet.engine  # noqa: F401
    import mmuniqrnet.evaluation  # noqa: F401
    import mmuniqrnet.models  # noqa: F401
    import mmuniqrnet.visualization  # noqa: F401
    for line in sys.stdin:
        child = os.fork()
        if not child:
            execute(**json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


def execute(words: list[str], folder: str, output: str, parse_only: bool) -> None:
    """Become the command; does not return."""
    os.chdir(folder)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.path[0] = folder
    if parse_only:
        stop_after_parsing()
    status = 0
    try:
        if words[0] == 'mmuniqrnet':
            sys.argv = words
            from mmuniqrnet.cli import main
            status = main() or 0
        elif words[1] == '-m':
            sys.argv = words[2:]
            runpy.run_module(words[2], run_name='__main__', alter_sys=True)
        else:
            sys.argv = words[1:]
            runpy.run_path(words[1], run_name='__main__')
    except SystemExit as error:
        status = error.code or 0
        if not isinstance(status, int):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:
        import traceback
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def stop_after_parsing() -> None:
    """End the command as soon as argparse is content with its arguments."""
    import argparse
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(self, *args, **kwargs):
        parse(self, *args, **kwargs)
        os._exit(0)

    argparse.ArgumentParser.parse_args = parse_and_stop


if __name__ == '__main__':
    serve()
