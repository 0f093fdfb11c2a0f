"""Requests that are wrong, and clients that are slow, lie or leave, on real sockets.

The server is in this process, with a small model of the tests; in the slow tests it is ``mmuniqrnet serve``, a process
of its own, with the shipped model.
"""

import base64
import contextlib
import io
import json
import socket
import struct
import threading
import time
import zlib

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('fastapi', reason="needs the extra 'serve': fastapi")
pytest.importorskip('prometheus_client', reason="needs the extra 'serve': prometheus_client")

from helpers.serve_samples import (
    BOUNDARY,
    ToyModel,
    ask,
    connect,
    form,
    get,
    head,
    metrics,
    picture,
    png,
    post,
    read,
    serving,
    toy_server,
    until,
)

from mmuniqrnet.serving.uploads import PictureLimits

TIMEOUTS = dict(toy=1.2, process=3.0)


@pytest.fixture(scope='module', params=['toy', pytest.param('process', marks=pytest.mark.slow)])
def served(request):
    """The port of a server, and its time limit."""
    timeout = TIMEOUTS[request.param]
    if request.param == 'toy':
        limits = dict(timeout=timeout, head=timeout, picture=PictureLimits(megabytes=1), queue=16)
        with toy_server(ToyModel(), **limits) as server:
            yield server.port, timeout
    else:
        with serving('--timeout', str(timeout), '--max-upload-mb', '1', '--max-queue', '16') as server:
            yield server.port, timeout


@pytest.fixture
def port(served):
    """The server's port; after the test it still answers, and has nothing left of the test's requests."""
    port = served[0]
    yield port
    assert is_well(port)
    until(lambda: metrics(port)['mmuniqrnet_active_requests'] == 0)
    assert metrics(port)['mmuniqrnet_upload_bytes'] == 0


@pytest.fixture
def timeout(served):
    return served[1]


def is_well(port: int) -> bool:
    return ask(port, post(form(picture(), ['the red circle']))).status == 200


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))


def png_of(width: int, height: int) -> bytes:
    """A file that says it is a picture of this size, and has hardly any pixels."""
    ihdr = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', ihdr) + chunk(b'IDAT', zlib.compress(bytes(9))) + chunk(b'IEND', b'')


def jpeg(exif: int | None = None) -> bytes:
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:, :32, 0] = 255
    tags = Image.Exif()
    if exif is not None:
        tags[0x0112] = exif
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'JPEG', exif=tags)
    return file.getvalue()


def test_the_other_paths(port, timeout):
    assert ask(port, get('/health')).json == dict(live=True, ready=True)
    about = ask(port, get('/')).json
    assert about['limits']['timeout'] == timeout
    described = ask(port, get('/openapi.json')).json['paths']['/ground']['post']
    assert set(described['requestBody']['content']) == {'multipart/form-data', 'application/json'}
    assert ask(port, get('/docs')).status == 200
    assert ask(port, get('/nowhere')).json == dict(error='There is nothing at /nowhere; / lists the paths.')
    wrong = ask(port, get('/ground'))
    assert (wrong.status, wrong.headers['allow']) == (405, 'POST')
    assert wrong.json == dict(error='/ground does not take GET.')


def test_a_photograph_is_turned_and_data_urls_are_read(port):
    (found,) = ask(port, post(form(jpeg(exif=6), ['the red one']))).json['predictions']
    assert found['size'] == [64, 32] and found['frame'] == 'upright'
    url = f'data:image/jpeg;base64,{base64.b64encode(jpeg()).decode()}'
    body = json.dumps(dict(image=url, expressions='the red one', refuse_below=1.0)).encode()
    (found,) = ask(port, post(body, 'application/json')).json['predictions']
    assert found['size'] == [32, 64] and found['refused'] and found['box'] is None and found['mask'] is None


BIG = bytes(2**20 + 1)
TEXTS = ['the red circle']
CHUNKED = 'Transfer-Encoding: chunked'
NO_PICTURE = 'a.png can not be read as a picture'


