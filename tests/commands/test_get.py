import json
import tarfile

import numpy as np
import pytest
from helpers.corrected_samples import ref_l4_rows, refcoco_m_rows, review, write_rows
from helpers.hub_samples import small_rows, write_parquet
from PIL import Image

from mmuniqrnet.cli import main
from mmuniqrnet.datasets import RefCOCOMDataset, RefL4Dataset


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return end.value.code


def test_counts_are_compared_and_missing_images_named(tmp_path, capsys):
    write_parquet(small_rows(), tmp_path / 'hub')
    assert run('get', 'refcoco', '--from', tmp_path / 'hub', '--out', tmp_path / 'data') == 1
    told = capsys.readouterr().out
    assert '4 / 10834' in told and 'val has 2 refs, officially 3,811' in told and 'split testA is missing' in told
    assert 'coco/train2014/: get it from COCO, https://cocodataset.org' in told
    assert 'exists already' in run('get', 'refcoco', '--from', tmp_path / 'hub', '--out', tmp_path / 'data')


def test_misuse_is_one_sentence(tmp_path, capsys):
    assert '--revision is of the hub' in run('get', 'refcoco', '--from', tmp_path, '--revision', 'main')
    assert 'there is no parquet file' in run('get', 'refcoco+', '--from', tmp_path)


@pytest.fixture
def hub(tmp_path):
    """The files of RefCOCO-M and of Ref-L4 as they are in their repositories, and their image."""
    picture = tmp_path / 'coco' / 'COCO_train2014_000000000003.jpg'
    picture.parent.mkdir()
    Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(picture)
    content = dict(
        images=[dict(id=3, file_name=picture.name, height=40, width=60)],
        annotations=[dict(id=70, image_id=3, bbox=[10.0, 5.0, 20.0, 30.0], segmentation=[[10, 5, 30, 5, 30, 35]])],
    )
    sentences = [dict(sent_id=1, raw='Dog!', sent='dog'), dict(sent_id=2, raw='The dog', sent='the dog')]
    refs = [dict(ref_id=0, ann_id=70, image_id=3, split='val', sentences=sentences)]
    rows = refcoco_m_rows(refs, content, picture.parent)
    write_rows(tmp_path / 'refcoco-m' / 'data' / 'validation-00000-of-00001.parquet', rows)
    for first, split in enumerate(('val', 'test')):
        write_rows(tmp_path / 'ref-l4' / f'ref-l4-{split}.parquet', ref_l4_rows(refs, content, split, 2 * first))
    (tmp_path / 'ref-l4' / 'refcocos_annotation_reviewed').mkdir()
    reviewed = tmp_path / 'ref-l4' / 'refcocos_annotation_reviewed' / 'refcoco_val_reviewed.json'
    reviewed.write_text(json.dumps(review(refs, {2})))
    with tarfile.open(tmp_path / 'ref-l4' / 'images.tar.gz', 'w:gz') as tar:
        tar.add(picture, picture.name)
        tar.add(picture, '../outside.jpg')
    return tmp_path


def test_refcoco_m_is_placed_counted_and_its_images_written(hub, capsys):
    assert run('get', 'refcoco-m', '--from', hub / 'refcoco-m', '--out', hub / 'data', '--images') == 1
    told = capsys.readouterr().out
    assert [line.split()[-3:] for line in told.splitlines() if line.startswith('RefCOCO-M')] == [
        ['images', '1', '1190'],
        ['objects', '1', '2080'],
        ['expressions', '2', '5598'],
    ]
    assert '1 images written, 0 were there' in told
    dataset = RefCOCOMDataset(data_root=str(hub / 'data' / 'refcoco-m'), data_prefix=dict(img_path='images'))
    assert len(dataset) == 2
    (written,) = (hub / 'data' / 'refcoco-m' / 'images').iterdir()
    assert written.read_bytes() == (hub / 'coco' / written.name).read_bytes()
    source = json.loads((hub / 'data' / 'refcoco-m' / 'source.json').read_text())
    assert list(source['sha256']) == ['validation-00000-of-00001.parquet']
    assert 'exists already' in run('get', 'refcoco-m', '--from', hub / 'refcoco-m', '--out', hub / 'data')


def test_ref_l4_is_placed_with_its_reviews(hub, capsys):
    assert run('get', 'ref-l4', '--from', hub / 'ref-l4', '--out', hub / 'data') == 1
    told = capsys.readouterr().out
    assert 'unpack images.tar.gz of the repository there' in told
    rows = [line.split()[-3:] for line in told.splitlines() if 'expressions' in line or 'wrong' in line]
    assert rows == [['expressions', '4', '45341'], ['expressions', '2', '21586'], ['wrong', '1', '3054']]
    run('get', 'ref-l4', '--from', hub / 'ref-l4', '--out', hub / 'data', '--images', '--overwrite')
    images = hub / 'data' / 'ref-l4' / 'images'
    assert [path.name for path in images.iterdir()] == ['COCO_train2014_000000000003.jpg']
    assert len(RefL4Dataset(data_root=str(images.parent), data_prefix=dict(img_path='images'))) == 4


def test_misuse_of_the_corrected_sets_is_one_sentence(hub):
    assert 'has no *.parquet, the files of moondream/refcoco-m' in run('get', 'refcoco-m', '--from', hub / 'coco')
    assert 'there is no such folder' in run('get', 'ref-l4', '--from', hub / 'gone')
    assert '--images is for refcoco-m and ref-l4' in run('get', 'refcoco', '--images')
    (hub / 'ref-l4' / 'images.tar.gz').write_bytes(b'web page')
    said = run('get', 'ref-l4', '--from', hub / 'ref-l4', '--out', hub / 'data', '--images')
    assert 'images.tar.gz cannot be read' in said
