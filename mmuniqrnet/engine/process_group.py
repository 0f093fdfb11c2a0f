"""Start a distributed run without GPUs, which mmengine does not support."""

import os
import subprocess
from datetime import timedelta

import torch.distributed
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.registry import MODEL_WRAPPERS
from torch.nn.parallel import DistributedDataParallel

from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.utils.job import end_workers_with_parent

PORT = '29500'  # torch's default


def prepare_distributed(cfg: Config) -> None:
    """Prepare what mmengine's ``Runner`` cannot: on a CPU, a process group of gloo, and DDP without device ids.

    Call it after ``set_launcher`` and before the runner is built; without a launcher it does nothing. With a GPU only
    ``env_cfg.dist_cfg`` is checked, and mmengine starts the group.

    Raises:
        UserError: ``env_cfg.dist_cfg.timeout`` is no number greater than 0, or the other processes cannot be reached.
    """
    if cfg.get('launcher', 'none') == 'none':
        return
    options = cfg.get('env_cfg', {}).get('dist_cfg', {})
    timeout = options.get('timeout')
    if timeout is not None and (isinstance(timeout, (bool, str)) or not timeout > 0):
        raise UserError(f'env_cfg.dist_cfg.timeout={timeout!r}: it is a number of seconds, greater than 0.')
    end_workers_with_parent()
    if get_device() != 'cpu':
        return
    if not torch.distributed.is_initialized():
        _start_gloo(cfg.launcher, timeout)
    _wrap_without_devices(cfg)


def _start_gloo(launcher: str, timeout: float | None) -> None:
    if launcher == 'slurm' and 'MASTER_ADDR' not in os.environ:
        nodes = os.environ['SLURM_NODELIST']
        names = subprocess.run(['scontrol', 'show', 'hostnames', nodes], capture_output=True, text=True, check=True)
        os.environ['MASTER_ADDR'] = names.stdout.split()[0]
    os.environ.setdefault('MASTER_PORT', PORT)
    waits = {} if timeout is None else dict(timeout=timedelta(seconds=timeout))
    try:
        torch.distributed.init_process_group('gloo', **waits)
    except torch.distributed.DistError as error:
        where = f'{os.environ["MASTER_ADDR"]}:{os.environ["MASTER_PORT"]}'
        raise UserError(
            f'the {os.environ["WORLD_SIZE"]} processes of the job did not find each other at {where}, MASTER_ADDR and '
            f'MASTER_PORT ({str(error).splitlines()[0]}): start all of them, with the same two values.'
        ) from error
    if os.environ['RANK'] == '0':
        print_log(f'No GPU: {os.environ["WORLD_SIZE"]} processes on CPUs, connected by gloo', 'current')


def _wrap_without_devices(cfg: Config) -> None:
    """Tell DDP that the model is not on a GPU, in the place of mmengine's default wrapper or in the config's own."""
    wrapper = cfg.get('model_wrapper_cfg')
    if wrapper is None:
        cfg.model_wrapper_cfg = dict(
            type='MMDistributedDataParallel',
            device_ids=None,
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        )
        return
    kind = wrapper.get('type', 'MMDistributedDataParallel')
    kind = MODEL_WRAPPERS.get(kind) if isinstance(kind, str) else kind
    if kind is not None and issubclass(kind, DistributedDataParallel):
        wrapper.setdefault('device_ids', None)
