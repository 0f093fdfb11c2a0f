"""The tutorial on fine-tuning the model for photographs, run word for word."""

import json
from pathlib import Path

import pytest
from pages import ROOT, Page
from running import run_page
from workplace import link_checkout

PAGE = Page(ROOT / 'docs' / 'tutorials' / 'photographs.md')


def test_every_block_can_be_run(tmp_path):
    """`make test` reads it, `make test-slow` runs it."""
    link_checkout(tmp_path)
    run_page(PAGE, tmp_path, read_only=True)


@pytest.mark.slow
def test_fine_tuning_improves_boxes(tmp_path):
    link_checkout(tmp_path)
    run_page(PAGE, tmp_path)
    before, after = (
        json.loads((tmp_path / 'work_dirs' / name / 'results.json').read_text()) for name in ('before', 'after')
    )
    (first,), (second,) = before['rows'], after['rows']
    expressions = [json.loads(line)['expressions'] for line in (tmp_path / 'my_photos' / 'val.jsonl').open()]
    assert first['set'] == second['set'] == 'photos/val'
    assert first['N'] == second['N'] == sum(map(len, expressions))
    assert second['box_mIoU'] > first['box_mIoU'] + 2
    assert Path(tmp_path / 'my_photos' / 'mine.safetensors').stat().st_size < 24e6
