from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from mmuniqrnet.checkpoints.carried_config import has_checkpoint
from mmuniqrnet.checkpoints.loading import load_laterals
from mmuniqrnet.models.gate_recording import record_gate_scores, token_grid
from mmuniqrnet.registry import MODELS, ModuleOrConfig, build_module
from mmuniqrnet.structures import Placement, TextFeatures, call_with_sentence
from mmuniqrnet.structures.maps import require_channels
from mmuniqrnet.structures.shared_images import image_rows, take_rows
from mmuniqrnet.utils.errors import UserError


class Features(NamedTuple):
    """The input of the head.

    Attributes:
        stages: Maps of the backbone, finest first.
        levels: Maps of the neck, finest first.
        text: Features of the text.
        padding_mask: [B, H, W] bool over the canvas, True where there is no image.
    """

    stages: tuple[Tensor, ...]
    levels: tuple[Tensor, ...]
    text: TextFeatures
    padding_mask: Tensor


class ImageFeatures(NamedTuple):
    """The features of images that do not depend on a text, so that several expressions can share them.

    Attributes:
        backbone: The maps of a text-agnostic backbone; for a backbone that takes a sentence, the output of its
            ``before_text``, or the images if it has no such method. None if ``levels`` is set.
        levels: The maps of the neck, finest first, if neither the backbone nor the neck takes a sentence; else None.
    """

    backbone: Any
    levels: tuple[Tensor, ...] | None

    def of(self, image_of: Tensor) -> 'ImageFeatures':
        """One row per expression; ``image_of`` [B] is the index of the image that each expression is about."""
        return take_rows(self, image_of)


