# Copyright (c) The mmpointrend authors.
"""The evaluators of docs/metrics.md can be built as they stand there."""

import re

import pytest
from mmengine.evaluator import BaseMetric

from mmpointrend.registry import METRICS


def test_every_evaluator_of_the_page_can_be_built(repo):
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
            without_file = {'ann_file': None} if 'ann_file' in metric else {}
            assert isinstance(METRICS.build({**metric, **without_file}), BaseMetric)
            built.add(metric['type'])
    named = set(re.findall(r'^\| \[.*\| `(mmpointrend\.\w+)`', page, re.M))
    assert len(named) == 6 and built == named | {'IoUMetric'}
