from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.structures import DetDataSample
from mmengine.utils import apply_to
from torch import Tensor, nn

from mmuniqrnet.registry import MODELS
from mmuniqrnet.structures import Placement, TextFeatures, call_with_sentence


class Features(NamedTuple):
    """What the head is given.

    Attributes:
        stages: The backbone's maps, finest first.
        levels: The neck's maps, finest first.
        text: The text encoder's features.
        padding_mask: [B, H, W] bool over the canvas, True where there is no image.
    """

    stages: tuple[Tensor, ...]
    levels: tuple[Tensor, ...]
    text: TextFeatures
    padding_mask: Tensor


class Seen(NamedTuple):
    """Images as far as the network gets with them before it needs a text.

    Attributes:
        backbone: The maps of a text-agnostic backbone; of one that takes a sentence what its ``before_text`` gives,
            or the images if it has none. None where the levels are there.
        levels: The neck's maps, finest first, if neither backbone nor neck takes a sentence; else None.
    """

    backbone: Any
    levels: tuple[Tensor, ...] | None

    def of(self, image_of: Tensor) -> 'Seen':
        """One row per expression: ``image_of`` [B] says which image each is about."""
        return apply_to(self, torch.is_tensor, lambda rows: rows[image_of])


@MODELS.register_module()
class UniQRNet(BaseDetector):
    """Given an image and an expression, the box and the mask of what it names (Ye et al., ACM TOMM 2024).

    Text encoder -> backbone, gated by the sentence after every stage -> neck, gated by the sentence -> joint head. The
    backbone and the neck may be any of mmdet's: those that take a sentence are given it
    (:class:`mmuniqrnet.structures.SentenceConditioned`), the others are called without.

    Every part is a config or a module.

    Args:
        text_encoder: Gives :class:`TextFeatures` of expressions.
        backbone: Gives maps of images.
        head: Gives losses and answers.
        neck: Gives the head's maps from the backbone's.
        data_preprocessor: :class:`ReferDataPreprocessor`, or mmdet's, which pads at the bottom right.
        init_cfg: mmengine initialisation.
    """

    def __init__(
        self,
        text_encoder: dict | nn.Module,
        backbone: dict | nn.Module,
        head: dict | nn.Module,
        neck: dict | nn.Module | None = None,
        data_preprocessor: dict | nn.Module | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=self._build(data_preprocessor), init_cfg=init_cfg)
        self.text_encoder = self._build(text_encoder)
        self.backbone = self._build(backbone)
        self.neck = self._build(neck)
        self.head = self._build(head)

    @staticmethod
    def _build(part: dict | nn.Module | None) -> nn.Module | None:
        return MODELS.build(part) if isinstance(part, dict) else part

    def extract_feat(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> Features:
        """Images [B, 3, H, W] and their samples, each with ``text``, -> :class:`Features`."""
        text = self.text_encoder(self._expressions(batch_data_samples))
        return self.extract_maps(batch_inputs, text, self._padding(batch_inputs.device, batch_data_samples))

    def extract_maps(self, images: Tensor, text: TextFeatures, padding_mask: Tensor) -> Features:
        """The same from text features that are there already."""
        stages = tuple(call_with_sentence(self.backbone, images, text.sentence))
        levels = stages if self.neck is None else tuple(call_with_sentence(self.neck, stages, text.sentence))
        return Features(stages, levels, text, padding_mask)

    def look(self, images: Tensor) -> Seen:
        """What can be computed of images [I, 3, H, W] without a text, to be shared by all expressions about them."""
        seen = _before_text(self.backbone, images)
        if any(_takes_sentence(part) for part in (self.backbone, self.neck)):
            return Seen(seen, None)
        return Seen(None, tuple(seen if self.neck is None else self.neck(tuple(seen))))

    def answer(self, seen: Seen, data_samples: list[DetDataSample]) -> list[DetDataSample]:
        """What :meth:`predict` answers, from images that were looked at before.

        Args:
            seen: One row per expression (:meth:`Seen.of`).
            data_samples: The samples of the expressions, as the data preprocessor leaves them, each with ``text``.
        """
        text = self.text_encoder(self._expressions(data_samples))
        levels = seen.levels
        if levels is None:
            stages = tuple(_after_text(self.backbone, seen.backbone, text.sentence))
            levels = stages if self.neck is None else tuple(call_with_sentence(self.neck, stages, text.sentence))
        padding_mask = self._padding(levels[0].device, data_samples)
        answers = self.head.predict(levels, text, padding_mask, data_samples)
        return self.add_pred_to_datasample(data_samples, answers)

    def loss(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> dict[str, Tensor]:
        """Raw losses by name."""
        features = self.extract_feat(batch_inputs, batch_data_samples)
        return self.head.loss(*features, batch_data_samples)

    def shared_parameters(self) -> list[nn.Parameter]:
        """The last parameters that all tasks share, for :class:`LossBalanceHook`."""
        return self.head.shared_parameters()

    def predict(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> list[DetDataSample]:
        """The samples with ``pred_instances``: one box (xyxy), score, label and mask in original pixels."""
        _, levels, text, padding_mask = self.extract_feat(batch_inputs, batch_data_samples)
        answers = self.head.predict(levels, text, padding_mask, batch_data_samples)
        return self.add_pred_to_datasample(batch_data_samples, answers)

    def _forward(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample] | None = None
    ) -> dict[str, Tensor]:
        """What the head's branches say, on the canvas."""
        _, levels, text, padding_mask = self.extract_feat(batch_inputs, batch_data_samples)
        return self.head(levels, text, padding_mask)

    @staticmethod
    def _expressions(data_samples: list[DetDataSample] | None) -> list[str]:
        if not data_samples or any('text' not in sample for sample in data_samples):
            raise ValueError(
                "UniQRNet: every data sample needs its expression as metainfo 'text'; pack samples with "
                "dict(type='mmuniqrnet.PackReferInputs')."
            )
        return [sample.text for sample in data_samples]

    @staticmethod
    def _padding(device: torch.device, data_samples: list[DetDataSample]) -> Tensor:
        return torch.stack([Placement.of(sample).padding_mask(device) for sample in data_samples])


def _takes_sentence(part: nn.Module | None) -> bool:
    return getattr(part, 'takes_sentence', False)


def _before_text(backbone: nn.Module, images: Tensor) -> Any:
    if not _takes_sentence(backbone):
        return backbone(images)
    return backbone.before_text(images) if hasattr(backbone, 'before_text') else images


def _after_text(backbone: nn.Module, seen: Any, sentence: Tensor) -> Sequence[Tensor]:
    if not _takes_sentence(backbone):
        return seen
    return backbone.after_text(seen, sentence) if hasattr(backbone, 'before_text') else backbone(seen, sentence)
