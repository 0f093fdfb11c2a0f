from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.model import BaseModule, initialize
from torch import Tensor
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from mmuniqrnet.models.hugging_face import DTYPE, config_of
from mmuniqrnet.registry import MODELS
from mmuniqrnet.structures import TextFeatures
from mmuniqrnet.utils.errors import UserError

# Expressions whose tokens are kept: in training, each expression comes many times.
MOST_KNOWN = 2**17
# Tokenizers in the package, which need no download.
SHIPPED_TOKENIZERS = {
    'mmuniqrnet:refshapes': Path(__file__).parents[1] / 'datasets' / 'refshapes' / 'vocab',
    # 3,000 tokens of bert-base-uncased, which referring expressions about photographs need most
    'mmuniqrnet:photos': Path(__file__).parent / 'vocabularies' / 'photos',
}


@MODELS.register_module()
class TextEncoder(BaseModule):
    """Any Hugging Face encoder: expressions to token features, a sentence feature and a padding mask.

    Args:
        model: A Hugging Face name or a local folder, whose weights are loaded; or a dict with ``model_type`` and the
            arguments of that model's configuration, built with random weights.
        tokenizer: A Hugging Face name, a local folder, or one that is in the package, ``'mmuniqrnet:refshapes'`` or
            ``'mmuniqrnet:photos'``; by default that of ``model``.
        max_length: L, the number of tokens that each expression is padded or cut to, [CLS] and [SEP] included.
        sentence: The sentence feature: ``'cls'`` is the feature of the first token, ``'mean'`` the mean over tokens.
        frozen: Whether the encoder is not trained: no gradients, no dropout.
        init_cfg: mmengine initialisation.

    The weights are float32, also where the files of ``model`` have another type. ``loaded_at_build`` has the names of
    the parameters that were loaded from these files; it is empty for a model that is built with random weights.

    Raises:
        ValueError: ``model`` or ``tokenizer`` cannot be found, or an argument is out of range.
    """

    def __init__(
        self,
        model: str | dict = 'bert-base-uncased',
        tokenizer: str | None = None,
        max_length: int = 20,
        sentence: str = 'cls',
        frozen: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if sentence not in ('cls', 'mean'):
            raise UserError(f"TextEncoder: sentence must be 'cls' or 'mean', not {sentence!r}.")
        if tokenizer is None:
            if not isinstance(model, str):
                raise UserError(
                    'TextEncoder: a model built from a configuration has no tokenizer of its own; give '
                    "tokenizer='NAME or FOLDER'."
                )
            tokenizer = model
        self.max_length = max_length
        self.sentence = sentence
        self.frozen = frozen
        self.tokenizer = load_tokenizer(tokenizer)
        self._known: dict[str, Tensor] = {}  # [2, L]: ids and attention mask of expressions that were seen
        loaded: set[str] = set()
        if isinstance(model, str):
            self.model, loaded = load_pretrained(model)
        else:
            self.model = build_encoder(model, self.tokenizer)
        longest = getattr(self.model.config, 'max_position_embeddings', None)
        if longest is not None and max_length > longest:
            raise UserError(
                f'TextEncoder: max_length={max_length} is more than the {longest} positions that the model '
                'has (max_position_embeddings).'
            )
        # An unused layer has no gradient, and DDP would wait for it.
        if getattr(self.model, 'pooler', None) is not None:
            self.model.pooler = None
        self.model.requires_grad_(not frozen)
        self.loaded_at_build = frozenset(f'model.{name}' for name, _ in self.model.named_parameters() if name in loaded)
        self.train(self.training)

    @property
    def text_dim(self) -> int:
        """D, the width of the features."""
        return self.model.config.hidden_size

    @property
    def language_dim(self) -> int:
        """D, by the name that mmdet's detectors read."""
        return self.text_dim

    def train(self, mode: bool = True) -> 'TextEncoder':
        super().train(mode)
        if self.frozen:
            self.model.eval()
        return self

    def init_weights(self) -> None:
        """Apply ``init_cfg``, if any: transformers has already initialised or loaded the encoder."""
        if self.init_cfg:
            initialize(self, self.init_cfg)
        self._is_init = True

    def tokenize(self, expressions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Expressions -> token ids [B, L] and attention mask [B, L] (1 = token), on the encoder's device."""
        new = [text for text in dict.fromkeys(expressions) if text not in self._known]
        if len(self._known) + len(new) > MOST_KNOWN:
            self._known.clear()
            new = list(dict.fromkeys(expressions))
        if new:
            batch = self.tokenizer(
                new, padding='max_length', truncation=True, max_length=self.max_length, return_tensors='pt'
            )
            self._known |= zip(new, torch.stack([batch['input_ids'], batch['attention_mask']], 1).unbind())
        device = next(self.model.parameters()).device
        ids, mask = torch.stack([self._known[text] for text in expressions], 1).to(device)
        return ids, mask

    def encode(self, input_ids: Tensor, attention_mask: Tensor) -> TextFeatures:
        """Token ids [B, L] and attention mask [B, L] (1 = token) -> features."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            tokens = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # [B, L, D]
        if self.sentence == 'cls':
            sentence = tokens[:, 0]
        else:
            weight = attention_mask.unsqueeze(-1).to(tokens.dtype)
            sentence = (tokens * weight).sum(1) / weight.sum(1)
        return TextFeatures(tokens, sentence, attention_mask == 0)

    def forward(self, expressions: Sequence[str]) -> TextFeatures:
        """B expressions -> tokens [B, L, D], sentence [B, D], padding mask [B, L] (True = padding).

        Equal expressions are encoded once, except in training, where each of them has its own dropout; a frozen encoder
        has none.
        """
        distinct = list(dict.fromkeys(expressions))
        if self.model.training or len(distinct) == len(expressions):
            return self.encode(*self.tokenize(expressions))
        features = self.encode(*self.tokenize(distinct))
        rows = torch.tensor([distinct.index(text) for text in expressions], device=features.tokens.device)
        return TextFeatures(*(values.index_select(0, rows) for values in features))


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """A tokenizer by Hugging Face name, local folder or shipped name."""
    try:
        return AutoTokenizer.from_pretrained(str(SHIPPED_TOKENIZERS.get(name, name)))
    except Exception as error:  # transformers raises a dozen types if there is none
        raise UserError(_not_found('tokenizer', name, error)) from None


def load_pretrained(name: str) -> tuple[PreTrainedModel, set[str]]:
    """A Hugging Face encoder by name or local folder, in float32, and the names of the parameters that were loaded."""
    try:
        # By default transformers 5 takes the type in which the weights are stored.
        model, info = AutoModel.from_pretrained(name, output_loading_info=True, **{DTYPE: torch.float32})
    except Exception as error:
        raise UserError(_not_found('model', name, error)) from None
    return model, {key for key, _ in model.named_parameters()} - set(info['missing_keys'])


def build_encoder(config: dict, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A Hugging Face encoder with random weights, from ``model_type`` and the arguments of its configuration."""
    if 'model_type' not in config:
        raise UserError("TextEncoder: model=dict(...) needs a model_type, such as 'bert'.")
    return AutoModel.from_config(config_of({'vocab_size': len(tokenizer)} | dict(config), 'TextEncoder'))


def _not_found(what: str, name: str, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return (
        f'TextEncoder: there is no text {what} {name!r}: it is neither a folder with a Hugging Face {what} nor one '
        f'that the Hugging Face hub or its cache gave ({reason}). Give a folder, or a name while online.'
    )
