# Copyright (c) The mmpointrend authors.
"""Files of torch.save that contradict themselves, or that two readers would see differently."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mmpointrend.checkpoints.loading import check_integrity, load_from_local
from mmpointrend.errors import CheckpointError


def refused(path: Path) -> str:
    """What follows the name in the sentence by which a file is refused, both ways."""
    sentences = set()
    for read in (load_from_local, check_integrity):
        with pytest.raises(CheckpointError) as caught:
            read(str(path))
        sentences.add(str(caught.value))
    (sentence,) = sentences
    return sentence.partition(f'{path} ')[2]


def rewrite(path: Path, change, **options) -> Path:
    """The same archive with members passed through ``change(name, bytes)``, sums made anew."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w', **options) as archive:
        for name, content in members.items():
            archive.writestr(name, change(name, content))
    return path


def save(path: Path, content: object = None, old: bool = False) -> Path:
    content = dict(state_dict=dict(a=torch.zeros(4))) if content is None else content
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    return path


def in_pickle(old: bytes, new: bytes):
    def change(name: str, content: bytes) -> bytes:
        return content.replace(old, new, 1) if name.endswith('data.pkl') else content

    return change


@pytest.mark.parametrize('old', [False, True])
@pytest.mark.parametrize(
    'kind',
    [
        'model',
        'optimizer',
        'shared',
        'types',
        'sparse',
        'expanded',
        'quantized',
        'view',
        'subclass',
    ],
)
def test_what_torch_saves_loads_to_the_same_bits(kind, old, tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(2, 3, 5, 5)).sum().backward()
    optimizer.step()
    base = torch.arange(24.0).reshape(4, 6)
    content = {
        'model': lambda: model.state_dict(),
        'optimizer': lambda: {str(k): v for k, v in optimizer.state_dict()['state'][0].items()},
        'shared': lambda: {'a': base, 'b': base, 'c': base[1]},
        'types': lambda: {
            str(kind): torch.ones(3).to(kind)
            for kind in (
                torch.bool,
                torch.int8,
                torch.int64,
                torch.bfloat16,
                torch.complex64,
                torch.half,
            )
        },
        'sparse': lambda: {'a': base.to_sparse()},
        'expanded': lambda: {'a': torch.arange(3).expand(1000, 3)},
        'quantized': lambda: {'a': torch.quantize_per_tensor(base, 0.1, 3, torch.qint8)},
        'view': lambda: {'a': base[1:, ::2].t(), 'b': base[:0], 'c': base.sum()},
        'subclass': lambda: {'a': nn.Parameter(base)},
    }[kind]()
    path = save(tmp_path / 'a.pth', dict(state_dict=content), old)
    check_integrity(path)
    loaded = load_from_local(path, 'cpu')['state_dict']
    assert list(loaded) == list(content)
    for name, tensor in content.items():
        assert loaded[name].dtype == tensor.dtype and loaded[name].shape == tensor.shape
        dense = [t.to_dense() if t.is_sparse else t for t in (loaded[name], tensor)]
        dense = [t.dequantize() if t.is_quantized else t for t in dense]
        assert torch.equal(*dense)


@pytest.mark.parametrize('old', [False, True])
def test_a_number_seen_a_million_million_times(old, tmp_path):
    path = save(tmp_path / 'a.pth', {'a': torch.zeros(1).expand(10**12)}, old)
    assert refused(path).startswith(
        'is damaged (a tensor of shape (1000000000000,) is stored in 4 '
    )


@pytest.mark.parametrize(
    ('was', 'becomes', 'message'),
    [
        # The size (4,) of the tensor, then the number 4 of elements of its storage.
        (b'K\x04\x85', b'J\xff\xff\xff\x7f\x85', 'reaches beyond its 16 bytes'),
        (b'K\x04\x85', b'J\xff\xff\xff\xff\x85', 'not a tuple of numbers'),
        (b'K\x04t', b'J\xff\xff\xff\x7ft', 'has 16 bytes instead of 8589934588'),
        (b'K\x00K\x04\x85', b'K\x01K\x04\x85', 'reaches beyond'),
        (b'X\x01\x00\x00\x000', b'X\x01\x00\x00\x007', 'content of tensor 7 is missing'),
    ],
)
def test_shapes_without_content(was, becomes, message, tmp_path):
    path = rewrite(save(tmp_path / 'a.pth'), in_pickle(was, becomes))
    assert message in refused(path)


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (b'cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.', 'bytes without content'),
        (b'ctorch\nFloatTensor\nJ\xff\xff\xff\x7f\x85R.', 'makes a FloatTensor by a call'),
        (b'ctorch\nFloatStorage\nJ\xff\xff\xff\x7f\x85R.', 'makes a FloatStorage by a call'),
        (b'c_codecs\nencode\nX\x01\x00\x00\x00aX\x04\x00\x00\x00idna\x86R.', "the codec 'idna'"),
    ],
)
def test_calls_that_take_memory_or_time(call, message, tmp_path):
    path = save(tmp_path / 'a.pth')
    rewrite(path, lambda name, old: b'\x80\x02' + call if name.endswith('.pkl') else old)
    assert message in refused(path)


