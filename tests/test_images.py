# Copyright (c) The mmpointrend authors.
"""Images and videos of all kinds against numpy, mmcv's loader and what was drawn into them."""

import io
import os
import socket
import struct
import zlib

import cv2
import mmcv
import numpy as np
import pytest
from PIL import Image

from mmpointrend.errors import InputError
from mmpointrend.images import Picture, Video, find_inputs, is_video, open_image, read_image

TURNS = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: lambda image: np.rot90(image),
}


@pytest.fixture
def colours():
    """RGB, uint8, (24, 36, 3)."""
    return np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8)


def exif(orientation):
    """Exif data that says how to turn an image."""
    data = Image.Exif()
    data[0x112] = orientation
    return data


class TestKinds:
    @pytest.mark.parametrize(
        ('suffix', 'mode'),
        [
            (suffix, mode)
            for suffix in ('png', 'bmp', 'tif', 'webp', 'ppm', 'tga', 'gif', 'jp2')
            for mode in ('RGB', 'L', 'P', '1')
            # PIL does not write these.
            if (suffix, mode) not in (('ppm', 'P'), ('jp2', 'P'), ('jp2', '1'))
        ],
    )
    def test_without_loss(self, suffix, mode, colours, tmp_path):
        image = Image.fromarray(colours).convert(mode)
        path = tmp_path / f'a.{suffix}'
        image.save(path, **({'lossless': True} if suffix == 'webp' else {}))
        if suffix == 'gif':
            # PIL takes another palette for the file.
            image = Image.open(path)
        picture = open_image(path)
        assert picture.image.dtype == np.uint8 and picture.image.flags.c_contiguous
        assert (picture.image == np.asarray(image.convert('RGB'))[..., ::-1]).all()
        assert picture.notes == () and picture.name == str(path) and picture.frame is None

    def test_photographs_are_what_mmcv_loads(self, shared_dir):
        for path in sorted((shared_dir / 'data/coco_multi/val2017').iterdir())[:8]:
            assert (read_image(path) == mmcv.imread(str(path))).all()

    @pytest.mark.parametrize('orientation', list(TURNS))
    @pytest.mark.parametrize('suffix', ['jpg', 'png', 'webp', 'tif'])
    def test_turned_by_exif(self, orientation, suffix, colours, tmp_path):
        path = tmp_path / f'a.{suffix}'
        Image.fromarray(colours).save(path, exif=exif(orientation))
        found = read_image(path)
        assert found.shape[:2] == ((24, 36) if orientation < 5 else (36, 24))
        assert (found == mmcv.imread(str(path))).all()
        if suffix in ('png', 'tif'):
            assert (found == TURNS[orientation](colours)[..., ::-1]).all()

    def test_cmyk(self, tmp_path):
        """Of pure inks, to within what JPEG loses."""
        inks = np.zeros((32, 96, 4), np.uint8)
        for index in range(3):
            inks[:, 32 * index : 32 * (index + 1), index] = 255
        path = tmp_path / 'a.jpg'
        Image.fromarray(inks, mode='CMYK').save(path, quality=95)
        picture = open_image(path)
        assert picture.notes == ('CMYK as colours without its profile',)
        cyan, magenta, yellow = (picture.image[16, x].astype(int) for x in (16, 48, 80))
        for found, expected in (
            (cyan, (255, 255, 0)),
            (magenta, (255, 0, 255)),
            (yellow, (0, 255, 255)),
        ):
            assert np.abs(found - expected).max() < 12

    @pytest.mark.parametrize('mode', ['RGBA', 'LA', 'PA'])
    def test_transparent_parts_are_white(self, mode, colours, tmp_path):
        image = Image.fromarray(colours).convert('L' if mode == 'LA' else 'RGB')
        opacity = np.full((24, 36), 255, np.uint8)
        opacity[:12], opacity[12:16] = 0, 128
        image = image.convert({'PA': 'RGBA'}.get(mode, mode))
        image.putalpha(Image.fromarray(opacity))
        path = tmp_path / 'a.png'
        image.save(path)
        picture = open_image(path)
        assert picture.notes == ('transparent parts are white',)
        assert (picture.image[:12] == 255).all()
        under = np.asarray(image.convert('RGB'))[..., ::-1].astype(float)
        assert (picture.image[16:] == under[16:]).all()
        mixed = under[12:16] * 128 / 255 + 127
        assert np.abs(picture.image[12:16] - mixed).max() <= 1

    def test_opaque_ones_are_what_mmcv_loads(self, colours, tmp_path):
        path = tmp_path / 'a.png'
        Image.fromarray(colours).convert('RGBA').save(path)
        assert open_image(path).notes == ()
        assert (read_image(path) == mmcv.imread(str(path))).all()

    @pytest.mark.parametrize(('suffix', 'kind'), [('gif', 'GIF'), ('png', 'PNG'), ('tif', 'TIFF')])
    def test_the_first_of_several_frames(self, suffix, kind, colours, tmp_path):
        frames = [Image.fromarray(np.full_like(colours, value)) for value in (30, 90, 200)]
        path = tmp_path / f'a.{suffix}'
        frames[0].save(path, format=kind, save_all=True, append_images=frames[1:])
        picture = open_image(path)
        assert picture.notes == ('the first of 3 frames',) and (picture.image == 30).all()

    def test_large(self, tmp_path):
        path = tmp_path / 'a.jpg'
        Image.new('RGB', (6000, 4000), (10, 20, 30)).save(path)
        image = read_image(path)
        assert image.shape == (4000, 6000, 3) and (image[0, 0] == [30, 20, 10]).all()


