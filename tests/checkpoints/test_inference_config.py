from pathlib import Path

import pytest
from mmengine.config import Config

from mmuniqrnet.checkpoints.carried_config import inference_config
from mmuniqrnet.utils.errors import UserError

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
LOAD, PACK = dict(type='LoadImageFromFile'), dict(type='PackReferInputs')


@pytest.mark.parametrize(
    'name',
    [
        'eval_all_uniqrnet_swin-b',
        'uniqrnet_swin-nano_refshapes',
        'qrnet_swin-s_refcoco',
        'uniqrnet_query-modulated-r50_refcoco',
    ],
)
def test_a_config_keeps_its_model_and_pipeline_and_no_path(name):
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    kept = inference_config(cfg)
    assert kept.model.type == cfg.model.type and kept.model.head == cfg.model.head
    dataset = cfg.test_dataloader.dataset
    pipeline = (dataset.datasets[0] if 'datasets' in dataset else dataset).pipeline
    assert kept.test_dataloader.dataset.pipeline == pipeline
    again = Config.fromstring(kept.pretty_text, file_format='.py')
    assert again.to_dict() == kept.to_dict() and again.default_scope == 'mmuniqrnet'
    assert 'data/' not in kept.pretty_text and '://' not in kept.pretty_text


def test_checkpoints_to_begin_from_are_left_out_wherever_they_stand():
    start, scheme = dict(type='Pretrained', checkpoint='x.pth'), dict(type='Xavier', layer='Conv2d')
    model = dict(
        type='A',
        backbone=dict(init_cfg=start, body=dict(type='TimmBackbone', pretrained=True, checkpoint='z.pth')),
        neck=dict(init_cfg=[scheme]),
        heads=[dict(init_cfg=[start])],
        pretrained='y.pth',
    )
    kept = inference_config(dict(model=model, test_dataloader=dict(dataset=dict(pipeline=[LOAD, PACK]))))
    assert kept.model.to_dict() == dict(
        type='A', backbone=dict(body=dict(type='TimmBackbone')), neck=dict(init_cfg=[scheme]), heads=[{}]
    )


def test_the_threshold_of_refusal_is_kept():
    loader = dict(dataset=dict(pipeline=[LOAD, PACK]))
    cfg = dict(
        model=dict(type='A'),
        test_dataloader=loader,
        test_evaluator=[dict(type='X'), dict(type='ReferringMetric', refuse_below=0.3, outfile_prefix='/a/b')],
    )
    assert inference_config(cfg).test_evaluator.to_dict() == dict(type='ReferringMetric', refuse_below=0.3)
    assert 'test_evaluator' not in inference_config(dict(model=dict(type='A'), test_dataloader=loader))
    cfg['test_evaluator'][0]['refuse_below'] = 0.4
    with pytest.raises(UserError, match=r'different scores \[0.3, 0.4\]'):
        inference_config(cfg)


@pytest.mark.parametrize(
    'cfg, words',
    [
        (dict(test_dataloader=dict(dataset=dict(pipeline=[LOAD]))), 'has no model'),
        (dict(model=dict(type='A')), 'has no test_dataloader.dataset.pipeline'),
        (
            dict(
                model=dict(type='A'),
                test_dataloader=dict(
                    dataset=dict(datasets=[dict(pipeline=[LOAD]), dict(dataset=dict(pipeline=[LOAD, PACK]))])
                ),
            ),
            'the 2 data sets of test_dataloader have different pipelines',
        ),
    ],
)
def test_what_a_config_needs(cfg, words):
    with pytest.raises(UserError, match=words):
        inference_config(cfg)
