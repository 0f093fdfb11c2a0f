from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample
from mmdet.utils import reduce_mean
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmuniqrnet.models.losses.loss_check import check_loss
from mmuniqrnet.registry import MODELS, ModuleOrConfig, build_module
from mmuniqrnet.structures import Placement, TextFeatures
from mmuniqrnet.utils.deprecation import moved_arguments
from mmuniqrnet.utils.errors import UserError

from .answering import TestCfg, to_answer
from .box_losses import EPS, box_losses, dense_box_losses, refined_box_losses
from .box_refiner import RefinerInputs
from .dense_boxes import DenseBoxBranch, DenseBoxes
from .mask_and_box import boxes_around, cut_to_box
from .score_branch import box_quality, mask_quality
from .targets import Targets, make_targets

MOVED_TO_TEST_CFG = ('mask_threshold', 'mask_margin', 'extra_masks')
# The outputs of a sample that its answer is made of.
ANSWERS = ('boxes', 'mask_logits', 'score_logits')


@MODELS.register_module()
class UniQRNetHead(BaseModule):
    """The joint head: visual-linguistic encoder, box branch, mask branch, score (our design).

    Every branch and every loss may be None: with boxes only this is QRNet, with masks only its segmentation variant.
    A branch of which every loss is None is frozen: DDP would wait for gradients of its parameters.
    Losses have plain names (``loss_box_l1``, ``loss_box_giou``, ``loss_mask_bce``, ``loss_mask_dice``,
    ``loss_aux_{backbone|neck}{i}``, ``loss_aux_gate_{backbone|neck}{i}``, ``loss_score``, ``loss_consistency``,
    ``loss_box_choice``, ``loss_box_refined_l1``, ``loss_box_refined_giou``, ``loss_mask_extent``), so that a hook can
    balance them by prefix. With ``deep_supervision``, the mask losses of earlier encoder layers i are
    ``d{i}.loss_mask_bce`` and ``d{i}.loss_mask_dice``, counted from 0.

    Args:
        encoder: Joins text and visual tokens; gives :class:`EncoderOutput`.
        box_branch: Boxes from [REG] (:class:`BoxBranch`), from its attention (:class:`PointingBoxBranch`), or from a
            choice among the boxes of all visual tokens (:class:`DenseBoxBranch`).
        box_refiner: Corrects the box of the box branch (:class:`BoxRefiner`). It has losses of its own, and the
            score's target is the IoU of its last box; the other losses are of the box branch's box.
        mask_branch: Mask logits from [REG], the encoder's maps and the neck's.
        score_branch: A logit of the answer's quality from [REG]; without it every score is 1.
        pixel_guidance: Auxiliary masks of backbone stages and neck levels, in training only.
        loss_box_l1: Loss of normalised cxcywh boxes.
        loss_box_giou: Loss of normalised xyxy boxes.
        loss_mask_bce: Loss of the mask logits, pixel by pixel.
        loss_mask_dice: Loss of the mask as a whole.
        loss_aux: Loss of the auxiliary masks, pixel by pixel.
        loss_score: Loss of the score; its target is the IoU of the box (0 if there is no target object).
        loss_consistency: Loss between box and mask, such as :class:`BoxMaskConsistencyLoss`, of samples with a target
            object.
        loss_box_choice: Weight of the loss of the choice among the tokens, a divergence; needed with
            :class:`DenseBoxBranch`, and for this branch only.
        loss_mask_extent: Loss between the predicted mask and the true box, such as :class:`BoxMaskConsistencyLoss`
            (BoxInst's projection loss), of samples that have a box and no mask.
        mask_loss_stride: Stride on the canvas, in pixels, at which the mask losses are computed; 1 is the most precise
            at edges.
        box_from_mask: Whether the box branch predicts the difference from the box around the predicted mask, instead of
            the box itself. No gradient passes from the box to the mask this way.
        deep_supervision: Whether, in training, the mask branch is also applied after each of the encoder's earlier
            layers, as Mask2Former does after its decoder's; what is predicted does not change. The encoder and the mask
            branch need ``forward_layers``, as :class:`VisualLinguisticEncoder` and :class:`MaskBranch` have.
        deep_loss_weight: Weight of the mask losses of each earlier layer, relative to those of the last layer; 1 as in
            Mask2Former.
        test_cfg: Options of prediction only: ``mask_threshold``, ``mask_margin`` and ``extra_masks``, see
            :class:`~mmuniqrnet.models.heads.answering.TestCfg`.
        init_cfg: mmengine initialisation.
        **moved: Options of ``test_cfg``, which used to be arguments of their own; accepted for one release, with a
            warning.
    """

    def __init__(
        self,
        encoder: ModuleOrConfig,
        box_branch: ModuleOrConfig | None = None,
        mask_branch: ModuleOrConfig | None = None,
        score_branch: ModuleOrConfig | None = None,
        pixel_guidance: ModuleOrConfig | None = None,
        loss_box_l1: ModuleOrConfig | None = dict(type='mmdet.L1Loss', loss_weight=1.0),
        loss_box_giou: ModuleOrConfig | None = dict(type='mmdet.GIoULoss', loss_weight=1.0),
        loss_mask_bce: ModuleOrConfig | None = dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_mask_dice: ModuleOrConfig | None = dict(type='mmdet.DiceLoss', loss_weight=1.0),
        loss_aux: ModuleOrConfig | None = dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_score: ModuleOrConfig | None = dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_consistency: ModuleOrConfig | None = None,
        loss_box_choice: float | None = None,
        loss_mask_extent: ModuleOrConfig | None = None,
        mask_loss_stride: int = 1,
        box_from_mask: bool = False,
        deep_supervision: bool = False,
        deep_loss_weight: float = 1.0,
        test_cfg: dict | None = None,
        box_refiner: ModuleOrConfig | None = None,
        init_cfg: dict | None = None,
        **moved: Any,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        test_cfg = dict(test_cfg or {}) | moved_arguments('UniQRNetHead', moved, 'test_cfg', MOVED_TO_TEST_CFG)
        if box_branch is None and mask_branch is None:
            raise UserError('UniQRNetHead: give a box_branch, a mask_branch or both; with neither there is no answer.')
        if box_refiner is not None and box_branch is None:
            raise UserError('UniQRNetHead: box_refiner needs a box_branch.')
        if box_from_mask and (box_branch is None or mask_branch is None):
            raise UserError('UniQRNetHead: box_from_mask needs a box_branch and a mask_branch.')
        if loss_consistency is not None and (box_branch is None or mask_branch is None):
            raise UserError('UniQRNetHead: loss_consistency needs a box_branch and a mask_branch.')
        if loss_mask_extent is not None and mask_branch is None:
            raise UserError('UniQRNetHead: loss_mask_extent needs a mask_branch.')
        self.test_cfg = TestCfg.of(test_cfg, has_box=box_branch is not None, has_mask=mask_branch is not None)
        self.encoder = build_module(encoder)
        self.box_branch = build_module(box_branch)
        self.box_refiner = build_module(box_refiner)
        self.mask_branch = build_module(mask_branch)
        self.score_branch = build_module(score_branch)
        self.pixel_guidance = build_module(pixel_guidance)
        self.loss_box_l1 = build_module(loss_box_l1)
        self.loss_box_giou = build_module(loss_box_giou)
        self.loss_mask_bce = build_module(loss_mask_bce)
        self.loss_mask_dice = build_module(loss_mask_dice)
        self.loss_aux = build_module(loss_aux)
        self.loss_score = build_module(loss_score)
        self.loss_consistency = build_module(loss_consistency)
        self.loss_box_choice = loss_box_choice
        self.loss_mask_extent = build_module(loss_mask_extent)
        for name in ('loss_mask_bce', 'loss_aux', 'loss_mask_dice'):
            check_loss(name, getattr(self, name), whole=name == 'loss_mask_dice')
        if getattr(self.box_branch, 'sees_reference', False) and not box_from_mask:
            raise UserError(
                'UniQRNetHead: the box_branch has sees_reference=True, which needs box_from_mask=True: without a '
                'box from the mask there is no reference. Set box_branch.sees_reference=False.'
            )
        if getattr(self.box_refiner, 'sees_mask', False) and mask_branch is None:
            raise UserError(
                'UniQRNetHead: the box_refiner has sees_mask=True, which needs a mask_branch; set '
                'box_refiner.sees_mask=False.'
            )
        dense = isinstance(self.box_branch, DenseBoxBranch)
        if dense and box_from_mask:
            raise UserError('UniQRNetHead: DenseBoxBranch starts from no reference; set box_from_mask=False.')
        if dense != (loss_box_choice is not None):
            raise UserError(
                'UniQRNetHead: loss_box_choice is the weight of the loss that trains the choice of DenseBoxBranch; '
                'give it with this branch, such as 1.0, and with no other.'
            )
        if loss_box_choice is not None and not loss_box_choice > 0:
            raise UserError(f'UniQRNetHead: loss_box_choice must be greater than 0, not {loss_box_choice}.')
        self.mask_loss_stride = mask_loss_stride
        self.box_from_mask = box_from_mask
        self.deep_supervision = deep_supervision
        self.deep_loss_weight = deep_loss_weight
        if deep_supervision:
            self._check_deep_supervision()
        self._freeze_untrained()

    def forward(self, levels: Sequence[Tensor], text: TextFeatures, padding_mask: Tensor) -> dict[str, Any]:
        """Neck maps [B, C, h, w], text, padding mask of the canvas [B, H, W] -> the outputs of the branches.

        Returns:
            ``boxes`` [B, 4] (cxcywh, 0..1 of the canvas), ``mask_logits`` [B, 1, H / 4, W / 4] and ``score_logits``
            [B], each if the head has the branch. With ``mask_margin``, masks are [B, 1, H, W], except in training. In
            training with ``deep_supervision``, also ``d{i}.mask_logits`` [B, 1, h, w] of each earlier encoder layer i.
            With :class:`DenseBoxBranch`, also ``dense``, its :class:`DenseBoxes`. With a ``box_refiner``, ``boxes`` are
            its last ones; in training also ``refining``, what its losses need.
        """
        out: dict[str, Any] = {}
        if self.mask_branch is not None and self.deep_supervision and self.training:
            layers = self.encoder.forward_layers(levels, text, padding_mask)
            *earlier, out['mask_logits'] = self.mask_branch.forward_layers(layers, levels)
            out |= {f'd{i}.mask_logits': logits for i, logits in enumerate(earlier)}
            joint = layers[-1]
        else:
            joint = self.encoder(levels, text, padding_mask)
            if self.mask_branch is not None:
                out['mask_logits'] = self.mask_branch(joint.reg, joint.maps, levels)
        if self.box_branch is not None:
            reference = self.references(out['mask_logits'], padding_mask) if self.box_from_mask else None
            boxes = self.box_branch(joint.reg, reference, joint.maps, padding_mask)
            if isinstance(boxes, DenseBoxes):
                out['dense'], boxes = boxes, boxes.boxes
            out['boxes'] = boxes
            if self.box_refiner is not None:
                features = self.box_refiner.features(joint.maps, levels, out.get('mask_logits'))
                with torch.set_grad_enabled(torch.is_grad_enabled() and not self.training):  # see refined_box_losses
                    out['boxes'] = self.box_refiner(boxes[:, None], joint.reg, features)[-1][:, 0]
                if self.training:
                    out['refining'] = RefinerInputs(boxes, joint.reg, features)
        if self.score_branch is not None:
            out['score_logits'] = self.score_branch(joint.reg)
        if self.test_cfg.mask_margin is not None and not self.training:
            size, margin = padding_mask.shape[-2:], self.test_cfg.mask_margin
            out['mask_logits'] = cut_to_box(out['mask_logits'], out['boxes'], size, margin)
        return out

    def references(self, mask_logits: Tensor, padding_mask: Tensor) -> Tensor:
        """The boxes from the mask that the box branch starts from: [B, 4], or [B, 2, 4] if it ``sees_reference``."""
        boxes = boxes_around(mask_logits, padding_mask)
        return boxes if getattr(self.box_branch, 'sees_reference', False) else boxes[:, 0]

    def shared_parameters(self) -> list[nn.Parameter]:
        """The last parameters that box, mask and score share, as given by the encoder.

        Strategies of :class:`LossBalanceHook` that need gradients compare the tasks at these parameters. Pixel guidance
        acts on earlier layers, so a task that consists of its losses only has no gradient here: for such a task, name
        earlier parameters in the config, as ``LossBalanceHook(shared_parameters='neck')``.
        """
        if not hasattr(self.encoder, 'shared_parameters'):
            raise UserError(
                f'UniQRNetHead: {type(self.encoder).__name__} has no shared_parameters(): name them in '
                "the config, as LossBalanceHook(shared_parameters=['head.encoder'])."
            )
        return self.encoder.shared_parameters()

    def loss(
        self,
        stages: Sequence[Tensor],
        levels: Sequence[Tensor],
        text: TextFeatures,
        padding_mask: Tensor,
        data_samples: Sequence[DetDataSample],
        gate_scores: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Losses of a batch. ``stages`` are the backbone's maps; the rest as in :meth:`forward`.

        ``gate_scores`` are given if the pixel guidance has ``guide_gates``.
        """
        out = self(levels, text, padding_mask)
        targets = make_targets(data_samples, padding_mask.device)
        losses: dict[str, Tensor] = {}
        if 'dense' in out:
            losses |= dense_box_losses(
                out['dense'], targets, self.loss_box_l1, self.loss_box_giou, self.loss_box_choice
            )
        elif 'boxes' in out:
            losses |= self.box_losses(branch_boxes(out), targets)
        if self.box_refiner is not None:
            losses |= refined_box_losses(
                self.box_refiner, out['refining'], targets, self.loss_box_l1, self.loss_box_giou
            )
        if 'mask_logits' in out:
            losses |= self.mask_losses(out['mask_logits'].float(), targets)
        for layer in [name.partition('.')[0] for name in out if name.endswith('.mask_logits')]:
            for name, loss in self.mask_losses_of(out[f'{layer}.mask_logits'].float(), targets).items():
                losses[f'{layer}.{name}'] = loss * self.deep_loss_weight
        if self.pixel_guidance is not None and self.loss_aux is not None:
            for name, logits in self.pixel_guidance(stages, levels, text.sentence, gate_scores).items():
                losses[f'loss_aux_{name}'] = self.pixel_loss(self.loss_aux, logits.float(), targets)
        if 'score_logits' in out and self.loss_score is not None:
            losses['loss_score'] = self.score_loss(self.loss_score, out, targets)
        if self.loss_mask_extent is not None:
            losses['loss_mask_extent'] = self.extent_loss(self.loss_mask_extent, out, targets)
        if self.loss_consistency is not None:
            losses['loss_consistency'] = self.consistency_loss(self.loss_consistency, out, targets)
        return losses

    def box_losses(self, boxes: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Box losses, averaged over the samples (of all ranks) that have a box."""
        return box_losses(boxes, targets, self.loss_box_l1, self.loss_box_giou)

    def mask_losses(self, logits: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Mask losses at ``mask_loss_stride``, padding left out."""
        size = [n // self.mask_loss_stride for n in targets.masks.shape[-2:]]
        return self.mask_losses_of(F.interpolate(logits, size=size, mode='bilinear', align_corners=False), targets)

    def mask_losses_of(self, logits: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Mask losses at the stride of the logits [B, 1, h, w]; targets are the shares of the cells."""
        losses = {}
        if self.loss_mask_bce is not None:
            losses['loss_mask_bce'] = self.pixel_loss(self.loss_mask_bce, logits, targets)
        if self.loss_mask_dice is not None:
            masks, inside = targets.shares(logits.shape[-2:])
            # For an empty target, Dice loss is 1 for every prediction and has no gradient; only BCE trains these.
            counted = targets.has_mask * targets.exists
            count = reduce_mean(counted.sum()).clamp(min=EPS)
            losses['loss_mask_dice'] = self.loss_mask_dice(
                logits.masked_fill(inside == 0, -50.0), masks, counted, avg_factor=count
            )
        return losses

    def pixel_loss(self, loss: nn.Module, logits: Tensor, targets: Targets) -> Tensor:
        """A pixel-wise loss of logits [B, 1, h, w] at any stride, averaged over the image's pixels of all ranks."""
        masks, inside = targets.shares(logits.shape[-2:])
        weight = inside * targets.has_mask[:, None, None, None]
        count = reduce_mean(weight.sum()).clamp(min=EPS)
        return loss(logits.flatten(1), masks.flatten(1), weight.flatten(1), avg_factor=count)

    def score_loss(self, loss: nn.Module, out: dict[str, Tensor], targets: Targets) -> Tensor:
        """Loss of the score; its target is the IoU of the box, or of the mask if the head predicts no box."""
        with torch.no_grad():
            if 'boxes' in out:
                quality, known = box_quality(out['boxes'], targets)
            else:
                quality, known = mask_quality(out['mask_logits'], targets)
            known = torch.maximum(known, 1 - targets.exists)
            count = reduce_mean(known.sum()).clamp(min=EPS)
        return loss(out['score_logits'][:, None], (quality * targets.exists)[:, None], known[:, None], avg_factor=count)

    def extent_loss(self, loss: nn.Module, out: dict[str, Any], targets: Targets) -> Tensor:
        """Loss between the predicted mask and the true box, averaged over the samples that have a box and no mask."""
        weight = targets.has_box * (1 - targets.has_mask)
        count = reduce_mean(weight.sum()).clamp(min=EPS)
        logits = out['mask_logits'].float()
        _, inside = targets.shares(logits.shape[-2:])
        return loss(targets.boxes, logits, inside, weight, avg_factor=count)

    def consistency_loss(self, loss: nn.Module, out: dict[str, Tensor], targets: Targets) -> Tensor:
        """Consistency of box and mask, averaged over the samples with a target object, whichever of the two it has."""
        count = reduce_mean(targets.exists.sum()).clamp(min=EPS)
        logits = out['mask_logits'].float()
        _, inside = targets.shares(logits.shape[-2:])
        return loss(branch_boxes(out), logits, inside, targets.exists, avg_factor=count)

    def _freeze_untrained(self) -> None:
        losses_of = {
            'box_branch': (self.loss_box_l1, self.loss_box_giou, self.loss_consistency, self.loss_box_choice),
            'box_refiner': (self.loss_box_l1, self.loss_box_giou),
            'mask_branch': (self.loss_mask_bce, self.loss_mask_dice, self.loss_consistency, self.loss_mask_extent),
            'score_branch': (self.loss_score,),
            'pixel_guidance': (self.loss_aux,),
        }
        for name, losses in losses_of.items():
            branch = getattr(self, name)
            if branch is not None and all(loss is None for loss in losses):
                branch.requires_grad_(False)
        if isinstance(self.box_branch, DenseBoxBranch) and all(loss is None for loss in losses_of['box_branch'][:3]):
            self.box_branch.sides.requires_grad_(False)  # only the choice is trained

    def _check_deep_supervision(self) -> None:
        losses = (self.loss_mask_bce, self.loss_mask_dice)
        if self.mask_branch is None or all(loss is None for loss in losses):
            raise UserError('UniQRNetHead: deep_supervision needs a mask_branch and loss_mask_bce or loss_mask_dice.')
        for key, part in (('encoder', self.encoder), ('mask_branch', self.mask_branch)):
            if not hasattr(part, 'forward_layers'):
                raise UserError(
                    f'UniQRNetHead: deep_supervision needs forward_layers() of the {key}, which {type(part).__name__} '
                    'does not have; choose another, or set deep_supervision=False.'
                )
        if len(getattr(self.encoder, 'layers', (None, None))) < 2:
            raise UserError(
                'UniQRNetHead: deep_supervision is of the layers before the last, and the encoder has one layer; set '
                'encoder.num_layers to 2 or more, or deep_supervision=False.'
            )
        if not self.deep_loss_weight > 0:
            raise UserError(
                f'UniQRNetHead: deep_loss_weight must be greater than 0, not {self.deep_loss_weight}; to leave these '
                'losses out, set deep_supervision=False.'
            )

    @torch.no_grad()
    def predict(
        self, levels: Sequence[Tensor], text: TextFeatures, padding_mask: Tensor, data_samples: Sequence[DetDataSample]
    ) -> list[InstanceData]:
        """One instance per expression, in pixels of the original image.

        Returns:
            For each expression ``bboxes`` [1, 4] (xyxy), ``scores`` [1], ``labels`` [1] (0), ``masks`` [1, H, W] (bool)
            and the fields of ``extra_masks``; boxes or masks are missing if the head has no such branch.
        """
        out = self(levels, text, padding_mask)
        return [
            to_answer({name: out[name][i] for name in ANSWERS if name in out}, Placement.of(sample), self.test_cfg)
            for i, sample in enumerate(data_samples)
        ]


def branch_boxes(out: Mapping[str, Any]) -> Tensor:
    """The boxes [B, 4] of the box branch, before they are refined."""
    return out['refining'].boxes if 'refining' in out else out['boxes']
