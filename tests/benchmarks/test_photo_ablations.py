"""The rows of the ablation on photographs are the models that their titles say, and every loss is balanced."""

import re
import sys
from pathlib import Path

import pytest
import torch
from helpers.photo_parts import make_photo_parts
from helpers.tiny_model import batch_of, item, rectangle

from mmuniqrnet.models.layers import SpatialGate
from mmuniqrnet.registry import HOOKS, MODELS
from mmuniqrnet.utils.errors import UserError

pytestmark = pytest.mark.usefixtures('mmuniqrnet_scope')
FOLDER = Path(__file__).parents[2] / 'benchmarks' / 'ablations'
MASK = rectangle(48, 64, 8, 4, 24, 20)
ITEMS = [
    item(boxes=[[8.0, 4.0, 24.0, 20.0]], masks=[MASK], seed=1),
    item(boxes=[[8.0, 4.0, 24.0, 20.0]], masks=[0 * MASK], has_box=True, has_mask=False, seed=2),
]


@pytest.fixture(scope='module')
def photos():
    sys.path.insert(0, str(FOLDER))
    import photos

    yield photos
    sys.path.remove(str(FOLDER))
    for name in ('photos', 'rows'):
        sys.modules.pop(name)


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('photographs')
    make_photo_parts(folder / 'photo_parts')
    return folder


def check_of_row(name: str, model, hooks: list) -> None:
    gates = [module for module in model.modules() if isinstance(module, SpatialGate)]
    assert bool(gates) == (name != 'gates-none')
    assert (model.head.encoder.place_proj is None) == (name == 'no-place')
    if name.startswith('fixed-'):
        weights = {'box': float(name.removeprefix('fixed-')), 'mask': 1.0, 'aux': 1.0}
        assert hooks[0].strategy.weights == weights
    if hooks:
        tasks = {'masks': 2, 'joint-plain': 2, 'uncertainty-two': 2}.get(name, 3)
        assert len(hooks[0].tasks) == tasks


def test_rows_train_what_they_say(photos, data_dir, tmp_path):
    losses_of, kinds = {}, {}
    for name in photos.ROWS:
        cfg = photos.config_of(name, 2, 40, data_dir, Path('start.pth'), tmp_path)
        assert cfg.train_cfg.max_iters == 40 and cfg.randomness.seed == 2 and cfg.load_from == 'start.pth'
        cfg.model.head.deep_supervision = False  # of no interest here, and half of the time
        model = MODELS.build(cfg.model).train()
        data = model.data_preprocessor(batch_of(ITEMS), training=True)
        losses = model.loss(data['inputs'], data['data_samples'])
        assert all(torch.isfinite(loss) for loss in losses.values()), name
        losses_of[name] = {re.sub(r'(backbone|neck)\d', r'\1', loss) for loss in losses}
        hooks = [HOOKS.build(hook) for hook in cfg.custom_hooks]
        for hook in hooks:
            hook._assign(losses)
            assert {loss for loss in losses if hook._find_task(loss) is None} == {'loss_score'}, name
        check_of_row(name, model, hooks)
        kinds[name] = type(hooks[0].strategy).__name__ if hooks else None
    whole = losses_of['joint']
    assert whole == {
        *('loss_box_l1', 'loss_box_giou', 'loss_mask_bce', 'loss_mask_dice', 'loss_score'),
        *('loss_aux_backbone', 'loss_aux_neck'),
    }
    assert losses_of['boxes'] == {'loss_box_l1', 'loss_box_giou', 'loss_score'}
    assert losses_of['masks'] == {loss for loss in whole if 'box' not in loss}
    assert losses_of['joint-plain'] == {loss for loss in whole if 'aux' not in loss}
    assert losses_of['extent'] == whole | {'loss_mask_extent'}
    assert losses_of['refined'] == whole | {'loss_box_refined_l1', 'loss_box_refined_giou'}
    assert losses_of['refined-extent'] == losses_of['refined'] | losses_of['extent']
    assert losses_of['dense'] == whole | {'loss_box_choice'}
    assert losses_of['dense-extent'] == losses_of['dense'] | losses_of['extent']
    same = [name for name, losses in losses_of.items() if losses == whole]
    others = {'boxes', 'masks', 'joint-plain', 'extent', 'dense', 'dense-extent', 'refined', 'refined-extent'}
    assert set(same) == set(photos.ROWS) - others
    assert kinds['boxes'] is None and len({kinds['fixed-1'], kinds['magnitude'], kinds['joint']}) == 3


def test_the_table_has_means_and_deviations_over_seeds(photos, tmp_path):
    for seed, accuracy in ((0, 30.0), (1, 34.0)):
        metrics = {'photos/val/Acc@0.5': accuracy, 'photos_several/val/Acc@0.5': 20.0}
        content = dict(row='boxes', seed=seed, iterations=600, metrics=metrics)
        photos.result_file('boxes', seed, tmp_path).write_text(photos.json.dumps(content))
    (line,) = photos.table(tmp_path).splitlines()[2:]
    cells = [cell.strip() for cell in line.strip('|').split('|')]
    assert cells == ['`boxes`', photos.ROWS['boxes'][0], '600', '32.0 ± 2.8', '', '20.0 ± 0.0', '', '2']


def test_a_result_of_another_training_is_not_taken_for_this_one(photos, tmp_path):
    result = photos.result_file('joint', 0, tmp_path)
    assert not photos.is_finished(result, 600, 'abc')
    result.write_text(photos.json.dumps(dict(row='joint', seed=0, iterations=600, start='abc', metrics={})))
    assert photos.is_finished(result, 600, 'abc')
    for other in ((200, 'abc'), (600, 'def')):
        with pytest.raises(UserError, match='of 600 iterations from the start abc'):
            photos.is_finished(result, *other)


@pytest.mark.parametrize('name', ['results-photos', 'results-photos-seeds'])
def test_shipped_results_have_one_start_and_length(name, photos):
    contents = [photos.json.loads(path.read_text()) for path in (FOLDER / name).glob('*.json')]
    assert contents and len({(content['iterations'], content['start']) for content in contents}) == 1


@pytest.mark.parametrize('name, mark', [('results-photos', 'ablations'), ('results-photos-seeds', 'seeds')])
def test_docs_have_the_table_of_the_results(name, mark, photos):
    page = (FOLDER.parents[1] / 'docs' / 'photos.md').read_text()
    start, end = f'<!-- photo {mark} -->\n', f'\n<!-- end photo {mark} -->'
    assert page.partition(start)[2].partition(end)[0] == photos.table(FOLDER / name).strip()
