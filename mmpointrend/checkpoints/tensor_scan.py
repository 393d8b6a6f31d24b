# Copyright (c) The mmpointrend authors.
"""The pickle in a file of torch's: tensors that lie in the bytes that are there.

torch makes a tensor of whatever shape the pickle gives, and enlarges its storage to fit.
"""

import math
from typing import Any, NamedTuple

from mmpointrend.checkpoints.faults import DamageError, DangerError
from mmpointrend.checkpoints.pickle_scan import PickleScan
from mmpointrend.checkpoints.stand_ins import Built, ByteSource, Global, Items, extent, whole

__all__ = ['Stored', 'TensorScan']

# Bytes that the views of small storages (expanded tensors) may have together beyond those.
_LEAST_EXPANSION = 64 * 2**20

_ITEM_SIZES = {
    'DoubleStorage': 8,
    'FloatStorage': 4,
    'HalfStorage': 2,
    'BFloat16Storage': 2,
    'LongStorage': 8,
    'IntStorage': 4,
    'ShortStorage': 2,
    'CharStorage': 1,
    'ByteStorage': 1,
    'BoolStorage': 1,
    'ComplexDoubleStorage': 16,
    'ComplexFloatStorage': 8,
    'QUInt8Storage': 1,
    'QInt8Storage': 1,
    'QInt32Storage': 4,
    'QUInt4x2Storage': 1,
    'QUInt2x4Storage': 1,
    'UntypedStorage': 1,
}
_REBUILDING = (
    'torch._utils._rebuild_tensor',
    'torch._utils._rebuild_tensor_v2',
    'torch._utils._rebuild_tensor_v3',
    'torch._utils._rebuild_qtensor',
)
_CODECS = ('latin1', 'latin-1')


class Stored(NamedTuple):
    """Stands for a storage.

    Attributes:
        nbytes: Its length in bytes.
        item_size: Length of one element in bytes.
    """

    nbytes: int
    item_size: int


class TensorScan(PickleScan):
    """A pickle of torch's, run on stand-ins.

    Args:
        source: The pickle, at its first byte.
        size: Length of the whole file in bytes.
        records: Bytes of each storage by its key; None if they follow the pickle (the format before
            torch 1.6).

    Attributes:
        storages: The storages that the pickle refers to, by key.
    """

    def __init__(
        self, source: ByteSource, size: int, records: dict[str, int] | None = None
    ) -> None:
        super().__init__(source, size)
        self._records = records
        self._expansion = max(size, _LEAST_EXPANSION)
        self.storages: dict[Any, Stored] = {}
        self._views: dict[Any, Stored] = {}

    def outside(self, reference: Any) -> Any:
        """Look at a storage.

        Args:
            reference: Stand-in of what torch writes: its type, key, device and number of elements.

        Returns:
            The storage's stand-in.
        """
        values = reference.values if isinstance(reference, Items) else []
        if len(values) > 1 and values[0] == 'module' and isinstance(values[1], Global):
            # How the format before torch 1.6 begins a layer.
            raise DangerError(f'GLOBAL {values[1].name}')
        if len(values) not in (5, 6) or not isinstance(values[1], Global):
            raise DamageError('a reference to a tensor is incomplete')
        _, kind, key, _, count, *view = values
        item_size = _ITEM_SIZES.get(kind.name.rpartition('.')[2])
        if (
            item_size is None
            or type(count) is not int
            or count < 0
            or not isinstance(key, str | int)
        ):
            raise DamageError(f'a tensor is stored as {count!r} elements of {kind.name}')
        nbytes = count * item_size
        if self._records is not None:
            there = self._records.get(str(key))
            if there is None:
                raise DamageError(f'the content of tensor {key} is missing')
            if nbytes > there:
                raise DamageError(
                    f'the content of tensor {key} has {there} bytes instead of {nbytes}'
                )
        stored = self.storages.setdefault(key, Stored(nbytes, item_size))
        if not view or view[0] is None:
            return stored
        return self._view(stored, view[0])

    def _view(self, stored: Stored, view: Any) -> Stored:
        values = view.values if isinstance(view, Items) else []
        if len(values) != 3 or not isinstance(values[0], str | int):
            raise DamageError('a view of a storage is incomplete')
        offset, count = whole(Items(values[1:]))
        if (offset + count) * stored.item_size > stored.nbytes:
            raise DamageError('a view reaches beyond its storage')
        return self._views.setdefault(values[0], Stored(count * stored.item_size, stored.item_size))

    def called(self, function: str, arguments: list[Any]) -> Any:
        """Look at a call that unpickling would make.

        Args:
            function: Module and name of the function or class.
            arguments: Stand-ins of the arguments.

        Returns:
            Stand-in of the result.
        """
        module, _, name = function.rpartition('.')
        if function in _REBUILDING:
            self._check_tensor(arguments, version=name.removeprefix('_rebuild_'))
        elif function == 'torch.Size' and arguments:
            return arguments[0]
        elif function == 'torch._tensor._rebuild_from_type_v2' and len(arguments) > 2:
            inner, _, inner_arguments = arguments[:3]
            if isinstance(inner, Global) and isinstance(inner_arguments, Items):
                self.called(inner.name, inner_arguments.values)
        elif function == 'torch._utils._rebuild_nested_tensor':
            # Its sizes and offsets are tensors, which nobody compares with its content.
            raise DamageError('it holds a nested tensor')
        elif module.startswith('torch') and name.endswith(('Storage', 'Tensor')) and arguments:
            raise DamageError(f'it makes a {name} by a call')
        elif function == 'builtins.bytearray' and any(type(item) is int for item in arguments):
            raise DamageError('it makes bytes without content')
        elif function == '_codecs.encode' and arguments[1:] and arguments[1] not in _CODECS:
            raise DangerError(f'the codec {arguments[1]!r}')
        return Built(function)

    def stated(self, owner: Any, state: Any) -> None:
        """Look at a state that unpickling would give to an object.

        Args:
            owner: Stand-in of the object.
            state: Stand-in of the state; a storage and a shape in it make a tensor.
        """
        if (
            isinstance(state, Items)
            and len(state.values) == 4
            and isinstance(state.values[0], Stored)
        ):
            self._check_tensor(state.values, version='tensor')

    def _check_tensor(self, arguments: list[Any], version: str) -> None:
        if len(arguments) < 4 or not isinstance(arguments[0], Stored):
            raise DamageError('a tensor has no storage')
        stored, first, size, stride = arguments[:4]
        if isinstance(first, bool) or not isinstance(first, int) or first < 0:
            raise DamageError('a tensor starts before its storage')
        shape, steps = whole(size), whole(stride)
        if len(shape) != len(steps):
            raise DamageError('a tensor has a shape of another length than its strides')
        item_size = stored.item_size
        if version == 'tensor_v3':
            item_size = _item_size_of(arguments[6:7])
        if (first + extent(shape, steps)) * item_size > stored.nbytes:
            raise DamageError(f'a tensor of shape {shape} reaches beyond its {stored.nbytes} bytes')
        # Expanded: elements that are stored once and seen many times.
        self._expansion -= max(math.prod(shape) * item_size - stored.nbytes, 0)
        if self._expansion < 0:
            raise DamageError(f'a tensor of shape {shape} is stored in {stored.nbytes} bytes')


def _item_size_of(dtype: list[Any]) -> int:
    import torch

    kind = (
        getattr(torch, dtype[0].name.rpartition('.')[2], None)
        if dtype and isinstance(dtype[0], Global)
        else None
    )
    if not isinstance(kind, torch.dtype):
        raise DamageError('a tensor has no type of numbers')
    return kind.itemsize
