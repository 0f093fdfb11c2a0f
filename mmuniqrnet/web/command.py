import argparse
import os
import signal
import tempfile
import threading
from importlib import metadata
from pathlib import Path

from mmuniqrnet.config import UserError

MEND = "pip install 'mmuniqrnet[web]'"
GRADIO_MAJOR = '6'
LOOPBACK = ('127.0.0.1', 'localhost', '::1')
# Visitors whose last picture is kept in memory, and for how many seconds pictures and answers are kept.
VISITORS, KEEP = 20, 3600


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='mmuniqrnet web', description='Ask pictures on a web page of this machine. Nothing is sent elsewhere.')
    parser.add_argument('--config', help='config file (default: the one that the weights carry)')
    parser.add_argument('--weights', help='.pth or .safetensors file (default: the shipped model, which knows RefShapes)')
    parser.add_argument('--device', help="such as 'cpu' or 'cuda:0' (default: a GPU if there is one)")
    parser.add_argument('--host', default='127.0.0.1', help='address to listen at (default: %(default)s, this machine only)')
    parser.add_argument('--port', type=int, default=7860, help='port to listen at (default: %(default)s)')
    return parser.parse_args(argv)


def require_gradio() -> None:
    try:
        version = metadata.version('gradio')
    except metadata.PackageNotFoundError:
        raise UserError(f'the web page needs gradio, which is not installed: `{MEND}`.') from None
    if version.split('.')[0] != GRADIO_MAJOR:
        raise UserError(f'the web page is made for gradio {GRADIO_MAJOR}, and {version} is installed: `{MEND}`.')


def main(argv: list[str] | None = None) -> None:
    """Show the page until Ctrl+C or SIGTERM; all that was uploaded is removed then.

    Raises:
        UserError: gradio is not installed, the model can't be loaded, or the port is taken.
    """
    args = parse_args(argv)
    require_gradio()
    from mmuniqrnet.apis import UniQRNetInferencer
    inferencer = UniQRNetInferencer(model=args.config, weights=args.weights, device=args.device, show_progress=False)
    with tempfile.TemporaryDirectory(prefix='mmuniqrnet-web-') as folder:
        serve(inferencer, Path(folder), args.host, args.port, about_model(args.config, args.weights))


def about_model(config: str | None, weights: str | None) -> str:
    if config is None and weights is None:
        return 'the shipped nano model, which knows the RefShapes scenes of the examples and their words'
    return ' with '.join(Path(path).name for path in (config, weights) if path is not None)


def serve(inferencer, folder: Path, host: str, port: int, about: str) -> None:
    """Serve the page, all its files under ``folder``, until a signal ends it."""
    os.environ['GRADIO_TEMP_DIR'] = str(folder / 'uploads')  # gradio reads these two while it is imported
    os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
    from .page import Page
    from .pictures import MAX_MEGABYTES
    from .style import CSS, theme

    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    page = Page(inferencer, folder, about).build(keep=KEEP)
    try:
        page.launch(
            server_name=host, server_port=port, share=False, ssr_mode=False, inbrowser=False, quiet=True,
            prevent_thread_lock=True, max_file_size=MAX_MEGABYTES * 2**20, state_session_capacity=VISITORS,
            run_history=False, enable_monitoring=False, footer_links=[], theme=theme(), css=CSS)
    except OSError as error:
        raise UserError(f'the page can not be served at {host}:{port} ({error}); name another port, as in '
                        f'`--port {port + 1}`.') from error
    try:
        print(f'The page is at http://{host}:{port} (Ctrl+C ends it).', flush=True)
        if host not in LOOPBACK:
            print('Whoever can reach this machine can use it, with no password.', flush=True)
        stop.wait()
    finally:
        page.close(verbose=False)
        for number, handler in before.items():
            signal.signal(number, handler)
