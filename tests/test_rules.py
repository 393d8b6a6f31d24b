# Copyright (c) The mmpointrend authors.
"""Rules of config keys, and the sentences of those that break them."""

import numpy as np
import pytest
import torch
from mmengine.model import BaseModule

from mmpointrend.errors import ConfigError
from mmpointrend.rules import (
    DICT,
    INIT,
    PART,
    TRUTH,
    check,
    check_size,
    configured,
    listed,
    naming,
    number,
    one_or_more,
    optional,
    whole,
)


@pytest.mark.parametrize(
    ('rule', 'right', 'wrong'),
    [
        (whole(1), [1, np.int64(5), 10**30], [0, True, 1.0, '1', None]),
        (whole(0, 3), [0, 3], [4, -1]),
        (number(0, 1), [0, 1, 0.5, np.float32(0.5)], [-0.1, 1.1, float('nan'), True, '0']),
        (number(), [-3, 1e30], [float('inf'), None]),
        (TRUTH, [True, False, np.bool_(True), 0, 1], [2, None, 'True', 1.0]),
        (optional(whole(1)), [None, 1], [0]),
        (listed(whole(1)), [[1], (1, 2)], [[], [0], 1]),
        (listed(whole(1), 2), [(1, 2)], [[1], [1, 2, 3]]),
        (one_or_more(whole(1)), [1, [1, 2]], [[], [0]]),
        (one_or_more(whole(1), 2), [1, (1, 2)], [(1,), 0]),
        (PART, [{'type': 'A'}, {'type': dict}], [{}, {'type': ''}, {'type': 3}, 'A']),
        (DICT, [{}], [None, []]),
        (INIT, [None, {}, [], {'type': 'Normal'}, [{'type': 'Normal'}]], ['Normal', {'std': 1}]),
    ],
)
def test_what_rules_accept(rule, right, wrong):
    assert all(rule.accepts(value) for value in right)
    assert not any(rule.accepts(value) for value in wrong)


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        ({'points': 0}, r'^part\.points is 0: set it to an integer of at least 1$'),
        ({'point': 3}, r'^part\.points is None \(there is point\): set it to'),
        ([{}, {}], r'^part is a list of 2, as for a cascade of heads, and this head has one stage'),
        ('text', r"^part is 'text': set it to one dict$"),
        ({'points': 1, 'loss': {'weight': 1}}, r'^part\.loss\.type is None: set it to the name'),
    ],
)
def test_each_is_one_sentence(cfg, message):
    with pytest.raises(ConfigError, match=message):
        check(cfg, 'part', {'points': whole(1).needed(), 'loss': optional(PART)})


def test_keys_without_a_rule_are_left_alone():
    check({'points': 3, 'debug': object()}, 'part', {'points': whole(1)})


class Part(BaseModule):
    """A part with keys of its own and of a parent."""

    @configured('head.part', {'stages': 'it has one; leave it out'}, width=whole(1), depth=whole(1))
    def __init__(self, width, *, scale=1.0, init_cfg=None, **kwargs):
        super().__init__(init_cfg)
        self.given = (width, scale, kwargs)
        self.fc = torch.nn.Linear(1, 1)


class TestConfigured:
    def test_arguments_arrive(self):
        assert Part(2, depth=3).given == (2, 1.0, {'depth': 3})
        assert Part(width=2, scale=3).given == (2, 3, {})

    @pytest.mark.parametrize(
        ('arguments', 'message'),
        [
            (
                {'width': 2, 'scales': 1},
                r'^head\.part\.scales: Part has no such key; did you mean sc',
            ),
            (
                {'width': 2, 'zzz': 1},
                r'head\.part\.zzz: Part has no such key, it knows width, scale',
            ),
            ({'width': 2, 'stages': 3}, r'^head\.part\.stages: it has one; leave it out$'),
            ({'scale': 2}, r'^head\.part\.width is missing: set it to an integer of at least 1$'),
            ({'width': '2'}, r"^head\.part\.width is '2': set it to an integer"),
            ({'width': 2, 'depth': 0}, r'^head\.part\.depth is 0'),
            (
                {'width': 2, 'init_cfg': {'type': 'Normal', 'layer': 'Linear', 'std': 'x'}},
                r'^head\.part\.init_cfg does not work: ',
            ),
            (
                {'width': 2, 'init_cfg': {'type': 'Normal', 'override': {'name': 'conv'}}},
                r'^head\.part\.init_cfg does not work: Part has no conv for its override',
            ),
        ],
    )
    def test_what_cannot_work_is_one_sentence(self, arguments, message):
        with pytest.raises(ConfigError, match=message):
            Part(**arguments)

    def test_trying_an_initialisation_draws_no_random_number_of_the_run(self):
        config = {'type': 'Normal', 'layer': 'Linear', 'override': {'name': 'fc', 'type': 'Normal'}}
        states = []
        for init_cfg in (None, config):
            torch.manual_seed(0)
            Part(1, init_cfg=init_cfg)
            states.append(torch.get_rng_state())
        assert torch.equal(*states)

    def test_a_subclass_has_its_own_keys(self):
        class Wider(Part):
            def __init__(self, more, **kwargs):
                super().__init__(**kwargs)
                self.more = more

        assert Wider(more=1, width=2).more == 1


def test_an_error_of_another_package_names_the_part():
    with pytest.raises(ConfigError, match=r'^head\.part cannot be built: two lines$'):  # noqa: SIM117
        with naming('head.part'):
            raise ValueError('two\n  lines')
    with pytest.raises(ConfigError, match='its key num is missing'):  # noqa: SIM117
        with naming('head.part'):
            {}['num']


def test_heads_that_fit_in_no_memory_are_refused():
    check_size('head', 10**9, 'its width')
    with pytest.raises(ConfigError, match=r'head would have 10,000,000,000 parameters, 37 GiB'):
        check_size('head', 10**10, 'its width')
