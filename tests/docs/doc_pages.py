"""What stands in the Markdown pages: blocks of code, links, headings, inline code."""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r'^( *)```(\w*)[^\n]*\n(.*?)^\1```[ \t]*$', re.MULTILINE | re.DOTALL)
MARK = re.compile(r'<!-- *(not run|file|fails): *((?:(?!-->).)*?) *-->\s*\Z', re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    Attributes:
        page: Path of its page, relative to the repository.
        line: The line of the page that its code begins on.
        language: What stands behind the fence.
        code: Its lines.
        mark: What an HTML comment right before it says: ``not run`` (and why), ``file`` (to save it as) or ``fails``
            (that a command of it ends in an error, and why); empty without one.
        note: The rest of the comment.
    """

    page: str
    line: int
    language: str
    code: str
    mark: str = ''
    note: str = ''

    def __str__(self) -> str:
        return f'{self.page}:{self.line}'


class Page:
    """A Markdown page of the repository, or ``text`` in its place."""

    def __init__(self, path: Path, text: str | None = None) -> None:
        self.path = path
        self.name = str(path.relative_to(ROOT))
        self.text = path.read_text(encoding='utf-8') if text is None else text

    @cached_property
    def blocks(self) -> list[Block]:
        found = []
        for match in FENCE.finditer(self.text):
            mark = MARK.search(self.text, 0, match.start())
            indent = match[1]
            code = re.sub(f'^{indent}', '', match[3], flags=re.MULTILINE)
            line = self.text.count('\n', 0, match.start(3)) + 1
            found.append(Block(self.name, line, match[2], code, *(mark.groups() if mark else ('', ''))))
        return found

    @cached_property
    def prose(self) -> str:
        """The page without its blocks and comments."""
        return re.sub(r'<!--.*?-->', '', FENCE.sub('', self.text), flags=re.DOTALL)

    @cached_property
    def inline_code(self) -> list[str]:
        return [' '.join(code.split()) for code in re.findall(r'(?<!`)`([^`]+)`(?!`)', self.prose)]

    @cached_property
    def links(self) -> list[str]:
        """Targets of links and images."""
        return re.findall(r'\]\(\s*<?([^)\s>]+)>?[^)]*\)', re.sub(r'(?<!`)`[^`]+`(?!`)', '', self.prose))

    @cached_property
    def anchors(self) -> set[str]:
        """Of its headings, as GitHub and MyST make them."""
        slugs, seen = set(), Counter()
        for heading in re.findall(r'^#{1,6} +(.+?) *#*$', self.prose, re.MULTILINE):
            text = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', heading).replace('`', '')
            slug = re.sub(r'[^\w\- ]', '', text.strip().lower()).replace(' ', '-')
            slugs.add(f'{slug}-{seen[slug]}' if seen[slug] else slug)
            seen[slug] += 1
        return slugs


def all_pages() -> list[Page]:
    """README.md and every page of docs/."""
    paths = [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
    return [Page(path) for path in paths if '_build' not in path.parts]


def expand_braces(text: str) -> list[str]:
    """As the shell does: ``a{b,c}`` is ``ab`` and ``ac``."""
    match = re.search(r'\{([^{}]*,[^{}]*)\}', text)
    if match is None:
        return [text]
    return [
        done
        for part in match[1].split(',')
        for done in expand_braces(text[: match.start()] + part + text[match.end() :])
    ]
