"""The tokenizer's vocabulary for RefShapes, so that text encoders can be trained without a download.

``VOCAB_DIR`` is a folder for ``transformers.AutoTokenizer.from_pretrained``: a lower-casing BERT tokenizer in which
every word of RefShapes is one token, and any other word is split into its letters.
"""

import json
import string
from pathlib import Path

from .expressions import lexicon

VOCAB_DIR = str(Path(__file__).parent / 'vocab')
SPECIAL_TOKENS = dict(pad_token='[PAD]', unk_token='[UNK]', cls_token='[CLS]', sep_token='[SEP]', mask_token='[MASK]')


def vocabulary() -> list[str]:
    """The tokens in the order of their ids."""
    characters = string.ascii_lowercase + string.digits
    tokens = [*SPECIAL_TOKENS.values(), *lexicon(), *string.punctuation, *characters]
    return [*tokens, *(f'##{character}' for character in characters)]


def write_vocabulary(folder: str) -> None:
    """Write ``vocab.txt`` and ``tokenizer_config.json`` into ``folder``; needed after the lexicon changes."""
    config = dict(tokenizer_class='BertTokenizer', do_lower_case=True, model_max_length=512, **SPECIAL_TOKENS)
    (Path(folder) / 'vocab.txt').write_text('\n'.join(vocabulary()) + '\n', encoding='ascii')
    (Path(folder) / 'tokenizer_config.json').write_text(json.dumps(config, indent=2) + '\n', encoding='ascii')
