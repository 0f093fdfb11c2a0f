"""``init_cfg=dict(type='Pretrained', ...)`` of any module, made loud."""

from mmengine.model import PretrainedInit, update_init_info
from torch import nn

from mmuniqrnet.registry import WEIGHT_INITIALIZERS

from .files import CheckpointError, read_checkpoint, state_dict_of
from .fit import judge, require
from .loading import check_fit, report


@WEIGHT_INITIALIZERS.register_module(name='Pretrained')
class LoudPretrainedInit(PretrainedInit):
    """mmengine's ``Pretrained``; with default scope ``mmuniqrnet``, a file that does not fit is refused.

    Args:
        checkpoint: A file (``.pth``, ``.safetensors``) or an address.
        prefix: Load only what has this prefix in the file.
        map_location: As mmengine's; weights are read to the CPU whatever it says.

    Raises:
        CheckpointError: If the file can't be read or does not fit the module.
    """

    def __init__(self, checkpoint: str, prefix: str | None = None, map_location: str = 'cpu') -> None:
        super().__init__(checkpoint, prefix, map_location)

    def __call__(self, module: nn.Module) -> None:
        name = type(module).__name__
        state = state_dict_of(read_checkpoint(self.checkpoint), self.checkpoint)
        if self.prefix is not None:
            prefix = self.prefix.rstrip('.') + '.'
            state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        try:
            if hasattr(module, 'backbone'):
                fit = check_fit(state, module.state_dict())
            else:
                fit = judge(state, module.state_dict(), new=('gates.',))
                require(fit, what='it', shapes=True)
        except CheckpointError as error:
            raise CheckpointError(f'init_cfg of {name}, {self.checkpoint}: {error}') from None
        module.load_state_dict({key: state[key] for key in fit.matched}, strict=False)
        report(f'{name} from {self.checkpoint}', fit)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=self._get_init_info())
