"""The models that are served: answers are those of the inferencer, also of ``mmuniqrnet serve`` as a process."""

import base64
import json
import os
import signal

import numpy as np
import pytest
from pycocotools import mask as coco_mask

pytest.importorskip('fastapi', reason="needs the extra 'serve': fastapi")
pytest.importorskip('prometheus_client', reason="needs the extra 'serve': prometheus_client")

from helpers.export_samples import needs_exporter
from helpers.nano_model import scene
from helpers.serve_samples import ask, ask_all, connect, form, get, metrics, png, post, read, serving, toy_server, until
from helpers.tools import end_of_tool

from mmuniqrnet.apis import UniQRNetInferencer, shipped_weights
from mmuniqrnet.serving.models import TorchModel

TEXTS = ['the red circle']


def test_answers_are_those_of_the_inferencer():
    with toy_server(TorchModel(weights='shapes', device='cpu')) as server:
        check_answers(server.port)


def check_answers(port: int) -> None:
    """Several clients at once, by form and by JSON, get what the inferencer gives."""
    inferencer = UniQRNetInferencer(weights='shapes', device='cpu', show_progress=False)
    asked = [scene(seed) for seed in range(4)]
    requests = [post(form(png(pixels), texts, 'scene.png')) for pixels, texts in asked]
    for pixels, texts in asked:
        body = json.dumps(dict(image=base64.b64encode(png(pixels)).decode(), expressions=texts)).encode()
        requests.append(post(body, 'application/json; charset=utf-8'))
    answers = ask_all(port, requests)
    for (pixels, texts), by_form, by_json in zip(asked, answers[:4], answers[4:]):
        assert by_form.status == by_json.status == 200 and by_form.headers['content-type'] == 'application/json'
        assert by_form.json['made_for'] == inferencer.made_for
        expected = inferencer([pixels], [texts])['predictions']
        for image, answer in (('scene.png', by_form), (0, by_json)):
            assert len(answer.json['predictions']) == len(texts)
            for got, wanted in zip(answer.json['predictions'], expected):
                assert list(got) == list(wanted)
                assert got['image'] == image
                for key in ('image_index', 'expression', 'size', 'frame', 'refused', 'unknown_words'):
                    assert got[key] == wanted[key]
                assert got['box'] == pytest.approx(wanted['box'], abs=1e-3)
                assert got['score'] == pytest.approx(wanted['score'], abs=1e-5)
                differ = coco_mask.decode(got['mask']) != coco_mask.decode(wanted['mask'])
                assert differ.mean() < 1e-3


@pytest.fixture(scope='module')
def served():
    with serving('--weights', 'shapes') as found:
        yield found


@pytest.mark.slow
def test_a_process_gives_the_same_answers(served):
    check_answers(served.port)


@pytest.mark.slow
@needs_exporter
def test_an_export_gives_the_same_answers(tmp_path):
    folder = tmp_path / 'exported'
    assert end_of_tool('export', '--weights', shipped_weights('shapes'), folder) is None
    with serving('--onnx', str(folder)) as served:
        check_answers(served.port)


@pytest.mark.slow
def test_at_sigterm_the_queue_is_answered_and_the_process_ends(served):
    """The last test: it ends the server."""
    port = served.port
    large = png(np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8))
    waiting = [connect(port) for _ in range(5)]
    for index, connection in enumerate(waiting):
        connection.sendall(post(form(large, [f'the red circle {index} {number}' for number in range(16)])))
    until(lambda: metrics(port)['mmuniqrnet_active_requests'] == 5)
    idle, uploading = connect(port), connect(port)
    uploading.sendall(post(form(large, TEXTS))[:1000])
    until(lambda: metrics(port)['mmuniqrnet_active_requests'] == 6)
    os.kill(served.process.pid, signal.SIGTERM)
    assert read(uploading).status == 503
    assert ask(port, get('/health/ready')).json == dict(live=True, ready=False)
    new = ask(port, post(form(large, TEXTS)))
    assert new.status == 503 and 'retry-after' in new.headers and 'stopping' in new.json['error']
    assert {read(connection).status for connection in waiting} == {200}
    assert served.process.wait(30) == 0
    assert idle.recv(1) == b''
    assert 'Traceback' not in served.process.stdout.read()
