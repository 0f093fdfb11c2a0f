from copy import deepcopy
from types import MethodType
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmdet.models.backbones.swin import ShiftWindowMSA
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from torch import Tensor, nn

from mmuniqrnet.models.uniqrnet import UniQRNet
from mmuniqrnet.structures import TextFeatures


class NetworkInputs(NamedTuple):
    """What an exported network takes, in this order.

    Attributes:
        image: [B, 3, H, W] float32, normalised, on the canvas.
        input_ids: [B, L] int64, token ids; L may be any length up to the text encoder's ``max_length``.
        attention_mask: [B, L] int64, 1 = token, 0 = padding.
        window: [B, 4] int64, where the image lies on the canvas: x1, y1, x2, y2 in canvas pixels, the last two
            exclusive; (0, 0, W, H) for an image that fills it.
    """

    image: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    window: Tensor


class ExportedNetwork(nn.Module):
    """The module that is exported: a UniQRNet as a function of tensors only, with variable batch and text length.

    It works on a copy; the given model is not changed.

    Args:
        model: A UniQRNet whose data preprocessor has a fixed canvas.
    """

    def __init__(self, model: UniQRNet) -> None:
        super().__init__()
        self.model = deepcopy(model).cpu().float().eval().requires_grad_(False)
        for module in self.model.modules():
            if isinstance(module, ShiftWindowMSA):
                module.window_reverse = MethodType(_window_reverse, module)
        self.canvas_size = tuple(model.data_preprocessor.canvas_size)
        self.max_length = model.text_encoder.max_length

    @property
    def output_names(self) -> tuple[str, ...]:
        """The outputs of :meth:`forward`, in order: those of boxes, scores and mask_logits that the head has."""
        head = self.model.head
        branches = dict(boxes=head.box_branch, scores=head.score_branch, mask_logits=head.mask_branch)
        return tuple(name for name, branch in branches.items() if branch is not None)

    def forward(self, image: Tensor, input_ids: Tensor, attention_mask: Tensor, window: Tensor) -> tuple[Tensor, ...]:
        """:class:`NetworkInputs` -> those of ``output_names``.

        ``boxes`` [B, 4] are xyxy, 0..1 of the canvas; ``scores`` [B] are 0..1; ``mask_logits`` [B, 1, h, w] lie over
        the whole canvas.
        """
        text = self._pad(self.model.text_encoder.encode(input_ids, attention_mask))
        _, levels, text, padding_mask = self.model.extract_maps(image, text, self._padding(window))
        out = self.model.head(levels, text, padding_mask)
        if 'boxes' in out:
            out['boxes'] = bbox_cxcywh_to_xyxy(out['boxes'])
        if 'score_logits' in out:
            out['scores'] = out['score_logits'].sigmoid()
        return tuple(out[name] for name in self.output_names)

    def _pad(self, text: TextFeatures) -> TextFeatures:
        """Pad to ``max_length`` tokens: the encoder has a position for each, and the visual tokens follow them."""
        missing = self.max_length - text.tokens.shape[1]
        return TextFeatures(
            F.pad(text.tokens, (0, 0, 0, missing)), text.sentence, F.pad(text.padding_mask, (0, missing), value=True)
        )

    def _padding(self, window: Tensor) -> Tensor:
        """[B, 4] -> [B, H, W] bool, True where there is no image."""
        height, width = self.canvas_size
        x1, y1, x2, y2 = window[:, :, None, None].unbind(1)
        x = torch.arange(width, device=window.device)
        y = torch.arange(height, device=window.device)[:, None]
        return ~((x >= x1) & (x < x2) & (y >= y1) & (y < y2))


def _window_reverse(self: ShiftWindowMSA, windows: Tensor, height: int, width: int) -> Tensor:
    """Windows [B * n, s, s, C] -> [B, height, width, C]; mmdet's version makes B constant in an export."""
    size, channels = self.window_size, windows.shape[-1]
    x = windows.view(-1, height // size, width // size, size, size, channels)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, height, width, channels)
