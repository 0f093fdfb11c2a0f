"""The notebooks are run as pages are: their Python in this process, their commands as the shell would read them.

No Jupyter is needed for that, which would bring thirty packages. Cells that install or download are read only. The
parameters are changed as papermill does: in the cell with the tag ``parameters``.
"""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.data_trees import link_mini
from helpers.paths import MINI, needs_mini
from helpers.refer_mini import REFER_MINI
from pages import ROOT, Page
from running import run_page
from workplace import link_checkout

FOLDER = ROOT / 'docs' / 'notebooks'
PATHS = sorted(FOLDER.glob('*.ipynb'))
ADDRESS = 'https://github.com/OWNER/mmuniqrnet'
by_name = pytest.mark.parametrize('path', PATHS, ids=lambda path: path.stem)


@pytest.fixture(scope='module', autouse=True)
def conversion() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / 'docs')
        yield


def cells_of(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding='utf-8'))['cells']


def parameters_of(path: Path) -> dict:
    """Names and values of the cell with the tag ``parameters``, which may hold literals only."""
    (cell,) = (cell for cell in cells_of(path) if 'parameters' in cell['metadata'].get('tags', ()))
    tree = ast.parse(''.join(cell['source']))
    return {node.targets[0].id: ast.literal_eval(node.value) for node in tree.body}


def page_of(path: Path, **changes: object) -> Page:
    """The notebook as a page, with other parameters; ``{NAME}`` in a command is the value, as in IPython."""
    from notebook_pages import to_markdown

    values = parameters_of(path)
    assert set(changes) <= set(values)
    values |= changes
    notebook = json.loads(path.read_text(encoding='utf-8'))
    for cell in notebook['cells']:
        text = ''.join(cell['source'])
        if 'parameters' in cell['metadata'].get('tags', ()):
            text = '\n'.join(f'{name} = {value!r}' for name, value in values.items())
        elif text.startswith('!'):
            text = re.sub(r'\{(\w+)\}', lambda found: str(values[found[1]]), text)
        cell['source'] = [text]
    return Page(path, to_markdown(json.dumps(notebook)))


@by_name
def test_it_is_stored_without_outputs_and_opens_in_colab(path):
    cells = cells_of(path)
    for cell in cells:
        if cell['cell_type'] == 'code':
            assert not cell['outputs'] and cell['execution_count'] is None
    assert len({cell['id'] for cell in cells}) == len(cells)
    badge = f'https://colab.research.google.com/github/OWNER/mmuniqrnet/blob/main/docs/notebooks/{path.name}'
    assert badge in ''.join(cells[0]['source'])


@by_name
def test_first_code_cell_installs_what_setup_offers(path):
    first, *others = (cell for cell in cells_of(path) if cell['cell_type'] == 'code')
    assert first['metadata']['tags'] == ['install']
    text = ''.join(first['source'])
    assert f'git clone --quiet --depth 1 {ADDRESS}\n' in text
    extras = re.search(r"pip install --quiet '\.\[(.+)\]'", text)[1].split(',')
    assert all(f"    '{extra}': [" in (ROOT / 'setup.py').read_text() for extra in extras)
    assert not [cell for cell in others if 'install' in cell['metadata'].get('tags', ())]


@pytest.mark.filterwarnings('ignore:the model .* does not know:UserWarning')
def test_ask_a_picture(tmp_path, capsys):
    link_checkout(tmp_path)
    run_page(page_of(FOLDER / 'ask.ipynb', EXPRESSIONS=['only heart', 'lowest red shape']), tmp_path)
    said = capsys.readouterr().out
    assert said.count('\n') == 4 and 'lowest red shape [' in said
    assert "unknown words: ['woman', 'with']" in said and 'refused: True' in said


def test_own_data_can_be_run(tmp_path):
    link_checkout(tmp_path)
    run_page(page_of(FOLDER / 'own_data.ipynb'), tmp_path, read_only=True)


@pytest.mark.slow
def test_own_data(tmp_path, capsys):
    """Two iterations, with all commands; what sixty do is tested with the tutorial."""
    link_checkout(tmp_path)
    options = ['train_cfg.val_interval=2', 'train_dataloader.batch_size=2', 'default_hooks.checkpoint.interval=2']
    run_page(page_of(FOLDER / 'own_data.ipynb', SCENES=2, MAX_ITERS=2), tmp_path, {'tools/train.py': options})
    line = json.loads((tmp_path / 'my' / 'train.jsonl').read_text().splitlines()[0])
    assert f'true box: {line["bbox"]}' in capsys.readouterr().out
    assert json.loads((tmp_path / 'work_dirs' / 'mine' / 'results.json').read_text())['rows'][0]['set'] == 'my/test'


@pytest.mark.parametrize(
    'source', [REFER_MINI, pytest.param(MINI, marks=[needs_mini, pytest.mark.slow])], ids=['made', 'real']
)
def test_evaluate_refcoco(source, tmp_path, capsys):
    link_checkout(tmp_path)
    link_mini(tmp_path / 'data', source)
    run_page(page_of(FOLDER / 'evaluate_refcoco.ipynb', SPLIT='val'), tmp_path)
    said = capsys.readouterr().out
    count = int(re.search(r'val: (\d+) expressions on \d+ images, 0 of them', said)[1])
    (row,) = json.loads((tmp_path / 'work_dirs' / 'refcoco' / 'results.json').read_text())['rows']
    assert row['set'] == 'refcoco/val' and row['N'] == count
    assert f'{row["Acc@0.5"]:.2f}' in said or f'{row["Acc@0.5"]:.1f}' in said
