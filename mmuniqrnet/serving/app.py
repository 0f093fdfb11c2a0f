"""The paths of the server, and its errors as JSON."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mmuniqrnet.apis.outputs import to_json
from mmuniqrnet.version import __version__

from .batching import Batcher, Job
from .errors import ClientGoneError, RequestError, stopping
from .limits import Limits
from .metrics import Metrics
from .models import Prediction, ServedModel
from .reading import FORM, JSON, Body, Memory

LOG = logging.getLogger('mmuniqrnet.serving')

DESCRIPTION = (
    'A picture and one or more expressions in; for each expression a box, a mask and a score out. '
    'There is no authentication and no TLS: put a proxy in front of it.'
)
_TEXT, _SCORE = {'type': 'string'}, {'type': 'number', 'minimum': 0, 'maximum': 1}
# What /ground reads itself, because it has to look at every byte as it arrives.
REQUEST_BODY = {
    'required': True,
    'content': {
        FORM: {
            'schema': {
                'type': 'object',
                'required': ['image', 'expression'],
                'properties': {
                    'image': {'type': 'string', 'format': 'binary'},
                    'expression': {'type': 'array', 'items': _TEXT},
                    'refuse_below': _SCORE,
                },
            },
            'encoding': {'expression': {'style': 'form', 'explode': True}},
        },
        JSON: {
            'schema': {
                'type': 'object',
                'required': ['image', 'expressions'],
                'properties': {
                    'image': {'type': 'string', 'format': 'byte'},
                    'expressions': {'type': 'array', 'items': _TEXT},
                    'refuse_below': _SCORE,
                },
            }
        },
    },
}
ERRORS = {
    400: 'The form or the JSON is malformed.',
    408: 'The request was not complete in time.',
    413: 'The request is too large.',
    415: 'The request is neither a form nor JSON.',
    422: 'The picture can not be read, or an expression, a field or a size is not as it should be.',
    500: 'The model failed.',
    503: 'The queue is full, or the server is stopping; see the header Retry-After.',
    504: 'There was no answer in time.',
}


class Service:
    """What all requests share.

    Args:
        model: What answers.
        limits: The limits.

    Attributes:
        active: Requests that have no answer yet.
        closing: Is set when no new request is taken.
    """

    def __init__(self, model: ServedModel, limits: Limits) -> None:
        self.model, self.limits, self.metrics = model, limits, Metrics()
        self.batcher = Batcher(model, limits, self.metrics)
        self.memory, self.closing, self.active = Memory(limits.memory), asyncio.Event(), 0
        self.metrics.uploads.set_function(lambda: self.memory.held)
        self.metrics.active.set_function(lambda: self.active)

    @property
    def is_ready(self) -> bool:
        return self.batcher.is_alive and not self.closing.is_set()

    def close(self) -> None:
        """Take no new request; those that are complete are still answered."""
        self.closing.set()
        self.batcher.close()

    async def ground(self, request: Request) -> Response:
        """Answer a request, and count it."""
        start = time.monotonic()
        self.active += 1
        try:
            response = await self._ground(request, start + self.limits.timeout)
        except RequestError as error:
            response = as_response(error)
        except Exception:
            LOG.exception('a request failed')
            response = as_response(RequestError(500, "Internal error: the server's log says more."))
        finally:
            self.active -= 1
        self.metrics.requests.labels(str(response.status_code)).inc()
        self.metrics.seconds.observe(time.monotonic() - start)
        return response

    async def _ground(self, request: Request, deadline: float) -> Response:
        if self.closing.is_set():
            raise stopping()
        with Body(request, self.limits, deadline, self.memory, self.closing) as body:
            asked = await body.asked()
            loop = asyncio.get_running_loop()
            job = Job(asked, loop.create_future(), loop)
            self.batcher.submit(job)
            try:
                predictions = await self._answer(job, request.receive, deadline)
            finally:
                self.batcher.drop(job)
        return Response(to_json(predictions, self.model.made_for), media_type=JSON)

    async def _answer(
        self, job: Job, receive: Callable[[], Awaitable[Mapping[str, Any]]], deadline: float
    ) -> list[Prediction]:
        """Wait for the answer, the client's leaving or the deadline, whatever is first."""
        left: asyncio.Future[Any] = asyncio.ensure_future(receive())
        try:
            seconds = max(0.0, deadline - time.monotonic())
            await asyncio.wait({job.answer, left}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if job.answer.done():
                return job.answer.result()
            if left.done():
                raise ClientGoneError
            raise RequestError(504, f'There was no answer within {self.limits.timeout:g} s.')
        finally:
            left.cancel()
            job.answer.cancel()


def make_app(service: Service) -> FastAPI:
    """The application; its batcher has to be started by the caller."""
    app = FastAPI(title='mmuniqrnet', version=__version__, description=DESCRIPTION)
    described: dict[int | str, dict[str, Any]] = {status: {'description': text} for status, text in ERRORS.items()}

    @app.post(
        '/ground',
        summary='Boxes and masks of what expressions name in a picture',
        response_class=Response,
        responses={200: {'description': 'The predictions, as `mmuniqrnet ground --json` prints them.'}, **described},
        openapi_extra={'requestBody': REQUEST_BODY},
    )
    async def ground(request: Request) -> Response:
        return await service.ground(request)

    @app.get('/', summary='The model and the limits')
    async def about() -> dict[str, Any]:
        limits = service.limits
        return dict(
            version=__version__,
            model=service.model.name,
            made_for=service.model.made_for,
            refuse_below=service.model.refuse_below,
            limits=dict(
                upload_megabytes=limits.picture.megabytes,
                megapixels=limits.picture.megapixels,
                aspect=limits.picture.aspect,
                expressions=limits.expressions,
                characters=limits.characters,
                queue=limits.queue,
                batch=limits.batch,
                timeout=limits.timeout,
            ),
            paths=['/ground', '/health', '/health/live', '/health/ready', '/metrics', '/docs'],
        )

    def health(good: bool) -> Response:
        state = dict(live=service.batcher.is_alive, ready=service.is_ready)
        return Response(json.dumps(state), 200 if good else 503, media_type=JSON)

    @app.get('/health', summary='The same as /health/ready')
    @app.get('/health/ready', summary='Whether requests are taken; 503 if not')
    async def ready() -> Response:
        return health(service.is_ready)

    @app.get('/health/live', summary='Whether the process works; 503 if it has to be restarted')
    async def live() -> Response:
        return health(service.batcher.is_alive)

    @app.get('/metrics', summary="Figures in Prometheus' text format")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type='text/plain; version=0.0.4; charset=utf-8')

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        sentences = {
            404: f'There is nothing at {request.url.path[:100]}; / lists the paths.',
            405: f'{request.url.path[:100]} does not take {request.method[:20]}.',
        }
        response = as_response(RequestError(error.status_code, sentences.get(error.status_code, str(error.detail))))
        response.headers.update(error.headers or {})
        return response

    return app


def as_response(error: RequestError) -> Response:
    """An error as JSON: ``{"error": "..."}``."""
    headers = {} if error.retry_after is None else {'Retry-After': str(error.retry_after)}
    content = json.dumps(dict(error=error.sentence), ensure_ascii=True)
    return Response(content, error.status, headers, media_type=JSON)
