# Copyright (c) The mmpointrend authors.
"""``tools/train.py`` and ``tools/test.py`` on both tasks: what they write, and what they refuse."""

import pickle
import shutil

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from pycocotools import mask as rle
from tiny_runs import run_tool


def refused(*command: object) -> str:
    """Sentence with which a tool ends."""
    with pytest.raises(SystemExit) as caught:
        run_tool(*command)
    sentence = str(caught.value.code)
    assert sentence.startswith('error: ') and '\n' not in sentence
    return sentence


class TestTrain:
    def test_leaves_a_safe_stoppable_run(self, run):
        torch.load(run.checkpoint, weights_only=True)
        dumped = Config.fromfile(run.checkpoint.parent / run.config.name)
        assert dumped.default_hooks.iteration_seed.type == 'mmpointrend.IterationSeedHook'
        assert dumped.default_hooks.checkpoint.type == 'mmpointrend.SafeCheckpointHook'

    def test_resume_passes_over_a_damaged_last_checkpoint(self, semantic_run, tmp_path):
        longer = ('--cfg-options', 'default_hooks.checkpoint.interval=1')
        run_tool('train', semantic_run.config, '--work-dir', tmp_path, *longer)
        last = tmp_path / 'iter_2.pth'
        good = torch.load(last, weights_only=True)['state_dict']
        last.write_bytes(last.read_bytes()[:5000])
        run_tool('train', semantic_run.config, '--work-dir', tmp_path, '--resume', *longer)
        mended = torch.load(last, weights_only=True)['state_dict']
        assert all(torch.equal(good[name], mended[name]) for name in good)

    def test_resume_with_nothing_there_starts_anew(self, semantic_run, tmp_path):
        run_tool('train', semantic_run.config, '--work-dir', tmp_path, '--resume')
        assert (tmp_path / 'iter_2.pth').is_file()

    def test_auto_scale_lr(self, semantic_run, tmp_path):
        """Batch 2 at a rate meant for batch 8: a quarter of 0.01, decayed once over 4 iterations."""
        options = ('--cfg-options', 'auto_scale_lr.base_batch_size=8', 'train_cfg.max_iters=1')
        run_tool('train', semantic_run.config, '--work-dir', tmp_path, '--auto-scale-lr', *options)
        saved = torch.load(tmp_path / 'iter_1.pth', weights_only=True)
        assert saved['optimizer']['param_groups'][0]['initial_lr'] == pytest.approx(0.0025)

    def test_refusals(self, run, tmp_path):
        train = ('train', run.config, '--work-dir', tmp_path)
        assert 'config none.py does not exist' in refused('train', 'none.py')
        scope = ('--cfg-options', 'default_scope=mmpointrend')
        assert "default_scope is 'mmpointrend'" in refused(*train, *scope)
        batch = ('--auto-scale-lr', '--cfg-options', 'auto_scale_lr=None')
        assert 'auto_scale_lr=dict(base_batch_size=...)' in refused(*train, *batch)
        if not torch.cuda.is_available():
            assert '--amp needs a GPU' in refused(*train, '--amp')
        missing = tmp_path / 'none.pth'
        assert 'none.pth does not exist' in refused(*train, '--resume', missing)
        assert 'none.pth does not exist' in refused(*train, '--cfg-options', f'load_from={missing}')

    def test_resume_from_weights_alone(self, run, tmp_path):
        weights = dict(state_dict=torch.load(run.checkpoint, weights_only=True)['state_dict'])
        torch.save(weights, tmp_path / 'weights.pth')
        sentence = refused(
            'train', run.config, '--work-dir', tmp_path, '--resume', tmp_path / 'weights.pth'
        )
        assert 'weights.pth holds weights but no state of training' in sentence

    def test_class_count_that_disagrees(self, run, tmp_path):
        roi_heads = [f'roi_head.{name}_head' for name in ('bbox', 'mask', 'point')]
        heads = {'semantic': ['decode_head.coarse_head'], 'instance': roi_heads}[run.task]
        options = [f'model.{head}.num_classes=7' for head in heads]
        sentence = refused('train', run.config, '--work-dir', tmp_path, '--cfg-options', *options)
        first = heads[0].removesuffix('.coarse_head')
        assert f'model.{first}.num_classes is 7, but the dataset of train_dataloader' in sentence

    def test_label_beyond_the_classes(self, semantic_run, tmp_path):
        data = shutil.copytree(semantic_run.data, tmp_path / 'data')
        for path in (data / 'labels').iterdir():
            label = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            label[:, :] = 11
            cv2.imwrite(str(path), label)
        sentence = refused(
            *('train', semantic_run.config, '--work-dir', tmp_path / 'run'),
            *('--cfg-options', f'train_dataloader.dataset.data_root={data}'),
        )
        assert 'holds label 11, but the head has 3 classes' in sentence

    def test_bad_files(self, run, tmp_path):
        """A damaged image, met by a data-loading worker, and a missing annotation file or folder."""
        data = shutil.copytree(run.data, tmp_path / 'data')
        for path in (data / 'images').iterdir():
            path.write_bytes(b'no image')
        root = f'train_dataloader.dataset.data_root={data}'
        train = ('train', run.config, '--work-dir', tmp_path / 'run', '--cfg-options', root)
        assert '.png is damaged or no image' in refused(*train)
        shutil.rmtree(data)
        data.mkdir()
        assert 'does not exist; set data_root' in refused(*train)


