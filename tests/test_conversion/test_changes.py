# Copyright (c) The mmpointrend authors.
"""Changes that are made and changes that are written down come to the same config."""

import pytest
from mmengine.config import Config

from mmpointrend.conversion.changes import Base, Each, apply, code

BASE = """
model = dict(type='A', head=[dict(type='B', width=1), dict(type='C', classes=(1, 2))], train_cfg=None,
             stages=[dict(a=1, b=2), dict(a=3)])
"""


@pytest.mark.parametrize(
    'changes',
    [
        {'type': 'Z', 'new': {'key': 'it\'s "quoted"', 'numbers': [1, 2.5, (3,)], 'none': None}},
        {'head': {'_delete_': True, 'type': 'Z', 'coarse': Base(('model', 'head'))}},
        {'first': Base(('model', 'head', 0)), 'rest': Base(('model', 'head'), until=-1)},
        {'stages': Each(Base(('model', 'stages')), {'a': 7, 'c': 'd'})},
        {'train_cfg': {'_delete_': True, 'num_points': 3}},
        {'long': {f'key_{number}': list(range(10)) for number in range(20)}},
        {'odd': {'class': 1, 'not a name': 2}},
    ],
)
def test_a_written_change_is_the_change(tmp_path, changes):
    (tmp_path / 'base.py').write_text(BASE)
    (tmp_path / 'child.py').write_text(f"_base_ = 'base.py'\n\nmodel = {code(changes)}\n")
    base = Config.fromfile(tmp_path / 'base.py')
    before = base.to_dict()
    made, written = apply({'model': changes}, base), Config.fromfile(tmp_path / 'child.py')
    assert made.model.to_dict() == written.model.to_dict() != before['model']
    assert base.to_dict() == before
    assert all(len(line) <= 120 for line in (tmp_path / 'child.py').read_text().splitlines())
