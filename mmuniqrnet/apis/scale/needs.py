"""The packages of the extra ``ray``."""

from importlib.util import find_spec

from mmuniqrnet.utils.errors import UserError

INSTALL_RAY = "pip install 'mmuniqrnet[ray]'"


def require_ray() -> None:
    """Check that Ray Data can be used.

    Raises:
        UserError: Ray or pyarrow is not installed; the message has the command that installs both.
    """
    missing = [name for name in ('ray', 'pyarrow') if find_spec(name) is None]
    if missing:
        raise UserError(f'--ray needs packages that are not installed ({", ".join(missing)}): `{INSTALL_RAY}`.')
