"""The Markdown pages as markdown-it reads them: blocks of code, the comment before each, and inline code."""

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
MARK = re.compile(r'<!--\s*(not run|file):\s*(.+?)\s*-->\s*', re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of code; ``mark`` and ``note`` are what an HTML comment right before it says."""

    page: Path
    line: int  # of the page, where the code begins
    language: str
    code: str
    mark: str = ''  # 'not run', 'file' or nothing
    note: str = ''  # why it is not run; the name to save it as

    def __str__(self) -> str:
        return f'{self.page.relative_to(ROOT)}:{self.line}'


class Page:
    """A Markdown page of the repository, or ``text`` in its place."""

    def __init__(self, path: Path, text: str | None = None) -> None:
        self.path = path
        self.name = str(path.relative_to(ROOT))
        tokens = MarkdownIt('commonmark').enable('table').parse(text or path.read_text(encoding='utf-8'))
        pairs = zip([None, *tokens], tokens)
        self.blocks = [self._block(token, before) for before, token in pairs if token.type == 'fence']
        parts = [part for token in tokens for part in token.children or ()]
        self.inline_code = [part.content for part in parts if part.type == 'code_inline']

    def _block(self, fence: Token, before: Token | None) -> Block:
        mark = MARK.fullmatch(before.content) if before and before.type == 'html_block' else None
        language = (fence.info.split() or [''])[0]
        return Block(self.path, fence.map[0] + 2, language, fence.content, *(mark.groups() if mark else ()))


def all_pages() -> list[Page]:
    """Those at the top of the repository and in ``docs``."""
    paths = [*ROOT.glob('*.md'), *(path for path in ROOT.glob('docs/**/*.md') if '_build' not in path.parts)]
    return [Page(path) for path in sorted(paths)]
