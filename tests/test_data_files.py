# Copyright (c) The mmpointrend authors.
"""Files from outside run nothing, take no memory, and name nothing outside their folder."""

import json
import os
import pickle
import time

import mmengine
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config

from mmpointrend.data_files import inside, read_json, read_yaml, without_pickles
from mmpointrend.errors import InputError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


class Gadget:
    """Runs a command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.fixture
def canary(tmp_path):
    """A file that is there once code of a data file has run."""
    return tmp_path / 'code_ran'


class TestYaml:
    @given(VALUES)
    def test_plain_values_as_pyyaml_reads_them(self, tmp_path_factory, value):
        path = tmp_path_factory.mktemp('yaml') / 'values.yml'
        path.write_text(yaml.safe_dump(value, allow_unicode=True), encoding='utf-8')
        assert read_yaml(path) == yaml.safe_load(path.read_text(encoding='utf-8'))

    def test_what_mmengine_reads_runs_nothing(self, canary, tmp_path):
        code = f'!!python/object/apply:os.system ["touch {canary}"]'
        (tmp_path / 'base.yml').write_text(f'model: {code}\n')
        (tmp_path / 'child.yaml').write_text("_base_: './base.yml'\nwork_dir: here\n")
        (tmp_path / 'child.py').write_text("_base_ = './base.yml'\n")
        for read in (mmengine.load, Config.fromfile):
            with pytest.raises(InputError, match=r'this is not plain YAML .*python/object/apply'):
                read(str(tmp_path / 'base.yml'))
        for child in ('child.yaml', 'child.py'):
            with pytest.raises(InputError, match='this is not plain YAML'):
                Config.fromfile(str(tmp_path / child))
        assert not canary.exists()

    def test_configs_that_mmengine_writes(self, tmp_path):
        cfg = Config(dict(size=(3, 4), steps=[dict(type='A', lr=1e-4), dict(type='B', on=None)]))
        cfg.dump(tmp_path / 'config.yaml')
        assert 'python/tuple' in (tmp_path / 'config.yaml').read_text()
        assert Config.fromfile(tmp_path / 'config.yaml').to_dict() == cfg.to_dict()

    def test_a_loader_that_the_caller_names(self, tmp_path):
        (tmp_path / 'a.yml').write_text('!!python/name:os.sep')
        assert mmengine.load(str(tmp_path / 'a.yml'), Loader=yaml.UnsafeLoader) == os.sep

    @pytest.mark.parametrize(
        ('text', 'reason'),
        [
            ('[' * 200_000 + ']' * 200_000, 'YAML nested more than 100 deep'),
            ('- ' * 200_000 + 'a', 'YAML nested more than 100 deep'),
            ('{a: ' * 200_000, 'YAML nested more than 100 deep'),
            ('a: &a [*a]', '.*1000000 values when its aliases are followed'),
            ('a: &a [1]\nb: &a [*a, *a]\nc: &c {d: *c}', '.*1000000 values'),
            ('1:' * 100_000 + '1', 'YAML with a number of more than a thousand digits'),
            (
                '!!int "' + '1:' * 100_000 + '1"',
                'YAML with a number of more than a thousand digits',
            ),
            ('a: [', 'not plain YAML'),
            ('!!timestamp now', 'not plain YAML'),
            ('? {a: 1}\n: 2', 'not plain YAML'),
        ],
    )
    def test_what_would_take_stack_memory_or_time(self, text, reason, tmp_path):
        (tmp_path / 'bomb.yml').write_text(text)
        start = time.monotonic()
        with pytest.raises(InputError, match=rf'bomb\.yml: this is {reason}'):
            read_yaml(tmp_path / 'bomb.yml')
        assert time.monotonic() - start < 5

    @pytest.mark.parametrize(
        'entry', ['[*l{0}, *l{0}, *l{0}, *l{0}]', '{{<<: [*l{0}, *l{0}, *l{0}]}}']
    )
    def test_aliases_of_aliases(self, entry, tmp_path):
        lines = ['- &l0 {a: 1}', *(f'- &l{n + 1} {entry.format(n)}' for n in range(40))]
        (tmp_path / 'laughs.yml').write_text('\n'.join(lines))
        with pytest.raises(InputError, match='1000000 values when its aliases are followed'):
            read_yaml(tmp_path / 'laughs.yml')
        few = tmp_path / 'few.yml'
        few.write_text('\n'.join(lines[:4]))
        assert read_yaml(few) == yaml.safe_load(few.read_text())


class TestJson:
    @given(VALUES)
    def test_values(self, tmp_path_factory, value):
        path = tmp_path_factory.mktemp('json') / 'values.json'
        # Some editors write a byte order mark.
        path.write_text(json.dumps(value), encoding='utf-8-sig')
        for backend_args in (None, dict(backend='local')):
            assert read_json(path, backend_args=backend_args) == value

    @pytest.mark.parametrize(
        ('content', 'complaint'),
        [
            (b'', 'is damaged or no JSON'),
            (b'{"a": ', 'is damaged or no JSON'),
            (b'\xff\xfe\x00', 'is damaged or no JSON'),
            (b'[' * 200_000, 'is nested too deeply; copy it anew'),
            (b'1' * 100_000, 'is damaged or no JSON'),
        ],
    )
    def test_damaged(self, content, complaint, tmp_path):
        (tmp_path / 'a.json').write_bytes(content)
        with pytest.raises(InputError, match=rf'^the annotation file .*a\.json {complaint}'):
            read_json(tmp_path / 'a.json')

    def test_what_is_no_file(self, tmp_path):
        os.mkfifo(tmp_path / 'pipe.json')
        (tmp_path / 'folder.json').mkdir()
        for name, complaint in (
            ('pipe', r'is a pipe \(FIFO\): give a file'),
            ('folder', 'is a folder: give a file'),
            ('lost', 'does not exist'),
        ):
            with pytest.raises(InputError, match=rf'{name}\.json {complaint}'):
                read_json(tmp_path / f'{name}.json')

    @pytest.mark.parametrize('suffix', ['pkl', 'pickle', 'yaml', 'yml'])
    def test_other_formats(self, suffix, tmp_path):
        with pytest.raises(InputError, match=r'annotations are read as JSON alone'):
            read_json(tmp_path / f'a.{suffix}')


class TestInside:
    @pytest.fixture
    def folder(self, tmp_path):
        """A folder with links out of it and within it, itself a link."""
        real = tmp_path / 'disk' / 'images'
        (real / 'city').mkdir(parents=True)
        (tmp_path / 'outside').mkdir()
        (real / 'out').symlink_to(tmp_path / 'outside')
        (real / 'out.png').symlink_to(tmp_path / 'outside' / 'victim.png')
        (real / 'town').symlink_to(real / 'city')
        (real / 'loop').symlink_to(real / 'loop')
        (tmp_path / 'images').symlink_to(real)
        return tmp_path / 'images'

    @pytest.mark.parametrize(
        'name', ['a.png', 'city/a.png', 'new/b/c.png', 'town/a.png', './a.png', 'a..png']
    )
    def test_inside(self, name, folder):
        assert inside(folder, name) == folder / name

    @pytest.mark.parametrize(
        ('name', 'complaint'),
        [
            ('../a.png', 'leads out of its folder'),
            ('city/../../a.png', 'leads out of its folder'),
            ('/etc/passwd', 'leads out of its folder'),
            ('out/a.png', 'leads through a link'),
            ('out.png', 'leads through a link'),
            ('loop/a.png', 'cannot be used|leads'),
            ('', 'in place of a file name'),
            ('a\0.png', 'in place of a file name'),
            (7, '7 in place of a file name'),
            (None, 'None in place of a file name'),
            (['a.png'], 'in place of a file name'),
        ],
    )
    def test_outside(self, name, complaint, folder):
        with pytest.raises(InputError, match=complaint):
            inside(folder, name)

    def test_links_on_demand(self, folder):
        assert inside(folder, 'out/a.png', follow_links=True) == folder / 'out/a.png'
        with pytest.raises(InputError, match='leads out'):
            inside(folder, '../a.png', follow_links=True)

    @given(st.lists(st.sampled_from(['..', '.', '', 'a', 'out', 'loop', '/', 'b.png']), max_size=6))
    def test_no_name_leads_out(self, tmp_path_factory, parts):
        root = tmp_path_factory.mktemp('root')
        (root / 'images').mkdir()
        (root / 'images' / 'out').symlink_to(root)
        try:
            path = inside(root / 'images', '/'.join(parts))
        except InputError:
            return
        real = os.path.realpath(path)
        assert os.path.commonpath([real, os.path.realpath(root / 'images')]) == str(root / 'images')


def test_pickles_are_refused_where_data_is_read(canary, tmp_path):
    path = tmp_path / 'annotations.pkl'
    path.write_bytes(pickle.dumps(Gadget(f'touch {canary}')))
    config = dict(type='A', dataset=dict(type='B', parts=[dict(ann_file=str(path))], out='b.pkl'))
    with (
        pytest.raises(InputError, match=rf'^A: dataset\.parts\.0\.ann_file={path} is a pickle'),
        without_pickles(config),
    ):
        mmengine.load(str(path))
    with pytest.raises(InputError, match=r'^a file that it reads is a pickle'), without_pickles({}):
        mmengine.load(str(path))
    assert not canary.exists()
    # Elsewhere they are mmengine's own affair, as the predictions of a test are.
    mmengine.dump([1], str(path))
    assert mmengine.load(str(path)) == [1]


@pytest.mark.parametrize('read', [read_json, read_yaml])
def test_a_file_of_holes_takes_no_memory(read, tmp_path):
    path = tmp_path / 'long.json'
    with path.open('wb') as file:
        file.write(b'{')
        file.truncate(2**42)
    with pytest.raises(InputError, match='has a hole without content in it'):
        read(path)


def test_a_name_that_no_file_system_takes_is_refused(tmp_path):
    with pytest.raises(InputError, match='cannot be used'):
        inside(tmp_path, json.loads('"\\ud800.png"'))
