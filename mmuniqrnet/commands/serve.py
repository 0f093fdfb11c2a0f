"""``mmuniqrnet serve``: answering requests over HTTP."""

import argparse
from importlib.util import find_spec
from typing import Any

from mmuniqrnet.utils.shipped import WEIGHTS_HELP

INSTALL_SERVE = "pip install 'mmuniqrnet[serve]'"
PACKAGES = ('fastapi', 'uvicorn', 'python_multipart', 'prometheus_client')


def add_parsers(commands: Any) -> None:
    """Add the subcommand to the parsers of ``mmuniqrnet``."""
    parser = commands.add_parser(
        'serve',
        help='answer requests over HTTP',
        description='Answer requests over HTTP: a picture and expressions in, JSON with boxes and masks out. There is '
        'no authentication and no TLS.',
    )
    parser.add_argument('--config', help='config file (default: the one in the weights file)')
    parser.add_argument('--weights', help=f'{WEIGHTS_HELP}(default: photos)')
    parser.add_argument('--onnx', metavar='FOLDER', help='answer with an exported network instead, by onnxruntime')
    parser.add_argument('--device', help="such as 'cuda:0' (default: a GPU if there is one; with --onnx: the CPU)")
    parser.add_argument(
        '--host', default='127.0.0.1', help='address to listen at (default: %(default)s, this machine only)'
    )
    parser.add_argument(
        '--port', type=int, default=8000, help='port to listen at; 0: a free one (default: %(default)s)'
    )
    parser.add_argument(
        '--max-batch', type=int, default=16, metavar='N', help='expressions per batch; 1: no batches (default: 16)'
    )
    parser.add_argument(
        '--max-wait-ms',
        type=float,
        default=5.0,
        metavar='MS',
        help='how long the first request of a batch waits for others (default: 5)',
    )
    parser.add_argument(
        '--max-queue', type=int, default=64, metavar='N', help='requests that may wait for the model (default: 64)'
    )
    parser.add_argument(
        '--max-upload-mb', type=float, default=20.0, metavar='MB', help='size of a picture file (default: 20)'
    )
    parser.add_argument(
        '--max-megapixels', type=float, default=24.0, metavar='MP', help='width times height of a picture (default: 24)'
    )
    parser.add_argument(
        '--timeout',
        type=float,
        default=30.0,
        metavar='SECONDS',
        help='time for a request, from its head to its answer (default: 30)',
    )
    parser.set_defaults(run=serve)


def serve(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl+C."""
    from mmuniqrnet.serving.limits import Limits
    from mmuniqrnet.serving.uploads import PictureLimits
    from mmuniqrnet.utils.errors import UserError

    require_packages()
    check(args)
    limits = Limits(
        picture=PictureLimits(megabytes=args.max_upload_mb, megapixels=args.max_megapixels),
        queue=args.max_queue,
        batch=args.max_batch,
        wait=args.max_wait_ms / 1000,
        timeout=args.timeout,
        head=min(Limits.head, args.timeout),
        write=min(Limits.write, args.timeout),
    )
    from mmuniqrnet.serving.models import OnnxModel, TorchModel, warm_up
    from mmuniqrnet.serving.server import serve as serve_forever

    if args.onnx is not None:
        if args.weights is not None or args.config is not None:
            raise UserError('--onnx is a network by itself: leave out --weights and --config.')
        model: OnnxModel | TorchModel = OnnxModel(args.onnx, args.device)
    else:
        model = TorchModel(args.config, args.weights, args.device)
    warm_up(model)
    serve_forever(model, limits, args.host, args.port)
    return 0


def require_packages() -> None:
    """Check that the packages of the extra are installed.

    Raises:
        UserError: One is not; the message has the command that installs it.
    """
    from mmuniqrnet.utils.errors import UserError

    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise UserError(f'serve needs {missing[0]}, which is not installed: `{INSTALL_SERVE}`.')


def check(args: argparse.Namespace) -> None:
    """Check the numbers.

    Raises:
        UserError: One of them is out of range.
    """
    from math import isfinite

    from mmuniqrnet.utils.errors import UserError

    for name, least in dict(port=0, max_batch=1, max_queue=1, max_wait_ms=0).items():
        value = getattr(args, name)
        if not (isfinite(value) and value >= least):
            raise UserError(f'--{name.replace("_", "-")} {value:g}: it must be at least {least}.')
    if args.port > 65535:
        raise UserError(f'--port {args.port}: it must be at most 65535.')
    for name in ('max_upload_mb', 'max_megapixels', 'timeout'):
        value = getattr(args, name)
        if not (isfinite(value) and value > 0):
            raise UserError(f'--{name.replace("_", "-")} {value:g}: it must be more than 0.')
