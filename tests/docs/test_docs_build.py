"""The site builds without a warning, and what the pages and README.md name is there: files, headings, options."""

import ast
import importlib
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from doc_pages import ROOT, Page, all_pages, expand_braces

PAGES = all_pages()
# What others' tools take.
FOREIGN_OPTIONS = {'--nproc_per_node', '--no-deps', '--no-build-isolation'}


@pytest.fixture(scope='module')
def site(tmp_path_factory) -> Path:
    for name in ('sphinx', 'myst_parser', 'furo'):
        pytest.importorskip(name)
    folder = tmp_path_factory.mktemp('site')
    done = subprocess.run(
        [
            sys.executable,
            '-m',
            'sphinx',
            '-q',
            '-W',
            '--keep-going',
            '-b',
            'html',
            '-d',
            folder / 'doctrees',
            ROOT / 'docs',
            folder / 'html',
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder / 'html'


def test_site_shows_readme_pages_and_docstrings(site):
    first = (site / 'index.html').read_text()
    assert 'referring expression comprehension' in first
    for page in PAGES[1:]:
        target = Path(page.name).relative_to('docs').with_suffix('.html')
        assert (site / target).is_file()
        assert target.stem == 'index' or f'href="{target}"' in first, f"{target} is not in the first page's contents"


def test_reference_has_every_public_class_and_function(site):
    reference = (site / 'api.html').read_text()
    assert 'Multiply the losses of each task by a weight' in reference
    for package in (
        'apis',
        'checkpoints',
        'datasets',
        'datasets.checks',
        'engine',
        'evaluation',
        'models',
        'visualization',
    ):
        module = importlib.import_module(f'mmuniqrnet.{package}')
        for name in module.__all__:
            if callable(getattr(module, name)):
                assert f'id="mmuniqrnet.{package}.{name}"' in reference


def test_no_page_leads_out_of_the_site_to_a_page_of_it(site):
    """README.md and its neighbours are shown as the first page, not offered as downloads."""
    for path in site.rglob('*.html'):
        targets = re.findall(r'href="([^"]+)"', path.read_text())
        assert not [target for target in targets if '_downloads' in target and target.endswith('.md')], path.name


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Page):
    for link in page.links:
        if re.match(r'\w+:', link):
            assert link.startswith('https://'), f'{page.name}: {link}'
            continue
        name, _, anchor = link.partition('#')
        target = (page.path.parent / name).resolve() if name else page.path
        assert target.exists(), f'{page.name} links to {link}, which is not there'
        if anchor:
            assert anchor in Page(target).anchors, f'{page.name} links to {link}, a heading that is not there'


@cache
def repository_files() -> list[str]:
    folders = ('benchmarks', 'configs', 'docs', 'mmuniqrnet', 'requirements', 'tests', 'tools')
    paths = [path for folder in folders for path in (ROOT / folder).rglob('*') if '__pycache__' not in path.parts]
    paths += [path for path in ROOT.iterdir() if path.is_file()]
    return ['/' + str(path.relative_to(ROOT)) for path in paths]


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_files_named_in_the_text_are_there(page: Page):
    for word in (word for code in page.inline_code for word in code.split()):
        for name in expand_braces(word.rstrip('.,:')):
            name = name.removeprefix('./').rstrip('/')
            ours = re.match(r'(benchmarks|configs|docs|mmuniqrnet|requirements|tests|tools)/[\w\-/.+]+$', name)
            if (ours or re.fullmatch(r'[\w\-/.+]+\.py', name)) and not name.startswith('my'):
                assert any(path.endswith('/' + name) for path in repository_files()), f'{page.name} names {word}'


@cache
def known_options() -> set[str]:
    """Every string of the tools and the package that looks like an option."""
    found = set(FOREIGN_OPTIONS)
    for path in [
        *(ROOT / 'tools').rglob('*.py'),
        *(ROOT / 'benchmarks').rglob('*.py'),
        ROOT / 'tests' / 'conftest.py',
        *(path for path in (ROOT / 'mmuniqrnet').rglob('*.py') if '.mim' not in path.parts),
    ]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith('--'):
                found.add(node.value)
    return found


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_options_named_in_the_text_exist(page: Page):
    """Those in blocks of code are tried on the tools themselves, in test_code_blocks.py."""
    for code in page.inline_code:
        for option in re.findall(r'(?<!\S)--[a-z][\w-]*', code):
            assert option in known_options(), f'{page.name} names {option}'


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_names_of_the_package_in_the_text_exist(page: Page):
    for code in page.inline_code:
        for name in re.findall(r'\bmmuniqrnet(?:\.[A-Za-z_]\w*)+', code):
            assert exists(name), f'{page.name} names {name}'


def exists(name: str) -> bool:
    """Whether it is a module or in one, or stands in a registry, as in ``type='mmuniqrnet.QRNetSwin'``."""
    from mmuniqrnet import registry

    owner, _, attribute = name.rpartition('.')
    if owner == 'mmuniqrnet' and any(
        attribute in value for value in vars(registry).values() if isinstance(value, registry.Registry)
    ):
        return True
    try:
        importlib.import_module(name)
        return True
    except ImportError:
        pass
    try:
        return hasattr(importlib.import_module(owner), attribute)
    except ImportError:
        return owner.count('.') > 0 and exists(owner)


@pytest.mark.parametrize(
    'check, text',
    [
        (test_links_lead_somewhere, 'See [data](data.md#no-such-heading).'),
        (test_links_lead_somewhere, 'See [data](nowhere.md).'),
        (test_links_lead_somewhere, '![A picture](images/none.png)'),
        (test_links_lead_somewhere, 'See [this](http://example.org).'),
        (test_files_named_in_the_text_are_there, 'Run `tools/nothing.py` first.'),
        (test_files_named_in_the_text_are_there, 'Take `uniqrnet_swin-{t,xxl}_refcoco.py`.'),
        (test_options_named_in_the_text_exist, 'Add `--no-such-option`.'),
        (test_names_of_the_package_in_the_text_exist, 'It is `mmuniqrnet.models.NoSuchThing`.'),
        (test_names_of_the_package_in_the_text_exist, "It is `type='mmuniqrnet.NoSuchThing'`."),
    ],
)
def test_checks_find_what_is_wrong(check, text):
    with pytest.raises(AssertionError):
        check(Page(ROOT / 'docs' / 'wrong.md', text))
