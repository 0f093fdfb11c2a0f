"""The registries of scope ``mmuniqrnet``, each but ``BALANCE_STRATEGIES`` a child of mmengine's root registry.

``locations`` are the packages that are imported on the first look-up, so that ``type='mmuniqrnet.UniQRNet'`` works in
the registries of mmdet, mmseg and mmengine without an import by the user. Registries without a location contain nothing
of this package; they exist because mmengine warns on each look-up in a scope that does not have the registry.
"""

from typing import TypeAlias, overload

from mmengine import registry as root
from mmengine.registry import Registry
from torch import nn

from mmuniqrnet.utils.compat import allow_mmengine_checkpoints, find_mmseg_configs, silence_dependencies

# Called here because every use of this package imports this module before it reads a checkpoint or a config, or imports
# mmdet's data sets.
allow_mmengine_checkpoints()
find_mmseg_configs()
silence_dependencies()


def _child(parent: Registry, *locations: str) -> Registry:
    return Registry(parent.name, parent=parent, scope='mmuniqrnet', locations=list(locations))


DATASETS = _child(root.DATASETS, 'mmuniqrnet.datasets')
DATA_SAMPLERS = _child(root.DATA_SAMPLERS, 'mmuniqrnet.datasets')
TRANSFORMS = _child(root.TRANSFORMS, 'mmuniqrnet.datasets.transforms')
MODELS = _child(root.MODELS, 'mmuniqrnet.models')
HOOKS = _child(root.HOOKS, 'mmuniqrnet.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(root.OPTIM_WRAPPER_CONSTRUCTORS, 'mmuniqrnet.engine')
LOOPS = _child(root.LOOPS, 'mmuniqrnet.engine')
METRICS = _child(root.METRICS, 'mmuniqrnet.evaluation')
OPTIM_WRAPPERS = _child(root.OPTIM_WRAPPERS, 'mmuniqrnet.engine')
VISUALIZERS = _child(root.VISUALIZERS, 'mmuniqrnet.visualization')
WEIGHT_INITIALIZERS = _child(root.WEIGHT_INITIALIZERS, 'mmuniqrnet.checkpoints')

EVALUATOR = _child(root.EVALUATOR)
FUNCTIONS = _child(root.FUNCTIONS)
LOG_PROCESSORS = _child(root.LOG_PROCESSORS)
MODEL_WRAPPERS = _child(root.MODEL_WRAPPERS)
OPTIMIZERS = _child(root.OPTIMIZERS)
PARAM_SCHEDULERS = _child(root.PARAM_SCHEDULERS)
RUNNER_CONSTRUCTORS = _child(root.RUNNER_CONSTRUCTORS)
RUNNERS = _child(root.RUNNERS)
TASK_UTILS = _child(root.TASK_UTILS)
VISBACKENDS = _child(root.VISBACKENDS)

BALANCE_STRATEGIES = Registry('loss balance strategy', scope='mmuniqrnet', locations=['mmuniqrnet.engine'])

ModuleOrConfig: TypeAlias = dict | nn.Module


@overload
def build_module(part: None) -> None: ...
@overload
def build_module(part: ModuleOrConfig) -> nn.Module: ...
def build_module(part: ModuleOrConfig | None) -> nn.Module | None:
    """Build a module from its config; a module or None is returned unchanged.

    A name of this package needs no prefix, whatever the process's default scope is.
    """
    if not isinstance(part, dict):
        return part
    if part.get('type') in MODELS.module_dict:
        part = {'_scope_': 'mmuniqrnet'} | part
    return MODELS.build(part)
