"""Hooks that wait for the best value of a metric, and whether more or less of it is better."""

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.hooks import CheckpointHook, EarlyStoppingHook

from mmuniqrnet.utils.errors import UserError

# Per hook: its class, and its options on which the rule depends; the first names the metric.
WAITING = {
    'CheckpointHook': (CheckpointHook, ('save_best', 'rule', 'greater_keys', 'less_keys')),
    'EarlyStoppingHook': (EarlyStoppingHook, ('monitor', 'rule')),
}


def check_best_rules(cfg: Config) -> None:
    """Refuse a ``save_best`` or ``monitor`` of which mmengine cannot tell whether more or less is better.

    mmengine guesses the rule from the metric's name (``acc``, ``mIoU``, ...), and raises where it cannot.

    Raises:
        UserError: There is such a metric, or a rule other than ``'greater'`` and ``'less'``.
    """
    for place, hook in _hooks(cfg.to_dict()):
        cls, options = WAITING.get(str(hook.get('type')).removeprefix('mmengine.'), (None, ()))
        given = {name: hook[name] for name in options if name in hook}
        if cls is None or given.get(options[0]) is None:
            continue
        try:
            cls(**given)
        except (ValueError, KeyError):
            raise UserError(
                f'{place}.{options[0]}={given[options[0]]!r} with rule={given.get("rule")!r}: mmengine cannot tell '
                f"whether more or less of it is better; set {place}.rule to 'greater', or to 'less' for a metric such "
                'as ECE (for a list of metrics: one rule for all, or a list of rules).'
            ) from None


def _hooks(cfg: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The place and the config of each hook."""
    named = cfg.get('default_hooks') or {}
    places = [(f'default_hooks.{name}', hook) for name, hook in named.items()]
    places += [(f'custom_hooks.{number}', hook) for number, hook in enumerate(cfg.get('custom_hooks') or ())]
    return ((place, hook) for place, hook in places if isinstance(hook, Mapping))
