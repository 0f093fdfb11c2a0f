"""The real expressions of ../shared/data, as typed."""

import json
from functools import cache

import pytest

from mmuniqrnet.datasets.annotation_files import load_refs

from .paths import SHARED_DATA

needs_expressions = pytest.mark.skipif(
    not all((SHARED_DATA / name).is_dir() for name in ('refcoco_boxes', 'referitgame')),
    reason='needs ../shared/data: refcoco_boxes, referitgame',
)


@cache
def real_expressions() -> dict[str, list[str]]:
    """About 163,000 expressions, by the name of their data set."""
    refs = {
        name: load_refs(str(SHARED_DATA / 'refcoco_boxes' / name / 'refs(unc).p')) for name in ('refcoco', 'refcoco+')
    }
    texts = {name: [one['raw'].strip() for ref in some for one in ref['sentences']] for name, some in refs.items()}
    queries = (
        json.loads(path.read_text()) for path in sorted((SHARED_DATA / 'referitgame').glob('referit_query_*.json'))
    )
    return texts | {'referit': [text for one in queries for some in one.values() for text in some]}
