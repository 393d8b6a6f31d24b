# Copyright (c) The mmpointrend authors.
"""What metafiles publish, and how it is compared with what evaluators print."""

import pytest
import yaml

from mmpointrend.errors import ConfigError
from mmpointrend.evaluation.benchmark import Comparison, Figure, compare, published_figures


@pytest.fixture
def config(tmp_path):
    """Writes a metafile with one entry and returns the path of its config, which need not exist."""

    def write(**entry):
        models = {'Models': [{'Name': 'other'}, {'Name': 'ours', **entry}]}
        (tmp_path / 'metafile.yml').write_text(yaml.safe_dump(models, sort_keys=False))
        return tmp_path / 'ours.py'

    return write


def test_figures(config):
    results = [{'Task': 'Instance Segmentation', 'Dataset': 'COCO'}]
    results[0]['Metrics'] = {'mask AP': 36.3, 'Boundary AP': 20}
    path = config(Results=results, Metadata={'Tolerance': 0.3})
    assert published_figures(path) == [Figure('mask AP', 36.3, 0.3), Figure('Boundary AP', 20, 0.3)]
    assert published_figures(path, ['Boundary AP'], 1.0) == [Figure('Boundary AP', 20, 1)]
    # Without a tolerance of its own.
    path = config(Results=results, Metadata={'Iterations': 90000})
    assert published_figures(path)[0] == Figure('mask AP', 36.3, 0.2)


def test_published_here(repo):
    figures = published_figures(
        repo / 'configs/mini/fpn-p3-p5_mobilenet-v2_1xb4-600i_camvid-256x256.py'
    )
    assert [figure.name for figure in figures] == ['mIoU', 'boundary IoU (3 px)']
    printed = {'mIoU': 40.0, 'mBoundaryIoU': 10.0, 'wide/mBoundaryIoU': 20.0}
    assert [compare(figure, printed).measured for figure in figures] == [40, 10]


def test_refusals(config, tmp_path):
    with pytest.raises(ConfigError, match=r'has no metafile\.yml beside it'):
        published_figures(tmp_path / 'ours.py')
    with pytest.raises(ConfigError, match='has no entry lost: add one'):
        published_figures(config().with_name('lost.py'))
    with pytest.raises(ConfigError, match='publishes no figure of ours: add Results'):
        published_figures(config())
    results = [{'Metrics': {'mIoU': 77.2}}]
    with pytest.raises(ConfigError, match='publishes no mask AP of ours: choose from mIoU'):
        published_figures(config(Results=results), ['mask AP'])
    with pytest.raises(ConfigError, match="has 'wide' as Tolerance of ours: write a number"):
        published_figures(config(Results=results, Metadata={'Tolerance': 'wide'}))
    with pytest.raises(ConfigError, match='as mIoU of ours: write a number'):
        published_figures(config(Results=[{'Metrics': {'mIoU': '77.2 / 78'}}]))
    with pytest.raises(ConfigError, match=r'tolerance of ours is -0\.1: write 0 or more'):
        published_figures(config(Results=results, Metadata={'Tolerance': -0.1}))


@pytest.mark.parametrize(
    'content',
    [
        '- ours',
        'Models: ours',
        'Models: [{}]',
        'Models: [',
        'Models: [{Name: ours, Results: {Metrics: {mIoU: 7}}}]',
    ],
)
def test_another_form(content, tmp_path):
    (tmp_path / 'metafile.yml').write_text(content)
    with pytest.raises(ConfigError, match=r'metafile\.yml is no metafile'):
        published_figures(tmp_path / 'ours.py')


@pytest.mark.parametrize(
    ('name', 'printed', 'measured'),
    [
        ('mask AP', {'coco/segm_mAP': 0.363, 'coco/bbox_mAP': 0.4}, 36.3),
        ('box AP', {'coco/segm_mAP': 0.363, 'coco/bbox_mAP': 0.4}, 40),
        ('mask AP', {'lvis/segm_AP': 0.25}, 25),
        ('mask AP', {'cityscapes/mAP': 0.358, 'cityscapes/AP@50': 0.6}, 35.8),
        ('mask AP', {'coco/segm_mAP': 0.3, 'cityscapes/mAP': 0.358}, 35.8),
        ('Boundary AP', {'coco/boundary_mAP': 0.21}, 21),
        ('mask AP*', {'coco/segm_mAP': 0.3, 'ap_star/segm_mAP': 0.397}, 39.7),
        ('mIoU', {'mIoU': 77.5, 'aAcc': 90.0}, 77.5),
        ('boundary IoU (3 px)', {'mBoundaryIoU': 13.4}, 13.4),
        ('wide/mBoundaryIoU', {'mBoundaryIoU': 13.4, 'wide/mBoundaryIoU': 30.0}, 30),
        ('mask AP', {'mIoU': 77.5}, None),
    ],
)
def test_evaluators_figures(name, printed, measured):
    found = compare(Figure(name, 30, 0.2), printed).measured
    assert found == (None if measured is None else pytest.approx(measured))


@pytest.mark.parametrize(
    ('measured', 'verdict'),
    [
        (36.3, 'inside'),
        (36.1, 'inside'),
        (36.5, 'inside'),
        (36.0, 'below'),
        (36.6, 'above'),
        (float('nan'), 'below'),
        (None, 'not printed'),
    ],
)
def test_verdict(measured, verdict):
    assert Comparison(Figure('mask AP', 36.3, 0.2), measured).verdict == verdict
