# Copyright (c) The mmpointrend authors.
"""One child registry for each kind of mmengine registry that this package adds to.

A config names our types as ``mmpointrend.<Type>``, under whatever default scope it has. mmengine
then imports this module by itself, and the ``locations`` below when the first such name is looked
up: no ``custom_imports``. Every kind lists the engine as well: our hooks and runner are there whenever
a config names anything of ours.
"""

from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import LOOPS as MMENGINE_LOOPS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import RUNNERS as MMENGINE_RUNNERS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import VISUALIZERS as MMENGINE_VISUALIZERS
from mmengine.registry import Registry

__all__ = [
    'DATASETS',
    'HOOKS',
    'LOOPS',
    'METRICS',
    'MODELS',
    'POINT_SELECTIONS',
    'RUNNERS',
    'TRANSFORMS',
    'VISUALIZERS',
]


def _child(name: str, parent: Registry, *modules: str) -> Registry:
    """Child of ``parent`` in our scope; imports ``modules`` and the engine when first asked."""
    locations = [f'mmpointrend.{module}' for module in (*modules, 'engine')]
    return Registry(name, parent=parent, scope='mmpointrend', locations=locations)


MODELS = _child('model', MMENGINE_MODELS, 'models')
DATASETS = _child('dataset', MMENGINE_DATASETS, 'datasets')
TRANSFORMS = _child('transform', MMENGINE_TRANSFORMS, 'datasets')
METRICS = _child('metric', MMENGINE_METRICS, 'evaluation')
HOOKS = _child('hook', MMENGINE_HOOKS, 'visualization')
LOOPS = _child('loop', MMENGINE_LOOPS, 'evaluation')
VISUALIZERS = _child('visualizer', MMENGINE_VISUALIZERS, 'visualization')
RUNNERS = _child('runner', MMENGINE_RUNNERS)

# Training strategies of point selection: a kind of our own, without a parent.
POINT_SELECTIONS = Registry(
    'point selection', scope='mmpointrend', locations=['mmpointrend.models']
)
