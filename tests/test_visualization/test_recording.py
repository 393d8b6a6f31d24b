# Copyright (c) The mmpointrend authors.
"""Recording the renderer, and the hook that draws it in real test runs of both tasks."""

import mmcv
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from tiny_runs import write_config, write_data
from torch import nn

from mmpointrend.errors import ConfigError
from mmpointrend.points import subdivide
from mmpointrend.visualization import SubdivisionVisualizationHook, record_subdivision


class Head(nn.Module):
    """A head that renders."""

    def __init__(self) -> None:
        super().__init__()
        self.observer = None

    def forward(self, regions: int) -> torch.Tensor:
        return subdivide(
            torch.zeros(regions, 1, 2, 2),
            lambda points: points.new_ones(len(points), 1, points.shape[1]),
            num_points=3,
            steps=2,
            observer=self.observer,
        )


def test_each_rendering_is_a_list_of_copies():
    head, seen = Head(), []
    head.observer = seen.append
    with record_subdivision(head) as renderings:
        head(2)
        out = head(3)
    head(1)
    assert [[step.index for step in steps] for steps in renderings] == [[0, 1, 2]] * 2
    assert [steps[2].points.shape for steps in renderings] == [(2, 3, 2), (3, 3, 2)]
    assert torch.equal(renderings[1][2].logits, out)
    assert renderings[1][2].logits is not out
    assert (renderings[1][0].logits == 0).all()  # not what later steps made of it
    assert len(seen) == 9  # the observer that was there is called, in the context and after it


def test_the_observer_goes_when_the_rendering_fails():
    head = Head()
    with pytest.raises(RuntimeError, match='boom'), record_subdivision(head):
        raise RuntimeError('boom')
    assert head.observer is None


def test_a_model_that_does_not_render_is_refused():
    with pytest.raises(ConfigError, match='Linear has no head that renders'):  # noqa: SIM117
        with record_subdivision(nn.Linear(1, 1)):
            pass


def test_an_interval_of_zero_is_refused():
    with pytest.raises(ConfigError, match='interval is 0'):
        SubdivisionVisualizationHook(interval=0)


def tiny_run(task: str, tmp_path) -> Config:
    """The tiny run of a task; for instances one that keeps every detection, so that there is something to draw."""
    cfg = Config.fromfile(write_config(task, tmp_path, write_data(tmp_path / 'data'), length=1))
    if task == 'instance':
        cfg.model.test_cfg.rcnn.update(
            score_thr=0.0, subdivision_steps=3, subdivision_num_points=100
        )
    return cfg


@pytest.mark.parametrize('task', ['semantic', 'instance'])
def test_the_hook_writes_a_picture_of_every_second_image(task, tmp_path):
    cfg = tiny_run(task, tmp_path)
    folder = tmp_path / 'pictures'
    cfg.custom_hooks = [
        dict(type='mmpointrend.SubdivisionVisualizationHook', interval=2, out_dir=str(folder))
    ]
    cfg.experiment_name = f'{task}_pictures'
    Runner.from_cfg(cfg).test()
    assert sorted(path.name for path in folder.iterdir()) == ['00.png', '02.png', '04.png']
    height, width = mmcv.imread(str(folder / '00.png')).shape[:2]
    columns = 4 if task == 'instance' else 3
    assert width / height == pytest.approx(columns / 3, rel=0.35)


def test_slide_mode_is_refused(tmp_path):
    cfg = tiny_run('semantic', tmp_path)
    cfg.model.test_cfg.update(mode='slide', crop_size=(48, 48), stride=(32, 32))
    cfg.custom_hooks = [dict(type='mmpointrend.SubdivisionVisualizationHook')]
    cfg.experiment_name = 'slide'
    with pytest.raises(ConfigError, match="mode is 'slide'"):
        Runner.from_cfg(cfg).test()
