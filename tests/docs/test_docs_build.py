"""The site builds without a warning, and what the pages name in their text exists: files, options, names in Python."""

import importlib
import pydoc
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from pages import ROOT, Page, all_pages
from running import words_of

from mmuniqrnet import registry

PAGES = all_pages()
# Options of other projects' tools.
FOREIGN_OPTIONS = {
    '--shm-size',
    '--ipc',
    '--nproc_per_node',
    '--no-deps',
    '--no-build-isolation',
    '--pid',
    '--native',
    '--strict',
    '--user',
    '--gpus',
}


def build(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, '-m', 'sphinx', '-q', '-W', '--keep-going', *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope='module')
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('site')
    done = build('-b', 'html', '-d', folder / 'doctrees', ROOT / 'docs', folder / 'html')
    assert done.returncode == 0, done.stderr
    return folder / 'html'


def test_site_shows_readme(site):
    assert 'referring expression comprehension' in (site / 'index.html').read_text()


def test_site_shows_notebooks(site):
    page = (site / 'notebooks' / 'ask.html').read_text()
    assert 'Open in Colab' in page and 'UniQRNetInferencer' in page and 'execution_count' not in page


def test_reference_has_every_public_class_and_function(site):
    reference = (site / 'api.html').read_text()
    assert 'Multiply the losses of each task by a weight' in reference
    public = (ROOT / 'docs' / 'public_api.md').read_text().partition('API reference')[0]
    packages = {*re.findall(r'`(mmuniqrnet\.\w+)`', public), 'mmuniqrnet.analysis'}
    assert len(packages) > 9
    for package in packages:
        module = importlib.import_module(package)
        for value in (getattr(module, name) for name in module.__all__):
            if callable(value):
                places = [f'{package}.{value.__name__}', f'mmuniqrnet.structures.{value.__name__}']
                assert any(f'id="{place}"' in reference for place in places), places[0]


def test_no_page_is_offered_as_a_download(site):
    for path in site.rglob('*.html'):
        assert not re.search(r'href="[^"]*_downloads/[^"]*\.md"', path.read_text()), path.name


def test_build_finds_what_leads_nowhere(tmp_path):
    """So that the build above proves that there is no such link, picture or page."""
    (tmp_path / 'wrong.md').write_text(
        '# Wrong\n\n[a](none.md) [b](other.md#none) [c](#none) [d](../none.py) ![e](none.png) [f](http://a.org)'
    )
    (tmp_path / 'other.md').write_text('# Other\n\n[right](wrong.md#wrong) [right](https://a.org)\n')
    done = build('-b', 'html', '-c', ROOT / 'docs', '-D', 'root_doc=wrong', tmp_path, tmp_path / 'out')
    for wrong in (
        "'none.md'",
        "'other': 'none'",
        "'none'",
        "'../none.py'",
        ' none.png',
        "'http://a.org'",
        'any toctree',
    ):
        assert wrong in done.stderr
    assert done.returncode and done.stderr.count('WARNING') == 7, done.stderr


@cache
def sources() -> dict[str, Path]:
    folders = ('benchmarks', 'configs', 'docs', 'mmuniqrnet', 'requirements', 'tests', 'tools')
    paths = [path for folder in folders for path in (ROOT / folder).rglob('*') if '.mim' not in path.parts]
    return {f'/{path.relative_to(ROOT)}': path for path in [*paths, *ROOT.iterdir()]}


@cache
def known_options() -> set[str]:
    """Every string of the tools, the package and the tests' settings that looks like an option."""
    folders = ('/benchmarks/', '/mmuniqrnet/', '/tools/', '/tests/conftest.py')
    code = [path.read_text() for name, path in sources().items() if name.startswith(folders) and path.suffix == '.py']
    return FOREIGN_OPTIONS.union(*(re.findall(r"'(--[a-z][\w-]*)'", text) for text in code))


def name_exists(name: str) -> bool:
    """Whether it is a module or in one, or in a registry, as in ``type='mmuniqrnet.QRNetSwin'``."""
    registries = [value for value in vars(registry).values() if isinstance(value, registry.Registry)]
    return pydoc.locate(name) is not None or any(name.removeprefix('mmuniqrnet.') in known for known in registries)


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_what_the_text_names_exists(page: Page):
    for code in page.inline_code:
        for word in re.findall(r'(?<!\S)(?:\./)?([\w\-/.+{},]+?)/?[.,:]*(?!\S)', code):
            for name in words_of(word, ROOT) if '{' in word else [word]:
                ours = re.match(r'(benchmarks|configs|docs|mmuniqrnet|requirements|tests|tools)/[\w\-/.+]+$', name)
                if (ours or re.fullmatch(r'[\w\-/.+]+\.py', name)) and not name.startswith('my'):
                    assert any(path.endswith(f'/{name}') for path in sources()), f'no file {name}'
        for option in re.findall(r'(?<!\S)--[a-z][\w-]*', code):
            assert option in known_options(), f'no option {option}'
        for target in re.findall(r'^make ([a-z][\w-]*)', code):
            assert re.search(f'^{target}:', (ROOT / 'Makefile').read_text(), re.MULTILINE), f'no make {target}'
        for name in re.findall(r'\bmmuniqrnet(?:\.[A-Za-z_]\w*)+', code):
            assert name_exists(name), f'no {name} in the package'


@pytest.mark.parametrize(
    'text',
    [
        'Run `tools/nothing.py` first.',
        'Take `uniqrnet_swin-{t,xxl}_refcoco.py`.',
        '| a | b |\n|---|---|\n| `no_such_file.py` | c |',
        'Add `--no-such-option`.',
        'Type `make nonsense`.',
        'It is `mmuniqrnet.models.NoSuchThing`.',
        "It is `type='mmuniqrnet.NoSuchThing'`.",
    ],
)
def test_what_does_not_exist_is_found(text):
    with pytest.raises(AssertionError, match=r'^no '):
        test_what_the_text_names_exists(Page(ROOT / 'docs' / 'wrong.md', text))