def test_compressed_archives_and_twins(tmp_path):
    path = rewrite(save(tmp_path / 'a.pth'), lambda _, old: old, compression=zipfile.ZIP_DEFLATED)
    assert 'is compressed, which torch.save never does' in refused(path)
    path = save(tmp_path / 'b.pth')
    with zipfile.ZipFile(path, 'a') as archive:
        archive.writestr('B/DATA.PKL', b'torch reads this one, or the other')
    assert 'has 2 members of the name b/data.pkl' in refused(path)


def test_archives_that_readers_see_differently(tmp_path):
    first, second = save(tmp_path / 'a.pth').read_bytes(), save(tmp_path / 'b.pth').read_bytes()
    both = tmp_path / 'both.pth'
    both.write_bytes(first + second)
    assert 'is not where' in refused(both)
    zipped = rewrite(tmp_path / 'a.pth', lambda _, old: old).read_bytes()
    both.write_bytes(first + zipped)
    assert 'the list of members is not where the archive says' in refused(both)
    both.write_bytes(first + b'more')
    assert 'something follows the end of the archive' in refused(both)
    both.write_bytes(first[:-1])
    assert 'the end of the archive is missing' in refused(both)


def test_other_archives(tmp_path):
    path = tmp_path / 'a.pth'
    np.savez(path.with_suffix('.npz'), w=np.ones(2))
    path.with_suffix('.npz').rename(path)
    assert refused(path).startswith('is a zip archive without a model (w.npy); unpack it')
    with zipfile.ZipFile(path, 'w') as archive:
        for name in ('data.pkl', 'constants.pkl', 'code/__torch__.py'):
            archive.writestr(f'model/{name}', b'')
    assert refused(path).startswith('is a TorchScript archive, which holds a program; save the')


def test_old_files_cut_anywhere(tmp_path):
    whole = save(tmp_path / 'a.pth', old=True).read_bytes()
    path = tmp_path / 'cut.pth'
    for kept in [*range(1, len(whole), 7), len(whole) - 1]:
        path.write_bytes(whole[:kept])
        assert refused(path).startswith('is damaged (')
    path.write_bytes(whole[:-1])
    assert 'ends 1 bytes too early' in refused(path)


def test_old_file_with_more_than_it_holds(tmp_path):
    whole = save(tmp_path / 'a.pth', old=True).read_bytes()
    path = tmp_path / 'b.pth'
    # The number of elements of the storage, followed by None for "no view".
    path.write_bytes(whole.replace(b'K\x04Nt', b'J\xff\xff\xff\x7fNt'))
    assert 'bytes too early' in refused(path)


def test_sparse_tensors_point_into_themselves(tmp_path):
    indices, values = torch.tensor([[5]]), torch.ones(1)
    wrong = torch.sparse_coo_tensor(indices, values, (2,), check_invariants=False)
    assert 'size is inconsistent with indices' in refused(save(tmp_path / 'a.pth', {'a': wrong}))


def test_nested_tensors_are_refused(tmp_path):
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    buffer = io.BytesIO()
    torch.save({'a': nested}, buffer)
    (tmp_path / 'a.pth').write_bytes(buffer.getvalue())
    assert 'it holds a nested tensor' in refused(tmp_path / 'a.pth')


@pytest.mark.parametrize('protocol', [2, 3])
def test_old_files_of_other_protocols(protocol, tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(
        {'a': torch.ones(2)}, path, _use_new_zipfile_serialization=False, pickle_protocol=protocol
    )
    assert load_from_local(path)['a'].tolist() == [1, 1]


def test_names_in_a_file_do_not_reach_the_terminal(tmp_path):
    path = save(tmp_path / 'a.pth')
    code = b'\x80\x02cos\x1b[2J\nsystem\n.'
    rewrite(path, lambda name, old: code if name.endswith('.pkl') else old)
    assert '(GLOBAL os?[2J.system)' in refused(path)
