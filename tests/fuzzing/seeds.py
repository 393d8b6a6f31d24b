# Copyright (c) The mmpointrend authors.
"""Write the seeds anew: ``PYTHONPATH=tests python -m fuzzing.seeds``.

They are files of the kind that users have, as small as they can be.
"""

import copy
import io
import json
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.logging import MessageHub
from PIL import Image
from tiny_heads import fpn_head, implicit_config, point_head, pointrend, roi_head_config

from fuzzing.format import SEEDS
from fuzzing.jsons import HEIGHT, WIDTH

__all__ = ['write_seeds']


def _saved(content: Any, **options: Any) -> bytes:
    target = io.BytesIO()
    torch.save(content, target, **options)
    return target.getvalue()


def _checkpoints() -> dict[str, bytes]:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.randn(1, 1, 2, 2)).sum().backward()
    optimizer.step()
    hub = MessageHub('seed')
    hub.update_scalar('train/loss', np.float64(0.5))
    hub.update_info('iter', 3)
    meta = {
        'epoch': 0,
        'iter': 3,
        'seed': 0,
        'dataset_meta': {'classes': ('a', 'b')},
        'cfg': "model = dict(type='x')\n",
    }
    full = {
        'meta': meta,
        'state_dict': model.state_dict(),
        'message_hub': hub.state_dict(),
        'optimizer': optimizer.state_dict(),
        'param_schedulers': [{'last_step': 3, 'base_values': [0.1]}],
    }
    shared = torch.arange(12.0)
    kinds = {
        'half': torch.ones(2).half(),
        'bfloat16': torch.ones(2).bfloat16(),
        'complex': torch.ones(1, dtype=torch.complex64),
        'bool': torch.tensor([True]),
        'scalar': torch.tensor(3),
        'view': shared.view(3, 4).t(),
        'slice': shared[2:4],
        'empty': torch.zeros(0, 3),
        'sparse': torch.eye(2).to_sparse(),
        'parameter': torch.nn.Parameter(torch.ones(1)),
    }
    weights = OrderedDict(w=torch.ones(2, 2), b=torch.zeros(2))
    header = json.dumps(
        {
            '__metadata__': {'format': 'pt'},
            'w': {'dtype': 'F32', 'shape': [2, 2], 'data_offsets': [0, 16]},
            'b': {'dtype': 'I64', 'shape': [1], 'data_offsets': [16, 24]},
        }
    ).encode()
    return {
        'full.checkpoint.pth': _saved(full),
        'weights.checkpoint.pth': _saved(weights),
        'kinds.checkpoint.pth': _saved(kinds),
        'legacy.checkpoint.pth': _saved(
            {'state_dict': weights}, _use_new_zipfile_serialization=False
        ),
        'protocol4.checkpoint.pth': _saved({'state_dict': weights}, pickle_protocol=4),
        'list.checkpoint.pth': _saved([1, 2.5, 'x', None, {3}]),
        'page.checkpoint.pth': b'<!DOCTYPE html>\n<html><head><title>404</title></head></html>\n',
        'pointer.checkpoint.pth': b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n',
        'plain.checkpoint.safetensors': struct.pack('<Q', len(header)) + header + bytes(24),
    }


def _pickles() -> dict[str, bytes]:
    arrays = {
        'w': np.arange(6, dtype=np.float32).reshape(2, 3),
        'big': np.arange(2, dtype='>f8'),
        'fortran': np.asfortranarray(np.eye(2, dtype=np.int16)),
        'empty': np.zeros(0, np.uint8),
        'scalar': np.float64(0.5),
        'names': ['x', b'y', 1, 2.5, True, None, (1, 2)],
    }
    model = {'model': {'w': arrays['w'], 'b': arrays['big']}, '__author__': 'Detectron2 Model Zoo'}
    target = io.BytesIO()
    np.savez(target, w=arrays['w'], b=arrays['big'])
    packed = io.BytesIO()
    np.savez_compressed(packed, w=arrays['w'])
    files = {f'protocol{p}.arrays.pkl': pickle.dumps(arrays, protocol=p) for p in (0, 1, 2, 4, 5)}
    # As Python 2 and numpy 1 wrote them.
    old = pickle.dumps(model, protocol=2).replace(
        b'numpy._core.multiarray', b'numpy.core.multiarray'
    )
    return {
        **files,
        'ordered.arrays.pkl': pickle.dumps(OrderedDict(w=arrays['w'])),
        'old.model.pkl': old,
        'new.model.pkl': pickle.dumps(model),
        'stored.model.npz': target.getvalue(),
        'deflated.model.npz': packed.getvalue(),
        'weights.model.pth': _saved({'model': {'w': torch.ones(2)}}),
    }


