"""What a predictor has to know beside the network: how images and texts go in, how outputs become answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from mmuniqrnet.models.data_preprocessor import ReferDataPreprocessor
from mmuniqrnet.models.uniqrnet import UniQRNet
from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.version import __version__

# predictor.py reads this format.
FORMAT = 1
# The test pipelines that predictor.py can follow: these transforms, once each, in this order. Each may have the
# settings named here, with one of the values given; None stands for any value.
STEPS: tuple[tuple[tuple[str, ...], dict[str, tuple | None]], ...] = (
    (
        ('LoadImageFromFile', 'LoadImageOnce'),
        dict(
            color_type=('color_ignore_orientation', 'color'),  # images are turned after that, see OnnxPredictor
            imdecode_backend=('cv2',),
            to_float32=(False,),
            ignore_empty=None,
            backend_args=None,
            file_client_args=None,
        ),
    ),
    (
        ('ReferResize', 'Resize'),
        dict(scale=None, keep_ratio=None, backend=('cv2',), interpolation=('bilinear',), clip_object_border=None),
    ),
    (('PackReferInputs', 'PackDetInputs'), dict(extra_keys=None, meta_keys=None)),
)


def predictor_settings(
    model: UniQRNet,
    pipeline: Sequence[Mapping[str, Any]],
    refuse_below: float | None = None,
    words: str | None = None,
    made_for: str | None = None,
) -> dict[str, Any]:
    """The content of ``preprocess.json``.

    Args:
        model: The network.
        pipeline: The test pipeline's config.
        refuse_below: The score below which an answer is a refusal, if there is one.
        words: The words of the training text, separated by white space, if they are known.
        made_for: What the network was made for, if that is known.

    Raises:
        UserError: If the pipeline or the data preprocessor does what the predictor can't do.
    """
    resize = _resize(pipeline)
    scale = resize.get('scale')
    if scale is None:
        raise UserError('the export knows resizing to a scale, not by scale_factor.')
    preprocessor = require_canvas(model)
    if preprocessor.test_placement == 'random':
        raise UserError("the data preprocessor places test images at random; set test_placement='center'.")
    return dict(
        format=FORMAT,
        made_by=f'mmuniqrnet {__version__}',
        image=dict(
            canvas_size=list(preprocessor.canvas_size),
            placement=preprocessor.test_placement,
            scale=[scale, scale] if isinstance(scale, int) else list(scale),
            keep_ratio=bool(resize.get('keep_ratio', False)),
            channels='RGB' if preprocessor._channel_conversion else 'BGR',
            mean=preprocessor.mean.flatten().tolist(),
            std=preprocessor.std.flatten().tolist(),
        ),
        mask_threshold=model.head.test_cfg.mask_threshold,
        refuse_below=refuse_below,
        words=words,
        made_for=made_for,
    )


def require_canvas(model: UniQRNet) -> ReferDataPreprocessor:
    """The data preprocessor, if it is one with a canvas of fixed size.

    Raises:
        UserError: If it is another one.
    """
    if not isinstance(model.data_preprocessor, ReferDataPreprocessor):
        raise UserError(
            'an exported network has a canvas of fixed size, which ReferDataPreprocessor gives; the '
            f'config has {type(model.data_preprocessor).__name__}.'
        )
    return model.data_preprocessor


def _resize(pipeline: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The settings of the pipeline's resizing, when the whole pipeline is one that the predictor can follow."""
    names = [step['type'].rpartition('.')[2] for step in pipeline]
    if len(names) != len(STEPS) or any(name not in known for name, (known, _) in zip(names, STEPS)):
        raise UserError(
            f'the test pipeline is {", ".join(names) or "empty"}; the predictor of an export can follow '
            'LoadImageFromFile, ReferResize, PackReferInputs.'
        )
    for name, step, (_, settings) in zip(names, pipeline, STEPS):
        for key, value in step.items():
            if key == 'type':
                continue
            if key not in settings:
                raise UserError(f'the predictor of an export cannot follow {key}={value!r} of {name}.')
            allowed = settings[key]
            if allowed is not None and value not in allowed:
                raise UserError(f'the predictor of an export can follow {key}={allowed[0]!r} of {name}, not {value!r}.')
    return pipeline[1]


def exported_tokenizer(tokenizer: PreTrainedTokenizerBase, max_length: int) -> Tokenizer:
    """The tokenizer as the ``tokenizers`` package has it, with truncation, and padding to the longest of a batch.

    Raises:
        UserError: If it exists in Python only.
    """
    backend = getattr(tokenizer, 'backend_tokenizer', None)
    if not isinstance(backend, Tokenizer):
        raise UserError(
            f'{type(tokenizer).__name__} is a tokenizer in Python only and cannot be exported; take one '
            "of transformers' fast tokenizers."
        )
    copy = Tokenizer.from_str(backend.to_str())
    copy.enable_truncation(max_length, direction=tokenizer.truncation_side)
    copy.enable_padding(direction=tokenizer.padding_side, pad_id=tokenizer.pad_token_id, pad_token=tokenizer.pad_token)
    return copy
