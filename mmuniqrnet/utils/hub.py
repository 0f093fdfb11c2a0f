"""Files of the Hugging Face hub: addresses ``hf://ORG/NAME``, and the one function that downloads."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from .errors import UserError, first_line

PREFIX = 'hf://'
_ADDRESS = re.compile(r'(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+?))?(?:/(?P<file>[^@]+))?')

# Packages whose errors are failures of the network; which one the hub's client uses depends on its version.
CLIENTS = ('httpx', 'httpx2', 'requests', 'urllib3')

RepoType = Literal['model', 'dataset']


class HubAddress(NamedTuple):
    """A repository of the hub, or a file in it: ``hf://ORG/NAME[@REVISION][/FILE]``.

    Attributes:
        repo: ``ORG/NAME``.
        revision: A branch, tag or commit; None is the newest version of the main branch.
        file: Path of a file in the repository; None is the repository itself.
    """

    repo: str
    revision: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        revision = f'@{self.revision}' if self.revision else ''
        return f'{PREFIX}{self.repo}{revision}{f"/{self.file}" if self.file else ""}'


def is_hub_address(path: object) -> bool:
    """Whether this is an address of the hub, ``hf://...``."""
    return isinstance(path, str) and path.startswith(PREFIX)


def parse_address(address: str) -> HubAddress:
    """The parts of an address.

    Raises:
        UserError: It is not ``hf://ORG/NAME``, with ``@REVISION`` and ``/FILE`` after it or not.
    """
    found = _ADDRESS.fullmatch(address.removeprefix(PREFIX)) if is_hub_address(address) else None
    if found is None:
        raise UserError(
            f'{address!r} is not an address of the hub: write hf://ORG/NAME, or hf://ORG/NAME@REVISION/FILE.'
        )
    return HubAddress(found['repo'], found['revision'], found['file'])


def hub_checkpoint(address: str) -> Path:
    """Download the weights of a repository, safetensors only: loading a pickle of a stranger could run code.

    Args:
        address: ``hf://ORG/NAME``, with ``@REVISION``, and with ``/FILE`` if it has several files of weights.

    Raises:
        UserError: See :func:`download`; or the repository has no such file, or several.
    """
    where = parse_address(address)
    if where.file is not None and not where.file.endswith('.safetensors'):
        raise UserError(
            f'{address}: of the hub, only .safetensors files are read, because loading others can run code.'
        )
    folder = download(where, [where.file or '*.safetensors'], instead='a checkpoint file that you have')
    if where.file is not None:
        if not (folder / where.file).is_file():
            raise UserError(f'{address}: the repository has no file {where.file}.')
        return folder / where.file
    found = sorted(folder.rglob('*.safetensors'))
    preferred = [path for path in found if path == folder / 'model.safetensors'] or found
    if len(preferred) == 1:
        return preferred[0]
    if found:
        names = ', '.join(str(path.relative_to(folder)) for path in found[:4])
        raise UserError(f'{address} has {len(found)} files of weights ({names}): name one, {address}/FILE.')
    raise UserError(
        f'{address} has no .safetensors file. A pickle (.bin, .pth) of the hub is not read, because loading it can run '
        'code: if you trust it, load it with torch.load(FILE, weights_only=True), save the tensors by '
        'safetensors.torch.save_file, and give that file.'
    )


def download(
    address: HubAddress, patterns: Sequence[str], repo_type: RepoType = 'model', instead: str = 'a local file'
) -> Path:
    """Download the files of a repository whose names match, into the hub's cache, and return the folder there.

    Files that the cache has are not downloaded again, and an interrupted download goes on where it ended. The folder's
    name is the commit that was downloaded.

    Args:
        address: The repository; ``file`` is not used.
        patterns: Such as ``'*.safetensors'``; ``*`` also matches ``/``.
        repo_type: Kind of repository.
        instead: What to use where the hub cannot be reached, for the message: "give {instead}".

    Raises:
        UserError: The hub cannot be reached and the cache does not have the files, or there is no such repository
            or revision, or it may not be read.
    """
    from huggingface_hub import errors, snapshot_download

    what = f'{HubAddress(address.repo, address.revision)}'
    try:
        folder = snapshot_download(
            address.repo, repo_type=repo_type, revision=address.revision, allow_patterns=list(patterns)
        )
    except errors.RevisionNotFoundError:
        raise UserError(f'{what}: the repository has no revision {address.revision!r}.') from None
    except errors.RepositoryNotFoundError:
        raise UserError(
            f'{what}: the hub has no {repo_type} of this name that can be read without further rights; for a private '
            'one, log in with `hf auth login`.'
        ) from None
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__module__.partition('.')[0] not in CLIENTS:
            raise
        reason = type(error.__cause__ or error).__name__
        raise UserError(
            f'{what} cannot be downloaded ({reason}), and the cache of the hub does not have it: check the network and '
            f'HF_HUB_OFFLINE, or give {instead}.'
        ) from None
    return Path(folder)


def upload(folder: Path, repo: str, private: bool = False) -> str:
    """Upload a folder as a model of the hub, which is made if it does not exist; returns its address on the web.

    Raises:
        UserError: The hub cannot be reached, or does not allow it.
    """
    from huggingface_hub import HfApi, errors

    api = HfApi()
    try:
        url = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message='Published by mmuniqrnet')
    except errors.LocalTokenNotFoundError:
        raise UserError(f'{PREFIX}{repo}: log in first, with `hf auth login` or the variable HF_TOKEN.') from None
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__module__.partition('.')[0] not in CLIENTS:
            raise
        raise UserError(
            f'{PREFIX}{repo} was not uploaded ({type(error).__name__}: {first_line(error)}); {folder} is complete, and '
            f'`hf upload {repo} {folder}` uploads it.'
        ) from None
    return str(url)
