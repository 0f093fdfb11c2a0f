"""Sphinx configuration: `make docs`, or `sphinx-build -b html docs OUT`.

The pages are Markdown that GitHub shows as well, so only MyST extensions are on that leave no trace there.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from notebook_pages import to_markdown

ROOT = Path(__file__).resolve().parent.parent
# Pages at the top of the repository, and the pages of the site that show them.
TOP_PAGES = {'README.md': 'index.md', 'CONTRIBUTING.md': 'contributing.md', 'CODE_OF_CONDUCT.md': 'code_of_conduct.md'}

project = 'mmuniqrnet'
author = 'mmuniqrnet contributors'
copyright = f'2026, {author}'
release = version = re.search(r"__version__ = '(.+?)'", (ROOT / 'mmuniqrnet' / 'version.py').read_text()).group(1)

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx.ext.viewcode']
source_suffix = {'.md': 'markdown', '.ipynb': 'markdown'}  # notebooks: see show_notebooks
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


def show_notebooks(app, docname: str, source: list[str]) -> None:
    """Read a notebook as Markdown."""
    if app.env.doc2path(docname).suffix == '.ipynb':
        source[0] = to_markdown(source[0])


def show_top_pages(app, docname: str, source: list[str]) -> None:
    """Put the pages at the top of the repository into the site, and make links to them lead there."""
    text = source[0]
    for name, page in TOP_PAGES.items():
        if page == f'{docname}.md':
            top = (ROOT / name).read_text(encoding='utf-8')
            text = re.sub(r'\]\((?!\w+:|#|docs/)', '](../', top).replace('](docs/', '](') + '\n' + text
    for name, page in TOP_PAGES.items():
        text = re.sub(rf'\]\((\.\./)+{name}', f']({"../" * docname.count("/")}{page}', text)
    source[0] = text


def setup(app) -> None:
    app.connect('source-read', show_notebooks)
    app.connect('source-read', show_top_pages)
    # napoleon's say on private members, none of which are shown here, fails on methods that mmcv's decorators wrap.
    for listener in app.events.listeners['autodoc-skip-member']:
        if listener.handler.__module__ == 'sphinx.ext.napoleon':
            app.disconnect(listener.id)
            break