def _coco() -> dict[str, Any]:
    outline = [2.0, 2.0, 9.0, 2.0, 9.0, 8.0, 2.0, 8.0]
    common = {
        'image_id': 1,
        'category_id': 1,
        'iscrowd': 0,
        'bbox': [2.0, 2.0, 7.0, 6.0],
        'area': 42.0,
    }
    runs = {'size': [HEIGHT, WIDTH], 'counts': [10, 5, 177]}
    return {
        'info': {'year': 2017},
        'images': [
            {'id': 1, 'file_name': 'a.png', 'height': HEIGHT, 'width': WIDTH},
            {'id': 2, 'file_name': 'b.png', 'height': HEIGHT, 'width': WIDTH},
        ],
        'annotations': [
            {'id': 1, **common, 'segmentation': [outline]},
            {
                'id': 2,
                **common,
                'category_id': 2,
                'segmentation': [outline, [1.0, 1.0, 3.5, 1.0, 3.5, 4.0]],
            },
            {'id': 3, **common, 'image_id': 2, 'segmentation': [outline]},
            {
                'id': 4,
                **common,
                'image_id': 2,
                'iscrowd': 1,
                'segmentation': runs,
                'bbox': [0, 9, 1, 5],
                'area': 5,
            },
        ],
        'categories': [{'id': 1, 'name': 'person'}, {'id': 2, 'name': 'dog'}],
    }


def _run_lengths(coco: dict[str, Any]) -> dict[str, Any]:
    packed = copy.deepcopy(coco)
    for annotation in packed['annotations'][:3]:
        annotation['segmentation'] = {'size': [HEIGHT, WIDTH], 'counts': [26, 6, 6, 6, 6, 6, 136]}
    return packed


def _lvis(coco: dict[str, Any], version: str) -> dict[str, Any]:
    lvis = copy.deepcopy(coco)
    del lvis['annotations'][3]
    for image, name in zip(lvis['images'], ('person.n.01', 'dog.n.01'), strict=True):
        image.update(
            coco_url=f'http://images.cocodataset.org/val2017/{image["id"]:012d}.jpg',
            neg_category_ids=[2],
            not_exhaustive_category_ids=[1],
        )
        if version == 'v1':
            del image['file_name']
        lvis['categories'][image['id'] - 1].update(synset=name, frequency='f')
    return lvis


def _jsons() -> dict[str, bytes]:
    coco = _coco()
    segments = [
        {
            'id': 7 + 256 * 7 + 65536 * 7,
            'category_id': 1,
            'area': 192,
            'iscrowd': 0,
            'bbox': [0, 0, 16, 12],
        }
    ]
    panoptic = {
        'images': coco['images'],
        'annotations': [{'image_id': 1, 'file_name': 'a.png', 'segments_info': segments}],
        'categories': [
            {'id': 1, 'name': 'person', 'isthing': 1},
            {'id': 92, 'name': 'banner', 'isthing': 0},
        ],
    }
    cityscapes = {
        'imgHeight': HEIGHT,
        'imgWidth': WIDTH,
        'objects': [
            {'label': 'road', 'polygon': [[0, 0], [15, 0], [15, 11], [0, 11]]},
            {'label': 'car', 'polygon': [[2, 2], [9, 2], [9, 8]]},
            {'label': 'persongroup', 'polygon': [[5, 1], [8, 1], [8, 9], [5, 9]]},
        ],
    }
    metafile = (
        'Collections:\n  - Name: PointRend\nModels:\n  - Name: model\n    In Collection: PointRend\n    Metadata:\n'
        '      Tolerance: 0.3\n    Results:\n      - Task: Instance Segmentation\n        Dataset: COCO\n'
        "        Metrics: {mask AP: 36.3, 'mask AP*': 39.7}\n"
    )
    files = {
        'outlines.coco.json': coco,
        'runs.coco.json': _run_lengths(coco),
        'outlines.polygons.json': coco,
        'outlines.truth.json': coco,
        'runs.truth.json': _run_lengths(coco),
        'v05.lvis.json': _lvis(coco, 'v0.5'),
        'v1.lvis.json': _lvis(coco, 'v1'),
        'things.panoptic.json': panoptic,
        'objects.cityscapes.json': cityscapes,
    }
    return {name: json.dumps(content).encode() for name, content in files.items()} | {
        'figures.metafile.yml': metafile.encode()
    }


