"""What a request can end with besides an answer."""


class RequestError(Exception):
    """A request that gets no answer.

    Args:
        status: HTTP's status.
        sentence: What is wrong, for the client.
        retry_after: Seconds after which it is worth trying again; None = the same request never succeeds.
    """

    def __init__(self, status: int, sentence: str, retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.retry_after = status, sentence, retry_after


class ClientGoneError(RequestError):
    """The client closed its connection; nobody reads the answer."""

    def __init__(self) -> None:
        super().__init__(499, 'The client closed the connection.')  # nginx's number; it is only counted


def stopping() -> RequestError:
    return RequestError(503, 'The server is stopping: ask another one.', retry_after=5)
