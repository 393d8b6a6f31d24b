# Copyright (c) The mmpointrend authors.
"""Label maps that do not fit their image or the head are named when they are read, whole."""

import logging
import sys
import types

import cv2
import numpy as np
import pytest
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmseg.registry import TRANSFORMS
from PIL import Image
from tiny_loaders import build
from tiny_runs import stop_workers, write_config
from torch import nn

from mmpointrend.engine import CheckedRunner
from mmpointrend.engine.checks import LabelRange, watch_labels
from mmpointrend.errors import InputError

RANGE = LabelRange(3, frozenset([255]))


@pytest.fixture
def path(data):
    """One label map of the dataset."""
    return data / 'labels' / '03.png'


def read(data, tmp_path, labels=RANGE):
    """The sample of that map, as the training loader reads it."""
    dataset = build('semantic', data, tmp_path).dataset
    if labels is not None:
        watch_labels(dataset, labels, 'train_dataloader')
    return dataset[3]


@pytest.mark.parametrize(
    ('shape', 'shown'), [((128, 128), '128 x 128'), ((64, 32), '32 x 64'), ((1, 1), '1 x 1')]
)
def test_another_size_than_the_image(shape, shown, data, path, tmp_path):
    cv2.imwrite(str(path), np.zeros(shape, np.uint8))
    image = data / 'images' / '03.png'
    with pytest.raises(
        InputError,
        match=rf'^the label map {path} is {shown} pixels, its image {image} 64 x 64: take the map',
    ):
        read(data, tmp_path)


