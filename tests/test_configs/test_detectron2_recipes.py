# Copyright (c) The mmpointrend authors.
"""The recipes that are detectron2's, against configs that detectron2 itself has written out (with fewer channels)."""

import pytest
import yaml
from resolved_configs import images_per_iteration, pipeline, plain

RECIPES = {
    'instance_r50': 'pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco',
    'semantic_r50': 'pointrend_fpn-detectron2_r101-caffe_8xb4-65k_cityscapes-512x1024',
}


@pytest.fixture(params=RECIPES)
def pair(request, read, shared_dir):
    """Our config and detectron2's."""
    path = shared_dir / 'fixtures' / 'detectron2' / f'{request.param}.yaml'
    return read(RECIPES[request.param]), yaml.safe_load(path.read_text())


def test_schedule(pair):
    ours, theirs = pair
    solver, wrapper = theirs['SOLVER'], ours.optim_wrapper
    assert images_per_iteration(ours) == solver['IMS_PER_BATCH']
    assert ours.train_cfg.max_iters == solver['MAX_ITER']
    optimizer = wrapper.optimizer
    assert (optimizer.lr, optimizer.momentum) == (solver['BASE_LR'], solver['MOMENTUM'])
    assert optimizer.weight_decay == solver['WEIGHT_DECAY']
    assert wrapper.paramwise_cfg.norm_decay_mult == solver['WEIGHT_DECAY_NORM']
    assert 'clip_grad' not in wrapper and not solver['CLIP_GRADIENTS']['ENABLED']
    warm_up, drops = ours.param_scheduler
    assert (warm_up.start_factor, warm_up.end) == (solver['WARMUP_FACTOR'], solver['WARMUP_ITERS'])
    assert (drops.milestones, drops.gamma) == (solver['STEPS'], solver['GAMMA'])


def test_images(pair):
    ours, theirs = pair
    train, test, given = pipeline(ours), pipeline(ours, 'test'), theirs['INPUT']
    scales = [[given['MAX_SIZE_TRAIN'], side] for side in given['MIN_SIZE_TRAIN']]
    assert plain(train['RandomChoiceResize']['scales']) == scales
    assert plain(test['Resize']['scale']) == [given['MAX_SIZE_TEST'], given['MIN_SIZE_TEST']]
    assert ('PhotoMetricDistortion' in train) == given['COLOR_AUG_SSD']
    assert ('RandomCrop' in train) == given['CROP']['ENABLED']
    if given['CROP']['ENABLED']:
        assert train['RandomCrop'] == {
            'crop_size': given['CROP']['SIZE'],
            'cat_max_ratio': given['CROP']['SINGLE_CATEGORY_MAX_AREA'],
        }
    preprocessor = ours.model.data_preprocessor
    assert preprocessor.mean == theirs['MODEL']['PIXEL_MEAN']
    assert preprocessor.std == theirs['MODEL']['PIXEL_STD']


def test_points(pair):
    ours, theirs = pair
    model, given = ours.model, theirs['MODEL']['POINT_HEAD']
    if ours.default_scope == 'mmdet':
        head, train, test = model.roi_head.point_head, model.train_cfg.rcnn, model.test_cfg.rcnn
        assert train.train_on_pred_boxes is theirs['MODEL']['ROI_BOX_HEAD']['TRAIN_ON_PRED_BOXES']
        assert test.subdivision_num_points == given['SUBDIVISION_NUM_POINTS']
    else:
        head, train, test = model.decode_head.point_head, model.train_cfg, model.test_cfg
        # The written config has fewer; the published one 8192.
        assert (test.subdivision_num_points, given['SUBDIVISION_NUM_POINTS']) == (8192, 512)
        assert model.decode_head.uncertainty == 'logits'
    assert head.coarse_pred_each_layer is given['COARSE_PRED_EACH_LAYER']
    assert head.num_fcs == given['NUM_FC']
    assert train.num_points == given['TRAIN_NUM_POINTS']
    assert train.oversample_ratio == given['OVERSAMPLE_RATIO']
    assert train.importance_sample_ratio == given['IMPORTANCE_SAMPLE_RATIO']
    assert test.subdivision_steps == given['SUBDIVISION_STEPS']
