# Copyright (c) The mmpointrend authors.
"""What writers write, read again by pycocotools, PIL and OpenCV."""

import json
import os

import cv2
import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from PIL import Image
from pycocotools.coco import COCO

from mmpointrend.contours import trace_mask
from mmpointrend.errors import ConfigError, InputError, OutputError
from mmpointrend.images import Frame, Picture, Video
from mmpointrend.writers import WRITERS, Output, open_writers

HEIGHT, WIDTH = 48, 64
META = {'classes': ('disc', 'box'), 'palette': [(255, 0, 0), (0, 0, 255)]}


def picture(name='a.jpg', frame=None, size=(HEIGHT, WIDTH)):
    """A grey image."""
    return Picture(name, np.full((*size, 3), 128, np.uint8), frame=frame)


def masks():
    """A disc, a box with a hole over it, and nothing."""
    found = np.zeros((3, HEIGHT, WIDTH), bool)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    found[0] = np.hypot(x - 20, y - 20) < 15
    found[1, 10:40, 25:60] = True
    found[1, 20:30, 35:50] = False
    return found


def instances(with_contours=False):
    """A ``DetDataSample`` of three detections."""
    found = InstanceData(
        bboxes=torch.tensor(
            [[5.0, 5.0, 35.0, 35.0], [25.0, 10.0, 60.0, 40.0], [0.0, 0.0, 1.5, 2.0]]
        ),
        labels=torch.tensor([0, 1, 1]),
        scores=torch.tensor([0.9, 0.95, 0.3]),
        masks=torch.from_numpy(masks()),
    )
    if with_contours:
        found.contours = [trace_mask(mask) for mask in masks()]
    return DetDataSample(pred_instances=found)


def label_map(labels=None):
    """A ``SegDataSample`` of two classes."""
    if labels is None:
        labels = masks()[1].astype(np.int64)
    return SegDataSample(pred_sem_seg=PixelData(data=torch.from_numpy(labels)[None]))


def no_instances():
    """A ``DetDataSample`` without detections."""
    return DetDataSample(pred_instances=instances().pred_instances[:0])


def written(folder, formats, samples, meta=META):
    """Write samples of images of their own."""
    writers = open_writers(formats, folder, meta)
    for number, sample in enumerate(samples):
        for writer in writers:
            writer.add(picture(f'{number}.jpg'), sample)
    for writer in writers:
        writer.close()


