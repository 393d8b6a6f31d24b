# Copyright (c) The mmpointrend authors.
"""The evaluators of docs/metrics.md can be built as they stand there."""

import json
import re
import shlex

import pytest
from mmengine.config import Config
from mmengine.evaluator import BaseMetric

from mmpointrend.evaluation import APStarMetric
from mmpointrend.registry import METRICS


@pytest.fixture
def annotations(tmp_path):
    """A file that is COCO's and LVIS's."""
    image = dict(id=1, file_name='1.jpg', coco_url='http://coco/val2017/1.jpg')
    image.update(neg_category_ids=[], not_exhaustive_category_ids=[])
    content = dict(images=[image], annotations=[], categories=[])
    (tmp_path / 'annotations.json').write_text(json.dumps(content))
    return str(tmp_path / 'annotations.json')


def test_every_evaluator_of_the_page_can_be_built(repo, annotations):
    pytest.importorskip('cityscapesscripts')
    page = (repo / 'docs' / 'metrics.md').read_text()
    built = set()
    for code in re.findall(r'```python\n(.*?)```', page, re.S):
        names: dict = {}
        if '_base_' in code:
            continue  # a config, which tests/test_evaluation/test_ap_star_metric.py loads
        exec(compile(code, 'docs/metrics.md', 'exec'), names)
        evaluator = names.get('val_evaluator') or names['test_evaluator']
        for metric in evaluator if isinstance(evaluator, list) else [evaluator]:
            file = {'ann_file': annotations} if 'ann_file' in metric else {}
            assert isinstance(METRICS.build({**metric, **file}), BaseMetric)
            built.add(metric['type'])
    named = set(re.findall(r'^\| \[.*\| `(mmpointrend\.\w+)`', page, re.M))
    assert len(named) == 7 and built == named | {'IoUMetric'}


def test_the_options_of_the_page_turn_a_config_into_one_of_ap_star(repo, annotations):
    page = (repo / 'docs' / 'metrics.md').read_text()
    (command,) = re.findall(r'^python tools/check_benchmark\.py (?:.|\n)*?(?=\n```)', page, re.M)
    words = shlex.split(command.replace('\\\n', ' '))
    cfg = Config.fromfile(repo / words[2])
    options = dict(word.split('=') for word in words if word.startswith('test_evaluator.'))
    cfg.merge_from_dict(options | {'test_evaluator.ann_file': annotations})
    metric = METRICS.build(cfg.test_evaluator)
    assert isinstance(metric, APStarMetric) and metric.faster_metrics == ['segm']
