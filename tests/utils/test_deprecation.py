import importlib
import sys
import warnings

import pytest

from mmuniqrnet.utils.deprecation import moved_names


@pytest.fixture
def old_module(tmp_path, monkeypatch):
    """A module on the import path that has moved two names and defines one itself."""
    (tmp_path / 'old_place.py').write_text(
        'from mmuniqrnet.utils.deprecation import moved_names\n'
        'kept = 1\n'
        "__getattr__ = moved_names(__name__, {'join': 'os.path:join', 'decoder': 'json.decoder'})\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module('old_place')
    sys.modules.pop('old_place', None)


def test_an_old_name_gives_the_new_object_and_warns_at_the_caller(old_module):
    import json.decoder
    import os.path

    with pytest.warns(DeprecationWarning, match=r'old_place\.join is deprecated .* use os\.path\.join instead') as seen:
        assert old_module.join is os.path.join
    assert seen[0].filename == __file__
    with pytest.warns(DeprecationWarning, match=r'use json\.decoder instead') as seen:
        from old_place import decoder
    assert decoder is json.decoder and seen[0].filename == __file__


def test_other_names_are_not_touched(old_module):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert old_module.kept == 1
        with pytest.raises(AttributeError, match="module 'old_place' has no attribute 'gone'"):
            old_module.gone  # noqa: B018
        assert not hasattr(old_module, 'gone')


def test_nothing_is_imported_before_an_old_name_is_used():
    moved_names('somewhere', {'a': 'no_such_package.module:a'})


@pytest.mark.parametrize(
    'module, name',
    [
        ('mmuniqrnet.apis.answers', 'to_dict'),
        ('mmuniqrnet.datasets.annotations', 'InstanceStore'),
        ('mmuniqrnet.datasets.checks', 'verify_set'),
        ('mmuniqrnet.engine.balance_strategies', 'BALANCE_STRATEGIES'),
        ('mmuniqrnet.engine.balance_strategies', 'BalanceStrategy'),
    ],
)
def test_modules_that_the_documentation_named_still_have_their_names(module, name):
    old = importlib.import_module(module)
    with pytest.warns(DeprecationWarning, match=rf'{module}\.{name} is deprecated'):
        assert getattr(old, name).__module__.startswith('mm')
