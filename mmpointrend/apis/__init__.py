# Copyright (c) The mmpointrend authors.
"""From an image, a folder or a video to sharp masks.

- :func:`load_model`: a model by name or path, with its weights;
- :func:`predict`: samples of images, folders, videos and iterators;
- :class:`PointRendInferencer`: OpenMMLab's inferencers, for both tasks;
- :func:`to_supervision`: a sample as ``supervision.Detections``;
- :func:`add_pointrend`, :func:`convert_config`: PointRend on another model's config.
"""

from mmpointrend.apis.inferencer import PointRendInferencer
from mmpointrend.apis.models import load_model
from mmpointrend.apis.prediction import predict
from mmpointrend.apis.supervision import to_supervision
from mmpointrend.conversion import add_pointrend, convert_config

__all__ = [
    'PointRendInferencer',
    'add_pointrend',
    'convert_config',
    'load_model',
    'predict',
    'to_supervision',
]
