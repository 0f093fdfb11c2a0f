"""Where things are: the checkout, and the real data that a clone has no copy of."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NANO_CONFIG = ROOT / 'configs' / 'uniqrnet_swin-nano_refshapes.py'

SHARED = ROOT.parent / 'shared'
SHARED_DATA = SHARED / 'data'
MINI = SHARED_DATA / 'refcoco_mini'
needs_mini = pytest.mark.skipif(not MINI.is_dir(), reason='needs ../shared/data: refcoco_mini')
