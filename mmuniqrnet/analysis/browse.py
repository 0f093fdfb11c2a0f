"""Draw the input of the network: images after augmentation, on the canvas, with expression and transformed truth."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.dataset import pseudo_collate
from torch import nn
from torch.utils.data import Dataset

from mmuniqrnet.structures.answers import Answer
from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.utils.io import safe_name
from mmuniqrnet.utils.picture_files import PictureFolder
from mmuniqrnet.visualization import draw_answer

INDEX, TITLE = 'browse.md', '# Input of the network'


def fed_picture(
    inputs: torch.Tensor, sample: DetDataSample, mean: Sequence[float], std: Sequence[float], rgb: bool = True
) -> np.ndarray:
    """Draw one image of a batch as the network receives it.

    Args:
        inputs: [3, H, W], normalised.
        sample: Has ``text``, and the truth, if known, as ``gt_instances`` in pixels of the canvas.
        mean, std: Of the normalisation, for each channel.
        rgb: Whether the channels are in RGB order; BGR otherwise.

    Returns:
        RGB uint8: the expression at the top, the truth in green.
    """
    scale, shift = (torch.tensor(list(values)).view(-1, 1, 1) for values in (std, mean))
    pixels = (inputs.cpu() * scale + shift).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    truth = sample.get('gt_instances')
    answer = None
    if truth is not None:
        has_box, has_mask = (sample.get(key, True) for key in ('has_box', 'has_mask'))
        mask = truth.masks.to_ndarray().any(0) if has_mask and 'masks' in truth else None
        boxes = truth.bboxes.tolist() if has_box and 'bboxes' in truth else []
        answer = Answer(boxes, mask)
    return draw_answer(np.ascontiguousarray(pixels if rgb else pixels[..., ::-1]), sample.text, answer)


def browse(dataset: Dataset, preprocessor: nn.Module, folder: str | Path, number: int, seed: int = 0) -> int:
    """Draw random items of a data set as the network receives them in training, and return their number.

    Args:
        dataset: Data set with its pipeline.
        preprocessor: The model's data preprocessor, with ``mean`` and ``std``.
        folder: A new or empty folder, or one filled by this function before, whose pictures are replaced.
        number: Number of items, at most.
        seed: Seed of the choice and of the augmentation.

    Raises:
        OverwriteError: ``folder`` has other content.
        UserError: ``number`` is less than 1.
    """
    if number < 1:
        raise UserError(f'the number of pictures must be at least 1, not {number}.')
    np.random.seed(seed)
    torch.manual_seed(seed)
    pictures = PictureFolder(folder, INDEX, TITLE)
    for index in np.random.permutation(len(dataset))[:number]:
        data = preprocessor(pseudo_collate([dataset[int(index)]]), training=True)
        sample = data['data_samples'][0]
        picture = fed_picture(
            data['inputs'][0],
            sample,
            preprocessor.mean.flatten().tolist(),
            preprocessor.std.flatten().tolist(),
            getattr(preprocessor, '_channel_conversion', True),
        )
        name = safe_name(f'{sample.get("dataset", "item")}_{sample.get("sent_id", index)}', 120)
        about = f'{sample.text} ({sample.get("img_path", "no path")}, flipped: {bool(sample.get("flip", False))})'
        pictures.write(f'{name}.png', about, picture)
    return pictures.count
