# Copyright (c) The mmpointrend authors.
"""Disks that are full, read-only or forbidden get one sentence."""

import errno
import logging
import os
from pathlib import Path

import pytest
from mmengine.config import Config
from tiny_runs import run_tool, write_config

from mmpointrend.engine import CheckedRunner
from mmpointrend.engine.saving import AtomicLocalBackend, complain_once, naming_the_disk
from mmpointrend.errors import InputError, OutputError, PointRendError


@pytest.mark.parametrize(
    ('number', 'sentence'),
    [
        (errno.ENOSPC, r'a/b\.pth cannot be written \(No space left on device\): free some space'),
        (errno.EDQUOT, r'a/b\.pth cannot be written \(Disk quota exceeded\): free some space'),
        (errno.EROFS, r'a/b\.pth cannot be written \(Read-only file system\): write elsewhere\.'),
        (
            errno.EACCES,
            r'a/b\.pth cannot be opened \(Permission denied\): give this user the right',
        ),
        (errno.EEXIST, r'a/b\.pth cannot be made \(File exists\): take another name'),
        (errno.ENOTDIR, r'a/b\.pth cannot be opened \(Not a directory\): take another name'),
    ],
)
def test_what_the_system_says_becomes_a_sentence(number, sentence):
    with pytest.raises(OutputError, match=sentence) as caught, naming_the_disk():
        raise OSError(number, os.strerror(number), 'a/b.pth')
    assert isinstance(caught.value, PointRendError) and isinstance(caught.value, OSError)
    assert caught.value.__cause__.errno == number
    with pytest.raises(OutputError, match=r'^some file cannot be'), naming_the_disk('some file'):
        raise OSError(number, os.strerror(number))


def test_other_errors_pass():
    for error in (FileNotFoundError(errno.ENOENT, '', 'a'), OSError('no number'), ValueError()):
        with pytest.raises(type(error)) as caught, naming_the_disk():
            raise error
        assert caught.value is error
    said = OutputError('said already')
    for error in (said, InputError('of a file')):
        with pytest.raises(PointRendError) as caught, naming_the_disk():
            raise error
        assert caught.value is error


def test_a_write_on_a_full_disk_names_the_checkpoint(tmp_path, monkeypatch):
    """The error of a write itself names no file."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match='No space left') as caught:
        AtomicLocalBackend().put(b'content', tmp_path / 'iter_2.pth')
    assert caught.value.filename == str(tmp_path / 'iter_2.pth')
    assert not list(tmp_path.iterdir())


def test_a_run_on_a_full_disk_ends_with_a_sentence(tiny_data, tmp_path, monkeypatch):
    config = write_config('semantic', tmp_path, tiny_data, length=2, workers=0)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(
        SystemExit, match=r'^error: .*/run/iter_2\.pth cannot be written \(No space left on device'
    ):
        run_tool('train', config)
    assert not list((tmp_path / 'run').glob('*.pth'))


def test_a_work_folder_that_is_a_file(tiny_data, tmp_path):
    config = write_config('semantic', tmp_path, tiny_data, length=2)
    for name, reason in (('', 'File exists'), ('/run', 'Not a directory')):
        cfg = Config.fromfile(config)
        cfg.work_dir = f'{config}{name}'
        with pytest.raises(OutputError, match=rf'tiny_semantic\.py{name} cannot be .*\({reason}\)'):
            CheckedRunner.from_cfg(cfg)


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='needs the device that is always full')
def test_a_log_on_a_full_disk_is_said_once(capsys):
    logger = logging.getLogger('on_a_full_disk')
    handler = logging.FileHandler('/dev/full')
    logger.addHandler(handler)
    complain_once(logger)
    for _ in range(3):
        logger.error('a line')
    said = capsys.readouterr().err
    assert said.startswith('The run goes on without a log: /dev/full cannot be written (No space')
    assert said.count('\n') == 1
    # Past pytest's own handler, which lets such an error out.
    handler.handle(logger.makeRecord('a', logging.ERROR, 'a.py', 1, '%d', ('no number',), None))
    assert 'TypeError' in capsys.readouterr().err
