import pytest
from helpers.export_samples import CANVAS, build, small_config
from helpers.paths import ROOT

from mmuniqrnet.checkpoints.carried_config import inference_config
from mmuniqrnet.config import load_config
from mmuniqrnet.export.recipe import exported_tokenizer, predictor_settings
from mmuniqrnet.utils.errors import UserError

LOAD = dict(type='LoadImageFromFile', color_type='color_ignore_orientation')
RESIZE = dict(type='mmuniqrnet.ReferResize', scale=(CANVAS, CANVAS), keep_ratio=True)
PACK = dict(type='PackReferInputs')


@pytest.fixture(scope='module')
def model():
    return build(small_config())


def test_settings_are_those_of_pipeline_and_preprocessor(model):
    settings = predictor_settings(model, [LOAD, RESIZE, PACK], refuse_below=0.3)
    assert settings['image'] == dict(
        canvas_size=[CANVAS, CANVAS],
        placement='center',
        scale=[CANVAS, CANVAS],
        keep_ratio=True,
        channels='RGB',
        mean=pytest.approx([123.675, 116.28, 103.53]),
        std=pytest.approx([58.395, 57.12, 57.375]),
    )
    assert (settings['mask_threshold'], settings['refuse_below']) == (0.5, 0.3)
    assert settings['words'] is None and settings['made_for'] is None
    # images are turned after the loading, whatever its flag
    assert predictor_settings(model, [dict(type='LoadImageFromFile'), RESIZE, PACK])['image'] == settings['image']


@pytest.mark.parametrize('path', sorted((ROOT / 'configs').glob('*.py')), ids=lambda path: path.stem)
def test_every_config_can_be_followed(path, model):
    pipeline = inference_config(load_config(str(path))).test_dataloader.dataset.pipeline
    assert predictor_settings(model, pipeline)['image']['keep_ratio']


@pytest.mark.parametrize(
    'pipeline, message',
    [
        (
            [LOAD, RESIZE, dict(type='RandomFlipWithText', prob=1.0), PACK],
            'LoadImageFromFile, ReferResize, RandomFlipWithText, PackReferInputs',
        ),
        ([dict(LOAD, color_type='grayscale'), RESIZE, PACK], "not 'grayscale'"),
        ([dict(LOAD, to_float32=True), RESIZE, PACK], 'supports to_float32=False'),
        ([LOAD, dict(RESIZE, interpolation='area'), PACK], "interpolation='bilinear' of ReferResize, not 'area'"),
        ([LOAD, dict(type='Resize', scale_factor=2.0), PACK], 'does not support scale_factor=2.0 of Resize'),
    ],
)
def test_pipelines_that_can_not_be_followed_are_refused(pipeline, message, model):
    with pytest.raises(UserError, match=message):
        predictor_settings(model, pipeline)


def test_data_preprocessors_without_a_fixed_place_are_refused():
    cfg = small_config()
    cfg.model.data_preprocessor.test_placement = 'random'
    with pytest.raises(UserError, match='places test images at random'):
        predictor_settings(build(cfg), [LOAD, RESIZE, PACK])
    cfg.model.data_preprocessor = dict(type='mmdet.DetDataPreprocessor')
    with pytest.raises(UserError, match='the config has DetDataPreprocessor'):
        predictor_settings(build(cfg), [LOAD, RESIZE, PACK])


def test_tokenizer_cuts_and_pads_to_the_longest(model):
    theirs = model.text_encoder.tokenizer
    ours = exported_tokenizer(theirs, 8)
    for texts in (['Red', 'the red circle left of the big blue star in the middle'], ['a'], ['ünïcode 12%', 'x y']):
        expected = theirs(texts, padding=True, truncation=True, max_length=8)
        got = ours.encode_batch(texts)
        assert [e.ids for e in got] == expected['input_ids']
        assert [e.attention_mask for e in got] == expected['attention_mask']
    assert len(theirs('the red circle left of the big blue star')['input_ids']) > 8  # the model's own is not cut