class TestDepths:
    @pytest.mark.parametrize('suffix', ['png', 'tif', 'pgm'])
    @pytest.mark.parametrize(
        ('highest', 'white'), [(65535, 65535), (16384, 65535), (4095, 4095), (900, 1023), (9, 255)]
    )
    def test_scaled_by_the_fewest_bits_that_hold_all_values(self, suffix, highest, white, tmp_path):
        values = np.linspace(0, highest, 24 * 36).astype(np.uint16).reshape(24, 36)
        path = tmp_path / f'a.{suffix}'
        assert cv2.imwrite(str(path), values)
        picture = open_image(path)
        assert np.abs(picture.image - values[..., None] * (255 / white)).max() <= 0.5
        assert f'0 to {white}, as 0 to 255' in picture.notes[0]

    @pytest.mark.parametrize('suffix', ['png', 'tif'])
    def test_colours(self, suffix, tmp_path):
        values = np.random.default_rng(0).integers(0, 2**16, (24, 36, 3), dtype=np.uint16)
        path = tmp_path / f'a.{suffix}'
        cv2.imwrite(str(path), values)
        assert np.abs(read_image(path) - values / 257).max() <= 0.5

    def test_colours_with_transparency(self, tmp_path):
        values = np.full((24, 36, 4), 65535, np.uint16)
        values[..., 0] = 257 * 7
        values[:12, :, 3] = 0
        path = tmp_path / 'a.png'
        cv2.imwrite(str(path), values)
        image = read_image(path)
        assert (image[:12] == 255).all() and (image[12:] == [7, 255, 255]).all()

    @pytest.mark.parametrize('orientation', [1, 3, 6, 8])
    def test_turned_by_exif(self, orientation, tmp_path):
        values = np.random.default_rng(0).integers(0, 2**16, (24, 36), dtype=np.uint16)
        Image.fromarray(values).save(tmp_path / 'a.png', exif=exif(orientation))
        expected = TURNS[orientation](values)[..., None] / 257
        assert np.abs(read_image(tmp_path / 'a.png') - expected).max() <= 0.5
        Image.fromarray(values).save(tmp_path / 'a.tif', exif=exif(orientation))
        if orientation < 5:
            assert np.abs(read_image(tmp_path / 'a.tif') - expected).max() <= 0.5
        else:
            with pytest.raises(InputError, match='decoders get wrong: save it upright'):
                read_image(tmp_path / 'a.tif')

    def test_floating_point(self, tmp_path):
        values = np.linspace(0, 1, 24 * 36, dtype=np.float32).reshape(24, 36)
        path = tmp_path / 'a.tif'
        cv2.imwrite(str(path), values)
        assert np.abs(read_image(path) - values[..., None] * 255).max() <= 0.5001
        cv2.imwrite(str(path), values * 7 - 1)
        with pytest.raises(InputError, match=r'numbers from -1 to 6, of which nothing says'):
            read_image(path)


