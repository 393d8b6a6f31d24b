# Copyright (c) The mmpointrend authors.
"""What ``benchmark_rendering.py`` runs: each case is ours and the peer's, on the same weights and inputs.

``shrink`` divides sizes, to try a case in a second.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from rendering_inputs import Case
from rendering_instances import (
    Instances,
    instance_case,
    model_instance_case,
    training_instance_case,
)
from rendering_mask2former import training_mask2former_case
from rendering_semantics import (
    Semantics,
    model_semantic_case,
    semantic_case,
    training_semantic_case,
)

INSTANCES = {
    'instance-coco': Instances(100, 80, (800, 1216)),
    'instance-cityscapes': Instances(30, 8, (1024, 2048)),
    'instance-lvis': Instances(300, 1203, (800, 1216)),
}
INSTANCES |= {
    name.replace('instance', 'rle'): replace(sizes, encoded=True)
    for name, sizes in INSTANCES.items()
}
SEMANTICS = {
    'semantic-s4-smooth': Semantics((1024, 2048), 4, 2, 8192, 'smooth'),
    'semantic-s4-random': Semantics((1024, 2048), 4, 2, 8192, 'random'),
    'semantic-s16-smooth': Semantics((1024, 2048), 16, 4, 8096, 'smooth'),
    'semantic-s16-random': Semantics((1024, 2048), 16, 4, 8096, 'random'),
}
SEMANTICS |= {
    name.replace('semantic', 'labels'): replace(sizes, labels=True)
    for name, sizes in SEMANTICS.items()
}
OTHERS = (
    'training-instance',
    'training-semantic',
    'training-mask2former',
    'model-instance',
    'model-semantic',
    'model-instance-json',
    'model-semantic-labels',
)
# From features to what people keep, and the training that has such a row: one table in a few minutes.
END_PRODUCTS = (
    'rle-coco',
    'rle-lvis',
    'labels-s4-smooth',
    'labels-s4-random',
    'labels-s16-smooth',
    'labels-s16-random',
    'training-instance',
    'model-instance-json',
    'model-semantic-labels',
)
CASES = (*INSTANCES, *SEMANTICS, *OTHERS)


def make_case(name: str, device: str = 'cpu', shrink: int = 1) -> Case:
    """A case by its id.

    Args:
        name: One of ``CASES``.
        device: Where it runs.
        shrink: What its sizes are divided by.

    Returns:
        The case; none of its implementations is built yet.
    """
    if name in INSTANCES:
        return instance_case(name, INSTANCES[name].shrunk(shrink), device)
    if name in SEMANTICS:
        sizes = SEMANTICS[name]
        return semantic_case(name, sizes.shrunk(shrink) if shrink > 1 else sizes, device)
    makers: dict[str, Callable[[str, int], Case]] = {
        'training-instance': training_instance_case,
        'training-semantic': training_semantic_case,
        'training-mask2former': training_mask2former_case,
        'model-instance': model_instance_case,
        'model-semantic': model_semantic_case,
        'model-instance-json': partial(model_instance_case, as_json=True),
        'model-semantic-labels': partial(model_semantic_case, as_labels=True),
    }
    return makers[name](device, shrink)
