"""Options on top of a config, as ``--cfg-options`` gives them: refused where they could have no effect."""

import copy
import inspect
import warnings
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmuniqrnet.utils.errors import UserError

from .arguments import NOT_ARGUMENTS, arguments_of

Keys = tuple[str, ...]

# What mmengine's Runner and the tools read of a config, whether or not the config sets it.
READ_KEYS = set(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'} | {
    'activation_checkpointing',
    'compile',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'runner_type',
    'sync_bn',
}
LOADER_KEYS = set(inspect.signature(DataLoader.__init__).parameters) - {'self'} | {
    'dataset',
    'disable_subprocess_warning',
    'num_batch_per_epoch',
}
# Dicts without a type all of whose keys are known.
KEYS_OF: dict[str, set[str]] = {
    'train_dataloader': LOADER_KEYS,
    'val_dataloader': LOADER_KEYS,
    'test_dataloader': LOADER_KEYS,
    'randomness': set(inspect.signature(Runner.set_randomness).parameters) - {'self'},
    'auto_scale_lr': {'enable', 'base_batch_size'},
    'env_cfg': {'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'},
}
# Hooks that a Runner has by default.
RUNNER_HOOKS = {'runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint'}
# Variables that configs had, which changed nothing when they were set from outside.
INSTEAD_OF = dict(
    pretrained=['model.backbone.init_cfg.checkpoint'],
    text_model=['model.text_encoder.model'],
    num_tokens=['model.text_encoder.max_length', 'model.head.encoder.num_text_tokens'],
)


def merge_options(cfg: Config, options: Mapping[str, Any]) -> None:
    """Merge options into a config, in place.

    Args:
        cfg: The config.
        options: Values by dotted key, such as ``{'model.backbone.with_cp': True, 'custom_hooks.0.strategy': 'dwa'}``. A
            value may be a dict, which is merged.

    Raises:
        UserError: If an option's first key is unknown, if it adds an argument that a part of the config does not take,
            or if it goes below what has no keys. The config is then unchanged.
    """
    leaves = dict(_leaves(options))
    before = cfg.to_dict()
    for path in leaves:
        _check_first_key(path, leaves, before)
        _check_place(path, leaves, before)
    merged = copy.deepcopy(cfg)
    merged.merge_from_dict(copy.deepcopy(dict(options)))
    after = merged.to_dict()
    for path in leaves:
        _check_arguments(path, leaves, before, after)
    for name in dict.fromkeys(path[0] for path in leaves):
        if name not in READ_KEYS:
            warnings.warn(
                f'{name} is a variable of the config file: mmengine has already copied its value to the places that '
                'use it, and the option does not change them.',
                stacklevel=3,
            )
    cfg.merge_from_dict(copy.deepcopy(dict(options)))


def _leaves(options: Mapping[str, Any], above: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    for key, value in options.items():
        path = above + tuple(str(key).split('.'))
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, path)
        else:
            yield path, value


def _said(path: Keys, leaves: Mapping[Keys, Any]) -> str:
    return f'option {".".join(path)}={leaves[path]}'


def _nearest(name: str, known: Collection[str]) -> str:
    found = get_close_matches(name, sorted(known), n=1, cutoff=0)
    return f'; the nearest name is {found[0]!r}' if found else ''


def _check_first_key(path: Keys, leaves: Mapping[Keys, Any], config: Mapping[str, Any]) -> None:
    name = path[0]
    known = READ_KEYS | set(config)
    if name in known:
        return
    instead = [place for place in INSTEAD_OF.get(name, ()) if _value_at(place, config) is not None]
    below = [place for place in _places_of(name, config) if place.partition('.')[0] in READ_KEYS]
    if instead:
        hint = f'; set {" and ".join(instead)}'
    elif below:
        hint = f'; set {" or ".join(below[:3])}'
    else:
        hint = _nearest(name, known)
    raise UserError(f'{_said(path, leaves)}: the config has no {name!r}{hint}.')


def _places_of(name: str, node: Any, above: str = '') -> Iterator[str]:
    """Dotted keys that end with a name."""
    items = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list | tuple) else ()
    for key, value in items:
        if key == name:
            yield f'{above}{key}'
        yield from _places_of(name, value, f'{above}{key}.')


