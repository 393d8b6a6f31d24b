# Copyright (c) The mmpointrend authors.
"""Every config: named in the model index, inheritable from outside, and able to build."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from mim.commands.search import convert2df, filter_by_models
from mmengine.config import Config
from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS, VISUALIZERS, DefaultScope
from modelindex.load_model_index import load

import mmpointrend  # noqa: F401  (makes `mmpointrend::` known)
from mmpointrend.analysis.shrunken_models import shrunken
from mmpointrend.engine.checks import leaves

REPO = Path(__file__).resolve().parents[2]
CONFIGS = sorted(path.relative_to(REPO) for path in REPO.glob('configs/[!_]*/*.py'))
REFERENCES = ('ablation', 'instance', 'semantic')


def inherited(config: Path, folder: Path) -> Config:
    """The config as a project outside the repository gets it."""
    child = folder / 'child.py'
    child.write_text(f"_base_ = 'mmpointrend::{config.relative_to('configs')}'\n")
    return Config.fromfile(child)


def typed_dicts(node: Any, path: str = '') -> Iterator[tuple[str, dict]]:
    """Every dict with a ``type`` below ``node``, with the keys that lead there."""
    if isinstance(node, dict):
        if 'type' in node:
            yield path, node
        for key, value in node.items():
            yield from typed_dicts(value, f'{path}.{key}')
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from typed_dicts(value, f'{path}[{index}]')


def test_there_are_configs() -> None:
    assert {path.parts[1] for path in CONFIGS} >= {*REFERENCES, 'mini', 'shapes'}


def test_basenames_are_unique() -> None:
    names = Counter(
        path.name for folder in ('configs', 'tools') for path in REPO.joinpath(folder).rglob('*.py')
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_model_index_names_every_config_once() -> None:
    index = yaml.safe_load((REPO / 'model-index.yml').read_text())
    assert index['Import'] == sorted(
        str(path.relative_to(REPO)) for path in REPO.glob('configs/*/metafile.yml')
    )
    models = [
        model
        for file in index['Import']
        for model in yaml.safe_load((REPO / file).read_text())['Models']
    ]
    assert sorted(model['Config'] for model in models) == [str(path) for path in CONFIGS]
    assert [model['Name'] for model in models] == [Path(m['Config']).stem for m in models]


def test_metafiles_belong_to_their_folder() -> None:
    for file in REPO.glob('configs/*/metafile.yml'):
        meta = yaml.safe_load(file.read_text())
        collections = {collection['Name']: collection for collection in meta['Collections']}
        for model in meta['Models']:
            assert Path(model['Config']).parent == file.parent.relative_to(REPO)
            assert model['In Collection'] in collections
        for collection in collections.values():
            assert (REPO / collection['README']).is_file()


def test_collections_of_one_name_are_one() -> None:
    """mim knows collections by name: those of the file that it reads last would stand for all."""
    found: dict[str, dict] = {}
    for file in REPO.glob('configs/*/metafile.yml'):
        for collection in yaml.safe_load(file.read_text())['Collections']:
            assert found.setdefault(collection['Name'], collection) == collection
    assert 'PointRend' in found


def test_mim_finds_models_by_the_name_of_the_collection() -> None:
    index = convert2df(load(str(REPO / 'model-index.yml')))
    found = filter_by_models(index, ['pointrend'])
    names = {path.stem for path in CONFIGS if path.parts[1] in ('instance', 'semantic')}
    assert set(found.index) == {name for name in names if name.startswith('pointrend_')}
    # `mim download` takes the addresses from there.
    assert all(isinstance(weights, str) for weights in index['weight'])


def test_every_config_has_a_visualizer() -> None:
    """OpenMMLab's inferencers need one."""
    for path in CONFIGS:
        cfg = Config.fromfile(REPO / path)
        kind = {'mmdet': 'DetLocalVisualizer', 'mmseg': 'SegLocalVisualizer'}[cfg.default_scope]
        assert cfg.visualizer.type == kind, path


def test_mim_search_takes_the_index() -> None:
    """mim turns metadata into a table, and fails on lists of anything but text."""
    found = convert2df(load(str(REPO / 'model-index.yml')))
    figures = found.loc['pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco']
    assert (figures['coco/mask_ap'], figures['coco/mask_ap*']) == (36.3, 39.7)
    assert found.loc['deeplabv3_r103-d8_8xb2-90k_cityscapes-768x768', 'cityscapes/miou'] == 77.8


def test_published_figures_have_a_source_and_a_tolerance() -> None:
    models = {
        model['Name']: model
        for folder in REFERENCES
        for model in yaml.safe_load((REPO / f'configs/{folder}/metafile.yml').read_text())['Models']
    }
    for name, model in models.items():
        meta = model['Metadata']
        assert ('Results' in model) == ('Source' in meta) == ('Tolerance' in meta), name
        for result in model.get('Results', []):
            assert result['Task'] in ('Instance Segmentation', 'Semantic Segmentation')
            assert result['Dataset'] == meta['Training Data']
            assert set(result['Metrics']) <= {'mask AP', 'mask AP*', 'mIoU'}
            assert all(0 < meta['Tolerance'] < 1 < value for value in result['Metrics'].values())
        assert meta.get('Weights Of', name) in models
        # The comment at the top of the config says the same.
        comment = (REPO / model['Config']).read_text().partition('_base_')[0]
        for part in ('# Expected: ', '# Schedule: ', '# Command:  mim t'):
            assert part in comment, name
        for result in model.get('Results', []):
            for metric, value in result['Metrics'].items():
                assert f'{metric.removeprefix("mask ")} {value}' in comment, name


@pytest.mark.parametrize('config', CONFIGS, ids=lambda path: path.stem)
def test_inherited_config_builds(config: Path, tmp_path: Path) -> None:
    cfg = inherited(config, tmp_path)
    # mmengine stamps `mmpointrend` on the outermost typed dicts that state no scope of their own;
    # `EncoderDecoder` then is not found, and `Resize` silently is mmcv's.
    stamped = [path for path, node in typed_dicts(cfg) if node.get('_scope_') == 'mmpointrend']
    assert stamped == []
    assert cfg.default_scope in ('mmdet', 'mmseg')

    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        # Models of the references are large: narrower ones are refused for the same reasons.
        model = MODELS.build(shrunken(cfg.model) if config.parts[1] in REFERENCES else cfg.model)
        assert model.__module__.partition('.')[0] == cfg.default_scope
        for split in ('train', 'val', 'test'):
            loader = cfg.get(f'{split}_dataloader')
            if loader is not None:
                # lazy_init: the images and annotations are elsewhere, the pipeline is built.
                (config_of_files,) = leaves(loader.dataset)
                dataset = DATASETS.build({**config_of_files, 'lazy_init': True})
                packer = dataset.pipeline.transforms[-1]
                assert packer.__module__.partition('.')[0] == cfg.default_scope
        for evaluator in (cfg.get('val_evaluator'), cfg.get('test_evaluator')):
            metrics = evaluator if isinstance(evaluator, list) else [evaluator]
            for metric in filter(None, metrics):
                if metric['type'] == 'mmpointrend.LVISMetric':
                    continue  # It reads its file at once: tests of evaluators build it.
                without_file = {'ann_file': None} if 'ann_file' in metric else {}
                METRICS.build({**metric, **without_file})
        if 'visualizer' in cfg:
            VISUALIZERS.build({**cfg.visualizer, 'name': str(config)})
        for hook in [*cfg.default_hooks.values(), *cfg.get('custom_hooks', [])]:
            HOOKS.build(hook)
