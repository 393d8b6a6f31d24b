# Copyright (c) The mmpointrend authors.
"""Images of another size than their annotations say, and files that are no files."""

import os
import re
import socket
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from tiny_loaders import build

from mmpointrend.engine.checks.images import complaint_about_file
from mmpointrend.errors import InputError


def write(path, height, width, orientation=None):
    """A JPEG under the name of a PNG, which is what decoders look through."""
    exif = Image.Exif()
    if orientation:
        exif[0x112] = orientation
    image = Image.fromarray(np.zeros((height, width, 3), np.uint8))
    image.save(path, format='JPEG', exif=exif)


@pytest.fixture
def path(data):
    """One image of the dataset, of 64 x 48 pixels for the annotations."""
    annotations = data / 'annotations.json'
    text = annotations.read_text().replace('"height": 64', '"height": 48')
    annotations.write_text(text)
    for image in (data / 'images').iterdir():
        write(image, 48, 64)
    return data / 'images' / '03.png'


def load(data, tmp_path, **options):
    """Read the image as the training loader does."""
    steps = [
        dict(type='LoadImageFromFile', **options),
        dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
        dict(type='PackDetInputs'),
    ]
    return build('instance', data, tmp_path, pipeline=steps).dataset[3]


class TestSize:
    @pytest.mark.parametrize(('height', 'width'), [(64, 48), (24, 32), (1, 1)])
    def test_another_one_than_the_annotations(self, height, width, data, path, tmp_path):
        write(path, height, width)
        with pytest.raises(
            InputError,
            match=rf'^the image {path} is {width} x {height} pixels, but .*/annotations.json says '
            '64 x 48: take the image that was annotated',
        ):
            load(data, tmp_path)

    @pytest.mark.parametrize('orientation', [5, 6, 7, 8])
    def test_turned_by_exif(self, orientation, data, path, tmp_path):
        write(path, 48, 64, orientation)
        with pytest.raises(
            InputError,
            match=rf'is 48 x 64 pixels, turned by its EXIF orientation {orientation}, but .* says '
            "64 x 48: set color_type='color_ignore_orientation' in LoadImageFromFile",
        ):
            load(data, tmp_path)
        assert load(data, tmp_path, color_type='color_ignore_orientation')['inputs'].shape == (
            3,
            48,
            64,
        )

    def test_not_turned_by_exif(self, data, path, tmp_path):
        write(path, 64, 48, 6)
        with pytest.raises(InputError, match=r"orientation 6, but .*: set color_type='color' in"):
            load(data, tmp_path, color_type='color_ignore_orientation')
        assert load(data, tmp_path)['inputs'].shape == (3, 48, 64)

    @pytest.mark.parametrize('orientation', [None, 1, 3])
    def test_the_same_passes(self, orientation, data, path, tmp_path):
        write(path, 48, 64, orientation)
        assert load(data, tmp_path)['inputs'].shape == (3, 48, 64)


class TestKindOfFile:
    @pytest.mark.parametrize(
        ('task', 'folder', 'kind'),
        [
            ('instance', 'images', 'image'),
            ('semantic', 'images', 'image'),
            ('semantic', 'labels', 'label map'),
        ],
    )
    def test_a_pipe_is_not_waited_for(self, task, folder, kind, data, tmp_path):
        loader = build(task, data, tmp_path)
        path = data / folder / '03.png'
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(InputError, match=rf'^the {kind} {path} is a pipe \(FIFO\) and not a'):
            loader.dataset[3]

    def test_others(self, data, tmp_path):
        folder = data / 'images'
        assert 'is a folder and' in complaint_about_file(folder, None, 'image')
        assert 'is a device and' in complaint_about_file('/dev/zero', None, 'image')
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(tmp_path / 's'))
            assert 'is a socket and' in complaint_about_file(tmp_path / 's', None, 'image')
        for passing in (folder / '03.png', folder / 'none.png', 's3://a/b.png', None, 'a\0b'):
            assert complaint_about_file(passing, None, 'image') is None

    def test_empty_ones_may_be_allowed(self, data, tmp_path):
        steps = [dict(type='LoadImageFromFile', ignore_empty=True)]
        step = build('semantic', data, tmp_path, pipeline=steps).dataset.pipeline.transforms[0]
        assert step(dict(img_path=str(data))) is None

    def test_more_bytes_than_an_image_has(self, tmp_path):
        path = tmp_path / 'sparse.png'
        with path.open('wb') as file:
            file.truncate(2**31)
        assert 'has 2147483648 bytes, more than' in complaint_about_file(path, None, 'image')


def png(height, width):
    """A PNG of zeros, of which no more is written than its head and some data."""

    def chunk(kind, content):
        return (
            struct.pack('>I', len(content))
            + kind
            + content
            + struct.pack('>I', zlib.crc32(kind + content))
        )

    head = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(3 * width + 1))
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', data) + chunk(b'IEND', b'')


class TestBombs:
    def test_a_few_bytes_of_many_pixels(self, data, path, tmp_path):
        path.write_bytes(png(30000, 30000))
        with pytest.raises(
            InputError,
            match=rf'^the image {path} has \d+ bytes and claims to be larger than any real image of '
            r'so few \(Image size \(900000000 pixels\) exceeds limit',
        ):
            load(data, tmp_path)

    def test_large_images_pass(self, tmp_path, recwarn):
        """Beyond PIL's limit of pixels with the bytes of a real image, and below it with few."""
        path = tmp_path / 'a.png'
        path.write_bytes(png(30000, 30000) + bytes(2**20))
        assert complaint_about_file(path, None, 'image') is None
        path.write_bytes(png(12000, 12000))
        assert complaint_about_file(path, None, 'image') is None
        assert not recwarn.list

    def test_a_blank_label_map_may_be_small(self, tmp_path):
        path = tmp_path / 'a.png'
        path.write_bytes(png(30000, 30000))
        assert complaint_about_file(path, None, 'label map') is None


@pytest.mark.parametrize('kind', ['image', 'label map'])
@pytest.mark.parametrize(
    ('content', 'complaint'),
    [
        (png(134_217_729, 1), r'claims to be larger .* \(1 x 134217729 pixels\)'),
        (
            png(30_000, 30_000).replace(b'\x08\x02', b'\x08\x03', 1),
            r'claims to be larger .* \(30000 x 30000 pixels\)',
        ),
        (
            b'\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xfe' + bytes(30),
            r'claims to be larger .* \(65535 x 65534 pixels\)',
        ),
        (b'P6 9999) 99999 255', 'is damaged or no image'),
        (
            b'#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 99999 +X 99999\n',
            r'claims to be larger .* \(99999 x 99999 pixels\)',
        ),
    ],
    ids=['png', 'png that PIL cannot read', 'jpeg', 'pnm', 'hdr'],
)
def test_heads_that_would_take_gigabytes_are_refused_before_decoding(
    content, complaint, kind, tmp_path
):
    path = tmp_path / 'image.png'
    path.write_bytes(content)
    assert re.search(complaint, complaint_about_file(str(path), None, kind))


def test_real_heads_of_rare_formats_pass(tmp_path):
    path = tmp_path / 'image.hdr'
    path.write_bytes(b'#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 480 +X 640\n')
    assert complaint_about_file(str(path), None, 'image') is None
