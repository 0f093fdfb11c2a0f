import argparse
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from mmuniqrnet.serving.address import note_of
from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.utils.shipped import DEFAULT_WEIGHTS_HELP, SHIPPED

if TYPE_CHECKING:
    from mmuniqrnet.apis import UniQRNetInferencer

INSTALL_WEB = "pip install 'mmuniqrnet[web]'"
GRADIO = '>=6.31,<7'
# Gradio's greys and blue have less than the contrast of 4.5 to their background that WCAG 2 asks for.
CONTRAST = dict(
    body_text_color_subdued='*neutral_500',
    input_placeholder_color='*neutral_500',
    button_primary_background_fill='*primary_600',
    button_primary_background_fill_hover='*primary_700',
)
# An error is a message of its own; Gradio would also write "Error" over the status.
CSS = '#status .error, #status .clear-status { display: none }'
# Visitors whose last picture is kept in memory, and for how many seconds pictures and answers are kept.
VISITORS, KEEP = 20, 3600


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='mmuniqrnet web',
        description='Ask about pictures on a web page that this machine serves. Nothing is sent elsewhere.',
    )
    parser.add_argument('--config', help='config file (default: the one that the weights carry)')
    parser.add_argument('--weights', help=DEFAULT_WEIGHTS_HELP)
    parser.add_argument('--device', help="such as 'cpu' or 'cuda:0' (default: a GPU if there is one)")
    parser.add_argument(
        '--host', default='127.0.0.1', help='address to listen at (default: %(default)s, this machine only)'
    )
    parser.add_argument('--port', type=int, default=7860, help='port to listen at (default: %(default)s)')
    return parser.parse_args(argv)


def require_gradio() -> None:
    """Check that a gradio is installed that the page works with.

    Raises:
        UserError: It is not; the message has the command that installs it.
    """
    try:
        version = metadata.version('gradio')
    except metadata.PackageNotFoundError:
        raise UserError(f'the web page needs gradio, which is not installed: `{INSTALL_WEB}`.') from None
    if not SpecifierSet(GRADIO).contains(version, prereleases=True):
        raise UserError(f'the web page needs gradio {GRADIO}, and {version} is installed: `{INSTALL_WEB}`.')


def main(argv: list[str] | None = None) -> None:
    """Serve the page until Ctrl+C or SIGTERM; then everything that was uploaded is removed.

    Raises:
        UserError: gradio is not installed, the model can't be loaded, or the port is taken.
    """
    args = parse_args(argv)
    require_gradio()
    from mmuniqrnet.apis import UniQRNetInferencer

    inferencer = UniQRNetInferencer(model=args.config, weights=args.weights, device=args.device, show_progress=False)
    with end_signals() as ended, tempfile.TemporaryDirectory(prefix='mmuniqrnet-web-') as folder:
        about = about_model(args.config, inferencer.name, inferencer.made_for)
        if args.weights is None:
            about += '; the shipped model “shapes” answers about scenes that "mmuniqrnet scene" made, and the examples'
        serve(inferencer, Path(folder), args.host, args.port, about, ended)


def about_model(config: str | None, weights: str, made_for: str | None = None) -> str:
    name = f'the shipped model “{weights}”' if weights in SHIPPED else Path(weights).name
    if config is not None:
        name = f'{Path(config).name} with {name}'
    return f'{name}, made for {made_for}; its answers about other pictures are guesses' if made_for else name


@contextmanager
def end_signals() -> Iterator[threading.Event]:
    """An event that Ctrl+C and SIGTERM set instead of ending the process, so that files can still be removed."""
    ended = threading.Event()
    before = {number: signal.signal(number, lambda *_: ended.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def serve(
    inferencer: 'UniQRNetInferencer', folder: Path, host: str, port: int, about: str, ended: threading.Event
) -> None:
    """Serve the page, with all its files under ``folder``, until the event is set."""
    os.environ['GRADIO_TEMP_DIR'] = str(folder)  # gradio reads these two while it is imported
    os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
    import gradio as gr

    from mmuniqrnet.serving.uploads import PAGE_LIMITS

    from .page import Page

    blocks = Page(inferencer, folder, about, KEEP).blocks
    try:
        blocks.launch(
            server_name=host,
            server_port=port,
            share=False,
            ssr_mode=False,
            inbrowser=False,
            quiet=True,
            prevent_thread_lock=True,
            max_file_size=int(PAGE_LIMITS.megabytes * 2**20),
            state_session_capacity=VISITORS,
            run_history=False,
            enable_monitoring=False,
            footer_links=[],
            theme=gr.themes.Default(primary_hue='blue').set(**CONTRAST),
            css=CSS,
        )
    except OSError as error:
        raise UserError(
            f'the page can not be served at {host}:{port} ({error}); name another port, as in `--port {port + 1}`.'
        ) from error
    try:
        print(f'The page is at http://{host}:{port} (Ctrl+C stops it).', flush=True)
        if note := note_of(host):
            print(note, flush=True)
        ended.wait()
    finally:
        # uvicorn would wait for every browser that still shows the page, or print a trace for it
        blocks.server.force_exit = True
        logging.getLogger('uvicorn.error').disabled = True
        blocks.close(verbose=False)
