"""Mosaics: what is on a photograph is found at its place on the mosaic."""

import json

import cv2
import numpy as np
import pytest
from helpers.tools import run_dataset_tool

from mmuniqrnet.analysis.mosaics import Cell, lay_out, move_object, write_mosaics
from mmuniqrnet.structures.masks import decode_mask, encode_mask, tight_box
from mmuniqrnet.utils.errors import UserError

SIZES = [(120, 80), (80, 120), (100, 100), (160, 60), (61, 97)]


@pytest.mark.parametrize('rows', [(2,), (1, 1), (2, 2), (1, 3, 1)])
def test_cells_fill_the_mosaic_and_keep_their_aspect(rows):
    sizes = SIZES[: sum(rows)]
    cells, (width, height) = lay_out(sizes, rows, 352)
    covered = np.zeros((height, width), dtype=int)
    for cell, (w, h) in zip(cells, sizes, strict=True):
        covered[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width] += 1
        scales = cell.width / w, cell.height / h
        assert abs(scales[0] - scales[1]) * max(w, h) <= 2  # a pixel each
    assert (covered == 1).all()
    assert abs(max(width, height) - 352) <= 1


def test_polygons_boxes_and_masks_of_one_object_move_alike():
    size, cell, canvas = (60, 40), Cell(30, 10, 120, 80), (200, 100)
    pixels = np.zeros((40, 60), dtype=bool)
    pixels[5:25, 10:40] = True
    polygon = [[10, 5, 40, 5, 40, 25, 10, 25]]
    by_rle = move_object(dict(mask=encode_mask(pixels)), size, cell, canvas)
    by_polygon = move_object(dict(mask=polygon), size, cell, canvas)
    assert by_rle['bbox'] == by_polygon['bbox'] == [50.0, 20.0, 60.0, 40.0]
    one, other = (decode_mask(moved['segmentation'], 100, 200) for moved in (by_rle, by_polygon))
    assert np.array_equal(one, other)
    assert tight_box(one) == [50.0, 20.0, 110.0, 60.0]
    assert 'segmentation' not in move_object(dict(bbox=[10, 5, 40, 25]), size, cell, canvas)
    dot = np.zeros((40, 60), dtype=bool)
    dot[3, 3] = True
    assert move_object(dict(mask=encode_mask(dot)), size, Cell(0, 0, 6, 4), canvas) is None


@pytest.fixture
def photos(tmp_path):
    """Twelve photographs, each of one colour with a block of another; on half of them only persons are annotated."""
    images, annotations = [], []
    for i in range(12):
        width, height = SIZES[i % len(SIZES)]
        picture = np.full((height, width, 3), 20 * i, dtype=np.uint8)
        picture[10:40, 20:50] = 255
        cv2.imwrite(str(tmp_path / f'{i}.png'), picture)
        limit = dict(persons_only=True) if i % 2 else {}
        images.append(dict(id=100 + i, file_name=f'{i}.png', width=width, height=height, **limit))
        annotations.append(dict(id=i, image_id=100 + i, category_id=1 + i % 3, bbox=[20, 10, 30, 30], iscrowd=i == 4))
    categories = [dict(id=k, name=name) for k, name in enumerate(('person', 'dog', 'cup'), 1)]
    content = dict(images=images, annotations=annotations, categories=categories)
    (tmp_path / 'instances.json').write_text(json.dumps(content))
    return tmp_path


def test_what_is_written(photos):
    counts = write_mosaics(str(photos / 'instances.json'), photos, photos / 'out', 10, side=300, seed=3)
    coco = json.loads((photos / 'out' / 'instances.json').read_text())
    assert counts == dict(mosaics=10, objects=len(coco['annotations']), left_out=0)
    sources = {image['file_name']: image for image in json.loads((photos / 'instances.json').read_text())['images']}
    used = [name for image in coco['images'] for name in image['mosaic_of']]
    assert all(used.count(name) >= 1 for name in sources)
    for image in coco['images']:
        picture = cv2.imread(str(photos / 'out' / 'images' / image['file_name']))
        assert picture.shape == (image['height'], image['width'], 3)
        assert len(set(image['mosaic_of'])) == len(image['mosaic_of'])
        assert {bool(sources[name].get('persons_only')) for name in image['mosaic_of']} == {'persons_only' in image}
        own = [ann for ann in coco['annotations'] if ann['image_id'] == image['id']]
        assert len(own) == len(image['mosaic_of'])
        for ann in own:
            x, y, w, h = ann['bbox']
            inside = picture[round(y) + 3 : round(y + h) - 3, round(x) + 3 : round(x + w) - 3]
            assert inside.mean() > 240  # the white block
    assert sum(ann['iscrowd'] for ann in coco['annotations']) == used.count('4.png')


def test_a_seed_decides(photos):
    for folder, seed in (('one', 1), ('same', 1), ('other', 2)):
        arguments = (photos / 'instances.json', photos / folder, '--images', photos, '--count', 4, '--seed', seed)
        assert run_dataset_tool('mosaics', *arguments) == 0
    one, same, other = ((photos / name / 'instances.json').read_text() for name in ('one', 'same', 'other'))
    assert one == same != other
    pictures = [(photos / name / 'images' / '000001.jpg').read_bytes() for name in ('one', 'same')]
    assert pictures[0] == pictures[1]


def test_faulty_input_is_named_and_nothing_is_left(photos):
    def refused(reason, annotations=None, **options):
        coco = json.loads((photos / 'instances.json').read_text()) | (annotations or {})
        (photos / 'faulty.json').write_text(json.dumps(coco))
        before = sorted(photos.iterdir())
        with pytest.raises(UserError, match=reason):
            write_mosaics(str(photos / 'faulty.json'), photos, photos / 'x', 6, **options)
        assert sorted(photos.iterdir()) == before

    refused('has no annotations', dict(annotations=[]))
    faulty = [dict(id=7, image_id=100 + i, category_id=1, bbox=None) for i in range(12)]
    refused('ann_id 7 on image .*png: it has neither a box nor a usable mask', dict(annotations=faulty))
    refused('from 32 to 16384 pixels, not 20', side=20)
    refused('from 32 to 16384 pixels, not 1000000', side=1_000_000)
    refused('the seed should be 0 or more, not -1', seed=-1)
    (photos / '2.png').write_bytes(b'')
    refused('2.png cannot be decoded')


def test_what_is_refused(photos):
    def write(**changes):
        write_mosaics(
            **(dict(annotations=str(photos / 'instances.json'), images=photos, folder=photos / 'x', count=2) | changes)
        )

    with pytest.raises(UserError, match='is not an empty folder'):
        write(folder=photos)
    with pytest.raises(UserError, match='png is missing: give the folder'):
        write(images=photos / 'nowhere')
    content = json.loads((photos / 'instances.json').read_text())
    few = dict(content, images=content['images'][:3], annotations=content['annotations'][:3])
    (photos / 'few.json').write_text(json.dumps(few))
    with pytest.raises(UserError, match='not four photographs with the same'):
        write(annotations=str(photos / 'few.json'))
    content['images'][0]['width'] = 7
    (photos / 'wrong.json').write_text(json.dumps(content))
    with pytest.raises(UserError, match='the annotations say 7x80'):
        write(annotations=str(photos / 'wrong.json'), count=20)
    assert not (photos / 'x').exists()
