"""Reading the body of a request, under limits on its size and on time, into what is asked."""

import asyncio
import base64
import binascii
import hashlib
import json
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from mmuniqrnet.datasets.annotation_files import is_unicode
from mmuniqrnet.structures.answers import check_refuse_below
from mmuniqrnet.utils.errors import UserError

from .errors import ClientGoneError, RequestError, stopping
from .limits import Limits, check_expressions
from .uploads import check_bytes, picture_size

FORM, JSON = 'multipart/form-data', 'application/json'
FORM_FIELDS, JSON_FIELDS = ('image', 'expression', 'refuse_below'), ('image', 'expressions', 'refuse_below')


@dataclass(frozen=True)
class Asked:
    """What a request asks.

    Attributes:
        content: The picture file.
        name: The name that the client gave it, or 0.
        expressions: One or more.
        refuse_below: Answers with a lower score are refused; None = the model's value.
        pixels: Width times height of the picture.
        digest: The same for equal files.
    """

    content: bytes
    name: str | int
    expressions: list[str]
    refuse_below: float | None
    pixels: int
    digest: bytes

    @property
    def title(self) -> str:
        """What messages call the picture."""
        return title_of(self.name)


def title_of(name: str | int) -> str:
    return name if isinstance(name, str) else 'the image'


class Memory:
    """The bytes of all bodies that are in memory.

    Args:
        most: How many there may be.
    """

    def __init__(self, most: int) -> None:
        self.most, self.held = most, 0

    def take(self, count: int) -> None:
        """Account for more bytes.

        Raises:
            RequestError: 503: there would be too many.
        """
        if self.held + count > self.most:
            raise RequestError(503, 'The server holds too many uploads at the moment: try again in 1 s.', retry_after=1)
        self.held += count

    def give(self, count: int) -> None:
        self.held -= count


