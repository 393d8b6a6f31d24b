# Copyright (c) The mmpointrend authors.
"""What is wrong with the input: datasets that cannot be read, files that are no images, class
counts that disagree.

Nothing here costs time while all is well: files are looked at only after something else has failed
on them.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mmcv
from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from mmengine import fileio
from torch import nn

from mmpointrend.errors import ConfigError, InputError, PointRendError

__all__ = [
    'NamedLoading',
    'check_class_counts',
    'check_dataset',
    'leaves',
    'name_files_on_loading',
    'naming_the_dataset',
]

_HEADS = frozenset(
    ['bbox_head', 'mask_head', 'point_head', 'decode_head', 'auxiliary_head', 'coarse_head']
)

# What mmdet's CocoDataset reads of each entry.
_COCO_KEYS = {
    'images': ('id', 'file_name', 'height', 'width'),
    'annotations': ('id', 'image_id', 'category_id', 'bbox', 'area'),
    'categories': ('id', 'name'),
}


def leaves(dataset: Any) -> Iterator[Any]:
    """Datasets that read files, under any stack of wrappers (repeat, concat, class balance,
    multi-image mix).

    Args:
        dataset: A built dataset, or the config of one.

    Yields:
        The innermost ones.
    """

    def inner(name: str) -> Any:
        return dataset.get(name) if isinstance(dataset, dict) else getattr(dataset, name, None)

    if inner('datasets'):
        for part in inner('datasets'):
            yield from leaves(part)
    elif inner('dataset'):
        yield from leaves(inner('dataset'))
    else:
        yield dataset


@contextmanager
def naming_the_dataset(config: dict[str, Any]) -> Iterator[None]:
    """Turn a failure to build a dataset into a sentence where a file or folder of it is to blame.

    Args:
        config: The dataset's config, with its ``data_root``, ``ann_file`` and ``data_prefix``.

    Raises:
        InputError: A file or folder is missing or unreadable; any other error is passed on as it
            is.
    """
    try:
        yield
    except PointRendError:
        raise
    except Exception as error:
        for leaf in leaves(config):
            complaint = _complaint_about_dataset(leaf)
            if complaint:
                raise InputError(f'{leaf.get("type")}: {complaint}') from error
        # What mmengine says of an empty dataset when it packs the list of its images.
        if 'need at least one array' in str(error):
            raise InputError(_no_image(config)) from error
        raise


def _no_image(config: dict[str, Any]) -> str:
    places = []
    for leaf in leaves(config):
        root = leaf.get('data_root') or ''
        parts = [leaf.get('ann_file'), *(leaf.get('data_prefix') or {}).values()]
        suffix = f' (suffix {leaf["img_suffix"]})' if 'img_suffix' in leaf else ''
        places.append(
            f'{leaf.get("type")} {" and ".join(str(_joined(root, p)) for p in parts if p)}{suffix}'
        )
    return (
        f'no image to use was found in {"; ".join(places)}: check data_root, the suffix, and that '
        'the annotations are of the classes of metainfo.'
    )


def _complaint_about_dataset(config: dict[str, Any]) -> str | None:
    """First file or folder of a dataset's config that cannot be read, as a clause; None where all
    can."""
    root = config.get('data_root') or ''
    annotations = config.get('ann_file') or ''
    if annotations and '://' not in str(annotations):
        path = _joined(root, annotations)
        if not path.exists():
            return f'the annotation file {path} does not exist; set data_root and ann_file.'
        if path.suffix == '.json':
            complaint = _complaint_about_json(path)
            if complaint:
                return complaint
    for kind, folder in (config.get('data_prefix') or {}).items():
        path = _joined(root, folder)
        if folder and '://' not in str(path) and not path.is_dir():
            return f'the folder {path} does not exist; set data_root and data_prefix.{kind}.'
    return None


def _joined(root: str, path: str) -> Path:
    # As mmengine does: a root ending in '/' or not, an absolute path wins.
    return Path(root) / path


def _complaint_about_json(path: Path) -> str | None:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        return f'the annotation file {path} is damaged or no JSON ({error}); copy it anew.'
    needed = ('images', 'annotations', 'categories')
    lacking = [key for key in needed if not isinstance(content, dict) or key not in content]
    if lacking:
        return f'the annotation file {path} is not in COCO format: it lacks {", ".join(lacking)}.'
    for kind, keys in _COCO_KEYS.items():
        for index, entry in enumerate(content[kind]):
            lacking = [key for key in keys if key not in entry]
            if lacking:
                return (
                    f'entry {index} of {kind} in the annotation file {path} lacks '
                    f'{", ".join(lacking)}.'
                )
    return None


def check_dataset(dataset: Any) -> None:
    """Refuse a COCO dataset whose annotation file lacks some of its classes, or its masks.

    mmdet numbers the categories that are there, so that the labels of all that follow would shift;
    and where ``poly2mask=False`` keeps polygons, it ignores instances that are none.

    Args:
        dataset: A built dataset, other kinds pass.

    Raises:
        InputError: The message names the annotation file.
    """
    for leaf in leaves(dataset):
        if _first_mask_is_dropped(leaf):
            raise InputError(
                f'{type(leaf).__name__}: the masks of the annotation file {leaf.ann_file} are run '
                'lengths, which poly2mask=False in the pipeline drops; write polygons (for '
                'Cityscapes: tools/dataset_converters/cityscapes_to_coco.py) or set poly2mask=True.'
            )
        classes = (getattr(leaf, 'metainfo', None) or {}).get('classes')
        categories = getattr(leaf, 'cat_ids', None)
        if classes and categories is not None and len(categories) != len(classes):
            raise InputError(
                f'{type(leaf).__name__}: the annotation file {leaf.ann_file} has '
                f'{len(categories)} of the {len(classes)} classes {_some(classes)}; set '
                'metainfo=dict(classes=...) to the names that it has.'
            )


def _first_mask_is_dropped(dataset: Any) -> bool:
    """Whether the pipeline keeps polygons and the first mask that counts is none."""
    steps = getattr(getattr(dataset, 'pipeline', None), 'transforms', None) or []
    if all(getattr(step, 'poly2mask', True) for step in steps):
        return False
    for index in range(len(dataset)):
        for instance in dataset.get_data_info(index).get('instances', []):
            if not instance['ignore_flag']:
                return not isinstance(instance.get('mask'), list)
    return False


def _some(names: Any) -> str:
    shown = ', '.join(map(str, list(names)[:3]))
    return f'({shown}, ...)' if len(names) > 3 else f'({shown})'


def check_class_counts(model: nn.Module, dataset: Any, loader: str) -> None:
    """Compare the class counts of the model's heads with the classes of the dataset.

    Args:
        model: The model, wrapped or not.
        dataset: The dataset that it is to see; one without ``metainfo['classes']`` passes.
        loader: Name of the data loader in the config, for the message.

    Raises:
        ConfigError: A head disagrees; the message names its key and both counts.
    """
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if not classes:
        return
    if isinstance(classes, str):
        raise ConfigError(
            f'{loader}.dataset.metainfo.classes is the text {classes!r}: write a tuple, '
            f'({classes!r},).'
        )
    for name, module in model.named_modules():
        parts = [part for part in name.split('.') if not part.isdigit() and part != 'module']
        # A class-agnostic head serves any number of classes, and ours says 1.
        if getattr(module, 'class_agnostic', False):
            continue
        count = getattr(module, 'num_classes', None)
        if parts and parts[-1] in _HEADS and isinstance(count, int) and count != len(classes):
            raise ConfigError(
                f'model.{".".join(parts)}.num_classes is {count}, but the dataset of {loader} has '
                f'{len(classes)} classes {_some(classes)}: set one of them to the other '
                f'({loader}.dataset.metainfo=dict(classes=...)).'
            )


def name_files_on_loading(dataset: Any) -> None:
    """Wrap the loading steps of a dataset's pipeline in :class:`NamedLoading`.

    Args:
        dataset: A built dataset; its pipeline is changed in place.
    """
    for leaf in leaves(dataset):
        steps = getattr(getattr(leaf, 'pipeline', None), 'transforms', None) or []
        steps[:] = [
            NamedLoading(step) if isinstance(step, LoadImageFromFile | LoadAnnotations) else step
            for step in steps
        ]


class NamedLoading:
    """A loading step of a pipeline whose failure names the file.

    mmcv's own names no file when a label map is damaged or an image empty.

    Args:
        step: The step, called with the dict of one sample.
    """

    def __init__(self, step: Callable[[dict[str, Any]], Any]) -> None:
        self.step = step

    def __call__(self, results: dict[str, Any]) -> Any:
        """Load.

        Args:
            results: Dict of one sample, with ``img_path`` and, for label maps, ``seg_map_path``.

        Returns:
            What the step returns.

        Raises:
            InputError: The file is missing, empty or no image; other errors of the step are passed
                on.
        """
        try:
            return self.step(results)
        except Exception as error:
            key = 'img_path' if isinstance(self.step, LoadImageFromFile) else 'seg_map_path'
            complaint = _complaint_about_image(results.get(key), self.step, key)
            if complaint is None:
                raise
            raise InputError(complaint) from error

    def __repr__(self) -> str:
        return repr(self.step)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _complaint_about_image(path: str | None, step: Any, key: str) -> str | None:
    """What is wrong with an image file, as a sentence; None where it can be read."""
    if path is None:
        return None
    kind = 'image' if key == 'img_path' else 'label map'
    mend = 'copy it anew or take it out of the dataset'
    try:
        content = fileio.get(path, backend_args=getattr(step, 'backend_args', None))
    except OSError as error:
        reason = (
            'does not exist'
            if isinstance(error, FileNotFoundError)
            else f'cannot be read ({error})'
        )
        return f'the {kind} {path} {reason}; check data_root, data_prefix and the file names.'
    if not content:
        return f'the {kind} {path} is empty; {mend}.'
    try:
        decoded = mmcv.imfrombytes(
            content, flag='unchanged', backend=getattr(step, 'imdecode_backend', None)
        )
    except Exception as error:
        return f'the {kind} {path} cannot be decoded ({_first_line(error)}); {mend}.'
    if decoded is None:
        return f'the {kind} {path} is damaged or no image; {mend}.'
    return None
