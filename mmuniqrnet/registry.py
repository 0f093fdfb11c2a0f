"""The registries of scope ``mmuniqrnet``, each a child of mmengine's root registry.

``locations`` name the packages that are imported on the first look-up, so ``type='mmuniqrnet.UniQRNet'`` resolves from
mmdet's, mmseg's or mmengine's registries without any import on the user's side.
"""
from mmengine import registry as root
from mmengine.registry import Registry

DATASETS = Registry('dataset', parent=root.DATASETS, scope='mmuniqrnet', locations=['mmuniqrnet.datasets'])
DATA_SAMPLERS = Registry(
    'data sampler', parent=root.DATA_SAMPLERS, scope='mmuniqrnet', locations=['mmuniqrnet.datasets'])
TRANSFORMS = Registry(
    'transform', parent=root.TRANSFORMS, scope='mmuniqrnet', locations=['mmuniqrnet.datasets.transforms'])
MODELS = Registry('model', parent=root.MODELS, scope='mmuniqrnet', locations=['mmuniqrnet.models'])
TASK_UTILS = Registry('task util', parent=root.TASK_UTILS, scope='mmuniqrnet', locations=['mmuniqrnet.engine'])
HOOKS = Registry('hook', parent=root.HOOKS, scope='mmuniqrnet', locations=['mmuniqrnet.engine'])
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=root.OPTIM_WRAPPER_CONSTRUCTORS,
    scope='mmuniqrnet',
    locations=['mmuniqrnet.engine'])
METRICS = Registry('metric', parent=root.METRICS, scope='mmuniqrnet', locations=['mmuniqrnet.evaluation'])
VISUALIZERS = Registry(
    'visualizer', parent=root.VISUALIZERS, scope='mmuniqrnet', locations=['mmuniqrnet.visualization'])