class Body:
    """The body of a request; its bytes count as held until the end of the ``with`` block.

    A client may send no body, a part of it, more than it said, or for ever: each ends in a :class:`RequestError`.

    Args:
        request: The request, nothing of whose body is read.
        limits: Sizes.
        deadline: When it has to be complete, in ``time.monotonic()``.
        memory: Bytes of all requests.
        closing: Is set when the server stops.
    """

    def __init__(
        self, request: Request, limits: Limits, deadline: float, memory: Memory, closing: asyncio.Event
    ) -> None:
        self.receive, self.headers = request.receive, request.headers
        self.limits, self.deadline, self.memory, self.closing = limits, deadline, memory, closing
        self.kind = self.headers.get('content-type', '').partition(';')[0].strip().lower()
        self.size = 0

    def __enter__(self) -> 'Body':
        self._closed = asyncio.ensure_future(self.closing.wait())
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.cancel()
        self.memory.give(self.size)

    async def asked(self) -> Asked:
        """Read it.

        Raises:
            RequestError: It is late (408), too large (413), of another type (415), malformed (400), or asks something
                that can't be asked (422).
        """
        if self.kind not in (FORM, JSON):
            raise RequestError(415, f'Send the request as {FORM} or as {JSON}, not as {self.kind or "nothing"}.')
        most = self.limits.body(is_json=self.kind == JSON)
        stated = self.headers.get('content-length', '0')
        if stated.isdecimal() and int(stated) > most:
            raise self._too_large(most)
        if self.kind == FORM:
            fields = await self._form(most)
        else:
            parts = [chunk async for chunk in self._chunks(most)]
            fields = await asyncio.to_thread(_from_json, parts, self.limits)
        return await asyncio.to_thread(_check, *fields, self.limits)

    async def _form(self, most: int) -> tuple[bytes, str | int, list[str], float | None]:
        parser = _FormParser(self.headers, self._chunks(most), self.limits)
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise RequestError(400, f'The form can not be read: {error.message}') from None
        except (UnicodeDecodeError, KeyError, ValueError, AssertionError):  # of headers that were damaged on purpose
            raise RequestError(400, 'The form can not be read: it is damaged.') from None
        try:
            if not parser.is_complete:
                raise RequestError(400, 'The form can not be read: it ends before its last boundary.')
            return await _from_form(form)
        finally:
            await form.close()

    async def _chunks(self, most: int) -> AsyncGenerator[bytes, None]:
        """The body as it arrives."""
        more = True
        while more:
            message = await self._message()
            if message['type'] == 'http.disconnect':
                raise ClientGoneError
            chunk, more = message.get('body', b''), message.get('more_body', False)
            if self.size + len(chunk) > most:
                raise self._too_large(most)
            self.memory.take(len(chunk))
            self.size += len(chunk)
            yield chunk

    async def _message(self) -> Mapping[str, Any]:
        received: asyncio.Future[Any] = asyncio.ensure_future(self.receive())
        left = max(0.0, self.deadline - time.monotonic())
        try:
            await asyncio.wait({received, self._closed}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if received.done():
                return received.result()
            if self._closed.done():
                raise stopping()
            raise RequestError(408, f'The request was not complete after {self.limits.timeout:g} s.')
        finally:
            received.cancel()

    def _too_large(self, most: int) -> RequestError:
        return RequestError(
            413, f'The request is too large: it may have {most / 2**20:.1f} MB, and a picture {self.limits.picture}.'
        )


class _FormParser(MultiPartParser):
    """Keeps the picture in memory, and knows whether the form was complete."""

    spool_max_size = 2**62  # nothing of what is uploaded is written to a disk

    def __init__(self, headers: Headers, stream: AsyncGenerator[bytes, None], limits: Limits) -> None:
        super().__init__(
            headers,
            stream,
            max_files=1,
            max_fields=limits.expressions + 1,
            max_part_size=4 * limits.characters + 4096,
        )
        self.is_complete = False

    def on_end(self) -> None:
        self.is_complete = True


async def _from_form(form: FormData) -> tuple[bytes, str | int, list[str], float | None]:
    _known(form.keys(), FORM_FIELDS)
    images = form.getlist('image')
    if len(images) != 1 or not isinstance(images[0], UploadFile):
        raise RequestError(422, "Send one picture, as a file in the form's field 'image'.")
    texts = form.getlist('expression')
    if not texts or not all(isinstance(text, str) for text in texts):
        raise RequestError(
            422, "Send what to look for as text in the form's field 'expression', once or several times."
        )
    threshold = form.get('refuse_below')
    content = await images[0].read()
    return content, (images[0].filename or 0), [str(text) for text in texts], _threshold(threshold)


def _from_json(parts: list[bytes], limits: Limits) -> tuple[bytes, str | int, list[str], float | None]:
    content = b''.join(parts)
    # Without this, objects of two letters each would need fifty times the memory of the text.
    if sum(map(content.count, (b'{', b'[', b','))) > 2 * limits.expressions * limits.characters:
        raise RequestError(400, f'The JSON has too many parts; it should be an object with {_names(JSON_FIELDS)}.')
    try:
        given = json.loads(content)
    except (ValueError, RecursionError):
        raise RequestError(400, 'The body is not valid JSON.') from None
    if not isinstance(given, dict):
        raise RequestError(422, f'The JSON should be an object with {_names(JSON_FIELDS)}.')
    _known(given.keys(), JSON_FIELDS)
    texts, image = given.get('expressions'), given.get('image')
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise RequestError(422, "'expressions' should be a text, or a list of one or more texts.")
    if not isinstance(image, str):
        raise RequestError(422, "'image' should be a picture file in base64, as text.")
    head, comma, rest = image.partition(',')
    if comma and head.startswith('data:') and head.endswith(';base64'):
        image = rest
    try:
        content = base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError):
        raise RequestError(422, "'image' is not valid base64.") from None
    return content, 0, texts, _threshold(given.get('refuse_below'))


def _check(
    content: bytes, name: str | int, expressions: list[str], refuse_below: float | None, limits: Limits
) -> Asked:
    name = name if isinstance(name, int) else name[:255]
    try:
        expressions = check_expressions(expressions, limits.expressions, limits.characters)
        if not all(map(is_unicode, expressions)):  # JSON can have half of a character
            raise RequestError(422, 'An expression is not valid Unicode.')
        try:
            check_bytes(len(content), title_of(name), limits.picture)
        except UserError as error:
            raise RequestError(413, str(error)) from None
        width, height = picture_size(content, title_of(name), limits.picture)
    except UserError as error:
        raise RequestError(422, str(error)) from None
    digest = hashlib.sha256(content).digest()
    return Asked(content, name, expressions, refuse_below, width * height, digest)


def _known(names: Any, fields: tuple[str, ...]) -> None:
    unknown = [str(name) for name in names if name not in fields]
    if unknown:
        raise RequestError(422, f'There is no field {unknown[0][:50]!r}; there are {_names(fields)}.')


def _names(fields: tuple[str, ...]) -> str:
    return f'{", ".join(map(repr, fields[:-1]))} and {fields[-1]!r}'


def _threshold(value: Any) -> float | None:
    if value is None:
        return None
    try:
        # As text in a form, as a number in JSON.
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else value
        check_refuse_below(number)
    except (ValueError, OverflowError):
        raise RequestError(422, "'refuse_below' should be a number from 0 to 1.") from None
    return number
