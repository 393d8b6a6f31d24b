# Copyright (c) The mmpointrend authors.
"""Images and videos as people have them, read into what the models take.

An image becomes BGR, uint8, (height, width, 3): for ordinary files the very pixels that mmcv's loader gives. Others are
converted as follows, and what was done stands in :attr:`Picture.notes`:

- grayscale, palette, CMYK (without its colour profile): to colours;
- turned by EXIF: upright;
- more than 8 bits: divided by the largest number of 8, 10, 12, 14 or 16 bits, the fewest that hold all values of the
  image (cameras and microscopes store 12 bits in 16), floating point from 0 to 1 by 1;
- transparent: composited over white;
- of several frames: the first one.
"""

import functools
import glob
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import mmcv
import numpy as np
from mmengine.logging import print_log
from PIL import Image, ImageOps

from mmpointrend.data_files import check_regular
from mmpointrend.errors import InputError
from mmpointrend.image_heads import MOST_PIXELS, ORIENTATION, complaint_about_file

__all__ = [
    'IMAGE_SUFFIXES',
    'VIDEO_SUFFIXES',
    'Frame',
    'Picture',
    'Video',
    'find_inputs',
    'is_video',
    'open_image',
    'read_image',
]

IMAGE_SUFFIXES = frozenset([
    '.avif', '.bmp', '.dib', '.gif', '.j2k', '.jfif', '.jp2', '.jpe', '.jpeg', '.jpg',
    '.pbm', '.pgm', '.png', '.pnm', '.ppm', '.tga', '.tif', '.tiff', '.webp',
])  # fmt: skip
"""Ends of names that a folder's images are known by, in lower case."""

VIDEO_SUFFIXES = frozenset([
    '.3gp', '.avi', '.flv', '.m2ts', '.m4v', '.mkv', '.mov', '.mp4',
    '.mpeg', '.mpg', '.mts', '.ogv', '.ts', '.webm', '.wmv',
])  # fmt: skip
"""Ends of names that videos are known by, in lower case."""

# PIL reads many more, some of which start other programs (EPS) or hold no pictures.
_FORMATS = ['AVIF', 'BMP', 'DIB', 'GIF', 'JPEG', 'JPEG2000', 'PNG', 'PPM', 'TGA', 'TIFF', 'WEBP']
_REMEDY = 'leave it out or convert it to JPEG or PNG'
_DEPTHS = (8, 10, 12, 14, 16)
# First bytes of MP4, MOV and 3GP; Matroska and WebM; AVI; MPEG; MPEG-TS; FLV; WMV; Ogg. ffmpeg also opens lists of
# other files and addresses, which are text.
_VIDEO_HEADS = re.compile(
    rb'.{4}(ftyp|moov|mdat|wide|free|skip)|\x1a\x45\xdf\xa3|RIFF.{4}AVI |\0\0\x01[\xb3\xba]|'
    rb'\x47.{187}\x47|.{4}\x47.{191}\x47|FLV|\x30\x26\xb2\x75|OggS',
    re.DOTALL,
)


@dataclass(frozen=True)
class Frame:
    """Where in a video an image comes from.

    Attributes:
        index: Number of the frame, from 0.
        fps: Frames per second of the video.
    """

    index: int
    fps: float


