from collections.abc import Sequence

import torch
from mmengine.model import BaseModule, Sequential
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from mmuniqrnet.registry import MODELS, ModuleOrConfig, build_module
from mmuniqrnet.structures import TextFeatures
from mmuniqrnet.utils.errors import UserError

from .text_encoder import TextEncoder


@MODELS.register_module()
class LanguageModel(BaseModule):
    """A :class:`TextEncoder` with the interface of mmdet's language model, for Grounding DINO and GLIP.

    mmdet's own ``BertModel`` calls methods that transformers 5 does not have. This class has the same outputs and
    the same names of parameters (``language_backbone.body.model.*``), so that mmdet's checkpoints fit. It also returns
    the feature of the sentence, which gates the backbone (:class:`GatedGroundingDINO`).

    Args:
        text_encoder: The encoder; its ``max_length`` is the largest number of tokens of a caption.
        sub_sentences: Whether each sub-sentence of a caption, "cat. dog.", is encoded by itself. Grounding DINO needs
            it; GLIP does not have it.
        separators: The tokens that end a sub-sentence.
        pad_to_max: Whether all captions are padded to ``max_length``, as GLIP needs it, or to the longest caption of
            the batch.
        init_cfg: mmengine initialisation.

    Raises:
        ValueError: If the tokenizer does not know a separator, or a caption has more than ``max_length`` tokens.
    """

    def __init__(
        self,
        text_encoder: ModuleOrConfig,
        sub_sentences: bool = True,
        separators: Sequence[str] = ('[CLS]', '[SEP]', '.', '?'),
        pad_to_max: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        encoder: TextEncoder = build_module(text_encoder)
        self.language_backbone = Sequential()
        self.language_backbone.add_module('body', encoder)
        self.sub_sentences = sub_sentences
        self.pad_to_max = pad_to_max
        self.separators = [_token_id(encoder, token) for token in separators] if sub_sentences else []

    @property
    def text_encoder(self) -> TextEncoder:
        return self.language_backbone.body

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer, with which mmdet finds the tokens of a span of characters."""
        return self.text_encoder.tokenizer

    @property
    def max_tokens(self) -> int:
        """The largest number of tokens of a caption."""
        return self.text_encoder.max_length

    def forward(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """B captions -> what mmdet's detectors read, of L tokens each.

        Returns:
            ``embedded`` and ``hidden`` [B, L, D], the features, zero at padding; ``masks``, which tokens a token
            attends to, [B, L, L] with sub-sentences, otherwise [B, L]; ``position_ids`` [B, L], counted from 0 in each
            sub-sentence; ``text_token_mask`` [B, L] bool, False at padding.
        """
        ids, mask = self.tokenize(captions)
        if not self.sub_sentences:
            features = self.text_encoder.encode(ids, mask).tokens * mask[..., None]
            positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
            attended = mask
        else:
            first, positions = self._sub_sentences(ids, mask)
            features = self._encode_each(ids, mask, first, positions)
            number = first.cumsum(1).masked_fill(mask == 0, 0)
            same = (number[:, :, None] == number[:, None, :]) & (number > 0)[:, :, None]
            attended = same | torch.eye(ids.shape[1], dtype=torch.bool, device=ids.device)
        return dict(
            embedded=features,
            hidden=features,
            masks=attended,
            position_ids=positions,
            text_token_mask=mask.bool(),
        )

    def sentence(self, captions: Sequence[str]) -> Tensor:
        """The sentence feature [B, D] of B captions, each encoded as a whole."""
        self.tokenize(captions)  # to refuse captions that would be cut
        features: TextFeatures = self.text_encoder(captions)
        return features.sentence

    def tokenize(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Captions -> token ids [B, L] and attention mask [B, L] (1 = token)."""
        for caption in captions:
            number = len(self.tokenizer(caption)['input_ids'])
            if number > self.max_tokens:
                raise UserError(
                    f'LanguageModel: the caption {_shortened(caption)!r} has {number} tokens, and '
                    f'text_encoder.max_length is {self.max_tokens}; raise it, or give fewer names.'
                )
        ids, mask = self.text_encoder.tokenize(captions)
        longest = ids.shape[1] if self.pad_to_max else int(mask.sum(1).max())
        return ids[:, :longest], mask[:, :longest]

    def _sub_sentences(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Token ids and mask [B, L] -> where a sub-sentence begins [B, L] bool, and the places in it [B, L].

        A sub-sentence ends with a separator, which belongs to it. Padding has place 0.
        """
        ends = torch.isin(ids, ids.new_tensor(self.separators))
        first = torch.cat([torch.ones_like(ends[:, :1]), ends[:, :-1]], dim=1) & mask.bool()
        place = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        begin = torch.where(first, place, 0).cummax(1).values
        return first, (place - begin) * mask

    def _encode_each(self, ids: Tensor, mask: Tensor, first: Tensor, positions: Tensor) -> Tensor:
        """Features [B, L, D] of the tokens, each sub-sentence encoded as a text of its own."""
        used = mask.bool().flatten()
        row = (first.flatten().cumsum(0) - 1)[used]
        column = positions.flatten()[used]
        shape = (int(row.max()) + 1, int(column.max()) + 1)
        texts, text_mask = ids.new_full(shape, self.tokenizer.pad_token_id or 0), mask.new_zeros(shape)
        texts[row, column] = ids.flatten()[used]
        text_mask[row, column] = 1
        tokens = self.text_encoder.encode(texts, text_mask).tokens
        features = tokens.new_zeros(ids.numel(), tokens.shape[-1])
        features[used] = tokens[row, column]
        return features.view(*ids.shape, -1)


def _token_id(encoder: TextEncoder, token: str) -> int:
    number = encoder.tokenizer.convert_tokens_to_ids(token)
    if number is None or number == encoder.tokenizer.unk_token_id:
        raise UserError(
            f'LanguageModel: the tokenizer has no token {token!r}; set separators to the tokens that end a '
            'sub-sentence, [CLS] and [SEP] included.'
        )
    return number


def _shortened(caption: str) -> str:
    return caption if len(caption) <= 40 else f'{caption[:37]}...'
