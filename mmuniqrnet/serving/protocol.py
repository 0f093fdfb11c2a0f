"""Connections that can't be held by clients who send or read slowly, or not at all.

uvicorn waits for the head of a request for as long as its client sends a byte now and then, and for ever until an
answer is taken. The body is limited where it is read, see ``reading``.
"""

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

# Seconds in which the rest of a body may still arrive that is not read, because its request is answered already.
# Without this time, the connection would be reset while the client sends, and the client would not see the answer.
LINGER = 2.0


# A body may come in a few pieces of any size; of many pieces, each has to have so many bytes on average. Chunks of one
# byte would take a second of processor time for every megabyte.
FREE_PIECES, PIECE = 1000, 64


class GuardedConnection(h11.Connection):
    """h11's parser, which refuses bodies in very many pieces.

    Attributes:
        in_body: Whether the head of a request was read, but not its end.
    """

    in_body = False
    _pieces = _bytes = 0

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Data):
            self._pieces, self._bytes = self._pieces + 1, self._bytes + len(event.data)
            if self._pieces > FREE_PIECES and self._bytes < PIECE * self._pieces:
                raise h11.RemoteProtocolError('the body comes in too many pieces')
        elif isinstance(event, h11.Request):
            self._pieces, self._bytes, self.in_body = 0, 0, True
        elif isinstance(event, h11.EndOfMessage):
            self.in_body = False
        return event


class GuardedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, with deadlines.

    Attributes:
        head_seconds: In this time from the first byte, the head of a request has to arrive.
        write_seconds: In this time a client has to take an answer.
        most: Connections at a time; further ones get 503.
    """

    head_seconds = 10.0
    write_seconds = 10.0
    most = 1000

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = GuardedConnection(h11.SERVER, self.config.h11_max_incomplete_event_size)
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # pause_writing as soon as the client does not take what is written
        if len(self.connections) > self.most:
            self._refuse(503, 'Service Unavailable', 'There are too many connections: try again in 1 s.')
            return
        self._head_timer = self.loop.call_later(self.head_seconds, self._head_is_late)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._head_timer, self._write_timer, self._linger_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._write_timer = self._linger_timer = None
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        unread = self.conn.their_state is h11.SEND_BODY
        super().on_response_complete()
        if self.conn.trailing_data[0]:  # a part of the next head
            self._watch_head()
        if unread:
            if self._linger_timer is not None:
                self._linger_timer.cancel()
            self._linger_timer = self.loop.call_later(LINGER, self._end_linger, self.cycle)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def send_400_response(self, msg: str) -> None:
        """What h11 can't read."""
        if self.conn.in_body and self.cycle.response_started:
            self.transport.close()  # of a body whose request has its answer
        else:
            self._refuse(400, 'Bad Request', 'This is not a valid HTTP request.')

    def _watch_head(self) -> None:
        """Start the deadline at the first byte of a head, and end it at the last."""
        waiting = self.conn.their_state is h11.IDLE and not self.transport.is_closing()
        if waiting and self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self._head_is_late)
        elif not waiting and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        self._refuse(408, 'Request Timeout', f'The head of the request was not complete after {self.head_seconds:g} s.')

    def _end_linger(self, cycle: Any) -> None:
        self._linger_timer = None
        if self.cycle is cycle and self.conn.their_state is h11.SEND_BODY:
            self.transport.close()

    def _refuse(self, status: int, reason: str, sentence: str) -> None:
        """Answer what never became a request, and close."""
        if self.transport.is_closing():
            return
        content = json.dumps(dict(error=sentence)).encode()
        retry = 'retry-after: 1\r\n' if status == 503 else ''
        head = (
            f'HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\n{retry}'
            f'content-length: {len(content)}\r\nconnection: close\r\n\r\n'
        )
        self.transport.write(head.encode() + content)
        self.transport.close()
