"""What a part of a config takes: the class or function that its ``type`` names, and the names of its arguments."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from mmengine.hooks import CheckpointHook
from mmengine.registry import Registry
from mmengine.runner import Runner
from torch import nn

from mmuniqrnet import registry as ours
from mmuniqrnet.utils.deprecation import moved_arguments

Part = Callable[..., Any]

REGISTRIES = tuple(value for value in vars(ours).values() if isinstance(value, Registry))
# The key of a config below which types are looked up in these registries; the last such key of a path counts.
PLACES: dict[str, tuple[Registry, ...]] = {
    'model': (ours.MODELS, ours.TASK_UTILS),
    'data_preprocessor': (ours.MODELS,),
    'init_cfg': (ours.WEIGHT_INITIALIZERS,),
    'train_dataloader': (ours.DATASETS,),
    'val_dataloader': (ours.DATASETS,),
    'test_dataloader': (ours.DATASETS,),
    'sampler': (ours.DATA_SAMPLERS,),
    'batch_sampler': (ours.DATA_SAMPLERS,),
    'collate_fn': (ours.FUNCTIONS,),
    'worker_init_fn': (ours.FUNCTIONS,),
    'pipeline': (ours.TRANSFORMS,),
    'transforms': (ours.TRANSFORMS,),
    'val_evaluator': (ours.METRICS, ours.EVALUATOR),
    'test_evaluator': (ours.METRICS, ours.EVALUATOR),
    'optim_wrapper': (ours.OPTIM_WRAPPERS,),
    'optimizer': (ours.OPTIMIZERS,),
    'param_scheduler': (ours.PARAM_SCHEDULERS,),
    'train_cfg': (ours.LOOPS,),
    'val_cfg': (ours.LOOPS,),
    'test_cfg': (ours.LOOPS,),
    'default_hooks': (ours.HOOKS,),
    'custom_hooks': (ours.HOOKS,),
    'strategy': (ours.BALANCE_STRATEGIES,),
    'visualizer': (ours.VISUALIZERS,),
    'vis_backends': (ours.VISBACKENDS,),
    'log_processor': (ours.LOG_PROCESSORS,),
    'model_wrapper_cfg': (ours.MODEL_WRAPPERS,),
}
# What mmengine or mmcv takes out of the dict before it builds the part.
TAKEN_BEFORE: dict[str, set[str]] = {
    'optim_wrapper': {'constructor', 'paramwise_cfg'},
    'param_scheduler': {'convert_to_iter_based'},
    'default_hooks': {'priority'},
    'custom_hooks': {'priority'},
    'init_cfg': {'override'},
    'norm_cfg': {'eps', 'requires_grad'},
}
NOT_ARGUMENTS = {'type', '_scope_', '_delete_'}


def find_part(kind: str | Part, place: Sequence[str] = (), scope: str = 'mmuniqrnet') -> Part | None:
    """The class or function that ``type=kind`` means at a place in a config.

    Args:
        kind: A name, with or without a scope (``'mmdet.L1Loss'``), or the class or function itself.
        place: Keys on the way to the dict whose ``type`` it is, without those that index a list.
        scope: Scope of names that have none.

    Returns:
        What the registries of this place know by this name, or any registry; None if it is not found.
    """
    if not isinstance(kind, str):
        return kind if callable(kind) else None
    likely = next((PLACES[key] for key in reversed(place) if key in PLACES), ())
    for registry in (*likely, *REGISTRIES):
        found = _look_up(registry, kind, scope)
        if found is not None:
            return found
    return None


def arguments_of(config: Mapping[str, Any], place: Sequence[str] = (), scope: str = 'mmuniqrnet') -> set[str] | None:
    """The keys that a dict with a ``type`` may have, apart from ``type`` itself.

    ``**kwargs`` are followed to where they are known to go: into the base classes, if ``__init__`` passes them on; to
    the part that another argument names (``resize_type='ReferResize'``).

    Args:
        config: The dict.
        place: Keys on the way to it, without those that index a list.
        scope: Scope of a type that has none.

    Returns:
        Names of arguments; None if the part is not found, or takes names that can not be known.
    """
    part = find_part(config['type'], place, scope)
    if part is None:
        return None
    known, is_open = _parameters(part)
    if is_open:
        others = _arguments_of_named_parts(known, config, place, scope)
        if inspect.isclass(part) and issubclass(part, CheckpointHook):
            others = set(inspect.signature(Runner.save_checkpoint).parameters)
        if others is None:
            return None
        known = known | dict.fromkeys(others)
    owner = 'default_hooks' if 'default_hooks' in place else place[-1] if place else ''
    return set(known) - {'self'} | TAKEN_BEFORE.get(owner, set())


def _look_up(registry: Registry, kind: str, scope: str) -> Part | None:
    try:
        if registry.parent is None:
            return registry.get(kind)
        with registry.switch_scope_and_registry(scope) as found:
            return found.get(kind)
    # A package that is not installed, or no such name in it: mmengine says so when it builds the part.
    except (ImportError, RuntimeError):
        return None


def _parameters(part: Part) -> tuple[dict[str, Any], bool]:
    """Names and defaults of what a part takes, its base classes included, and whether it takes any other name too."""
    known: dict[str, Any] = {}
    makers = (
        # nn.Module takes nothing; torch.compile puts a wrapper in the place of its __init__
        [vars(base)['__init__'] for base in part.__mro__ if '__init__' in vars(base) and base is not nn.Module]
        if inspect.isclass(part)
        else [part]
    )
    for maker in makers:
        if maker is object.__init__:
            return known, False
        try:
            parameters = inspect.signature(maker).parameters.values()
        except (TypeError, ValueError):  # written in C
            return known, True
        for parameter in parameters:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                known.setdefault(parameter.name, parameter.default)
        rest = next((parameter.name for parameter in parameters if parameter.kind is parameter.VAR_KEYWORD), None)
        if rest is None:
            return known, False
        use, read = _use_of(rest, maker)
        known |= {name: None for name in read if name not in known}
        if use != 'base':
            return known, use == 'other'
    return known, True


def _use_of(rest: str, maker: Part) -> tuple[Literal['base', 'none', 'other'], set[str]]:
    """What a function does with its ``**rest``, and the names that it reads from it.

    Returns:
        ``'base'`` if it passes them on to an ``__init__``, ``'none'`` if it ignores or refuses those that it does not
        read by name, ``'other'`` if it does something else with them; and the names.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(maker)))
    except (OSError, TypeError, SyntaxError):
        return 'other', set()
    is_passed_on, read = False, set()
    uses = sum(isinstance(node, ast.Name) and node.id == rest for node in ast.walk(tree))
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr='__init__'), keywords=keywords):
                is_passed_on |= any(
                    keyword.arg is None and isinstance(keyword.value, ast.Name) and keyword.value.id == rest
                    for keyword in keywords
                )
                continue
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=name), attr='get' | 'pop' | 'setdefault'),
                args=[ast.Constant(value=str(key)), *_],
            ):
                keys = {key}
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(key))):
                keys = {key}
            case ast.Call(
                func=ast.Name(id=moved_arguments.__name__), args=[_, ast.Name(id=name), _, ast.Name(id=names)]
            ):
                keys = set(maker.__globals__[names])
            case _:
                continue
        if name == rest:
            read |= keys
            uses -= 1
    return 'base' if is_passed_on else 'other' if uses else 'none', read


def _arguments_of_named_parts(
    known: Mapping[str, Any], config: Mapping[str, Any], place: Sequence[str], scope: str
) -> set[str] | None:
    """Arguments of the part that ``ema_type``, ``resize_type`` and the like name; None if there is none."""
    for name, default in known.items():
        kind = config.get(name, default)
        if name.endswith('_type') and isinstance(kind, str):
            return arguments_of(dict(type=kind), place, scope)
    return None
