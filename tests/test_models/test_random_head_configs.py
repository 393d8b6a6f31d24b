# Copyright (c) The mmpointrend authors.
"""No config of our heads fails late or by another package's error."""

import random

import pytest
from random_head_configs import random_instance_config, random_semantic_config, verdict


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('make', [random_instance_config, random_semantic_config])
def test_none_is_foreign_or_late(make, seed):
    rng = random.Random(seed)
    for _ in range(8):
        config = make(rng)
        outcome = verdict(config)
        assert outcome == 'fine' or outcome.startswith('refused: '), (config['changes'], outcome)
        assert '\n' not in outcome


@pytest.mark.parametrize('make', [random_instance_config, random_semantic_config])
def test_unchanged_ones_are_fine(make, monkeypatch):
    monkeypatch.setattr('random_head_configs._change', lambda rng, config, keys: 'nothing')
    assert verdict(make(random.Random(0))) == 'fine'
