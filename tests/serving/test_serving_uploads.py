import io
import struct
import time
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from mmuniqrnet.serving.uploads import PAGE_LIMITS, decode_picture, read_upload
from mmuniqrnet.utils.errors import UserError


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))


def png_of(width: int, height: int) -> bytes:
    """A file that says it is a picture of this size, and has hardly any pixels."""
    head = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(bytes(9)))


def test_pixels_are_those_of_the_file(tmp_path, pixels):
    cv2.imwrite(str(tmp_path / 'a.png'), pixels[..., ::-1])
    assert (read_upload(tmp_path / 'a.png') == pixels).all()


def test_a_photograph_is_turned_as_its_camera_says(tmp_path):
    lying = np.zeros((32, 64, 3), np.uint8)
    lying[:, :32, 0] = 255  # red on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(lying).save(tmp_path / 'a.jpg', exif=exif, quality=95)
    picture = read_upload(tmp_path / 'a.jpg')
    assert picture.shape == (64, 32, 3)
    assert picture[:28, :, 0].min() > 200 and picture[36:, :, 0].max() < 60  # red on top


def progressive(scans: int = 1) -> bytes:
    """A JPEG whose last scan is there several times."""
    file = io.BytesIO()
    Image.new('RGB', (64, 32), 'red').save(file, 'JPEG', progressive=True)
    content = file.getvalue()
    last = content.rindex(b'\xff\xda')
    return content[:last] + content[last:-2] * scans + content[-2:]


def test_a_film_after_the_photograph_does_not_matter():
    for end in (b'', b'\xff\xda' * 999):
        assert decode_picture(progressive() + end, 'a.jpg').shape == (32, 64, 3)


@pytest.mark.parametrize('kind', ['scans', 'segments', 'chunks', 'length'])
def test_a_file_that_would_keep_a_decoder_busy_is_refused_at_once(kind, pixels):
    start = progressive()[:2]
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, 'PNG')
    content = dict(
        scans=progressive(60_000),
        segments=start + b'\xff\xfe\x00\x02' * 500_000 + progressive()[2:],
        length=png.getvalue()[:33] + b'\x7f\xff\xff\xf0' + png.getvalue()[37:],
        chunks=png.getvalue()[:33] + chunk(b'tEXt', b'a\x00b') * 100_000 + png.getvalue()[33:],
    )[kind]
    begin = time.process_time()
    with pytest.raises(UserError, match=r'a\.jpg can not be read as a picture'):
        decode_picture(content, 'a.jpg')
    assert time.process_time() - begin < 0.2


@pytest.mark.parametrize(
    'mode, name',
    [
        ('RGBA', 'a.png'),
        ('P', 'a.gif'),
        ('L', 'a.png'),
        ('CMYK', 'a.jpg'),
        ('I;16', 'a.png'),
        ('RGB', 'a.webp'),
        ('1', 'a.bmp'),
    ],
)
def test_all_usual_kinds_are_read(tmp_path, mode, name):
    white = {'I;16': 65535, 'CMYK': (0, 0, 0, 0)}.get(mode, 'white')
    Image.new(mode, (30, 20), white).save(tmp_path / name)
    picture = read_upload(tmp_path / name)
    assert picture.shape == (20, 30, 3) and picture.dtype == np.uint8
    assert picture.min() > 245


@pytest.mark.parametrize(
    'content, message',
    [
        (b'no picture at all', 'holiday.jpg can not be read as a picture'),
        (b'', 'holiday.jpg can not be read as a picture'),
        (b'\x89PNG\r\n\x1a\n' + bytes(40), 'holiday.jpg can not be read as a picture'),
        (png_of(6001, 4000), 'holiday.jpg is 6001 x 4000 pixels: a picture may have at most 20 MB and 24 megapixels'),
        (
            png_of(100_000, 100_000),
            'holiday.jpg has too many pixels: a picture may have at most 20 MB and 24 megapixels',
        ),
        (png_of(2100, 100), 'holiday.jpg is 2100 x 100 pixels: one side may be at most 20 times the other'),
    ],
    ids=range(6),
)
def test_what_can_not_be_used_is_told(tmp_path, content, message):
    path = tmp_path / 'upload'
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_upload(path, 'holiday.jpg')


def test_a_photograph_cut_off_is_told(tmp_path, pixels):
    Image.fromarray(pixels).resize((600, 400)).save(tmp_path / 'whole.png')
    (tmp_path / 'cut.png').write_bytes((tmp_path / 'whole.png').read_bytes()[:50])
    with pytest.raises(UserError, match=r'cut\.png can not be read as a picture'):
        read_upload(tmp_path / 'cut.png')


def test_a_large_file_is_not_even_opened(tmp_path):
    with open(tmp_path / 'big.png', 'wb') as file:
        file.truncate((PAGE_LIMITS.megabytes + 2) * 2**20)
    with pytest.raises(UserError, match=r'big\.png has 22 MB'):
        read_upload(tmp_path / 'big.png')


def test_no_picture_and_one_that_is_gone_are_told(tmp_path):
    with pytest.raises(UserError, match='There is no picture yet'):
        read_upload(None)
    with pytest.raises(UserError, match=r'a\.png is not here any more: upload it again'):
        read_upload(tmp_path / 'hash', 'a.png')
