"""Make a small text encoder of a BERT, for TextEncoder(model=FOLDER):

python tools/model_converters/small_text_encoder.py MODEL FOLDER --texts FILE [FILE ...]
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmuniqrnet.config import positive_int
from mmuniqrnet.export.small_text_encoder import choose_vocabulary, cut_text_encoder
from mmuniqrnet.models.text_encoder import load_tokenizer
from mmuniqrnet.utils.errors import UserError, run_tool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Make a small text encoder of a BERT: its first layers, and the tokens that some texts need.'
    )
    parser.add_argument('model', help='lower-casing BERT: a folder, or a name on the Hugging Face hub')
    parser.add_argument('folder', type=Path, help='folder to write')
    parser.add_argument(
        '--texts', type=Path, nargs='+', required=True, metavar='FILE', help='texts that it will read, one per line'
    )
    parser.add_argument(
        '--always', type=Path, nargs='+', default=[], metavar='FILE', help='texts of which every token is kept'
    )
    parser.add_argument(
        '--tokens',
        type=positive_int,
        default=4000,
        metavar='N',
        help='tokens to keep at most, the most frequent ones of the texts (default: 4000)',
    )
    parser.add_argument('--layers', type=positive_int, default=2, metavar='N', help='layers to keep (default: 2)')
    parser.add_argument(
        '--positions', type=positive_int, default=32, metavar='N', help='longest text, in tokens (default: 32)'
    )
    return parser.parse_args(argv)


def lines_of(files: Sequence[Path]) -> Iterator[str]:
    """The lines of text files.

    Raises:
        UserError: If a file can not be read as text.
    """
    for file in files:
        try:
            yield from file.read_text(encoding='utf-8').splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f'{file} can not be read as text in UTF-8: {error}') from None


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    tokenizer = load_tokenizer(args.model)
    tokens = choose_vocabulary(tokenizer, lines_of(args.texts), args.tokens, lines_of(args.always))
    kept = cut_text_encoder(args.model, args.folder, tokens, layers=args.layers, positions=args.positions)
    print(
        f'wrote {args.folder}: {kept["tokens"]} tokens, {kept["layers"]} layers, '
        f'{kept["parameters"] / 1e6:.1f} M parameters'
    )


if __name__ == '__main__':
    run_tool(main)
