"""Notebooks as Markdown, for the site and for the tests: stored without outputs, they need no further package.

A code cell holds one of three things: commands (every line begins with ``!`` or ``%``, or continues one), a file
(``%%writefile NAME`` in the first line), or Python. A cell with one of the tags in ``NOT_RUN`` is marked as not run,
with the tag's reason.
"""

import json
import re

NOT_RUN = {'install': 'installs the package', 'download': 'needs the network'}


def to_markdown(notebook: str) -> str:
    """The text of a notebook (JSON) as Markdown, its code cells as fenced blocks."""
    return '\n\n'.join(map(_cell, json.loads(notebook)['cells'])) + '\n'


def _cell(cell: dict) -> str:
    text = ''.join(cell['source'])
    if cell['cell_type'] == 'markdown':
        return text
    marks = [f'<!-- not run: {NOT_RUN[tag]} -->\n' for tag in cell['metadata'].get('tags', ()) if tag in NOT_RUN]
    language = 'python'
    if written := re.match(r'%%writefile (\S+)\n', text):
        text = text[written.end() :]
        name = written[1]
        return f'`{name}`:\n\n<!-- file: {name} -->\n```python\n{text}\n```'
    if all(line.startswith(('!', '%')) for line in text.replace('\\\n', ' ').splitlines()):
        language, text = 'sh', re.sub('^[!%]', '', text, flags=re.MULTILINE)
    return ''.join(marks) + f'```{language}\n{text}\n```'
