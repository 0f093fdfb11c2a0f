"""The address that a server listens at."""

import socket

from mmuniqrnet.utils.errors import UserError

LOOPBACK = ('127.0.0.1', 'localhost', '::1')


def note_of(host: str) -> str | None:
    """What to say to who starts a server at this address; None if only this machine can reach it."""
    if host in LOOPBACK:
        return None
    return 'Anyone who can reach this machine can use it, without a password.'


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        UserError: There is no such address, or the port is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise UserError(
            f'there is no address {host!r} to serve at ({error}); leave out --host to serve here.'
        ) from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise UserError(
            f'nothing can be served at {host}:{port} ({error}); name another port, as in `--port {port + 1}`.'
        ) from error
    return listener
