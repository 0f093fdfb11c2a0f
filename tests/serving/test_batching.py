"""The queue and the batches, with a model that takes as long as a test needs, on real connections."""

import contextlib
import socket
import threading
import time

import numpy as np
import pytest

pytest.importorskip('fastapi', reason="needs the extra 'serve': fastapi")
pytest.importorskip('prometheus_client', reason="needs the extra 'serve': prometheus_client")

from helpers.serve_samples import (
    HOST,
    ToyModel,
    ask,
    ask_all,
    connect,
    form,
    get,
    metrics,
    picture,
    png,
    post,
    read,
    toy_server,
    until,
)


def test_requests_that_arrive_together_are_one_batch_and_each_gets_its_own_answers():
    model = ToyModel(0.1)
    pictures = [picture(10 + seed, 20, seed) for seed in range(6)]
    with toy_server(model, wait=0.2) as server:
        answers = ask_all(
            server.port,
            [post(form(one, [f'{seed} a', f'{seed} b'], f'{seed}.png')) for seed, one in enumerate(pictures)],
        )
        assert metrics(server.port)['mmuniqrnet_expressions_total'] == 12
    for seed, answer in enumerate(answers):
        assert [
            (one['image'], one['image_index'], one['expression'], one['size']) for one in answer.json['predictions']
        ] == [(f'{seed}.png', 0, f'{seed} {letter}', [10 + seed, 20]) for letter in 'ab']
    assert len(model.calls) == 1 and len(model.calls[0]) == 6


def test_a_batch_has_at_most_so_many_expressions():
    model = ToyModel()
    with toy_server(model, wait=0.2, batch=4) as server:
        requests = [post(form(picture(seed=seed), ['one', 'two'])) for seed in range(5)]
        assert {answer.status for answer in ask_all(server.port, requests)} == {200}
        assert ask(server.port, post(form(picture(), list('abcdefg')))).status == 200  # larger than a batch
    assert max(sum(map(len, call)) for call in model.calls[:-1]) == 4
    assert model.calls[-1] == [list('abcdefg')]


def test_the_same_picture_is_given_to_the_model_once():
    model = ToyModel()
    with toy_server(model, wait=0.2) as server:
        ask_all(server.port, [post(form(picture(), [text], f'{text}.png')) for text in 'abc'])
    assert [sorted(texts) for texts in model.calls[0]] == [['a', 'b', 'c']]


def test_a_request_that_breaks_the_model_fails_alone(caplog):
    black = png(np.zeros((8, 8, 3), np.uint8))
    with toy_server(ToyModel(), wait=0.2) as server:
        answers = ask_all(server.port, [post(form(one, ['a'])) for one in (picture(), black, picture(seed=1))])
        assert [answer.status for answer in answers] == [200, 500, 200]
        assert answers[1].json == dict(error="Internal error: the server's log says more.")
        assert ask(server.port, post(form(picture(), ['a']))).status == 200
    assert 'a black picture' in caplog.text


def test_a_full_queue_is_told_with_a_time_to_wait():
    with toy_server(ToyModel(0.1), wait=0, batch=1, queue=3) as server:
        answers = ask_all(server.port, [post(form(picture(seed=seed), ['a'])) for seed in range(12)])
        statuses = [answer.status for answer in answers]
        assert set(statuses) == {200, 503} and 3 <= statuses.count(200) <= 5
        full = next(answer for answer in answers if answer.status == 503)
        assert int(full.headers['retry-after']) >= 1 and 'requests are waiting already' in full.json['error']
        assert ask(server.port, post(form(picture(), ['a']))).status == 200


def test_an_answer_that_is_late_is_given_up():
    model = ToyModel(0.2)
    with toy_server(model, wait=0, batch=1, timeout=0.35) as server:
        answers = ask_all(server.port, [post(form(picture(seed=seed), ['a'])) for seed in range(4)])
        late = [answer for answer in answers if answer.status == 504]
        assert len(late) >= 2 and late[0].json == dict(error='There was no answer within 0.35 s.')
        assert ask(server.port, post(form(picture(), ['last']))).status == 200
    # at most the one that the model was at work on when its time was over was asked in vain
    assert len(model.calls) <= 3 and model.calls[-1] == [['last']]


