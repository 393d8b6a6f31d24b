# Copyright (c) The mmpointrend authors.
"""What a pickle would build, found out without building it.

A pickle is a program for a stack machine, and a short one can take any amount of memory or time: a
memo of a billion places, a bytes object longer than the file, tuples that contain each other twice
and are hashed in exponential time, nesting that overflows the stack of C. :class:`PickleScan` runs
the program on stand-ins (sizes and depths instead of objects), in time and memory proportional to
the file, and refuses such. Whoever unpickles the same bytes afterwards is safe from them.
"""

import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO, cast

from mmpointrend.checkpoints.faults import DamageError, DangerError
from mmpointrend.checkpoints.stand_ins import (
    MOST_HASHING,
    Built,
    ByteSource,
    Global,
    Items,
    weight_of,
)

__all__ = ['PickleScan']

_MOST_OPCODES = 2_000_000
# Of places in the memo, which the C unpickler makes as an array up to the highest number.
_MEMO_SLACK = 65536
_LONGEST_TEXT = 512


class PickleScan:
    """One pickle's program, run on stand-ins.

    Subclasses look at the calls (:meth:`called`), states (:meth:`stated`) and references to outside
    (:meth:`outside`). Numbers, short texts and None stand for themselves.

    Args:
        source: The pickle, at its first byte.
        size: Length of the source in bytes.

    Attributes:
        names: Functions and classes that the pickle names, as keys in their order.
    """

    # Hash all elements of an argument.
    _HASHING = ('set', 'frozenset', 'OrderedDict', 'Counter', 'dict')

    def __init__(self, source: ByteSource, size: int) -> None:
        self._source, self._size = source, size
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._puts = self._hashed = 0
        self.names: dict[str, None] = {}

    def called(self, function: str, arguments: list[Any]) -> Any:
        """Look at a call that unpickling would make.

        Args:
            function: Module and name of the function or class.
            arguments: Stand-ins of the arguments.

        Returns:
            Stand-in of the result.
        """
        return Built(function)

    def stated(self, owner: Any, state: Any) -> None:
        """Look at a state that unpickling would give to an object.

        Args:
            owner: Stand-in of the object.
            state: Stand-in of the state.
        """

    def outside(self, reference: Any) -> Any:
        """Look at a reference to something outside of the pickle.

        Args:
            reference: Stand-in of the reference.

        Returns:
            Stand-in of what is referred to.
        """
        return Built('outside')

    def run(self) -> Any:
        """Run the whole program; the source stands behind it afterwards.

        Returns:
            Stand-in of the result.

        Raises:
            DamageError: It is not a pickle, or is one that takes more than the file's length allows.
            DangerError: It changes a function or class.
        """
        for number, (opcode, argument, _) in enumerate(
            pickletools.genops(cast(BinaryIO, self._source))
        ):
            if number > _MOST_OPCODES:
                raise DamageError(f'its pickle has more than {_MOST_OPCODES:,} instructions')
            step = _STEPS.get(opcode.name)
            if step is not None:
                step(self, argument)
            elif opcode.name != 'STOP':
                raise DamageError(f'its pickle has the instruction {opcode.name}')
        return self._pop()

    def _pop(self) -> Any:
        if not self._stack:
            raise DamageError('its pickle takes from an empty stack')
        return self._stack.pop()

    def _pop_to_mark(self) -> list[Any]:
        if not self._marked:
            raise DamageError('its pickle lacks a mark')
        values, self._stack = self._stack, self._marked.pop()
        return values

    def _top(self) -> Any:
        if not self._stack:
            raise DamageError('its pickle looks at an empty stack')
        return self._stack[-1]

    def _push(self, value: Any) -> None:
        if isinstance(value, str | bytes | bytearray) and len(value) > _LONGEST_TEXT:
            value = Built('text')
        elif type(value) is int and value.bit_length() > 64:
            value = Built('number')
        self._stack.append(value)

    def _hash(self, keys: list[Any]) -> None:
        self._hashed += sum(map(weight_of, keys))
        if self._hashed > MOST_HASHING:
            raise DamageError('its keys are tuples without end')

    def _put(self, place: int) -> None:
        if place < 0 or place > self._puts + _MEMO_SLACK:
            raise DamageError(f'its pickle remembers something as number {place:,}')
        self._puts += 1
        self._memo[place] = self._top()

    def _get(self, place: int) -> None:
        if place not in self._memo:
            raise DamageError(f'its pickle recalls number {place:,}, which it does not remember')
        self._stack.append(self._memo[place])

    def _tuple(self, count: int) -> None:
        values = [self._pop() for _ in range(count)]
        self._stack.append(Items(values[::-1]))

    def _fill(self, values: list[Any], keys: list[Any] | None = None) -> None:
        owner = self._top()
        if isinstance(owner, Global):
            raise DangerError(f'changes {owner.name}, which is not allowed')
        self._hash(keys or [])
        if isinstance(owner, Built):
            owner.take(values)

    def _call(self, function: Any, arguments: Any) -> None:
        if not isinstance(function, Global):
            raise DangerError('calls something that it made itself, which is not allowed')
        values = arguments.values if isinstance(arguments, Items) else [arguments]
        if function.name.rpartition('.')[2] in self._HASHING:
            self._hash(values)
        self._stack.append(self.called(function.name, values))

    def _global(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise DamageError('its pickle names a function by something that is not text')
        # Python 2's name of the module.
        full_name = f'{module}.{name}'.replace('__builtin__.', 'builtins.')
        self.names[full_name] = None
        self._stack.append(Global(full_name))

    def _do_global(self, argument: str) -> None:
        self._global(*argument.split(' ', 1))

    def _do_stack_global(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        self._global(module, name)

    def _do_mark(self, _: Any) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _do_pop(self, _: Any) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._pop_to_mark()

    def _do_pop_mark(self, _: Any) -> None:
        self._pop_to_mark()

    def _do_reduce(self, _: Any) -> None:
        arguments, function = self._pop(), self._pop()
        self._call(function, arguments)

    def _do_newobj_ex(self, _: Any) -> None:
        keywords, arguments, function = self._pop(), self._pop(), self._pop()
        if not isinstance(keywords, Built) or keywords.weight > 1:
            raise DangerError('calls by keywords, which is not allowed')
        self._call(function, arguments)

    def _do_inst(self, argument: str) -> None:
        arguments = Items(self._pop_to_mark())
        self._do_global(argument)
        self._call(self._pop(), arguments)

    def _do_obj(self, _: Any) -> None:
        function, *arguments = self._pop_to_mark() or [None]
        self._call(function, Items(arguments))

    def _do_build(self, _: Any) -> None:
        state, owner = self._pop(), self._top()
        if isinstance(owner, Global):
            raise DangerError(f'changes {owner.name}, which is not allowed')
        self.stated(owner, state)
        if isinstance(owner, Built):
            owner.take([state])

    def _do_setitem(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._fill([key, value], [key])

    def _do_setitems(self, _: Any) -> None:
        values = self._pop_to_mark()
        if len(values) % 2:
            raise DamageError('its pickle has a key without a value')
        self._fill(values, values[::2])

    def _do_dict(self, _: Any) -> None:
        values = self._pop_to_mark()
        self._push(Built('dict'))
        self._fill(values, values[::2])

    def _do_list(self, _: Any) -> None:
        values = self._pop_to_mark()
        self._push(Built('list'))
        self._fill(values)

    def _do_additems(self, _: Any) -> None:
        values = self._pop_to_mark()
        self._fill(values, values)

    def _do_frozenset(self, _: Any) -> None:
        values = self._pop_to_mark()
        self._push(Built('frozenset'))
        self._fill(values, values)

    def _do_append(self, _: Any) -> None:
        value = self._pop()
        self._fill([value])

    def _do_appends(self, _: Any) -> None:
        values = self._pop_to_mark()
        self._fill(values)

    def _do_frame(self, length: int) -> None:
        if length > self._size - self._source.tell():
            raise DamageError('its pickle announces more bytes than there are')

    def _do_persid(self, argument: str) -> None:
        self._push(self.outside(argument))

    def _do_binpersid(self, _: Any) -> None:
        self._push(self.outside(self._pop()))


_Step = Callable[[PickleScan, Any], None]


def _constant(value: Any) -> _Step:
    return lambda scan, _: scan._stack.append(value)


def _new(kind: str) -> _Step:
    return lambda scan, _: scan._stack.append(Built(kind))


def _group(count: int) -> _Step:
    return lambda scan, _: scan._tuple(count)


def _ignore(scan: PickleScan, argument: Any) -> None:
    """The instruction changes nothing."""


_PUSHING = (
    'INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING '
    'UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8'
)
_STEPS: dict[str, _Step] = {
    **dict.fromkeys(_PUSHING.split(), PickleScan._push),
    'PROTO': _ignore,
    'FRAME': PickleScan._do_frame,
    'NONE': _constant(None),
    'NEWTRUE': _constant(True),
    'NEWFALSE': _constant(False),
    'EMPTY_TUPLE': _group(0),
    'TUPLE1': _group(1),
    'TUPLE2': _group(2),
    'TUPLE3': _group(3),
    'TUPLE': lambda scan, _: scan._push(Items(scan._pop_to_mark())),
    'EMPTY_LIST': _new('list'),
    'EMPTY_DICT': _new('dict'),
    'EMPTY_SET': _new('set'),
    'LIST': PickleScan._do_list,
    'DICT': PickleScan._do_dict,
    'FROZENSET': PickleScan._do_frozenset,
    'APPEND': PickleScan._do_append,
    'APPENDS': PickleScan._do_appends,
    'SETITEM': PickleScan._do_setitem,
    'SETITEMS': PickleScan._do_setitems,
    'ADDITEMS': PickleScan._do_additems,
    'MARK': PickleScan._do_mark,
    'POP': PickleScan._do_pop,
    'POP_MARK': PickleScan._do_pop_mark,
    'DUP': lambda scan, _: scan._push(scan._top()),
    'PUT': PickleScan._put,
    'BINPUT': PickleScan._put,
    'LONG_BINPUT': PickleScan._put,
    'MEMOIZE': lambda scan, _: scan._put(len(scan._memo)),
    'GET': PickleScan._get,
    'BINGET': PickleScan._get,
    'LONG_BINGET': PickleScan._get,
    'GLOBAL': PickleScan._do_global,
    'STACK_GLOBAL': PickleScan._do_stack_global,
    'REDUCE': PickleScan._do_reduce,
    'NEWOBJ': PickleScan._do_reduce,
    'NEWOBJ_EX': PickleScan._do_newobj_ex,
    'INST': PickleScan._do_inst,
    'OBJ': PickleScan._do_obj,
    'BUILD': PickleScan._do_build,
    'PERSID': PickleScan._do_persid,
    'BINPERSID': PickleScan._do_binpersid,
    'NEXT_BUFFER': _new('buffer'),
    'READONLY_BUFFER': _ignore,
}