def files(folder):
    """Files below a folder, by their paths in it."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())


class TestCoco:
    @pytest.mark.parametrize('name', ['coco', 'polygons'])
    @pytest.mark.parametrize('with_contours', [False, True])
    def test_instances(self, name, with_contours, tmp_path):
        written(tmp_path, [name], [instances(with_contours), no_instances(), instances()])
        coco = COCO(str(tmp_path / f'{name}.json'))
        assert [image['file_name'] for image in coco.dataset['images']] == [
            '0.jpg',
            '1.jpg',
            '2.jpg',
        ]
        assert coco.dataset['categories'] == [
            {'id': 1, 'name': 'disc', 'supercategory': ''},
            {'id': 2, 'name': 'box', 'supercategory': ''},
        ]
        assert sorted(coco.anns) == [1, 2, 3, 4, 5, 6]
        assert [len(coco.getAnnIds(image)) for image in (1, 2, 3)] == [3, 0, 3]
        found = coco.loadAnns(coco.getAnnIds(1))
        assert [one['category_id'] for one in found] == [1, 2, 2]
        assert [one['score'] for one in found] == pytest.approx([0.9, 0.95, 0.3])
        assert found[1]['bbox'] == [25, 10, 35, 30]
        for one, mask in zip(found, masks(), strict=True):
            assert (coco.annToMask(one) == mask).all() and one['area'] == mask.sum()
        kinds = [type(one['segmentation']) for one in found]
        assert kinds == ([dict] * 3 if name == 'coco' else [list, list, dict])

    @pytest.mark.parametrize('name', ['coco', 'polygons'])
    def test_label_maps(self, name, tmp_path):
        written(tmp_path, [name], [label_map()])
        coco = COCO(str(tmp_path / f'{name}.json'))
        for one, label in zip(coco.loadAnns(coco.getAnnIds(1)), (0, 1), strict=True):
            assert one['category_id'] == label + 1 and 'score' not in one
            assert (coco.annToMask(one) == (masks()[1] == label)).all()

    def test_ids_of_coco_and_of_a_dataset(self, tmp_path):
        truth = Output(tmp_path, CocoDataset.METAINFO)
        named = dict(zip(truth.classes, truth.category_ids, strict=True))
        # https://cocodataset.org/#format-data
        assert (named['person'], named['stop sign'], named['toothbrush']) == (1, 13, 90)
        assert named['dining table'] == 67 and len(named) == 80
        written(tmp_path, ['coco'], [instances()], {**META, 'category_ids': [7, 33]})
        coco = COCO(str(tmp_path / 'coco.json'))
        assert sorted(coco.cats) == [7, 33] and coco.anns[2]['category_id'] == 33

    def test_ids_of_real_annotations(self, shared_dir, tmp_path):
        coco = COCO(str(shared_dir / 'data/coco_multi/instances_val2017.json'))
        output = Output(tmp_path, CocoDataset.METAINFO)
        expected = {
            name: number for number, name in zip(output.category_ids, output.classes, strict=True)
        }
        assert {cat['name']: cat['id'] for cat in coco.dataset['categories']} == expected

    def test_it_appears_when_it_is_whole(self, tmp_path):
        (tmp_path / 'coco.json').write_text('before')
        (writer,) = open_writers(['coco'], tmp_path, META)
        writer.add(picture(), instances())
        assert (tmp_path / 'coco.json').read_text() == 'before'
        writer.close()
        assert files(tmp_path) == ['coco.json']
        assert len(json.loads((tmp_path / 'coco.json').read_text())['annotations']) == 3

    def test_frames_and_names_from_hostile_places(self, tmp_path):
        (writer,) = open_writers(['coco'], tmp_path, None)
        writer.add(picture('a.mp4', Frame(7, 25.0)), label_map())
        writer.add(picture('\udcff\x1b[2J.png'), label_map())
        writer.close()
        video, image = json.loads((tmp_path / 'coco.json').read_text())['images']
        assert (video['file_name'], video['frame_index']) == ('a.mp4', 7)
        assert image['file_name'] == '??[2J.png'


class TestPngs:
    def test_a_label_map_in_the_colours_of_its_classes(self, tmp_path):
        written(tmp_path, ['png'], [label_map()])
        image = Image.open(tmp_path / 'png/0.png')
        assert image.mode == 'P' and (np.asarray(image) == masks()[1]).all()
        assert image.convert('RGB').getpixel((26, 12)) == (0, 0, 255)
        assert image.convert('RGB').getpixel((0, 0)) == (255, 0, 0)

    def test_instances_by_number_the_best_on_top(self, tmp_path):
        written(tmp_path, ['png'], [instances(), no_instances()])
        image = Image.open(tmp_path / 'png/0.png')
        disc, box, _ = masks()
        assert (np.asarray(image) == np.where(box, 2, disc)).all()
        assert json.loads(image.text['instances']) == [
            [1, 'disc', 0.9],
            [2, 'box', 0.95],
            [3, 'box', 0.3],
        ]
        assert image.convert('RGB').getpixel((0, 0)) == (0, 0, 0)
        assert not np.asarray(Image.open(tmp_path / 'png/1.png')).any()

    def test_numbers_above_255(self, tmp_path):
        labels = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
        written(tmp_path, ['png'], [label_map(labels)], None)
        assert (np.asarray(Image.open(tmp_path / 'png/0.png')) == labels).all()

    def test_frames(self, tmp_path):
        (writer,) = open_writers(['png'], tmp_path, META)
        for index in range(2):
            writer.add(picture('a/b.mp4', Frame(index, 25.0)), label_map())
        assert files(tmp_path) == ['png/b_000000.png', 'png/b_000001.png']


class TestOverlays:
    def test_fills_outlines_and_names(self, tmp_path):
        size = (600, 800)
        mask = np.zeros((1, *size), bool)
        mask[0, 200:400, 300:500] = True
        sample = instances()
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor([[300.0, 200.0, 500.0, 400.0]]),
            labels=torch.tensor([0]),
            scores=torch.tensor([0.9]),
            masks=torch.from_numpy(mask),
        )
        (writer,) = open_writers(['overlay'], tmp_path, META)
        writer.add(picture(size=size), sample)
        drawn = cv2.imread(str(tmp_path / 'overlay/a.jpg')).astype(int)
        assert drawn.shape == (*size, 3)
        grey, fill, edge, label = (
            drawn[y, x] for y, x in ((500, 100), (300, 400), (300, 300), (190, 301))
        )
        assert np.abs(grey - 128).max() < 8
        assert fill[2] > fill[1] + 20 and edge[2] > fill[2] + 10
        assert label[2] > 220

    def test_small_images_are_enlarged_for_names_to_have_room(self, tmp_path):
        (writer,) = open_writers(['overlay'], tmp_path, META)
        writer.add(picture(size=(64, 64)), no_instances())
        assert cv2.imread(str(tmp_path / 'overlay/a.jpg')).shape == (512, 512, 3)

    @pytest.mark.parametrize('size', [(1, 1), (3, 2000), (2000, 3)])
    @pytest.mark.parametrize('kind', ['instances', 'label map'])
    def test_odd_shapes(self, size, kind, tmp_path):
        if kind == 'instances':
            sample = instances()
            sample.pred_instances.masks = torch.ones(3, *size, dtype=torch.bool)
        else:
            sample = label_map(np.zeros(size, np.int64))
        (writer,) = open_writers(['overlay'], tmp_path, META)
        writer.add(picture(size=size), sample)
        assert files(tmp_path) == ['overlay/a.jpg']

    def test_predictions_without_masks_and_names_that_no_font_has(self, tmp_path):
        sample = instances()
        del sample.pred_instances.masks
        (writer,) = open_writers(['overlay'], tmp_path, {'classes': ('\u6f22\0', 'b')})
        writer.add(picture(), sample)
        assert files(tmp_path) == ['overlay/a.jpg']

    def test_videos(self, tmp_path):
        (writer,) = open_writers(['overlay'], tmp_path, META)
        for name, count in (('a.mp4', 5), ('b.mp4', 3)):
            for index in range(count):
                writer.add(picture(name, Frame(index, 12.0), size=(480, 641)), no_instances())
        writer.add(picture('c.png'), no_instances())
        # That of the last one is whole as soon as something else comes.
        assert files(tmp_path) == ['overlay/a.mp4', 'overlay/b.mp4', 'overlay/c.jpg']
        writer.close()
        for name, count in (('a', 5), ('b', 3)):
            video = Video(tmp_path / f'overlay/{name}.mp4')
            assert video.size == (640, 480) and video.fps == 12 and len(list(video)) == count


class TestNames:
    def test_of_the_same_name_in_several_folders(self, tmp_path):
        output = Output(tmp_path)
        given = ['x/a.jpg', 'y/a.jpg', 'x/a.png', 'X/A.jpg', '/p/x/a.tif', 'x/a.jpg']
        names = [output.name_of(picture(name)) for name in given]
        assert names[0] == names[-1] == 'a' and names[1] == 'y-a'
        assert len({name.casefold() for name in names}) == 5

    @pytest.mark.parametrize(
        'name',
        ['../../etc/passwd', '..', '/', '', 'a/..', '.png', 'C:\\x\\..\\a.png', 'a\0b\x1b\udcff.png',
         '\u6f22' * 300 + '.png', 'con/../../x.png', 'a' * 400],
    )  # fmt: skip
    def test_nothing_is_written_outside(self, name, tmp_path):
        (writer,) = open_writers(['png'], tmp_path / 'deep' / 'out', META)
        writer.add(picture(name), label_map())
        (found,) = files(tmp_path)
        assert found.startswith('deep/out/png/') and found.endswith('.png')
        assert len(os.path.basename(found).encode()) < 200

    def test_links_in_the_folder_are_not_followed(self, tmp_path):
        out, elsewhere = tmp_path / 'out', tmp_path / 'elsewhere'
        elsewhere.mkdir()
        (out / 'png').mkdir(parents=True)
        (elsewhere / 'a.png').write_text('mine')
        (out / 'png/a.png').symlink_to(elsewhere / 'a.png')
        (writer,) = open_writers(['png'], out, META)
        with pytest.raises(InputError, match='leads through a link'):
            writer.add(picture(), label_map())
        assert (elsewhere / 'a.png').read_text() == 'mine'

    def test_all_formats_agree(self, tmp_path):
        writers = open_writers(['overlay', 'png'], tmp_path, META)
        for name in ('x/a.jpg', 'y/a.jpg'):
            for writer in writers:
                writer.add(picture(name), instances())
        assert files(tmp_path) == ['overlay/a.jpg', 'overlay/y-a.jpg', 'png/a.png', 'png/y-a.png']


class TestRefusals:
    def test_formats(self, tmp_path):
        with pytest.raises(ConfigError, match=f'choose from {", ".join(WRITERS)}'):
            open_writers(['svg'], tmp_path)

    def test_meta_of_several_lengths(self, tmp_path):
        with pytest.raises(ConfigError, match='2 classes and 1 in palette'):
            Output(tmp_path, {**META, 'palette': [(0, 0, 0)]})

    def test_a_folder_that_is_a_file(self, tmp_path):
        (tmp_path / 'out').touch()
        with pytest.raises(OutputError, match='out cannot be'):
            open_writers(['png'], tmp_path / 'out')
