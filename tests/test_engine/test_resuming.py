# Copyright (c) The mmpointrend authors.
"""Which checkpoint ``--resume`` takes, whatever lies in the folders of the run."""

import os
import re
from pathlib import Path

import pytest
import torch

from mmpointrend.engine.resuming import find_resumable
from mmpointrend.errors import CheckpointError


def save(path: Path, age: int, value: float = 1.0, name: str = 'head.weight', **content) -> Path:
    """A checkpoint as a runner's, with one tensor of that value, made ``age`` seconds late."""
    state = dict(meta=dict(epoch=0, iter=age), message_hub={}, optimizer={})
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({**state, 'state_dict': {name: torch.tensor([1.0, value])}, **content}, path)
    os.utime(path, (1e9 + age, 1e9 + age))
    return path


@pytest.fixture
def run(tmp_path) -> Path:
    """A work folder with two checkpoints and the pointer to the later one."""
    work_dir = tmp_path / 'run'
    for age in (2, 4):
        last = save(work_dir / f'iter_{age}.pth', age)
    (work_dir / 'last_checkpoint').write_text(str(last))
    return work_dir


def found(work_dir: Path, out_dir: object = None) -> tuple[str | None, list[str]]:
    """Name of the folder and file that are found, and what was said."""
    said: list[str] = []
    path = find_resumable(str(work_dir), said.append, None if out_dir is None else str(out_dir))
    return path and '/'.join(Path(path).parts[-2:]), said


class TestOutDir:
    """mmengine saves into ``out_dir/<name of the work folder>``."""

    def test_is_searched_without_the_pointer(self, tmp_path):
        (tmp_path / 'run').mkdir()
        save(tmp_path / 'kept' / 'run' / 'iter_6.pth', 6)
        assert found(tmp_path / 'run', tmp_path / 'kept') == ('run/iter_6.pth', [])
        assert found(tmp_path / 'run') == (None, [])

    def test_newest_of_both_places(self, run, tmp_path):
        (run / 'last_checkpoint').unlink()
        elsewhere = save(tmp_path / 'kept' / 'run' / 'iter_3.pth', 3)
        assert found(run, tmp_path / 'kept')[0] == 'run/iter_4.pth'
        os.utime(elsewhere, (2e9, 2e9))
        assert find_resumable(str(run), print, str(tmp_path / 'kept')) == str(elsewhere)

    def test_of_two_of_a_name_the_one_that_is_named(self, run, tmp_path):
        kept = save(tmp_path / 'kept' / 'run' / 'iter_4.pth', 4)
        for path in (kept, run / 'iter_4.pth'):
            (run / 'last_checkpoint').write_text(str(path))
            assert find_resumable(str(run), print, str(tmp_path / 'kept')) == str(path)

    def test_its_pointer_without_the_option_is_followed_and_said(self, run, tmp_path):
        elsewhere = save(tmp_path / 'kept' / 'other' / 'iter_9.pth', 9)
        (run / 'last_checkpoint').write_text(str(elsewhere))
        name, (said,) = found(run)
        assert name == 'other/iter_9.pth' and f'names {elsewhere}, outside of {run}' in said

    def test_of_a_copied_folder_the_copy(self, run, tmp_path):
        """The pointer still names the folder that it was copied from."""
        copy = tmp_path / 'copy'
        save(copy / 'iter_4.pth', 4)
        (copy / 'last_checkpoint').write_text((run / 'last_checkpoint').read_text())
        assert found(copy) == ('copy/iter_4.pth', [])

    def test_addresses(self, run):
        (run / 'last_checkpoint').write_text('s3://mine/run/iter_8.pth')
        assert find_resumable(str(run), print, 's3://mine/') == 's3://mine/run/iter_8.pth'
        for out_dir in (None, 's3://min', 's3://other'):
            name, (said,) = found(run, out_dir)
            assert name == 'run/iter_4.pth' and 'names s3://mine/run/iter_8.pth, which is' in said


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (b'\x80\x02\xff\xfe\x00', 'it is no text'),
        (b'/a/iter_4.pth\n/b/iter_2.pth\n', 'it is no single path'),
        (b'iter_\x01.pth', 'it is no single path'),
        (b'a' * 5000, 'it is no single path'),
        (b'a' * 4000, r'/a+ does not exist'),
        (b'/etc/iter_9.pth', r'/etc/iter_9\.pth, outside of'),
        (b'/etc/iter_9.pth', r'the checkpoint /etc/iter_9\.pth does not exist'),
        (b'..', None),
        (b'iter_4.pth\n', None),
        (b' \n', None),
        (b'\0' * 40, None),
        (b'', None),
    ],
)
def test_odd_pointers_leave_the_newest(content, said, run):
    (run / 'last_checkpoint').write_bytes(content)
    warnings: list[str] = []
    assert find_resumable(str(run), warnings.append) == str(run / 'iter_4.pth')
    assert said is None or any(re.search(said, warning) for warning in warnings)


def test_pointers_that_are_no_files(run):
    pointer = run / 'last_checkpoint'
    pointer.unlink()
    pointer.mkdir()
    name, (said,) = found(run)
    assert name == 'run/iter_4.pth' and 'last_checkpoint names no checkpoint (not a file)' in said
    pointer.rmdir()
    os.mkfifo(pointer)
    assert found(run)[0] == 'run/iter_4.pth'
    pointer.unlink()
    pointer.symlink_to(run / 'nothing')
    assert found(run)[0] == 'run/iter_4.pth'


def test_what_is_named_like_a_checkpoint_and_is_none(run):
    (run / 'last_checkpoint').unlink()
    (run / 'iter_12.pth').mkdir()
    (run / 'iter_11.pth').symlink_to(run / 'gone.pth')
    os.mkfifo(run / 'iter_10.pth')
    (run / 'iter_9.pth').write_text('<!DOCTYPE html>')
    torch.save({'head.weight': torch.ones(2)}, run / 'resnet50.pth')
    name, said = found(run)
    assert name == 'run/iter_4.pth' and len(said) == 5
    for text in (
        'iter_12.pth is a folder, and not a file',
        f'iter_11.pth is a link to {run / "gone.pth"}, which does not exist',
        'iter_10.pth',
        'iter_9.pth',
        'resnet50.pth holds weights but no state of training',
    ):
        assert any(text in sentence for sentence in said), text


class TestWeightsThatAreNoNumbers:
    @pytest.mark.parametrize('value', [float('nan'), float('inf'), float('-inf')])
    def test_the_last_finite_one_is_taken(self, value, run):
        save(run / 'iter_4.pth', 4, value)
        name, (said,) = found(run)
        assert name == 'run/iter_2.pth'
        assert 'iter_4.pth holds NaN or Inf in head.weight; use an earlier one' in said

    def test_none_is_finite(self, run):
        for age in (2, 4):
            save(run / f'iter_{age}.pth', age, float('nan'))
        with pytest.raises(CheckpointError, match=r'without finite weights \(iter_4\.pth, iter_2'):
            find_resumable(str(run), lambda _: None)

    def test_buffers_may_be_infinite(self, run):
        save(run / 'iter_4.pth', 4, float('inf'), name='observer.min_val')
        assert found(run) == ('run/iter_4.pth', [])