def test_image_turned_by_exif(data, path, tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    image = Image.fromarray(np.zeros((64, 32, 3), np.uint8))
    image.save(data / 'images' / '03.png', exif=exif)
    cv2.imwrite(str(path), np.zeros((64, 32), np.uint8))
    with pytest.raises(
        InputError,
        match=r'is 32 x 64 pixels, .* 64 x 32, turned by its EXIF orientation 6: set color_type=',
    ):
        read(data, tmp_path)


@pytest.mark.parametrize('channels', [3, 4])
def test_repeated_channels(channels, data, path, tmp_path):
    repeated = np.full((64, 64, channels), 2, np.uint8)
    repeated[..., 3:] = 255
    cv2.imwrite(str(path), repeated)
    with pytest.raises(InputError, match=rf'{path} has {channels} channels, of which the first'):
        read(data, tmp_path)


def test_colours(data, path, tmp_path):
    cv2.imwrite(str(path), np.full((64, 64, 3), (0, 0, 128), np.uint8))
    with pytest.raises(InputError, match=rf'{path} is a picture of 3 channels, but one number'):
        read(data, tmp_path)


def test_a_palette_is_labels(data, path, tmp_path):
    image = Image.fromarray(np.full((64, 64), 2, np.uint8)).convert('P')
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    image.save(path)
    assert set(read(data, tmp_path)['data_samples'].gt_sem_seg.data.unique().tolist()) == {2}


class TestDepth:
    """mmseg keeps 8 bits of each label."""

    @pytest.mark.parametrize(('label', 'becomes'), [(257, 1), (256, 0), (512, 0), (511, 255)])
    def test_labels_that_would_become_others(self, label, becomes, data, path, tmp_path):
        labels = np.zeros((64, 64), np.uint16)
        labels[5, 6] = label
        cv2.imwrite(str(path), labels)
        with pytest.raises(
            InputError, match=rf'{path} holds label {label} \(uint16\), which becomes {becomes} in'
        ):
            read(data, tmp_path)

    @pytest.mark.parametrize('value', [1.5, float('nan'), -3.0])
    def test_numbers_that_are_not_labels(self, value, data, path, tmp_path):
        labels = np.zeros((64, 64), np.float32)
        labels[5, 6] = value
        Image.fromarray(labels).save(path, format='TIFF')
        with pytest.raises(InputError, match=rf'{path} holds label {value} \(float32\)'):
            read(data, tmp_path)

    @pytest.mark.parametrize(
        ('dtype', 'void'), [(np.uint16, 255), (np.uint16, 65535), (np.int32, -1)]
    )
    def test_deep_maps_of_small_labels_pass(self, dtype, void, data, path, tmp_path):
        labels = np.full((64, 64), 2, dtype)
        labels[:, 40:] = void
        Image.fromarray(labels).save(path, format='TIFF')
        dataset = build('semantic', data, tmp_path).dataset
        watch_labels(dataset, RANGE, 'train_dataloader')
        results = dataset.get_data_info(3)
        for step in dataset.pipeline.transforms[:3]:
            results = step(results)
        assert np.unique(results['gt_seg_map']).tolist() == [2, 255]


@TRANSFORMS.register_module()
class ThreeToTwo(BaseTransform):
    """A step of somebody's own that gives labels other numbers."""

    def transform(self, results):
        """3 -> 2."""
        results['gt_seg_map'][results['gt_seg_map'] == 3] = 2
        return results


class TestRange:
    def test_a_corner_of_a_map(self, data, path, tmp_path):
        """The crop of 48 x 48 of the pipeline misses it in most draws."""
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        labels[-1, -1] = 3
        cv2.imwrite(str(path), labels)
        with pytest.raises(InputError, match=rf'{path} holds label 3, but the head has 3 classes'):
            read(data, tmp_path)
        assert read(data, tmp_path, labels=None)

    def test_a_step_of_ones_own_may_map_labels(self, data, path, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, 'somebody', types.ModuleType('somebody'))
        monkeypatch.setattr(ThreeToTwo, '__module__', 'somebody')
        cv2.imwrite(str(path), np.full((64, 64), 3, np.uint8))
        steps = [dict(type=name) for name in ('LoadImageFromFile', 'LoadAnnotations')]
        resize = dict(type='Resize', scale=(32, 32))
        late = [dict(type='ThreeToTwo'), dict(type='PackSegInputs')]
        dataset = build('semantic', data, tmp_path, pipeline=[*steps, resize, *late]).dataset
        watch_labels(dataset, RANGE, 'train_dataloader')
        assert dataset[3]['data_samples'].gt_sem_seg.data.unique().tolist() == [2]
        watch_labels(dataset, LabelRange(2, frozenset([255])), 'train_dataloader')
        with pytest.raises(InputError, match='holds label 2, but the head has 2'):
            dataset[3]

    def test_inside_test_time_augmentation(self, data, tmp_path):
        cfg = Config.fromfile(write_config('semantic', tmp_path, data, length=2))
        dataset = build('semantic', data, tmp_path, pipeline=cfg.tta_pipeline).dataset
        watch_labels(dataset, RANGE, 'test_dataloader')
        assert len(dataset[0]['inputs']) == 4
        watch_labels(dataset, LabelRange(2, frozenset([255])), 'test_dataloader')
        with pytest.raises(InputError, match='holds label 2, but the head has 2 classes'):
            dataset[0]

    @pytest.mark.parametrize(
        ('dataset', 'values', 'num_classes'),
        [
            (dict(type='ADE20KDataset', reduce_zero_label=True), range(151), 150),
            (dict(type='CityscapesDataset'), [*range(19), 255], 19),
            (dict(type='mmpointrend.CocoPanopticStuffDataset'), [*range(54), 255], 54),
            (dict(type='mmpointrend.CamVidDataset'), range(12), 11),
        ],
    )
    def test_conventions_of_known_datasets(self, dataset, values, num_classes, data, tmp_path):
        for path in (data / 'labels').iterdir():
            cv2.imwrite(str(path), np.resize(np.array(values, np.uint8), (64, 64)))
        change = dict(metainfo=None, img_suffix='.png', seg_map_suffix='.png', **dataset)
        loaded = build('semantic', data, tmp_path, **change).dataset
        watch_labels(loaded, LabelRange(num_classes, frozenset([255])), 'train_dataloader')
        assert loaded[3]['data_samples'].gt_sem_seg.data.shape == (1, 48, 48)
        watch_labels(loaded, LabelRange(num_classes - 1, frozenset([255])), 'train_dataloader')
        with pytest.raises(InputError, match=f'holds label {num_classes - 1}, but'):
            loaded[3]

    @pytest.mark.parametrize(
        ('head', 'expected'),
        [
            (dict(num_classes=7, ignore_index=11), LabelRange(7, frozenset([11]))),
            (dict(num_classes=1, out_channels=1, ignore_index=255), LabelRange(2, {255})),
            (dict(num_classes=2, out_channels=1, ignore_index=255), LabelRange(2, {255})),
            (dict(num_classes=7, ignore_index=None), None),
        ],
    )
    def test_of_a_head(self, head, expected):
        model = nn.Module()
        assert LabelRange.of_model(model) is None
        model.decode_head = nn.Module()
        vars(model.decode_head).update(head)
        assert LabelRange.of_model(model) == expected

    def test_negative_labels(self):
        assert RANGE.complaint('a.png', np.array([0, 255, 2])) is None
        assert 'holds label -1' in RANGE.complaint('a.png', np.array([0, -1, 2]))

    @pytest.mark.parametrize('split', ['train', 'val', 'test'])
    def test_every_loader_of_a_runner(self, split, data, tmp_path):
        """In the workers of an iteration loop too, which start before training."""
        last = data / 'labels' / '05.png'
        cv2.imwrite(str(last), np.full((64, 64), 9, np.uint8))
        cfg = Config.fromfile(write_config('semantic', tmp_path, data, length=20))
        cfg.experiment_name = f'range_{split}'
        cfg.val_dataloader.num_workers = 1
        runner = CheckedRunner.from_cfg(cfg)
        loop = getattr(runner, f'build_{split}_loop')(getattr(runner, f'_{split}_loop'))
        with pytest.raises(InputError, match=rf'the label map {last} holds label 9'):
            for _ in zip(range(20), loop.dataloader, strict=False):
                pass
        stop_workers()

    def test_void_of_the_metrics_may_occur_in_validation(self, data, tmp_path):
        cv2.imwrite(str(data / 'labels' / '00.png'), np.full((64, 64), 9, np.uint8))
        cfg = Config.fromfile(write_config('semantic', tmp_path, data, length=2))
        cfg.experiment_name = 'void'
        cfg.val_evaluator.ignore_index = 9
        runner = CheckedRunner.from_cfg(cfg)
        assert runner.build_val_loop(runner._val_loop).dataloader.dataset[0]


class TestVoidInsteadOfAClass:
    @staticmethod
    def warnings(data, tmp_path, caplog, loader='train_dataloader'):
        """What is said of the dataset."""
        MMLogger.get_instance('void')
        dataset = build('semantic', data, tmp_path).dataset
        logger = MMLogger.get_current_instance()
        logger.addHandler(caplog.handler)
        with caplog.at_level(logging.WARNING):
            watch_labels(dataset, RANGE, loader)
        logger.removeHandler(caplog.handler)
        return [record.getMessage() for record in caplog.records]

    def write(self, data, *maps):
        """Replace the label maps, by two halves each."""
        for index in range(6):
            labels = np.zeros((64, 64), np.uint8)
            labels[:, :32], labels[:, 32:] = maps[index % len(maps)]
            cv2.imwrite(str(data / 'labels' / f'{index:02d}.png'), labels)

    def test_masks_of_0_and_255(self, data, tmp_path, caplog):
        self.write(data, (0, 255))
        (said,) = self.warnings(data, tmp_path, caplog)
        assert said.startswith(
            'train_dataloader: the 6 label maps that were looked at, of 6, hold label 0 and 255 '
            'alone, and 255 is void'
        )
        assert str(data / 'labels' / '00.png') in said

    def test_all_void(self, data, tmp_path, caplog):
        """As reduce_zero_label makes masks of 0 and 255; and as the truth of a test set that is secret."""
        self.write(data, (255, 255))
        assert self.warnings(data, tmp_path, caplog, 'test_dataloader') == []
        assert len(self.warnings(data, tmp_path, caplog)) == 1

    @pytest.mark.parametrize(
        'maps', [[(0, 1), (0, 255)], [(0, 0)], [(1, 255)], [(0, 255)] * 5 + [(2, 255)]]
    )
    def test_silence_if_a_class_occurs_or_no_void(self, maps, data, tmp_path, caplog):
        self.write(data, *maps)
        assert self.warnings(data, tmp_path, caplog) == []