@MODELS.register_module()
class UniQRNet(BaseDetector):
    """Predicts the box and the mask of the object that an expression refers to (Ye et al., ACM TOMM 2024).

    Text encoder -> backbone, gated by the sentence after every stage -> neck, gated by the sentence -> joint head. The
    backbone and the neck may be any of mmdet's: those that take a sentence
    (:class:`mmuniqrnet.structures.SentenceConditioned`) are given it, the others are called without it.

    Every module is given as a config or as the module itself.

    Args:
        text_encoder: Returns :class:`TextFeatures` of expressions.
        backbone: Returns maps of images.
        head: Returns losses and answers.
        neck: Returns the maps that the head takes.
        data_preprocessor: :class:`ReferDataPreprocessor`, or mmdet's, which pads at the bottom right.
        init_cfg: mmengine initialisation.
    """

    def __init__(
        self,
        text_encoder: ModuleOrConfig,
        backbone: ModuleOrConfig,
        head: ModuleOrConfig,
        neck: ModuleOrConfig | None = None,
        data_preprocessor: ModuleOrConfig | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=build_module(data_preprocessor), init_cfg=init_cfg)
        self.text_encoder = build_module(text_encoder)
        self.backbone = build_module(backbone)
        self.neck = build_module(neck)
        self.head = build_module(head)

    def init_weights(self) -> None:
        """Initialise all parts.

        If the checkpoint that the backbone was initialised from is a detector's, the neck's lateral convolutions are
        loaded from it as well, as QRNet's were, unless the neck or the whole model has a checkpoint of its own.
        """
        super().init_weights()
        laterals = getattr(self.backbone, 'detector_laterals', None)
        if laterals:
            own = [getattr(part, 'init_cfg', None) for part in (self, self.neck)]
            if self.neck is not None and not any(map(has_checkpoint, own)):
                load_laterals(self.neck, laterals, self.backbone.init_cfg['checkpoint'])
            self.backbone.detector_laterals = {}

    def extract_feat(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> Features:
        """Images and data samples, each with ``text``, -> :class:`Features`.

        Args:
            batch_inputs: [B, 3, H, W], one image per sample, or [I, 3, H, W], the distinct images, if the data
                preprocessor has ``share_images``.
            batch_data_samples: The B samples.
        """
        text = self.text_encoder(self._expressions(batch_data_samples))
        padding_mask = self._padding(batch_inputs.device, batch_data_samples)
        return self.extract_maps(batch_inputs, text, padding_mask, image_rows(batch_inputs, batch_data_samples))

    def extract_maps(
        self, images: Tensor, text: TextFeatures, padding_mask: Tensor, image_of: Tensor | None = None
    ) -> Features:
        """The same from images [B, 3, H, W] and text features of B expressions.

        With ``image_of`` [B], the row of the image that each expression refers to, there are fewer images, and what
        does not depend on the text is computed once for each of them. The gradients are those without sharing.
        """
        backbone, sentence = self.backbone, text.sentence
        if image_of is None:
            stages = tuple(call_with_sentence(backbone, images, sentence))
            return Features(stages, self._levels(stages, sentence), text, padding_mask)
        if _takes_sentence(backbone):
            if hasattr(backbone, 'before_text'):
                stages = tuple(backbone(images, sentence, image_of))
            else:
                stages = tuple(backbone(take_rows(images, image_of), sentence))
            return Features(stages, self._levels(stages, sentence), text, padding_mask)
        of_images = tuple(backbone(images))
        stages = take_rows(of_images, image_of)
        if _takes_sentence(self.neck):
            return Features(stages, self._levels(stages, sentence), text, padding_mask)
        return Features(stages, take_rows(self._levels(of_images, None), image_of), text, padding_mask)

    def loss(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> dict[str, Tensor]:
        """Raw losses by name."""
        guidance = getattr(self.head, 'pixel_guidance', None)
        if not getattr(guidance, 'guide_gates', False):
            return self.head.loss(*self.extract_feat(batch_inputs, batch_data_samples), batch_data_samples)
        with record_gate_scores(self) as recorded:
            features = self.extract_feat(batch_inputs, batch_data_samples)
        canvas = batch_inputs.shape[-2:]
        scores = {
            name: score.transpose(1, 2).unflatten(2, token_grid(score.shape[1], canvas))
            for name, score in recorded.items()
        }
        return self.head.loss(*features, batch_data_samples, gate_scores=scores)

    def shared_parameters(self) -> list[nn.Parameter]:
        """The last parameters that all tasks share, for :class:`LossBalanceHook`."""
        return self.head.shared_parameters()

    def predict(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> list[DetDataSample]:
        """The samples with ``pred_instances``: one box (xyxy), score, label and mask in original pixels."""
        image_of = image_rows(batch_inputs, batch_data_samples)
        return self.answer(take_rows(self.look(batch_inputs), image_of), batch_data_samples)

    def look(self, images: Tensor) -> ImageFeatures:
        """Compute the features of images [I, 3, H, W] that do not depend on a text."""
        features = _before_text(self.backbone, images)
        if any(_takes_sentence(part) for part in (self.backbone, self.neck)):
            return ImageFeatures(features, None)
        return ImageFeatures(None, self._levels(tuple(features), None))

    def answer(self, images: ImageFeatures, data_samples: list[DetDataSample]) -> list[DetDataSample]:
        """Complete :meth:`predict` from the features of :meth:`look`.

        Args:
            images: The features, with one row per expression (:meth:`ImageFeatures.of`).
            data_samples: One per expression, as the data preprocessor returns them, each with ``text``.
        """
        text = self.text_encoder(self._expressions(data_samples))
        levels = images.levels
        if levels is None:
            levels = self._levels(tuple(_after_text(self.backbone, images.backbone, text.sentence)), text.sentence)
        padding_mask = self._padding(levels[0].device, data_samples)
        return self.add_pred_to_datasample(data_samples, self.head.predict(levels, text, padding_mask, data_samples))

    def _forward(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample] | None = None) -> dict[str, Any]:
        """The outputs of the head's branches, on the canvas."""
        _, levels, text, padding_mask = self.extract_feat(batch_inputs, batch_data_samples or [])
        return self.head(levels, text, padding_mask)

    def _levels(self, stages: tuple[Tensor, ...], sentence: Tensor | None) -> tuple[Tensor, ...]:
        if self.neck is None:
            return stages
        if hasattr(self.neck, 'in_channels'):  # mmdet's necks fail without naming the numbers
            require_channels(type(self.neck).__name__, self.neck.in_channels, stages, "the backbone's out_indices")
        return tuple(call_with_sentence(self.neck, stages, sentence))

    @staticmethod
    def _expressions(data_samples: list[DetDataSample]) -> list[str]:
        if not data_samples or any('text' not in sample for sample in data_samples):
            raise UserError(
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


def _after_text(backbone: nn.Module, features: Any, sentence: Tensor) -> Sequence[Tensor]:
    if not _takes_sentence(backbone):
        return features
    return backbone.after_text(features, sentence) if hasattr(backbone, 'before_text') else backbone(features, sentence)