@dataclass(frozen=True)
class Picture:
    """An image and where it comes from.

    Attributes:
        name: Path of the image or video, as it was given.
        image: BGR, uint8, shape (H, W, 3).
        notes: What was done to it that its owner might not expect, such as 'the first of 12 frames'.
        frame: Which frame of a video it is, if any.
    """

    name: str
    image: np.ndarray
    notes: tuple[str, ...] = ()
    frame: Frame | None = None


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an image of any kind that this module's head names; what was converted is logged.

    Args:
        path: Path of the image.

    Returns:
        BGR, uint8, shape (H, W, 3).

    Raises:
        InputError: The file is missing, not an image, damaged, or cannot be used; the message names it.
    """
    picture = open_image(path)
    if picture.notes:
        print_log(f'{path}: {", ".join(picture.notes)}', 'current')
    return picture.image


def open_image(path: str | os.PathLike[str]) -> Picture:
    """Read an image, and say what was converted.

    Args:
        path: Path of the image.

    Returns:
        The image with its notes.

    Raises:
        InputError: The file is missing, not an image, damaged, or cannot be used; the message names it.
    """
    path = os.fspath(path)
    check_regular(path, 'the image')
    complaint = complaint_about_file(path, 'image', _REMEDY)
    if complaint is not None:
        raise InputError(complaint)
    if os.path.getsize(path) == 0:
        raise InputError(f'the image {path} is empty: copy it anew or leave it out.')
    try:
        with warnings.catch_warnings():
            # Of large images, odd metadata and cut animations; what matters is an error below.
            warnings.simplefilter('ignore')
            with Image.open(path, formats=_formats()) as file:
                image, notes = _decoded(path, file)
                upright = ImageOps.exif_transpose(image)
                if upright.size != image.size or image.getexif().get(ORIENTATION, 1) != 1:
                    notes.append('turned as its EXIF orientation says')
                colours, composited = _as_colours(upright)
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(
            f'the image {path} has more than {MOST_PIXELS:,} pixels: cut it into tiles.'
        ) from error
    except Image.UnidentifiedImageError as error:
        raise InputError(f'the image {path} {_what_else(path)}.') from error
    except MemoryError as error:
        raise InputError(
            f'the image {path} does not fit into memory: cut it into tiles.'
        ) from error
    # Decoders fail on damaged files with errors of all kinds.
    except Exception as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise InputError(
            f'the image {path} is damaged or cut off ({reason:.200}): copy it anew or leave it out.'
        ) from error
    if composited:
        notes.append('transparent parts are white')
    return Picture(path, np.ascontiguousarray(colours[..., ::-1]), tuple(notes))


@functools.cache
def _formats() -> list[str]:
    """Those of the formats that this build of PIL has."""
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _decoded(path: str, file: Image.Image) -> tuple[Image.Image, list[str]]:
    """The first frame with 8 bits a channel, and notes."""
    notes = []
    frames = getattr(file, 'n_frames', 1)
    # MPO is what cameras write: a JPEG with a preview, or with what the other eye sees.
    if frames > 1 and file.format != 'MPO':
        notes.append(f'the first of {frames} frames')
    tiles = getattr(file, 'tile', None)
    raw = str(tiles[0].args) if tiles else ''
    is_deep = file.mode in ('I', 'F') or file.mode.startswith('I;16') or ';16' in raw
    turn = file.getexif().get(ORIENTATION, 1)
    if is_deep and file.format == 'TIFF' and turn > 1:
        # PIL and OpenCV turn a TIFF when they decode it: by a half rightly, by a quarter not.
        if turn > 4:
            raise InputError(
                f'the image {path} is a TIFF of more than 8 bits that is to be turned by a quarter (its '
                f'orientation is {turn}), which decoders get wrong: save it upright.'
            )
        turn = 1
    file.load()
    if not is_deep:
        if file.mode == 'CMYK':
            notes.append('CMYK as colours without its profile')
        return file, notes
    content = Path(path).read_bytes()
    values = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.shape[:2] != file.size[::-1]:
        # A palette of channels that OpenCV does not know; PIL keeps the upper 8 bits of some.
        values = np.asarray(file)
        if file.mode == 'RGB':
            values = values[..., ::-1]
    small, note = _in_eight_bits(path, values)
    if note:
        notes.append(note)
    if small.ndim == 3 and small.shape[2] > 2:
        small = cv2.cvtColor(
            small, cv2.COLOR_BGR2RGB if small.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
        )
    image = Image.fromarray(small)
    if turn != 1:
        image.getexif()[ORIENTATION] = turn
    return image, notes


def _in_eight_bits(path: str, values: np.ndarray) -> tuple[np.ndarray, str]:
    """Values as uint8, and what they were divided by."""
    if values.dtype == np.uint8:
        return values, ''
    if values.dtype.kind == 'f':
        low, high = (float(limit) for limit in (np.min(values), np.max(values)))
        if not 0 <= low <= high <= 1:
            raise InputError(
                f'the image {path} holds floating-point numbers from {low:g} to {high:g}, of which '
                'nothing says what is white: write it anew with 8 bits, or with numbers from 0 to 1.'
            )
        return np.rint(values * 255).astype(np.uint8), 'numbers from 0 to 1 as 0 to 255'
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= 2 ** _DEPTHS[-1]:
        raise InputError(
            f'the image {path} holds numbers from {low} to {high} ({values.dtype}), more than 16 bits '
            'have: write it anew with 8 bits.'
        )
    depth = next(bits for bits in _DEPTHS if high < 2**bits)
    # A table: dividing all pixels would take them as floats.
    white = 2**depth - 1
    table = np.rint(np.arange(high + 1) * (255 / white)).astype(np.uint8)
    return table[values], f'{depth} bits, 0 to {white}, as 0 to 255'


def _as_colours(image: Image.Image) -> tuple[np.ndarray, bool]:
    """RGB (H, W, 3), and whether transparent parts were laid over white."""
    if 'A' in image.mode or 'a' in image.mode or 'transparency' in image.info:
        image = image.convert('RGBA')
        if np.asarray(image.getchannel('A')).min() < 255:
            white = Image.new('RGBA', image.size, 'white')
            return np.asarray(Image.alpha_composite(white, image).convert('RGB')), True
    return np.asarray(image.convert('RGB')), False


def _what_else(path: str) -> str:
    """What a file is that holds none of the formats, and what to do."""
    with open(path, 'rb') as file:
        head = file.read(512)
    if re.match(rb'.{4}ftyp(heic|heix|hevc|mif1|msf1)', head, re.DOTALL):
        return 'is HEIC, which is not read here: convert it to JPEG or PNG'
    if head.startswith(b'version https://git-lfs'):
        return 'is a git-lfs pointer instead of the file itself: run `git lfs pull`'
    if _VIDEO_HEADS.match(head):
        return f'is a video: give it a name that ends in one of {" ".join(sorted(VIDEO_SUFFIXES))}'
    return f'is damaged or not an image (known are {", ".join(_formats())}): {_REMEDY}'


def is_video(path: str | os.PathLike[str]) -> bool:
    """Whether a file is read as a video, which its name tells.

    Args:
        path: The file.

    Returns:
        True if its name ends as those of videos do.
    """
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


class Video:
    """Frames of a video, one at a time: iterating reads it from its start, in constant memory.

    Attributes:
        name: Path of the video, as it was given.
        fps: Frames per second.
        size: Width and height in pixels.

    Args:
        path: The file.

    Raises:
        InputError: The file is missing or not a video that can be read; the message names it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = os.fspath(path)
        check_regular(self.name, 'the video')
        with open(self.name, 'rb') as file:
            head = file.read(512)
        if not _VIDEO_HEADS.match(head):
            raise InputError(f'the video {self.name} is damaged or not a video: convert it to MP4.')
        reader = self._open()
        self.fps = float(reader.fps) if 0 < reader.fps < 1000 else 25.0
        self.size = int(reader.width), int(reader.height)
        self._frame_count = int(reader.frame_cnt)
        first = reader.read()
        if first is None:
            raise InputError(
                f'the video {self.name} has no frame that can be decoded: convert it to MP4 (H.264).'
            )
        if first.shape[0] * first.shape[1] > MOST_PIXELS:
            raise InputError(f'the video {self.name} has more than {MOST_PIXELS:,} pixels a frame.')

    def _open(self) -> mmcv.VideoReader:
        # It would keep the last frames otherwise.
        return mmcv.VideoReader(self.name, cache_capacity=1)

    def __len__(self) -> int:
        """Number of frames as the file's head has it, an estimate; 0 if it does not say."""
        return max(self._frame_count, 0)

    def __iter__(self) -> Iterator[Picture]:
        """Frames in BGR, uint8, (H, W, 3); a video that is cut off ends with its last whole frame."""
        reader = self._open()
        index = 0
        while (image := reader.read()) is not None:
            yield Picture(self.name, image, frame=Frame(index, self.fps))
            index += 1
        if index < len(self):
            print_log(
                f'{self.name}: {index} of {len(self)} frames could be decoded.',
                'current',
                30,
            )


