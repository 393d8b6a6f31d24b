# Copyright (c) The mmpointrend authors.
"""Safe loading of mmengine's own checkpoints, and what is said of bad ones."""

import os
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import load_checkpoint
from torch import nn

from mmpointrend.engine.checkpoint import check_integrity, find_resumable, watch_loading
from mmpointrend.errors import CheckpointError


def history() -> HistoryBuffer:
    """A log history as mmengine saves it."""
    return HistoryBuffer([3.0, 1.0], [1, 1])


def save(path: Path, **extra: object) -> Path:
    """Checkpoint of a linear layer, with what else a runner saves."""
    torch.save(
        dict(
            state_dict=nn.Linear(2, 3).state_dict(),
            meta=dict(epoch=1, iter=7, best=np.float32(0.5)),
            message_hub=dict(log_scalars=dict(loss=history())),
            **extra,
        ),
        path,
    )
    return path


def rewrite(path: Path, change) -> Path:
    """The same archive with the bytes of every member passed through ``change(name, bytes)``."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in members.items():
            archive.writestr(name, change(name, content))
    return path


class TestSafeLoading:
    def test_log_history_of_mmengine_loads_with_weights_only(self, tmp_path):
        loaded = torch.load(save(tmp_path / 'a.pth'), weights_only=True)
        buffer = loaded['message_hub']['log_scalars']['loss']
        assert type(buffer) is HistoryBuffer
        assert (buffer.min(), buffer.max(), buffer.current(), buffer.mean()) == (1, 3, 1, 2)
        assert loaded['meta']['best'] == np.float32(0.5)

    def test_a_file_of_the_other_numpy_loads(self, tmp_path):
        path = save(tmp_path / 'a.pth')
        ours, other = b'numpy._core.', b'numpy.core.'
        if np.lib.NumpyVersion(np.__version__) < '2.0.0':
            ours, other = other, ours
        seen = []

        def change(name: str, content: bytes) -> bytes:
            if name.endswith('data.pkl'):
                seen.append(content.count(ours))
                content = content.replace(ours, other)
            return content

        rewrite(path, change)
        assert sum(seen) > 0
        loaded = torch.load(path, weights_only=True)
        assert loaded['message_hub']['log_scalars']['loss'].mean() == 2

    def test_log_history_loads_again_after_saving_what_was_loaded(self, tmp_path):
        loaded = torch.load(save(tmp_path / 'a.pth'), weights_only=True)
        loaded['message_hub']['log_scalars']['loss'].update(5.0)
        torch.save(loaded, tmp_path / 'b.pth')
        again = torch.load(tmp_path / 'b.pth', weights_only=True)
        assert again['message_hub']['log_scalars']['loss'].max() == 5

    @pytest.mark.parametrize(
        'call',
        [
            (os.system, ('touch {}',)),
            (eval, ("open('{}', 'w')",)),
            (getattr, (HistoryBuffer.mean, '__globals__')),
            (getattr, (HistoryBuffer, '__init__')),
            (getattr, (HistoryBuffer, '_statistics_methods')),
            (getattr, (np.ndarray, 'tofile')),
            (HistoryBuffer.register_statistics, (print,)),
            # numpy makes pointers of the bytes.
            (np.ndarray, ((1,), 'O', b'\x41' * 8)),
        ],
        ids=['system', 'eval', 'globals', 'init', 'statistics', 'ndarray', 'register', 'pointers'],
    )
    def test_crafted_file_is_refused_and_runs_nothing(self, call, tmp_path):
        function, arguments = call
        target = tmp_path / 'touched'
        arguments = tuple(
            item.format(target) if isinstance(item, str) else item for item in arguments
        )

        class Crafted:
            def __reduce__(self):
                return function, arguments

        path = save(tmp_path / 'evil.pth', extra=Crafted())
        with pytest.raises(pickle.UnpicklingError):
            torch.load(path, weights_only=True)
        with pytest.raises(CheckpointError, match=r'evil\.pth.*could run code and was refused'):
            load_checkpoint(nn.Linear(2, 3), str(path))
        assert not target.exists()

    def test_module_globals_cannot_be_overwritten(self, tmp_path):
        """The attack on an allow-list with the builtin getattr: SETITEM on ``fn.__globals__``."""
        pickled = (
            b'\x80\x02cbuiltins\ngetattr\ncmmengine.logging.history_buffer\nHistoryBuffer\n'
            b'X\x04\x00\x00\x00mean\x86R'
        )
        attack = (
            b'\x80\x02cbuiltins\ngetattr\n' + pickled[2:] + b'X\x0b\x00\x00\x00__globals__\x86R'
        )
        path = save(tmp_path / 'evil.pth')
        for code, allowed in ((pickled, True), (attack, False)):
            rewrite(path, lambda name, old, new=code: new + b'.' if name.endswith('.pkl') else old)
            if allowed:
                assert torch.load(path, weights_only=True) is HistoryBuffer.mean
            else:
                with pytest.raises(pickle.UnpicklingError, match='__globals__'):
                    torch.load(path, weights_only=True)


class TestDamage:
    @pytest.mark.parametrize('keep', [0, 10, 0.5, 0.95])
    def test_cut_file_is_named(self, keep, tmp_path):
        path = save(tmp_path / 'cut.pth')
        content = path.read_bytes()
        path.write_bytes(content[: int(keep if keep >= 1 else keep * len(content))])
        with pytest.raises(CheckpointError, match=r'cut\.pth is (empty|damaged)'):
            load_checkpoint(nn.Linear(2, 3), str(path))

    def test_one_flipped_bit_in_a_weight_is_seen(self, tmp_path):
        """torch loads such a file without a word."""
        path = save(tmp_path / 'bit.pth')
        weight = torch.load(path, weights_only=True)['state_dict']['weight']
        content = bytearray(path.read_bytes())
        content[content.index(weight.numpy().tobytes()) + 1] ^= 4
        path.write_bytes(content)
        assert not torch.equal(torch.load(path, weights_only=True)['state_dict']['weight'], weight)
        with pytest.raises(CheckpointError, match=r'bit\.pth is damaged .*checksum'):
            load_checkpoint(nn.Linear(2, 3), str(path))

    @pytest.mark.parametrize('content', [b'no checkpoint at all', bytes(range(256)) * 20])
    def test_other_file_is_named(self, content, tmp_path):
        path = tmp_path / 'text.pth'
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r'text\.pth is damaged'):
            load_checkpoint(nn.Linear(2, 3), str(path))

    def test_missing_file_and_file_without_weights_are_named(self, tmp_path):
        with pytest.raises(CheckpointError, match=r'none\.pth does not exist'):
            load_checkpoint(nn.Linear(2, 3), str(tmp_path / 'none.pth'))
        torch.save([1, 2], tmp_path / 'list.pth')
        with pytest.raises(CheckpointError, match=r'list\.pth holds a list and no state dict'):
            load_checkpoint(nn.Linear(2, 3), str(tmp_path / 'list.pth'))

    def test_file_of_the_old_format_loads(self, tmp_path):
        torch.save(
            nn.Linear(2, 3).state_dict(), tmp_path / 'old.pth', _use_new_zipfile_serialization=False
        )
        check_integrity(str(tmp_path / 'old.pth'))
        content = (tmp_path / 'old.pth').read_bytes()
        (tmp_path / 'old.pth').write_bytes(content[: len(content) // 2])
        with pytest.raises(CheckpointError, match=r'old\.pth is damaged'):
            check_integrity(str(tmp_path / 'old.pth'))


class TestFindResumable:
    @pytest.fixture
    def run(self, tmp_path) -> Path:
        """A work folder with three checkpoints, an older best one, and the pointer to the last."""
        for age, name in enumerate(('best_mIoU_iter_2', 'iter_9', 'iter_10', 'iter_11')):
            os.utime(save(tmp_path / f'{name}.pth'), (1e9 + age, 1e9 + age))
        (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_11.pth'))
        return tmp_path

    def test_last_one_when_whole(self, run):
        warnings = []
        assert find_resumable(str(run), warnings.append) == str(run / 'iter_11.pth')
        assert warnings == []

    def test_the_one_before_when_damaged_and_the_bad_one_is_named(self, run):
        content = (run / 'iter_11.pth').read_bytes()
        (run / 'iter_11.pth').write_bytes(content[:-100])
        warnings = []
        assert find_resumable(str(run), warnings.append) == str(run / 'iter_10.pth')
        assert len(warnings) == 1 and 'iter_11.pth is damaged' in warnings[0]

    @pytest.mark.parametrize('pointer', [None, '', '/somewhere/else/iter_11.pth'])
    def test_pointer_lost_empty_or_of_a_moved_folder(self, pointer, run):
        if pointer is None:
            (run / 'last_checkpoint').unlink()
        else:
            (run / 'last_checkpoint').write_text(pointer)
        assert find_resumable(str(run), print) == str(run / 'iter_11.pth')

    def test_the_pointer_wins_over_newer_files(self, run):
        (run / 'last_checkpoint').write_text(str(run / 'iter_9.pth'))
        assert find_resumable(str(run), print) == str(run / 'iter_9.pth')

    def test_none_at_all_and_none_whole(self, run, tmp_path_factory):
        empty = tmp_path_factory.mktemp('empty')
        assert find_resumable(str(empty), print) is None
        shutil.copy(run / 'best_mIoU_iter_2.pth', empty)
        assert find_resumable(str(empty), print) is None
        for path in run.glob('iter_*.pth'):
            path.write_bytes(b'')
        with pytest.raises(CheckpointError, match=r'every one is damaged.*iter_11\.pth, iter_10'):
            find_resumable(str(run), lambda _: None)


def test_report_counts_what_was_loaded(tmp_path):
    model = nn.ModuleDict(dict(a=nn.Linear(2, 3), b=nn.BatchNorm1d(3), c=nn.Linear(3, 1)))
    source = nn.ModuleDict(dict(a=nn.Linear(2, 3), c=nn.Linear(3, 2), d=nn.Linear(1, 1)))
    torch.save(source.state_dict(), tmp_path / 'a.pth')
    with watch_loading(model) as report:
        load_checkpoint(model, str(tmp_path / 'a.pth'))
    assert report.missing == ['b.weight', 'b.bias', 'b.running_mean', 'b.running_var']
    assert report.unexpected == ['d.weight', 'd.bias']
    assert report.reshaped == ['c.weight', 'c.bias']
    assert (report.total, report.offered, report.filled) == (8, 6, 2)
    assert str(report).startswith('2 of the 8 tensors of the model are filled, 4 missing (b.weight')
    assert not model._load_state_dict_post_hooks and not model._load_state_dict_pre_hooks