def bomb(side):
    """A PNG of a few bytes that claims to have ``side`` squared pixels."""

    def chunk(kind, content):
        checksum = struct.pack('>I', zlib.crc32(kind + content))
        return struct.pack('>I', len(content)) + kind + content + checksum

    head = struct.pack('>IIBBBBB', side, side, 8, 2, 0, 0, 0)
    data = chunk(b'IDAT', zlib.compress(bytes(100)))
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + data + chunk(b'IEND', b'')


class TestRefusals:
    """One sentence that names the file."""

    @pytest.mark.parametrize(
        ('content', 'complaint'),
        [
            (b'', 'is empty'),
            (b'hello', 'is damaged or not an image'),
            (bytes(5000), 'is damaged or not an image'),
            (b'version https://git-lfs.github.com/spec/v1', 'is a git-lfs pointer'),
            (b'\0\0\0\x18ftypheic' + bytes(50), 'is HEIC, which is not read here'),
            (b'\0\0\0\x18ftypisom' + bytes(50), 'is a video: give it a name that ends in'),
            (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', 'is damaged or not an image'),
            (bomb(0), 'is damaged'),
            (bomb(100), 'is damaged or cut off'),
            (bomb(30_000), 'claims to be larger than any real image'),
            (bomb(30_000) + bytes(2**20), 'has more than 178,956,970 pixels: cut it into tiles'),
        ],
        ids=[
            'empty', 'text', 'zeros', 'pointer', 'heic', 'video', 'eps', 'no side', 'cut', 'bomb',
            'large bomb',
        ],
    )  # fmt: skip
    def test_content(self, content, complaint, tmp_path):
        path = tmp_path / 'a.png'
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf'^the image {path} .*{complaint}.*\.$') as caught:
            open_image(path)
        assert '\n' not in str(caught.value)

    @pytest.mark.parametrize('suffix', ['jpg', 'png', 'webp', 'tif', 'gif', 'bmp', 'jp2'])
    def test_cut_off(self, suffix, colours, tmp_path):
        path = tmp_path / f'a.{suffix}'
        Image.fromarray(colours).save(path)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(InputError, match=rf'^the image {path} is damaged'):
            open_image(path)

    def test_kinds_of_files(self, tmp_path):
        os.mkfifo(tmp_path / 'pipe.png')
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(tmp_path / 'socket.png'))
            for path, complaint in (
                (tmp_path, 'is a folder: give a file'),
                (tmp_path / 'pipe.png', r'is a pipe \(FIFO\): give a file'),
                (tmp_path / 'socket.png', 'is a socket: give a file'),
                ('/dev/zero', 'is a device: give a file'),
                (tmp_path / 'lost.png', 'does not exist'),
            ):
                with pytest.raises(InputError, match=rf'^the image {path} {complaint}'):
                    open_image(path)

    def test_a_name_with_half_a_character(self, colours, tmp_path):
        path = os.fsdecode(os.fsencode(tmp_path) + b'/\xff.png')
        Image.fromarray(colours).save(path)
        assert read_image(path).shape == (24, 36, 3)


@pytest.fixture
def video(tmp_path):
    """A video of seven frames of one value each, 20 apart."""
    path = tmp_path / 'a.mp4'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), 10, (64, 48))
    for index in range(7):
        writer.write(np.full((48, 64, 3), 20 * index, np.uint8))
    writer.release()
    return path