def test_a_model_that_hangs_is_seen():
    with toy_server(ToyModel(0.5), timeout=0.05) as server:
        port = server.port
        assert ask(port, post(form(picture(), ['a']))).status == 504
        until(lambda: ask(port, get('/health/live')).status == 503)
        assert ask(port, get('/health/ready')).json == dict(live=False, ready=False)
        until(lambda: ask(port, get('/health')).status == 200)


def test_who_leaves_is_taken_out_of_the_queue():
    model = ToyModel(0.2)
    with toy_server(model, wait=0, batch=1) as server:
        port = server.port
        first = threading.Thread(target=ask, args=(port, post(form(picture(), ['first']))))
        first.start()
        until(lambda: model.calls)
        gone = [connect(port) for _ in range(3)]
        for connection in gone:
            connection.sendall(post(form(picture(), ['gone'])))
        until(lambda: metrics(port)['mmuniqrnet_queue_requests'] == 3)
        for connection in gone:
            connection.close()
        assert ask(port, post(form(picture(), ['second']))).status == 200
        first.join()
        found = metrics(port)
    assert model.calls == [[['first']], [['second']]]
    assert found['mmuniqrnet_dropped_total'] == 3 and found['mmuniqrnet_requests_total{status="499"}'] == 3


def test_refusal_is_by_the_threshold_of_model_or_request():
    with toy_server(ToyModel()) as server:

        def refused(**fields):
            answer = ask(server.port, post(form(picture(), ['something', 'nothing'], **fields)))
            return [(one['refused'], one['box'] is None) for one in answer.json['predictions']]

        assert refused() == [(False, False), (True, True)]
        assert refused(refuse_below='0') == [(False, False)] * 2
        assert refused(refuse_below='0.95') == [(True, True)] * 2


def test_uploads_of_all_requests_together_are_limited():
    model = ToyModel(0.2)
    body = form(picture(), ['a'])
    with toy_server(model, wait=0, batch=1) as server:
        server.service.memory.most = 3 * len(body)
        statuses = [answer.status for answer in ask_all(server.port, [post(body)] * 8)]
        assert set(statuses) == {200, 503} and statuses.count(200) >= 3
        until(lambda: server.service.memory.held == 0)


def test_at_the_end_the_queue_is_answered_and_new_requests_are_not():
    model = ToyModel(0.3)
    with toy_server(model, wait=0, batch=1) as server:
        port = server.port
        waiting = [connect(port) for _ in range(3)]
        for seed, connection in enumerate(waiting):
            connection.sendall(post(form(picture(seed=seed), ['a'])))
        until(lambda: metrics(port)['mmuniqrnet_active_requests'] == 3)
        uploading = connect(port)
        uploading.sendall(post(form(picture(), ['a']))[:200])
        until(lambda: metrics(port)['mmuniqrnet_active_requests'] == 4)
        server.handle_exit(15, None)
        cut = read(uploading)
        assert cut.status == 503 and 'stopping' in cut.json['error']
        new = ask(port, post(form(picture(), ['a'])))
        assert new.status == 503 and int(new.headers['retry-after']) > 0
        assert [read(connection).status for connection in waiting] == [200, 200, 200]
        start = time.monotonic()
    assert time.monotonic() - start < 2


def test_a_second_signal_ends_it_at_once():
    model = ToyModel(0.3)
    with toy_server(model, wait=0, batch=1) as server:
        waiting = [connect(server.port) for _ in range(6)]
        for seed, connection in enumerate(waiting):
            connection.sendall(post(form(picture(seed=seed), ['a'])))
        until(lambda: metrics(server.port)['mmuniqrnet_active_requests'] == 6)
        server.handle_exit(15, None)
        server.handle_exit(15, None)
    assert len(model.calls) <= 3
    for connection in waiting:
        connection.close()


def test_who_does_not_take_the_answers_is_cut_off():
    with toy_server(ToyModel(), write=0.3) as server:
        connections = server.server_state.connections
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect((HOST, server.port))
            until(lambda: connections)
            deaf.settimeout(0.5)
            with contextlib.suppress(OSError):
                while True:  # until the server takes no more, since it can't write
                    deaf.sendall(get('/openapi.json') * 100)
            assert ask(server.port, post(form(picture(), ['a']))).status == 200
            until(lambda: not connections, 5)
