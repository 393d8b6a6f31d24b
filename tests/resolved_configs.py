# Copyright (c) The mmpointrend authors.
"""Reading what a config resolves to, for comparison with literals."""

from pathlib import Path

from mmengine.config import Config

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
_SCOPE = '_scope_'


def plain(node):
    """A config, or values of one, as plain dicts and lists, without mmengine's scopes."""
    if isinstance(node, Config):
        node = node.to_dict()
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items() if key != _SCOPE}
    return [plain(item) for item in node] if isinstance(node, list | tuple) else node


def differences(one, other, path=''):
    """The entries in which ``other`` differs from ``one``: dotted path to its value there, None where it has none."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return {} if one == other else {path.lstrip('.'): other}
    found = {}
    for key in [*one, *(key for key in other if key not in one)]:
        found.update(differences(one.get(key), other.get(key), f'{path}.{key}'))
    return found


def pipeline(cfg, split='train'):
    """Steps of a pipeline, by type; under any wrapper."""
    dataset = cfg[f'{split}_dataloader'].dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    steps = [plain(step) for step in dataset.pipeline]
    assert len({step['type'] for step in steps}) == len(steps)
    return {step.pop('type'): step for step in steps}


def images_per_iteration(cfg):
    """Images of one iteration: GPUs by the config's name, as in '8xb2', times images of a loader."""
    gpus, images = next(
        field.split('-')[0].split('xb')
        for field in Path(cfg.filename).stem.split('_')
        if 'xb' in field
    )
    assert int(images) == cfg.train_dataloader.batch_size
    return int(gpus) * int(images)