class TestVideos:
    def test_frames(self, video):
        frames = Video(video)
        assert len(frames) == 7 and frames.fps == 10 and frames.size == (64, 48)
        for _ in range(2):
            seen = list(frames)
            assert [frame.frame.index for frame in seen] == list(range(7))
            for picture in seen:
                assert isinstance(picture, Picture) and picture.name == str(video)
                assert picture.image.shape == (48, 64, 3) and picture.frame.fps == 10
                assert abs(picture.image.mean() - 20 * picture.frame.index) < 5

    def test_one_frame_at_a_time(self, video):
        frames = iter(Video(video))
        first, second = next(frames), next(frames)
        assert (first.image.mean(), second.image.mean()) == pytest.approx((0, 20), abs=5)

    @pytest.mark.parametrize(
        ('content', 'complaint'),
        [
            (b'', 'is damaged or not a video'),
            (b'ffconcat version 1.0\nfile /etc/passwd\n', 'is damaged or not a video'),
            (b'#EXTM3U\n#EXTINF:1,\nhttp://localhost/a.ts\n', 'is damaged or not a video'),
            (b'\0\0\0\x18ftypisom' + bytes(500), 'has no frame that can be decoded'),
        ],
    )
    def test_refusals(self, content, complaint, tmp_path):
        path = tmp_path / 'a.mp4'
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf'^the video {path} {complaint}'):
            Video(path)

    def test_names(self):
        assert is_video('a.MP4') and is_video('b/c.webm') and not is_video('a.gif')


class TestInputs:
    @pytest.fixture
    def folder(self, tmp_path):
        """Images, a video, a text, a hidden file, and images in a folder."""
        for name in (
            'b.JPG',
            'a.png',
            'c.mp4',
            'notes.txt',
            '.hidden.png',
            'deep/d.png',
            'deep/e.tif',
        ):
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.touch()
        return tmp_path

    @staticmethod
    def names(folder, found):
        return [os.path.relpath(path, folder) for path in found]

    def test_folders(self, folder):
        assert self.names(folder, find_inputs(folder)) == ['a.png', 'b.JPG']
        nested = find_inputs(str(folder), nested=True)
        assert self.names(folder, nested) == ['a.png', 'b.JPG', 'deep/d.png', 'deep/e.tif']

    def test_what_is_left_out_is_counted(self, folder, capsys):
        with pytest.MonkeyPatch.context() as patch:
            lines = []
            patch.setattr('mmpointrend.images.print_log', lambda text, *_: lines.append(text))
            find_inputs(folder)
            find_inputs(f'{folder}/*')
        assert lines[0].endswith('2 images; left out: 2 other files, 1 folders.')
        assert lines[1].endswith('3 images and videos; left out: 2 others.')

    def test_patterns(self, folder):
        assert self.names(folder, find_inputs(f'{folder}/*.[pm]*')) == ['a.png', 'c.mp4']
        found = self.names(folder, find_inputs(f'{folder}/**/*.tif'))
        assert found == ['deep/e.tif']

    def test_a_file_whose_name_is_a_pattern(self, tmp_path):
        (tmp_path / 'a[1].png').touch()
        assert find_inputs(tmp_path / 'a[1].png') == [str(tmp_path / 'a[1].png')]

    def test_several_in_their_order(self, folder):
        given = [folder / 'c.mp4', folder / 'deep', folder / 'a.png']
        found = self.names(folder, find_inputs(given))
        assert found == ['c.mp4', 'deep/d.png', 'deep/e.tif', 'a.png']

    @pytest.mark.parametrize(
        ('given', 'complaint'),
        [
            ([], 'there is no input'),
            ('https://a.org/b.png', 'is an address: download it'),
            ('{}/lost.png', 'lost.png does not exist'),
            ('{}/*.xyz', r'\*.xyz matches no image or video'),
        ],
    )
    def test_refusals(self, given, complaint, folder):
        with pytest.raises(InputError, match=complaint):
            find_inputs(given.format(folder) if given else given)

    def test_folders_without_images(self, folder):
        (folder / 'a.png').unlink()
        (folder / 'b.JPG').unlink()
        with pytest.raises(InputError, match='has no image, and its folders are not looked into'):
            find_inputs(folder)


def test_pil_is_not_asked_for_more_than_known_formats(tmp_path):
    """EPS starts another program when it is read."""
    content = io.BytesIO()
    Image.new('RGB', (9, 9)).save(content, format='EPS')
    (tmp_path / 'a.png').write_bytes(content.getvalue())
    with pytest.raises(InputError, match='is damaged or not an image'):
        open_image(tmp_path / 'a.png')
