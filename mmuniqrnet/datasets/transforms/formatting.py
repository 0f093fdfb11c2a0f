from collections.abc import Sequence

import numpy as np
from mmdet.datasets.transforms import PackDetInputs

from mmuniqrnet.registry import TRANSFORMS
from mmuniqrnet.utils.errors import UserError

META_KEYS = (
    'img_id',
    'img_path',
    'ori_shape',
    'img_shape',
    'scale_factor',
    'flip',
    'flip_direction',
    'sent_id',
    'ref_id',
    'text',
    'dataset',
    'split',
    'instances',
    'has_box',
    'has_mask',
)


@TRANSFORMS.register_module()
class PackReferInputs(PackDetInputs):
    """mmdet's ``PackDetInputs``, which also keeps the expression, and the ground truth in original pixels.

    The latter are the ``instances``.

    Args:
        extra_keys: Keys of the item to keep as metainfo besides the usual ones.
    """

    def __init__(self, extra_keys: Sequence[str] = ()) -> None:
        super().__init__(meta_keys=(*(key for key in META_KEYS if key != 'instances'), *extra_keys))

    def transform(self, results: dict) -> dict:
        """Needs ``img`` and ``text``; gives ``inputs`` (uint8 tensor [3, H, W]) and ``data_samples``.

        Raises:
            ValueError: If the expression is missing or empty.
        """
        if not str(results.get('text') or '').strip():
            raise UserError(
                f'{results.get("img_path", "an item")} (sent_id {results.get("sent_id")}) has an empty '
                "expression; give it a 'text'."
            )
        if not np.any(results.get('gt_ignore_flags', True)):
            # No object is ignored; to select all of them one by one takes longer than the rest of the packing.
            results = {key: value for key, value in results.items() if key != 'gt_ignore_flags'}
        packed = super().transform(results)
        if 'instances' in results:
            # They belong to this item alone, so they need not be copied as the other metainfo is.
            packed['data_samples'].set_field(results['instances'], 'instances', field_type='metainfo')
        return packed