class TestTest:
    def test_out(self, semantic_run, instance_run, tmp_path):
        folder, file = tmp_path / 'labels', tmp_path / 'out.pkl'
        run_tool('test', semantic_run.config, semantic_run.checkpoint, '--out', folder)
        labels = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted(folder.iterdir())]
        assert len(labels) == 6 and all(label.shape == (64, 64) for label in labels)
        assert np.max(labels) <= 2

        run_tool(
            *('test', instance_run.config, instance_run.checkpoint, '--out', file),
            *('--cfg-options', 'model.test_cfg.rcnn.score_thr=0.0'),
        )
        predictions = pickle.loads(file.read_bytes())
        assert len(predictions) == 6
        instances = predictions[0]['pred_instances']
        assert len(instances['bboxes']) == len(instances['masks']) > 0
        assert rle.decode(instances['masks'][0]).shape == (64, 64)

    def test_show_dir_draws_every_image(self, run, tmp_path):
        run_tool('test', run.config, run.checkpoint, '--show-dir', tmp_path / 'show')
        drawn = [path for path in (tmp_path / 'show').rglob('*') if path.suffix in ('.png', '.jpg')]
        assert len(drawn) == 6
        # Two pictures side by side in instance segmentation, ground truth and prediction.
        assert cv2.imread(str(drawn[0])).shape[0] == 64

    def test_tta(self, semantic_run, instance_run, tmp_path):
        run_tool(
            *('test', semantic_run.config, semantic_run.checkpoint),
            *('--tta', '--out', tmp_path / 'labels'),
        )
        assert len(list((tmp_path / 'labels').iterdir())) == 6
        sentence = refused('test', instance_run.config, instance_run.checkpoint, '--tta')
        assert '--tta works for semantic segmentation' in sentence

    def test_refusals(self, run, tmp_path):
        test = ('test', run.config, run.checkpoint, '--work-dir', tmp_path)
        wrong = {'semantic': 'out.pkl', 'instance': 'folder'}[run.task]
        assert f'--out {wrong}: ' in refused(*test, '--out', wrong)
        hook = ('--show-dir', tmp_path, '--cfg-options', 'default_hooks.visualization=None')
        assert '--show-dir needs a hook that draws' in refused(*test, *hook)
        assert 'none.pth does not exist' in refused('test', run.config, tmp_path / 'none.pth')
        cut = tmp_path / 'cut.pth'
        cut.write_bytes(run.checkpoint.read_bytes()[:-3000])
        assert 'cut.pth is damaged' in refused('test', run.config, cut)

    def test_checkpoint_of_another_model(self, semantic_run, instance_run, tmp_path):
        """Both have the names ``backbone.*``; the shapes tell that they are others."""
        for one, other in ((semantic_run, instance_run), (instance_run, semantic_run)):
            sentence = refused('test', one.config, other.checkpoint, '--work-dir', tmp_path)
            assert 'missing (' in sentence and other.checkpoint.name in sentence
        alien = tmp_path / 'alien.pth'
        torch.save(dict(state_dict=torch.nn.Linear(2, 2).state_dict()), alien)
        sentence = refused('test', semantic_run.config, alien, '--work-dir', tmp_path)
        assert 'alien.pth is of another model: 0 of the ' in sentence

    def test_checkpoint_of_another_class_count(self, semantic_run, tmp_path):
        test = ('test', semantic_run.config, semantic_run.checkpoint, '--work-dir', tmp_path)
        head = ('--cfg-options', 'model.decode_head.coarse_head.num_classes=4')
        data = 'test_dataloader.dataset.metainfo'
        colours = f'{data}.palette=[[0,0,0],[1,1,1],[2,2,2],[3,3,3]]'
        sentence = refused(*test, *head, f'{data}.classes=a,b,c,d', colours)
        assert 'of another shape (' in sentence


def test_part_of_a_model_is_loaded_and_reported_where_training_starts(semantic_run, tmp_path):
    weights = torch.load(semantic_run.checkpoint, weights_only=True)['state_dict']
    backbone = {name: value for name, value in weights.items() if name.startswith('backbone.')}
    torch.save(dict(state_dict=backbone), tmp_path / 'backbone.pth')
    run_tool(
        *('train', semantic_run.config, '--work-dir', tmp_path / 'run'),
        *('--cfg-options', f'load_from={tmp_path / "backbone.pth"}'),
    )
    (log,) = (tmp_path / 'run').glob('*/*.log')
    assert 'missing (decode_head.' in log.read_text()


def test_unexpected_errors_keep_their_traceback(semantic_run, tmp_path):
    with pytest.raises(KeyError, match='NoSuchHead'):
        run_tool(
            *('train', semantic_run.config, '--work-dir', tmp_path),
            *('--cfg-options', 'model.decode_head.type=NoSuchHead'),
        )