@pytest.mark.parametrize(
    'request_, status, sentence',
    [
        (post(b'', 'text/plain'), 415, 'Send the request as multipart/form-data or as application/json, not as text'),
        (post(form(picture(), TEXTS), 'multipart/form-data'), 400, 'The form can not be read: Missing boundary'),
        (post(form(picture(), TEXTS)[:-20]), 400, 'The form can not be read'),
        (post(b'no form at all'), 400, 'The form can not be read'),
        (post(form(None, TEXTS)), 422, "Send one picture, as a file in the form's field 'image'"),
        (post(form(None, TEXTS, image='text')), 422, 'Send one picture'),
        (post(form(picture(), [])), 422, "as text in the form's field 'expression'"),
        (post(form(picture(), ['a', ' '])), 422, 'Expression 2 is empty'),
        (post(form(picture(), ['a'] * 17)), 422, 'These are 17 expressions: ask at most 16 at a time'),
        (post(form(picture(), ['a'] * 40)), 400, 'Too many fields'),
        (post(form(picture(), ['a' * 301])), 422, 'Expression 1 has 301 characters: shorten it to at most 300'),
        (post(form(picture(), TEXTS, refuse_below='nan')), 422, "'refuse_below' should be a number from 0 to 1"),
        (post(form(picture(), TEXTS, threshold='1')), 422, "There is no field 'threshold'; there are 'image'"),
        (post(form(BIG, TEXTS)), 413, 'a.png has 1 MB: a picture may have at most 1 MB'),
        (post(form(BIG + BIG, TEXTS)), 413, 'The request is too large'),
        (post(form(b'', TEXTS)), 422, NO_PICTURE),
        (post(form(b'<svg xmlns="http://www.w3.org/2000/svg"/>', TEXTS)), 422, NO_PICTURE),
        (post(form(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', TEXTS)), 422, NO_PICTURE),
        (post(form(picture()[:90], TEXTS)), 422, NO_PICTURE),
        (post(form(bytes(range(256)) * 9, TEXTS)), 422, NO_PICTURE),
        (post(form(b'BM' + b'\xff' * 900, TEXTS)), 422, NO_PICTURE),
        (post(form(b'II*\x00' + b'\xff' * 900, TEXTS)), 422, NO_PICTURE),
        (post(form(jpeg()[:2] + b'\xff\xfe\x00\x02' * 99_999 + jpeg()[2:], TEXTS)), 422, NO_PICTURE),
        (post(form(png_of(0, 9), TEXTS)), 422, NO_PICTURE),
        (post(form(png_of(30, 20), TEXTS)), 422, NO_PICTURE),
        (post(form(png_of(6001, 4000), TEXTS)), 422, 'a.png is 6001 x 4000 pixels: a picture may have'),
        (post(form(png_of(100_000, 100_000), TEXTS)), 422, 'a.png has too many pixels'),
        (post(form(png_of(2100, 100), TEXTS)), 422, 'one side may be at most 20 times the other'),
        (post(b'{', 'application/json'), 400, 'The body is not valid JSON'),
        (post(b'[' * 9_000, 'application/json'), 400, 'The body is not valid JSON'),
        (post(b'\xff\xfe', 'application/json'), 400, 'The body is not valid JSON'),
        (post(b'[]', 'application/json'), 422, "an object with 'image', 'expressions' and 'refuse_below'"),
        (post(b'{"image": "", "expressions": [1]}', 'application/json'), 422, "'expressions' should be a text"),
        (post(b'{"image": 1, "expressions": "a"}', 'application/json'), 422, "'image' should be a picture file"),
        (post(b'{"image": "%", "expressions": "a"}', 'application/json'), 422, "'image' is not valid base64"),
        (
            post(b'{"image": "", "expressions": "\\ud800"}', 'application/json'),
            422,
            'An expression is not valid Unicode',
        ),
        (post(b'{"image": "", "expressions": "a"}', 'application/json'), 422, 'the image can not be read as a picture'),
        (post(b'{"image": [' + b'{},' * 99_999, 'application/json'), 400, 'The JSON has too many parts'),
        (head(None, 'a/b', CHUNKED) + b'1\r\na\r\n' * 9_999, 400, 'This is not a valid HTTP request'),
        (b'nonsense\r\n\r\n', 400, 'This is not a valid HTTP request'),
        (b'POST /ground HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n', 400, 'This is not a valid HTTP request'),
        (b'GET / HTTP/1.1\r\nX: ' + b'a' * 40_000, 400, 'This is not a valid HTTP request'),
    ],
    ids=lambda value: None if isinstance(value, bytes) else str(value)[:30],
)
def test_what_is_wrong_is_one_sentence(served, request_, status, sentence):
    answer = ask(served[0], request_)
    assert answer.status == status
    assert sentence in answer.json['error'] and list(answer.json) == ['error']


def test_a_request_without_length_is_cut_off_where_it_is_too_large(port):
    with connect(port) as connection:
        connection.sendall(head(None, f'multipart/form-data; boundary={BOUNDARY}', 'Transfer-Encoding: chunked'))
        content = form(bytes(24 * 2**16), TEXTS)
        for start in range(0, 24 * 2**16, 2**16):
            connection.sendall(b'10000\r\n' + content[start : start + 2**16] + b'\r\n')
        answer = read(connection)
    assert answer.status == 413 and 'too large' in answer.json['error']


def test_a_length_that_is_too_large_is_refused_before_the_body(port):
    with connect(port) as connection:
        connection.sendall(head(10**12))
        assert read(connection).status == 413
        start = time.monotonic()
        assert connection.recv(1) == b''  # closed soon after, since the body does not come
    assert time.monotonic() - start < 5


def test_more_than_the_length_says_is_no_part_of_the_request(port):
    body = form(picture(), TEXTS)
    with connect(port) as connection:
        connection.sendall(head(len(body) - 9) + body + b'\r\n')
        assert read(connection).status == 400
        assert read(connection).status == 400  # the rest is no request
        assert connection.recv(1) == b''


def test_a_connection_is_used_again(port):
    """Three requests sent at once, then another."""
    with connect(port) as connection:
        connection.sendall(get('/health') + post(form(picture(), TEXTS)) + get('/nowhere'))
        assert [read(connection).status for _ in range(3)] == [200, 200, 404]
        connection.sendall(get('/health'))
        assert read(connection).status == 200


def test_slow_clients_end_in_time_and_nobody_waits_for_them(port, timeout):
    """Heads and bodies in drops, lengths that lie, and silence: 64 clients at once."""
    body = form(picture(), TEXTS)
    stop = threading.Event()
    slow_heads, slow_bodies, lying, silent = ([connect(port) for _ in range(16)] for _ in range(4))
    start = time.monotonic()
    for connection in slow_bodies:
        connection.sendall(head(len(body)))
    for connection in lying:
        connection.sendall(head(len(body) + 1) + body)

    def drip() -> None:
        sent = 0
        first = head(len(body))
        while not stop.wait(0.1):
            for group, content in ((slow_heads, first), (slow_bodies, body)):
                for connection in group:
                    with contextlib.suppress(OSError):
                        connection.send(content[sent : sent + 1])
            sent += 1

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        until(lambda: metrics(port)['mmuniqrnet_active_requests'] == 32)
        waits = []
        while time.monotonic() - start < 0.6 * timeout:
            before = time.monotonic()
            assert is_well(port)
            waits.append(time.monotonic() - before)
        assert len(waits) >= 3 and sorted(waits)[len(waits) // 2] < 1
        for group in (slow_heads, slow_bodies, lying, silent):
            answers = [read(connection) for connection in group]
            assert {answer.status for answer in answers} == {408}
            assert len({answer.json['error'] for answer in answers}) == 1
        assert time.monotonic() - start < 2 * timeout
    finally:
        stop.set()
        thread.join(30)
    for connection in (*slow_heads, *slow_bodies, *lying, *silent):
        connection.close()


def test_clients_that_leave_are_forgotten(port):
    body = form(png(np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)), ['a'] * 16)
    for cut in (10, len(body) // 2, None):
        for _ in range(3):
            with connect(port) as connection:
                connection.sendall(head(len(body)) + body[:cut])
                if cut == 10:
                    linger = struct.pack('ii', 1, 0)  # a reset instead of an orderly end
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    until(lambda: metrics(port).get('mmuniqrnet_requests_total{status="499"}', 0) > 0)
