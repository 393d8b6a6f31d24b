# Copyright (c) The mmpointrend authors.
"""Configs that are data: YAML, JSON, and the text that a checkpoint carries along.

Reading one as plain values is half of it: mmengine calls whatever a ``type`` names by its full path,
``os.system`` included, and its inferencers run the text in a checkpoint as a program.
"""

import ast
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ['complaint_about_text', 'complaint_about_types']

_PACKAGES = frozenset(
    [
        'mmaction',
        'mmagic',
        'mmcls',
        'mmcv',
        'mmdet',
        'mmdet3d',
        'mmengine',
        'mmocr',
        'mmpointrend',
        'mmpose',
        'mmpretrain',
        'mmrazor',
        'mmrotate',
        'mmseg',
        'mmselfsup',
        'mmyolo',
    ]
)
_OF_TORCH = ('torch.nn.', 'torch.optim.')
_NAME = re.compile(r'[A-Za-z_]\w*(\.[A-Za-z_]\w*)*')
_CONTAINERS = ('dict', 'list', 'set', 'slice', 'tuple')
_LONGEST_TEXT = 2**20
# mmengine fills these in before it runs the text, so that it is not the text any more.
_TEMPLATE = re.compile(r'\{\{[\s\'"]*(\$|file\w|_base_)')


def complaint_about_types(config: Any) -> str | None:
    """Find a ``type`` that is not a part of a model or a run.

    Names without a dot are looked up in mmengine's registries alone. One with dots may be a scope and
    a name in its registry, or the full path of a class, as mmengine writes it for new-style configs.

    Args:
        config: Dicts, lists and values.

    Returns:
        What it is, to follow the name of the file; None if there is none.
    """
    for name in _types_in(config):
        if not _NAME.fullmatch(name) or ('.' in name and not _is_part(name)):
            return (
                f'has type={name[:100]!r}, which is not a registered type or a class of an OpenMMLab '
                'package: it could run anything'
            )
    return None


def _types_in(node: Any) -> Iterator[str]:
    nodes = [node]
    while nodes:
        node = nodes.pop()
        if isinstance(node, Mapping):
            # 'of' is the type that a TappedBackbone or TappedNeck stands for.
            for key in ('type', 'runner_type', 'of'):
                if isinstance(node.get(key), str):
                    yield node[key]
            nodes.extend(node.values())
        elif isinstance(node, list | tuple):
            nodes.extend(node)


def _is_part(name: str) -> bool:
    from mmengine.registry import Registry, root
    from mmengine.utils import get_object_from_string

    scope = name.partition('.')[0]
    if name.startswith(_OF_TORCH):
        roots: tuple[str, ...] = _OF_TORCH
    elif scope in _PACKAGES or any(
        scope in registry.children
        for registry in vars(root).values()
        if isinstance(registry, Registry)
    ):
        roots = (f'{scope}.',)
    else:
        return False
    try:
        found = get_object_from_string(name)
    except Exception:
        # A scope and a name in its registry, or nothing at all.
        return True
    # Modules lend what they import, such as mmengine.utils.misc.import_module.
    home = f'{getattr(found, "__module__", "")}.'
    is_collate = inspect.isfunction(found) and name.endswith('collate')
    return found is None or (home.startswith(roots) and (inspect.isclass(found) or is_collate))


def complaint_about_text(text: Any) -> str | None:
    """Find out whether the text of a config is more than values.

    Args:
        text: Python, as ``Config.pretty_text`` writes it: assignments of literals and ``dict(...)``.

    Returns:
        What is more, to follow "the config in ..."; None if it is values alone.
    """
    if not isinstance(text, str):
        return f'is a {type(text).__name__}'
    if len(text) > _LONGEST_TEXT or _TEMPLATE.search(text):
        return 'is longer than any config' if len(text) > _LONGEST_TEXT else 'has a template in it'
    try:
        values = dict(map(_assigned, ast.parse(text).body))
    except _ProgramError as error:
        return f'has a program in line {error}'
    except (SyntaxError, ValueError, RecursionError, MemoryError, TypeError):
        return 'is no Python'
    if '_base_' in values:
        return 'inherits files'
    imports = values.get('custom_imports') or {}
    imports = imports.get('imports') if isinstance(imports, dict) else None
    for module in [imports] if isinstance(imports, str) else imports or ():
        if module not in sys.modules and str(module).partition('.')[0] not in _PACKAGES:
            return f'imports {str(module)[:100]!r}'
    return complaint_about_types(values)


class _ProgramError(Exception):
    """The message is the line of something that is not a value."""


def _assigned(node: ast.stmt) -> tuple[str, Any]:
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            return name, _value(value)
        case ast.Expr(value=ast.Constant(value=str())):
            return '', None
    raise _ProgramError(node.lineno)


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=ast.Constant(value=int() | float())):
            return None
        case ast.Name(id='inf' | 'nan'):
            return None
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
            return [_value(item) for item in items]
        case ast.Dict(keys=keys, values=values):
            names = [None if key is None else _value(key) for key in keys]
            # Keys that are tuples are lists here.
            return {str(name): _value(value) for name, value in zip(names, values, strict=True)}
        case ast.Call(func=ast.Name(id=function), args=items, keywords=keywords) if (
            function in _CONTAINERS
        ):
            made: dict[str, Any] = {str(word.arg): _value(word.value) for word in keywords}
            return {**made, '': [_value(item) for item in items]} if items else made
    raise _ProgramError(node.lineno)
