"""Sphinx configuration: `make docs`, or `sphinx-build -b html docs OUT`.

The pages are Markdown that GitHub shows as well, so only MyST extensions are on that leave no trace there.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

project = 'mmuniqrnet'
author = 'mmuniqrnet contributors'
copyright = f'2026, {author}'
release = version = re.search(r"__version__ = '(.+?)'", (ROOT / 'mmuniqrnet' / 'version.py').read_text()).group(1)

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx.ext.viewcode']
exclude_patterns = ['_build']
html_theme = 'furo'
html_title = f'mmuniqrnet {release}'
html_copy_source = False

myst_heading_anchors = 4
# Any other scheme, http among them, is taken for a file that is not there.
myst_url_schemes = ('https',)

# The stack's docstrings are not ours to repeat, and not all of them are valid here.
autodoc_inherit_docstrings = False
autodoc_member_order = 'bysource'
autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented_params'
autodoc_default_options = {'members': True, 'show-inheritance': True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True


def show_readme(app, docname: str, source: list[str]) -> None:
    """The first page is README.md, with its links as they are from here; other pages' links to it lead there."""
    if docname == 'index':
        readme = (ROOT / 'README.md').read_text(encoding='utf-8')
        readme = re.sub(r'\]\((?!\w+:|#)', '](../', readme).replace('](../docs/', '](')
        source[0] = readme + '\n' + source[0]
    else:
        source[0] = re.sub(r'\]\((?:\.\./)+README\.md', '](' + '../' * docname.count('/') + 'index.md', source[0])


def setup(app) -> None:
    app.connect('source-read', show_readme)
    # napoleon's say on private members, none of which are shown here, fails on methods that mmcv's decorators wrap.
    for listener in app.events.listeners['autodoc-skip-member']:
        if listener.handler.__module__ == 'sphinx.ext.napoleon':
            app.disconnect(listener.id)
            break
