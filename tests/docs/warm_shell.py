"""Runs commands and Python in processes that have torch and the stack imported already, which takes most of the time.

As a script it is the server: a line of JSON in is a job, a line out its exit status. It forks a child for each
command, so commands are as separate as in a shell, and one for the Python of a page, whose blocks share their names.
"""

import ast
import json
import os
import runpy
import subprocess
import sys
import traceback
from pathlib import Path

# Programs that set up a machine, or need several GPUs: looked at, never run.
NEVER_RUN = ('make', 'pip', 'torchrun', 'apt-get', 'git', 'source')


class WarmShell:
    """A shell, in no folder until it enters one."""

    def __init__(self) -> None:
        self.folder: Path
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
        self.env = dict(os.environ, PATH=path, OMP_NUM_THREADS='1')
        self.server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.env
        )

    def close(self) -> None:
        self.server.stdin.close()
        self.server.wait()

    def enter(self, folder: Path) -> None:
        """Go to a folder, and forget the Python of the last one."""
        self.folder = folder
        self._ask('leave')

    def words(self, command: str) -> list[str]:
        """A command's words as bash sees them: quotes, wildcards, comments."""
        script = f'printf "%s\\0" {command}'
        done = subprocess.run(['bash', '-c', script], cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout.split('\0')[:-1]

    def run(self, words: list[str], parse_only: bool = False) -> tuple[int, str]:
        """Exit status and output of a command; ``parse_only`` stops where its arguments were found to be good."""
        variables = {}
        while '=' in words[0]:
            name, _, variables[name] = words[0].partition('=')
            words = words[1:]
        if words[0] == 'mmuniqrnet' or words[0] == 'python' and (words[1] == '-m' or words[1].endswith('.py')):
            return self._ask('command', words=words, variables=variables, parse_only=parse_only)
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=self.env | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.returncode, done.stdout

    def python(self, code: str) -> tuple[int, str]:
        """Run Python after that of this folder before it, and look up the parts of configs that it makes."""
        return self._ask('python', code=code)

    def _ask(self, kind: str, **job) -> tuple[int, str]:
        output = self.folder / 'output.txt'
        print(
            json.dumps(dict(kind=kind, folder=str(self.folder), output=str(output), **job)),
            file=self.server.stdin,
            flush=True,
        )
        status = int(self.server.stdout.readline())
        return status, output.read_text(errors='replace') if output.exists() else ''


def serve() -> None:
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # what libraries print on import is no answer
    import mmdet.apis  # noqa: F401
    import mmengine.runner  # noqa: F401
    import torch.utils.tensorboard  # noqa: F401
    import transformers  # noqa: F401

    import mmuniqrnet.apis  # noqa: F401
    import mmuniqrnet.datasets  # noqa: F401
    import mmuniqrnet.engine  # noqa: F401
    import mmuniqrnet.evaluation  # noqa: F401
    import mmuniqrnet.models  # noqa: F401
    import mmuniqrnet.visualization  # noqa: F401

    format_once()
    session = None
    for line in sys.stdin:
        job = json.loads(line)
        kind = job.pop('kind')
        status = 0
        if kind == 'leave' and session is not None:
            session = session.close()
        elif kind == 'python':
            session = session or Session(job['folder'])
            status = session.ask(line)
        elif kind == 'command':
            child = os.fork()
            if not child:
                execute(**job)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(status, file=answers, flush=True)


def format_once() -> None:
    """mmengine has the config formatted for every checkpoint, which takes more than half of a short training."""
    from yapf.yapflib import yapf_api

    format_code, known = yapf_api.FormatCode, {}

    def format_known(text: str, **options):
        if text not in known:
            known[text] = format_code(text, **options)
        return known[text]

    yapf_api.FormatCode = format_known


class Session:
    """The process in which a page's Python runs."""

    def __init__(self, folder: str) -> None:
        jobs, self.jobs = os.pipe()
        self.statuses, statuses = os.pipe()
        self.child = os.fork()
        if not self.child:
            os.close(self.jobs)
            run_python(os.fdopen(jobs), statuses, folder)
        os.close(jobs)

    def ask(self, line: str) -> int:
        os.write(self.jobs, line.encode())
        return int(os.read(self.statuses, 1) or b'1')

    def close(self) -> None:
        os.close(self.jobs)
        os.waitpid(self.child, 0)


def run_python(jobs, statuses: int, folder: str) -> None:
    """Run one block after the other; does not return."""
    from config_parts import check_parts

    os.chdir(folder)
    sys.path.insert(0, folder)
    names = {'__name__': '__main__'}
    for line in jobs:
        job = json.loads(line)
        redirect(job['output'])
        before, values = dict(names), []
        try:
            for node in ast.parse(job['code']).body:
                if isinstance(node, ast.Expr):
                    values.append(eval(compile(ast.Expression(node.value), 'block', 'eval'), names))
                else:
                    exec(compile(ast.Module([node], []), 'block', 'exec'), names)
            check_parts(values + [value for name, value in names.items() if before.get(name) is not value])
            status = b'0'
        except BaseException:
            traceback.print_exc()
            status = b'1'
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(statuses, status)
    os._exit(0)


def execute(words: list[str], folder: str, output: str, variables: dict[str, str], parse_only: bool) -> None:
    """Become the command; does not return."""
    os.chdir(folder)
    redirect(output)
    os.environ.update(variables)
    script = words[0] == 'python' and words[1] != '-m'
    sys.path[:1] = [
        str(Path(words[1]).resolve().parent) if script else folder,
        *variables.get('PYTHONPATH', '').split(),
    ]
    if parse_only:
        stop_after_parsing()
    status = 0
    try:
        if words[0] == 'mmuniqrnet':
            sys.argv = words
            from mmuniqrnet.cli import main

            status = main() or 0
        elif script:
            sys.argv = words[1:]
            runpy.run_path(words[1], run_name='__main__')
        else:
            sys.argv = words[2:]
            runpy.run_module(words[2], run_name='__main__', alter_sys=True)
    except SystemExit as error:
        status = error.code or 0
        if not isinstance(status, int):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def redirect(output: str) -> None:
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


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