def _with_orientation(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    target = io.BytesIO()
    image.save(target, 'JPEG', exif=exif)
    return target.getvalue()


def _written(image: Image.Image, kind: str, **options: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def _images() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    image = Image.fromarray(colours)
    files = {
        'colour': _written(image, 'PNG'),
        'alpha': _written(image.convert('RGBA'), 'PNG'),
        'grey': _written(image.convert('L'), 'PNG'),
        'palette': _written(image.quantize(16), 'PNG'),
        'deep': cv2.imencode('.png', colours.astype(np.uint16) * 257)[1].tobytes(),
        'jpeg': _written(image, 'JPEG'),
        'progressive': _written(image, 'JPEG', progressive=True),
        'cmyk': _written(image.convert('CMYK'), 'JPEG'),
        'turned': _with_orientation(image),
        'bmp': _written(image, 'BMP'),
        'tiff': _written(image, 'TIFF'),
        'lzw': _written(image, 'TIFF', compression='tiff_lzw'),
        'webp': _written(image, 'WEBP'),
        'lossless': _written(image, 'WEBP', lossless=True),
        'gif': _written(image, 'GIF'),
        'ppm': _written(image, 'PPM'),
        'float': cv2.imencode('.tiff', colours.astype(np.float32))[1].tobytes(),
        'radiance': cv2.imencode('.hdr', colours.astype(np.float32))[1].tobytes(),
        'jpeg2000': _written(image, 'JPEG2000'),
    }
    return {f'{name}.image.png': content for name, content in files.items()}


def _label_maps() -> dict[str, bytes]:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, (HEIGHT, WIDTH), dtype=np.uint8)
    labels[0] = 255
    image = Image.fromarray(labels)
    palette = image.copy()
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0] + [128] * 759)
    files = {
        'labels': _written(image, 'PNG'),
        'palette': _written(palette, 'PNG'),
        'bits': _written(Image.fromarray(labels == 1), 'PNG'),
        'deep': cv2.imencode('.png', labels.astype(np.uint16))[1].tobytes(),
        'interlaced': _written(image, 'PNG', interlace=1),
        'colour': _written(image.convert('RGB'), 'PNG'),
        'tiff': _written(image, 'TIFF'),
        'integers': _written(Image.fromarray(labels.astype(np.int32)), 'TIFF'),
        'bmp': _written(image, 'BMP'),
        'jpeg': _written(image, 'JPEG'),
        'webp': _written(image.convert('RGB'), 'WEBP', lossless=True),
    }
    return {f'{name}.labels.png': content for name, content in files.items()}


def _head_configs() -> dict[str, bytes]:
    instance, several, implicit = (
        roi_head_config(),
        roi_head_config(levels=(4, 8)),
        implicit_config(),
    )
    for config in (instance, several, implicit):
        config.train_cfg.num_points = 49
        config.test_cfg.update(subdivision_steps=3, subdivision_num_points=196)
    model = {
        'type': 'EncoderDecoder',
        'backbone': {'type': 'FuzzingLevels'},
        'decode_head': pointrend(fpn_head(), point_head()),
        'train_cfg': {'num_points': 20, 'oversample_ratio': 3, 'importance_sample_ratio': 0.75},
        'test_cfg': {
            'mode': 'whole',
            'subdivision_steps': 2,
            'subdivision_num_points': 50,
            'scale_factor': 2,
        },
    }
    binary = {
        **model,
        'decode_head': pointrend(fpn_head(num_classes=1), point_head(in_index=(0, 1))),
    }
    files = {
        'usual.instance.json': instance.to_dict(),
        'levels.instance.json': several.to_dict(),
        'usual.implicit.json': implicit.to_dict(),
        'usual.semantic.json': model,
        'binary.semantic.json': binary,
    }
    return {name: json.dumps(content).encode() for name, content in files.items()}


def write_seeds(folder: Path = SEEDS) -> None:
    """Write the seeds of all formats.

    Args:
        folder: Where; a folder for each format is made in it.
    """
    formats = {
        'checkpoints': _checkpoints(),
        'pickles': _pickles(),
        'jsons': _jsons(),
        'images': _images(),
        'label_maps': _label_maps(),
        'head_configs': _head_configs(),
    }
    for name, files in formats.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            (folder / name / file).write_bytes(content)


if __name__ == '__main__':
    write_seeds()
