"""What a predictor needs besides the network: how to prepare images and texts, and how to convert the outputs."""

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
# The test pipelines that predictor.py supports: these transforms, once each, in this order. Each may have the
# settings named here, with one of the values given; None stands for any value.
STEPS: tuple[tuple[tuple[str, ...], dict[str, tuple | None]], ...] = (
    (
        ('LoadImageFromFile', 'LoadImageOnce'),
        dict(
            color_type=('color_ignore_orientation', 'color'),  # images are turned afterwards, see OnnxPredictor
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
        refuse_below: The score below which an answer is refused; None = none is.
        words: The words of the training text, separated by white space, if they are known.
        made_for: What the network was made for, if that is known.

    Raises:
        UserError: If the pipeline or the data preprocessor has a step that the predictor does not support.
    """
    resize = _resize(pipeline)
    scale = resize.get('scale')
    if scale is None:
        raise UserError('the export supports resizing to a scale, not by scale_factor.')
    preprocessor = fixed_canvas_preprocessor(model)
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


def fixed_canvas_preprocessor(model: UniQRNet) -> ReferDataPreprocessor:
    """The data preprocessor, if it is one with a canvas of fixed size.

    Raises:
        UserError: If it is another one.
    """
    if not isinstance(model.data_preprocessor, ReferDataPreprocessor):
        raise UserError(
            'an exported network needs a canvas of fixed size, so its data preprocessor must be a '
            f'ReferDataPreprocessor; the config has {type(model.data_preprocessor).__name__}.'
        )
    return model.data_preprocessor


def _resize(pipeline: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The settings of the pipeline's resizing, after a check that the predictor supports the whole pipeline."""
    names = [step['type'].rpartition('.')[2] for step in pipeline]
    if len(names) != len(STEPS) or any(name not in known for name, (known, _) in zip(names, STEPS)):
        raise UserError(
            f'the test pipeline is {", ".join(names) or "empty"}; the predictor of an export supports only '
            'LoadImageFromFile, ReferResize, PackReferInputs.'
        )
    for name, step, (_, settings) in zip(names, pipeline, STEPS):
        for key, value in step.items():
            if key == 'type':
                continue
            if key not in settings:
                raise UserError(f'the predictor of an export does not support {key}={value!r} of {name}.')
            allowed = settings[key]
            if allowed is not None and value not in allowed:
                raise UserError(f'the predictor of an export supports {key}={allowed[0]!r} of {name}, not {value!r}.')
    return pipeline[1]


def exported_tokenizer(tokenizer: PreTrainedTokenizerBase, max_length: int) -> Tokenizer:
    """The tokenizer as one of the ``tokenizers`` package, with truncation, and padding to the longest of a batch.

    Raises:
        UserError: If it is not a fast tokenizer, but implemented in Python only.
    """
    backend = getattr(tokenizer, 'backend_tokenizer', None)
    if not isinstance(backend, Tokenizer):
        raise UserError(
            f'{type(tokenizer).__name__} is implemented in Python only and cannot be exported; use one '
            "of transformers' fast tokenizers."
        )
    copy = Tokenizer.from_str(backend.to_str())
    copy.enable_truncation(max_length, direction=tokenizer.truncation_side)
    copy.enable_padding(direction=tokenizer.padding_side, pad_id=tokenizer.pad_token_id, pad_token=tokenizer.pad_token)
    return copy
