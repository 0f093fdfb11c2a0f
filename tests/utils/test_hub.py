import pytest

from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.utils.hub import HubAddress, is_hub_address, parse_address


@pytest.mark.parametrize(
    ('text', 'parts'),
    [
        ('hf://org/name', ('org/name', None, None)),
        ('hf://org/na.me-2@v1.0', ('org/na.me-2', 'v1.0', None)),
        ('hf://org/name/folder/model.safetensors', ('org/name', None, 'folder/model.safetensors')),
        ('hf://org/name@0ab1/model.safetensors', ('org/name', '0ab1', 'model.safetensors')),
    ],
)
def test_addresses_are_read_and_written(text, parts):
    address = parse_address(text)
    assert address == HubAddress(*parts) and str(address) == text and is_hub_address(text)


@pytest.mark.parametrize('text', ['hf://org', 'org/name', 'hf://', 'hf://org/name@', 'hf:///name'])
def test_other_texts_are_refused(text):
    with pytest.raises(UserError, match='is not an address of the hub: write hf://ORG/NAME'):
        parse_address(text)


def test_a_path_is_no_address():
    assert not is_hub_address('weights/model.pth') and not is_hub_address(None) and not is_hub_address('https://a/b')