def find_inputs(
    inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], nested: bool = False
) -> list[str]:
    """List images and videos of files, folders and patterns.

    A file is taken whatever its name. Of a folder its images are taken, in the order of their names: those whose names
    end as :data:`IMAGE_SUFFIXES` do and do not begin with a dot; its videos and its folders are not (log lines count
    what is left out). A pattern (``*``, ``?``, ``[]``, ``**``) takes the images and videos that it matches.

    Args:
        inputs: One of these, or several.
        nested: Whether images in a folder's folders are taken too.

    Returns:
        Paths, in the order given.

    Raises:
        InputError: A file is missing, an address, or text, a folder or pattern has no image.
    """
    given = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
    found: list[str] = []
    for one in given:
        path = os.fspath(one)
        if '://' in path:
            raise InputError(f'{path} is an address: download it, and give the file.')
        if os.path.isdir(path):
            found += _images_of(path, nested)
        elif os.path.lexists(path):
            found.append(path)
        elif glob.has_magic(path):
            found += _matches_of(path)
        else:
            raise InputError(
                f'{path} does not exist: give an image, a video, a folder or a pattern.'
            )
    if not found:
        raise InputError('there is no input: give an image, a video, a folder or a pattern.')
    return found


def _images_of(folder: str, nested: bool) -> list[str]:
    """Images of a folder, sorted."""
    images, others, folders = [], 0, 0
    for root, names, files in os.walk(folder):
        names.sort()
        for name in files:
            if name.startswith('.'):
                continue
            if Path(name).suffix.lower() in IMAGE_SUFFIXES:
                images.append(os.path.join(root, name))
            else:
                others += 1
        if not nested:
            folders = len(names)
            break
    if not images:
        nested_hint = ', and its folders are not looked into' if folders else ''
        raise InputError(f'the folder {folder} has no image{nested_hint}: give one that has.')
    left_out = [f'{others} other files'] * bool(others) + [f'{folders} folders'] * bool(folders)
    if left_out:
        print_log(f'{folder}: {len(images)} images; left out: {", ".join(left_out)}.', 'current')
    return sorted(images)


def _matches_of(pattern: str) -> list[str]:
    """Images and videos that a pattern matches, sorted."""
    known = IMAGE_SUFFIXES | VIDEO_SUFFIXES
    matches = sorted(glob.glob(pattern, recursive=True))
    paths = [path for path in matches if Path(path).suffix.lower() in known]
    if not paths:
        raise InputError(f'the pattern {pattern} matches no image or video.')
    if len(paths) < len(matches):
        print_log(
            f'{pattern}: {len(paths)} images and videos; left out: {len(matches) - len(paths)} others.',
            'current',
        )
    return paths
