import pytest
import torch
from helpers.tiny_model import item

from mmuniqrnet.structures.shared_images import find_same_images, image_rows, take_rows
from mmuniqrnet.utils.errors import UserError


def batch(*given):
    """Images and samples of (seed, height, path) each."""
    items = [item(height, 32, seed=seed, img_path=path) for seed, height, path in given]
    return [i['inputs'] for i in items], [i['data_samples'] for i in items]


def test_images_are_the_same_by_path_and_pixels():
    images, samples = batch((1, 32, 'a'), (2, 32, 'b'), (1, 32, 'a'), (3, 32, 'a'), (1, 24, 'a'), (2, 32, 'b'))
    assert find_same_images(images, samples) == [0, 1, 0, 2, 3, 1]
    images, samples = batch((1, 32, 'a'), (1, 32, 'b'), (1, 32, None), (1, 32, None))
    assert find_same_images(images, samples) == [0, 1, 2, 2]


def test_rows_of_samples():
    _, samples = batch((1, 8, 'a'), (1, 8, 'a'), (2, 8, 'b'))
    assert image_rows(torch.zeros(3, 3, 8, 8), samples) is None
    with pytest.raises(UserError, match='2 images for 3 data samples.*share_images=True'):
        image_rows(torch.zeros(2, 3, 8, 8), samples)
    for sample, row in zip(samples, (1, 1, 0)):
        sample.set_metainfo(dict(image_row=row))
    assert image_rows(torch.zeros(2, 3, 8, 8), samples).tolist() == [1, 1, 0]
    with pytest.raises(UserError, match='1 images for 3 data samples'):
        image_rows(torch.zeros(1, 3, 8, 8), samples)


def test_rows_keep_the_order_in_memory_and_sum_the_gradients():
    rows = torch.tensor([1, 0, 1])
    tokens = torch.randn(2, 12, 5, requires_grad=True)
    nested = dict(map=tokens.transpose(1, 2).unflatten(2, (3, 4)), size=(3, 4), plain=[torch.arange(2)])
    taken = take_rows(nested, rows)
    assert torch.equal(taken['map'], nested['map'][rows]) and taken['size'] == (3, 4)
    assert taken['plain'][0].tolist() == [1, 0, 1]
    assert taken['map'].is_contiguous(memory_format=torch.channels_last)
    taken['map'].sum().backward()
    assert torch.equal(tokens.grad, torch.tensor([1.0, 2.0])[:, None, None].expand_as(tokens))
    assert take_rows(nested, None) is nested
