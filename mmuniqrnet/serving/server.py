"""The running server: its socket, its signals and its end."""

import logging
import os
import resource
import socket
import sys
from types import FrameType

import uvicorn

from .address import listen, note_of
from .app import Service, make_app
from .limits import Limits
from .models import ServedModel
from .protocol import GuardedProtocol

# Files of the process that are no connections.
OTHER_FILES = 64


class DrainingServer(uvicorn.Server):
    """Ends at SIGTERM or Ctrl+C when all complete requests are answered; new ones get 503 until then.

    A second signal ends it at once.

    Args:
        config: uvicorn's settings.
        service: What the requests share.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service
        self._signals = 0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn's own would also raise the signal again at the end, and the status would not be 0.
        self._signals += 1

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        batcher = self.service.batcher
        try:
            super().run(sockets)
        finally:
            batcher.close(abandon=self.force_exit)
            batcher.join(self.service.limits.timeout)

    async def on_tick(self, counter: int) -> bool:
        if self._signals and not self.service.closing.is_set():
            self.service.close()
        if self._signals > 1:
            self.force_exit = True
        if self._signals and (self.force_exit or not self.service.active):
            self.should_exit = True
        return await super().on_tick(counter)


def make_server(model: ServedModel, limits: Limits) -> DrainingServer:
    """A server that runs with a listening socket, ``run(sockets=[...])``; its thread for the model is started."""
    for name in ('python_multipart', 'python_multipart.multipart'):
        logging.getLogger(name).setLevel(logging.ERROR)  # the warnings are about clients
    service = Service(model, limits)
    service.batcher.start()
    config = uvicorn.Config(
        make_app(service),
        http=protocol_for(limits, allow_many_files()),
        ws='none',
        loop='asyncio',
        lifespan='off',
        log_level='error',
        access_log=False,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=2**14,
        timeout_graceful_shutdown=2,
    )
    return DrainingServer(config, service)


def serve(model: ServedModel, limits: Limits, host: str, port: int) -> None:
    """Serve until SIGTERM or Ctrl+C.

    Raises:
        UserError: The address can not be listened at.
    """
    listener = listen(host, port)
    server = make_server(model, limits)
    address = listener.getsockname()
    shown = f'[{address[0]}]' if ':' in address[0] else address[0]
    print(f'Serving {model.name} at http://{shown}:{address[1]} (Ctrl+C stops it).', flush=True)
    if note := note_of(host):
        print(note, flush=True)
    with listener:
        server.run(sockets=[listener])
    if server.service.batcher.is_running:
        print('error: the model does not end.', file=sys.stderr, flush=True)
        os._exit(1)


def protocol_for(limits: Limits, files: int) -> type[GuardedProtocol]:
    """The protocol with the limits; there are as many connections as the process may have files, less a few."""
    values = dict(head_seconds=limits.head, write_seconds=limits.write, most=max(OTHER_FILES, files - OTHER_FILES))
    return type('LimitedProtocol', (GuardedProtocol,), values)


def allow_many_files() -> int:
    """Raise the number of files that this process may have open, as far as it may, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 2**16 if hard == resource.RLIM_INFINITY else min(hard, 2**16)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        return most
    return 2**16 if soft == resource.RLIM_INFINITY else soft
