"""Clients of the server, on plain sockets, and what they send."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

HOST = '127.0.0.1'
BOUNDARY = 'a3f1c9'
WAIT = 30


class Answer(NamedTuple):
    """An HTTP response; status 0: the connection was closed without one."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def picture(height: int = 40, width: int = 60, seed: int = 0) -> bytes:
    """A PNG file."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return png(pixels)


def png(pixels: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, 'PNG')
    return file.getvalue()


def form(file: bytes | None, expressions: Sequence[str], name: str = 'a.png', **fields: str) -> bytes:
    """The body of a form."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in [*(('expression', text) for text in expressions), *fields.items()]
    ]
    if file is not None:
        start = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'
        parts.insert(0, start.encode() + file + b'\r\n')
    return b''.join(parts) + f'--{BOUNDARY}--\r\n'.encode()


def head(length: int | None, kind: str = f'multipart/form-data; boundary={BOUNDARY}', *more: str) -> bytes:
    """The head of a POST to /ground."""
    stated = [] if length is None else [f'Content-Length: {length}']
    return '\r\n'.join(['POST /ground HTTP/1.1', 'Host: a', f'Content-Type: {kind}', *stated, *more, '', '']).encode()


def post(body: bytes, *kind: str) -> bytes:
    return head(len(body), *kind) + body


def get(path: str) -> bytes:
    return f'GET {path} HTTP/1.1\r\nHost: a\r\n\r\n'.encode()


def connect(port: int) -> socket.socket:
    return socket.create_connection((HOST, port), timeout=WAIT)


def read(connection: socket.socket) -> Answer:
    """One response, with a Content-Length; what comes after it stays in the socket."""
    got = b''
    try:
        while not got.endswith(b'\r\n\r\n'):
            if not (byte := connection.recv(1)):
                return Answer(0, {}, got)
            got += byte
        first, *lines = got.decode().strip().split('\r\n')
        headers = {key.lower(): value for key, _, value in (line.partition(': ') for line in lines)}
        body = connection.recv(int(headers['content-length']), socket.MSG_WAITALL)
    except ConnectionError:
        return Answer(0, {}, got)
    return Answer(int(first.split()[1]), headers, body)


def ask(port: int, request: bytes) -> Answer:
    """Send a request on a connection of its own, and read the response."""
    with connect(port) as connection:
        connection.sendall(request)
        return read(connection)


def ask_all(port: int, requests: Sequence[bytes]) -> list[Answer]:
    """All at once, each from a thread."""
    answers: list[Any] = [None] * len(requests)

    def one(index: int) -> None:
        answers[index] = ask(port, requests[index])

    threads = [threading.Thread(target=one, args=(index,)) for index in range(len(requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    return answers


def metrics(port: int) -> dict[str, float]:
    lines = ask(port, get('/metrics')).body.decode().splitlines()
    return {name: float(value) for name, _, value in (one.rpartition(' ') for one in lines if one[0] != '#')}


def until(condition, seconds: float = WAIT) -> Any:
    """What ``condition()`` gives as soon as it is true."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, 'it did not happen'
        time.sleep(0.02)
    return value


class Served(NamedTuple):
    process: subprocess.Popen
    port: int


@contextmanager
def serving(*arguments: str) -> Iterator[Served]:
    """``mmuniqrnet serve`` with these arguments on a free port, in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, '-m', 'mmuniqrnet.cli', 'serve', '--port', '0', '--device', 'cpu', *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | dict(OMP_NUM_THREADS='1'),
    )
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith('Serving '):
                break
        else:
            raise RuntimeError('it did not start:\n' + ''.join(said))
        yield Served(process, int(line.partition('127.0.0.1:')[2].split()[0]))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(WAIT)
            except subprocess.TimeoutExpired:
                process.kill()
        process.stdout.close()


class ToyModel:
    """Answers with a box around the whole picture; each call takes some time. A black picture is too much for it."""

    name, made_for, refuse_below = 'a toy', None, 0.4

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.calls: list[list[list[str]]] = []

    def __call__(self, pictures, expressions, batch_size):
        self.calls.append([list(texts) for texts in expressions])
        time.sleep(self.seconds)
        if any(not one.any() for one in pictures):
            raise RuntimeError('a black picture')
        return [
            [
                dict(
                    image=0,
                    image_index=index,
                    expression=text,
                    size=list(one.shape[:2]),
                    frame='upright',
                    box=[0.0, 0.0, float(one.shape[1]), float(one.shape[0])],
                    score=0.1 if text == 'nothing' else 0.9,
                    refused=False,
                    mask=None,
                    unknown_words=None,
                )
                for text in texts
            ]
            for index, (one, texts) in enumerate(zip(pictures, expressions))
        ]


@contextmanager
def toy_server(model: ToyModel, **limits: Any) -> Iterator[Any]:
    """The server with another model, in a thread of this process: its ``port`` and its ``service``."""
    from mmuniqrnet.serving.address import listen
    from mmuniqrnet.serving.limits import Limits
    from mmuniqrnet.serving.server import make_server

    listener = listen(HOST, 0)
    server = make_server(model, Limits(**limits))
    server.port = listener.getsockname()[1]
    thread = threading.Thread(target=server.run, kwargs=dict(sockets=[listener]))
    thread.start()
    try:
        until(lambda: server.started)
        yield server
    finally:
        server.handle_exit(signal.SIGTERM, None)
        thread.join(WAIT)
        assert not thread.is_alive()
