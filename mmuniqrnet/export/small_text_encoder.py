"""A BERT made smaller for one purpose: its first layers, and the part of its vocabulary that some texts need."""

import json
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertModel

from mmuniqrnet.models.text_encoder import load_pretrained, load_tokenizer
from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.utils.io import temporary_folder_beside

SPECIAL_TOKENS = dict(pad_token='[PAD]', unk_token='[UNK]', cls_token='[CLS]', sep_token='[SEP]', mask_token='[MASK]')
# With a token for each character, alone and as the rest of a word, any word of these can be written.
CHARACTERS = string.ascii_lowercase + string.digits


def choose_vocabulary(tokenizer: Any, texts: Iterable[str], most: int, always: Iterable[str] = ()) -> list[str]:
    """The tokens to keep, in the order of their ids in the tokenizer.

    These are the special tokens, the characters, and of those that the texts contain the most frequent.

    Args:
        tokenizer: A lower-casing WordPiece tokenizer of transformers.
        texts: What the encoder will read.
        most: The number of tokens to keep at most.
        always: Texts of which all tokens are kept, however rare.

    Raises:
        UserError: If the tokenizer is of another kind, or ``most`` is too small for the characters.
    """
    known: dict[str, int] = tokenizer.get_vocab()
    needed = [*SPECIAL_TOKENS.values(), *string.punctuation, *CHARACTERS, *(f'##{one}' for one in CHARACTERS)]
    missing = [token for token in (*SPECIAL_TOKENS.values(), *CHARACTERS, '##a') if token not in known]
    if missing:
        raise UserError(
            f'the tokenizer is no lower-casing BERT WordPiece tokenizer (it has no token {missing[0]!r}); only those '
            'can be cut.'
        )
    needed += [token for text in always for token in tokenizer.tokenize(text)]
    kept = dict.fromkeys(token for token in needed if token in known)
    if most < len(kept):
        raise UserError(f'a vocabulary of {most} is too small: what must be kept alone are {len(kept)} tokens.')
    counts = Counter(token for text in texts for token in tokenizer.tokenize(text))
    # The most frequent first; of equally frequent ones, that of the lower id.
    for token in sorted(counts, key=lambda token: (-counts[token], known[token])):
        if len(kept) == most:
            break
        kept[token] = None
    return sorted(kept, key=known.__getitem__)


def cut_text_encoder(
    model: str, folder: str | Path, tokens: Sequence[str], *, layers: int = 2, positions: int = 32
) -> dict[str, int]:
    """Write a smaller copy of a BERT and its tokenizer, as a folder for ``TextEncoder(model=FOLDER)``.

    A text whose tokens are all kept has the same features as after the first ``layers`` layers of the whole BERT; a
    word whose tokens are not is written with those that are left, down to its letters.

    Args:
        model: A Hugging Face name or local folder of a BERT.
        folder: The folder to write, which must not exist or be empty.
        tokens: The vocabulary to keep, the special tokens among them; see :func:`choose_vocabulary`.
        layers: The number of first layers to keep.
        positions: The longest text, in tokens.

    Returns:
        The numbers of tokens, layers and parameters that were kept.

    Raises:
        UserError: If the model is of another kind, too small, or lacks a token, or the folder has something in it.
    """
    folder = Path(folder).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f'{folder} exists and is not an empty folder: give another one.')
    whole, _ = load_pretrained(model)
    if not isinstance(whole, BertModel):
        raise UserError(f'{model} is a {type(whole).__name__}; only a BERT can be cut.')
    for name, wanted, has in (
        ('layers', layers, whole.config.num_hidden_layers),
        ('positions', positions, whole.config.max_position_embeddings),
    ):
        if not 1 <= wanted <= has:
            raise UserError(f'{model} has {has} {name}; {wanted} of them can not be kept.')
    known = load_tokenizer(model).get_vocab()
    missing = [token for token in (*SPECIAL_TOKENS.values(), *tokens) if token not in known or token not in tokens]
    if missing:
        raise UserError(f'{model}, and the vocabulary to keep, must both have the token {missing[0]!r}.')
    small = _small_bert(whole, [known[token] for token in tokens], layers, positions)
    small.config.pad_token_id = list(tokens).index(SPECIAL_TOKENS['pad_token'])
    with temporary_folder_beside(folder) as temporary:
        inside = temporary / 'encoder'
        small.save_pretrained(inside)
        write_tokenizer(inside, tokens)
        if folder.exists():
            folder.rmdir()
        inside.rename(folder)
    return dict(tokens=len(tokens), layers=layers, parameters=sum(value.numel() for value in small.parameters()))


def write_tokenizer(folder: Path, tokens: Sequence[str]) -> None:
    """Write ``vocab.txt`` and ``tokenizer_config.json`` of a lower-casing BERT tokenizer with these tokens."""
    config = dict(tokenizer_class='BertTokenizer', do_lower_case=True, model_max_length=512, **SPECIAL_TOKENS)
    (folder / 'vocab.txt').write_text('\n'.join(tokens) + '\n', encoding='utf-8')
    (folder / 'tokenizer_config.json').write_text(json.dumps(config, indent=2) + '\n', encoding='utf-8')


def _small_bert(whole: BertModel, ids: Sequence[int], layers: int, positions: int) -> BertModel:
    """The first layers of a BERT, and the embeddings of these token ids and of the first positions."""
    settings = whole.config.to_dict() | dict(
        vocab_size=len(ids), num_hidden_layers=layers, max_position_embeddings=positions, pad_token_id=0
    )
    small = BertModel(BertConfig.from_dict(settings), add_pooling_layer=False)
    state = whole.state_dict()
    state['embeddings.word_embeddings.weight'] = state['embeddings.word_embeddings.weight'][torch.tensor(ids)]
    state['embeddings.position_embeddings.weight'] = state['embeddings.position_embeddings.weight'][:positions]
    small.load_state_dict({name: state[name] for name in small.state_dict() if not _made_of_sizes(name)}, strict=False)
    return small


def _made_of_sizes(name: str) -> bool:
    """Whether a buffer is computed from the sizes, in versions of transformers that save it."""
    return name.endswith(('position_ids', 'token_type_ids'))