def _value_at(place: str, node: Any) -> Any:
    for key in place.split('.'):
        if not isinstance(node, Mapping) or key not in node:
            return None
        node = node[key]
    return node


def _check_place(path: Keys, leaves: Mapping[Keys, Any], config: Mapping[str, Any]) -> None:
    """Refuse an option that mmengine can not merge."""
    said = _said(path, leaves)
    node: Any = config
    for depth, key in enumerate(path):
        above = path[:depth]
        where = '.'.join(above)
        if above in leaves:
            raise UserError(f'{said} and {_said(above, leaves)} contradict each other; give one of them.')
        if depth and leaves.get((*above, '_delete_')):
            return  # what is there is replaced
        if isinstance(node, Mapping):
            if key not in node:
                return
            node = node[key]
        elif isinstance(node, list):
            whole = f'set {where} as a whole'
            if not key.isdigit() or int(key) >= len(node):
                entries = f'the entries 0 to {len(node) - 1}' if node else 'no entries'
                raise UserError(f'{said}: {where} is a list with {entries}, and has no {key!r}; {whole}.')
            node = node[int(key)]
            if path[depth + 1 :] in ((), ('_delete_',)) or not isinstance(node, Mapping | list):
                raise UserError(f'{said}: one entry of the list {where} can not be replaced; {whole}.')
        else:
            by_a_dict = f', or put a dict there with {where}._delete_=True' if isinstance(node, str | None) else ''
            raise UserError(
                f'{said}: {where} is {node!r} in the config, which has no keys; set {where} as a whole{by_a_dict}.'
            )
    if isinstance(node, Mapping) and 'type' in node and isinstance(leaves[path], str | int | float):
        place = '.'.join(path)
        raise UserError(f'{said}: {place} is a dict with a type; set {place}.type, or another key of it.')


def _check_arguments(
    path: Keys, leaves: Mapping[Keys, Any], before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    """Refuse a key that an option added and that the part it belongs to does not take."""
    said = _said(path, leaves)
    scope = after.get('default_scope') or 'mmengine'
    old: Any = before
    new: Any = after
    for depth, key in enumerate(path):
        place = tuple(step for step in path[:depth] if not step.isdigit())
        if isinstance(new, Mapping):
            scope = new.get('_scope_') or scope
            known = KEYS_OF.get(place[0]) if len(place) == 1 else None
            name = '.'.join(path[:depth])
            added = {key} if key in new and not _has(old, key) else set()
            if place == ('default_hooks',):
                _check_hook(key, old or {}, new, said)
            if 'type' in new:
                known = arguments_of(new, place, scope)
                name = new['type'] if isinstance(new['type'], str) else new['type'].__name__
                if not _has(old, 'type') or old['type'] != new['type']:
                    added = set(new)
            unknown = [] if known is None else sorted(added - known - NOT_ARGUMENTS)
            if unknown:
                wrong = (*path[:depth], unknown[0])
                if wrong in leaves or wrong == path[: depth + 1]:
                    hint = _nearest(unknown[0], known or ())
                else:
                    hint = f', which the config sets; add {".".join(path[:depth])}._delete_=True to drop what it sets'
                raise UserError(
                    f'{_said(wrong, leaves) if wrong in leaves else said}: {name} has no argument {unknown[0]!r}{hint}.'
                )
        old, new = _below(old, key), _below(new, key)


def _check_hook(name: str, old: Mapping[str, Any], new: Mapping[str, Any], said: str) -> None:
    """Refuse to set up, or to switch off, a hook that is not there."""
    hook = new.get(name)
    if (isinstance(hook, Mapping) and 'type' not in hook) or (hook is None and name not in {*old, *RUNNER_HOOKS}):
        others = {*old, *RUNNER_HOOKS} - {name}
        raise UserError(
            f'{said}: default_hooks has no {name!r}{_nearest(name, others)}. To add a hook, set '
            f'default_hooks.{name}.type as well.'
        )


def _has(node: Any, key: str) -> bool:
    return isinstance(node, Mapping) and key in node


def _below(node: Any, key: str) -> Any:
    if isinstance(node, Mapping):
        return node.get(key)
    if isinstance(node, list) and key.isdigit() and int(key) < len(node):
        return node[int(key)]
    return None
