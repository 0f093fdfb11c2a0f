"""mmdet's detectors with text, whose backbone and neck receive the sentence."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mmdet.models.detectors import GLIP, BaseDetector, GroundingDINO
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from mmuniqrnet.registry import MODELS
from mmuniqrnet.structures import call_with_sentence
from mmuniqrnet.utils.errors import UserError

from .language_model import LanguageModel


class SentenceToBackbone(BaseDetector):
    """A base class that hands the sentence of each sample to the backbone and the neck of mmdet's detector.

    It comes before the detector among the bases. mmdet calls ``extract_feat`` with the images only, so the sentence is
    kept meanwhile. It is encoded as a whole, beside the tokens that the detector itself reads, because these do not see
    each other across sub-sentences. Backbones and necks without ``takes_sentence`` are called as in mmdet, and then no
    sentence is encoded.
    """

    _sentence: Tensor | None = None

    def loss(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> dict[str, Tensor]:
        """Losses by name; each sample has ``text``, as mmdet's detector takes it."""
        with self._keep_sentence(batch_data_samples):
            return super().loss(batch_inputs, batch_data_samples)

    def predict(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample], rescale: bool = True
    ) -> list[DetDataSample]:
        """The samples with ``pred_instances``."""
        with self._keep_sentence(batch_data_samples):
            return super().predict(batch_inputs, batch_data_samples, rescale=rescale)

    def extract_feat(self, batch_inputs: Tensor) -> Sequence[Tensor]:
        """Images [B, 3, H, W] -> the maps of the neck, finest first."""
        maps = call_with_sentence(self.backbone, batch_inputs, self._sentence)
        return call_with_sentence(self.neck, maps, self._sentence) if self.with_neck else maps

    @contextmanager
    def _keep_sentence(self, data_samples: list[DetDataSample]) -> Iterator[None]:
        parts = (self.backbone, self.neck if self.with_neck else None)
        if any(getattr(part, 'takes_sentence', False) for part in parts):
            self._sentence = self.language_model.sentence([caption_of(sample) for sample in data_samples])
        try:
            yield
        finally:
            self._sentence = None


@MODELS.register_module()
class GatedGroundingDINO(SentenceToBackbone, GroundingDINO):
    """mmdet's Grounding DINO, whose backbone and neck may be gated by the sentence (:class:`QRNetSwin`).

    All arguments are those of ``mmdet.GroundingDINO``; ``language_model`` is a :class:`LanguageModel`.
    """

    def _init_layers(self) -> None:
        super()._init_layers()
        check_language_model(self, sub_sentences=True)
        self.decoder.ref_point_head.register_forward_pre_hook(_fit_encoding)


@MODELS.register_module()
class GatedGLIP(SentenceToBackbone, GLIP):
    """mmdet's GLIP, whose backbone and neck may be gated by the sentence (:class:`QRNetSwin`).

    All arguments are those of ``mmdet.GLIP``; ``language_model`` is a :class:`LanguageModel` with
    ``sub_sentences=False``, and pads to the number of tokens for which mmdet's head is written, its ``feat_channels``.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        check_language_model(self, sub_sentences=False)
        width = self.bbox_head.feat_channels
        if not (self.language_model.pad_to_max and self.language_model.max_tokens == width):
            raise UserError(
                f'GatedGLIP: its head classifies feat_channels={width} tokens; set language_model.pad_to_max=True and '
                f'language_model.text_encoder.max_length={width}.'
            )


def _fit_encoding(head: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    """The encoding of reference points for which Grounding DINO's decoder, and its weights, were made.

    onedl-mmdetection 3.5.1 computes twice as many frequencies per coordinate, for DINO, and Grounding DINO then fails.
    Every second one of them is what mmdet 3.3 computes, and every mmdet before the fork.
    """
    (encoding,) = inputs  # [B, Q, 4 * F], pairs of sine and cosine
    if encoding.shape[-1] == 2 * head.layers[0].in_features:
        encoding = encoding.unflatten(-1, (4, -1, 2))[..., ::2, :].flatten(-3)
    return (encoding,)


def check_language_model(detector: SentenceToBackbone, sub_sentences: bool) -> None:
    """Require a :class:`LanguageModel` with, or without, sub-sentences."""
    name, model = type(detector).__name__, detector.language_model
    if not isinstance(model, LanguageModel):
        raise UserError(
            f'{name}: language_model is a {type(model).__name__}, which gives no feature of the sentence; '
            "take dict(type='mmuniqrnet.LanguageModel', text_encoder=...)."
        )
    if model.sub_sentences != sub_sentences:
        raise UserError(f'{name}: set language_model.sub_sentences={sub_sentences}.')


def caption_of(sample: DetDataSample) -> str:
    """The sample's ``text``: a sentence, or the names that mmdet's detectors look for."""
    text = sample.get('text')
    if not text:
        raise UserError(
            "GatedGroundingDINO and GatedGLIP: every data sample needs its expression as metainfo 'text'; add 'text' "
            'to the meta_keys of PackDetInputs, or pack samples with PackReferInputs.'
        )
    return text if isinstance(text, str) else '. '.join(text)
