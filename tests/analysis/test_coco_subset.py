import json

import pytest

from mmuniqrnet.analysis.coco_subset import write_without_images


def write(folder, images=(1, 2, 3), exclude='[2, 9]'):
    content = dict(
        info=dict(year=2014),
        images=[dict(id=i, file_name=f'{i}.jpg', height=4, width=4) for i in images],
        annotations=[dict(id=10 * i + n, image_id=i, bbox=[0.5, 1, 2, 2]) for i in images for n in range(i)],
        categories=[dict(id=1, name='person')],
    )
    (folder / 'all.json').write_text(json.dumps(content))
    (folder / 'exclude.json').write_text(exclude)
    return content, [str(folder / name) for name in ('all.json', 'kept.json', 'exclude.json')]


def test_listed_images_go_with_their_annotations_and_all_else_stays(tmp_path):
    content, files = write(tmp_path)
    assert write_without_images(*files) == (2, 4, 1, 1)
    kept = json.loads((tmp_path / 'kept.json').read_text())
    assert [image['id'] for image in kept['images']] == [1, 3]
    assert kept['annotations'] == [ann for ann in content['annotations'] if ann['image_id'] != 2]
    assert (kept['info'], kept['categories']) == (content['info'], content['categories'])
    assert sorted(path.name for path in tmp_path.iterdir()) == ['all.json', 'exclude.json', 'kept.json']


def test_nothing_is_overwritten_unasked(tmp_path):
    _, files = write(tmp_path)
    (tmp_path / 'kept.json').write_text('mine')
    with pytest.raises(FileExistsError, match='kept.json exists already: .*--overwrite'):
        write_without_images(*files)
    assert (tmp_path / 'kept.json').read_text() == 'mine'
    assert write_without_images(*files, overwrite=True).images == 2


@pytest.mark.parametrize(
    'images, exclude, message',
    [
        ((1, 2), '[7, 8]', 'has none of the 2 images of .*give annotations of one of these'),
        ((1, 2), '["2"]', r'should hold a JSON list of image ids.*leakage\.py'),
        ((1, 2), '[]', 'should hold a JSON list of image ids'),
        ((1, 2), '{"2": 1}', 'should hold a JSON list of image ids'),
    ],
)
def test_lists_that_do_not_belong(tmp_path, images, exclude, message):
    _, files = write(tmp_path, images, exclude)
    with pytest.raises(ValueError, match=message):
        write_without_images(*files)
    assert not (tmp_path / 'kept.json').exists()


def test_missing_files_are_named(tmp_path):
    _, (source, target, exclude) = write(tmp_path)
    with pytest.raises(FileNotFoundError, match=r'--exclude ".*none.json" does not exist.*leakage\.py'):
        write_without_images(source, target, str(tmp_path / 'none.json'))
    with pytest.raises(FileNotFoundError, match="images and annotations in COCO's format"):
        write_without_images(str(tmp_path / 'none.json'), target, exclude)
    with pytest.raises(ValueError, match='"images" and "annotations"'):
        write_without_images(exclude, target, exclude)
