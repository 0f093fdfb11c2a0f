"""EXIF orientations against Pillow's own turning."""

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.utils.orientation import TAG, check_orientation, read_orientation, turn_upright

XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def exif(value) -> Image.Exif:
    made = Image.Exif()
    made[TAG] = value
    return made


@pytest.mark.parametrize('value', range(1, 9))
def test_pixels_are_turned_as_by_pillow(value, pixels):
    image = Image.fromarray(pixels)
    image.info['exif'] = exif(value).tobytes()
    turned = turn_upright(pixels, value)
    assert np.array_equal(turned, np.asarray(ImageOps.exif_transpose(image))) and turned.flags.c_contiguous
    assert np.array_equal(turn_upright(pixels[..., 0], value), turned[..., 0])
    assert read_orientation(image) == (value, False)


@pytest.mark.parametrize('value', range(1, 9))
@pytest.mark.parametrize('suffix', ['jpg', 'png', 'webp', 'tif'])
def test_the_tag_of_a_file_is_read(value, suffix, pixels, tmp_path):
    path = tmp_path / f'a.{suffix}'
    Image.fromarray(pixels).save(path, exif=exif(value))
    assert read_orientation(path) == read_orientation(str(path)) == (value, suffix == 'tif')


def late_chunk(path: Path, exif_bytes: bytes) -> None:
    """Put eXIf behind the pixels of a PNG, where the standard allows it, too."""
    content = path.read_bytes()
    end = content.rindex(b'IEND') - 4
    body = b'eXIf' + exif_bytes.removeprefix(b'Exif\x00\x00')
    chunk = struct.pack('>I', len(body) - 4) + body + struct.pack('>I', zlib.crc32(body))
    path.write_bytes(content[:end] + chunk + content[end:])


def test_wherever_a_png_has_it(pixels, tmp_path):
    from PIL.PngImagePlugin import PngInfo

    Image.fromarray(pixels).save(tmp_path / 'late.png')
    assert read_orientation(tmp_path / 'late.png') == (1, False)
    late_chunk(tmp_path / 'late.png', exif(8).tobytes())
    assert read_orientation(tmp_path / 'late.png') == (8, False)
    info = PngInfo()
    info.add_itxt('XML:com.adobe.xmp', XMP)
    Image.fromarray(pixels).save(tmp_path / 'xmp.png', pnginfo=info)
    assert read_orientation(tmp_path / 'xmp.png') == (6, False)


@pytest.mark.parametrize('kind, count, value', [(3, 1, b'\0'), (3, 1, b'\t'), (3, 1, b'\xff\xff'), (2, 4, b'left')])
def test_values_that_exif_does_not_define_are_ignored(kind, count, value, pixels, tmp_path):
    entry = struct.pack('<HHI4s', TAG, kind, count, value.ljust(4, b'\0'))
    content = b'Exif\0\0II*\0' + struct.pack('<IH', 8, 1) + entry + bytes(4)
    Image.fromarray(pixels).save(tmp_path / 'a.jpg', exif=content)
    assert read_orientation(tmp_path / 'a.jpg') == (1, False)


@pytest.mark.parametrize(
    'damaged', [b'', b'x', b'Exif\x00\x00', b'Exif\x00\x00junk', b'Exif\x00\x00II*\x00\xff\xff\xff\xff']
)
@pytest.mark.parametrize('suffix', ['jpg', 'png', 'webp'])
def test_damaged_exif_is_ignored_without_a_word(damaged, suffix, pixels, tmp_path):
    path = tmp_path / f'a.{suffix}'
    Image.fromarray(pixels).save(path, exif=damaged)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert read_orientation(path) == (1, False)


def test_exif_cut_in_the_middle_is_read_as_far_as_it_goes_or_ignored(pixels, tmp_path):
    whole = exif(6).tobytes()
    for length in range(len(whole)):
        Image.fromarray(pixels).save(tmp_path / 'a.jpg', exif=whole[:length])
        assert read_orientation(tmp_path / 'a.jpg').value in (1, 6)


def test_what_is_no_image_has_none(tmp_path):
    (tmp_path / 'a.jpg').write_text('no image')
    assert read_orientation(tmp_path / 'a.jpg') == read_orientation(tmp_path / 'gone.jpg') == (1, False)


def test_a_file_too_large_for_pillow_is_named(pixels, tmp_path, monkeypatch):
    Image.fromarray(pixels).save(tmp_path / 'a.jpg', exif=exif(6))
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 10)
    with pytest.raises(UserError, match=r"a\.jpg has too many pixels .* orientation='stored'"):
        read_orientation(tmp_path / 'a.jpg')


def test_other_words_are_refused():
    check_orientation('upright'), check_orientation('stored')
    with pytest.raises(UserError, match="should be 'upright' or 'stored', not 'turned'"):
        check_orientation('turned')
