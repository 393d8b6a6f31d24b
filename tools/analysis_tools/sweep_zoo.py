# Copyright (c) The mmpointrend authors.
"""Add PointRend to every config that the installed mmdet and mmseg ship, train two steps, predict an image.

Each config ends as *works*, or as *refused* with the sentence that a user would get, or as *not tried* where it cannot
be loaded or run here without PointRend either; anything else is a fault, and the command exits with status 1. Widths,
depths, classes and images are small; configs that are equal then are tried once. What is done is kept in ``--out``
after each config, and not done again.

Usage: python tools/analysis_tools/sweep_zoo.py --out sweep.json [--only WORD ...] [--retry-faults] [--table FILE.md]
"""

import argparse
import hashlib
import json
import logging
import re
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from zoo_configs import ZooConfig, zoo

from mmpointrend.analysis.shrunken_models import (
    HEIGHT,
    WIDTH,
    batch,
    build_small,
    fit_channels,
    shrunken,
)
from mmpointrend.conversion import add_pointrend
from mmpointrend.engine.launch import run_cli
from mmpointrend.errors import PointRendError

WORKS, REFUSED, UNTRIED, FAULT = 'works', 'refused', 'not tried', 'fault'
# Seconds of one model on a busy machine.
_LIMIT = 600
_BEGIN, _END = '<!-- sweep_zoo.py -->', '<!-- end of sweep_zoo.py -->'


def small_with_pointrend(cfg: Config) -> Config:
    """The small model of a config, with PointRend.

    Args:
        cfg: A config with 'model' and 'default_scope'.

    Returns:
        The config to build.

    Raises:
        PointRendError: PointRend cannot be added.
    """
    small = Config({'model': cfg.model, 'default_scope': cfg.default_scope})
    # Refusals that need no model come first: others' models need not shrink.
    if (
        'roi_head' in cfg.model and cfg.model.roi_head.get('mask_head')
    ) or 'decode_head' in cfg.model:
        model = shrunken(cfg.model, fewer_classes=True)
        fit_channels(model, cfg.default_scope)
        small.model = model
    changed = add_pointrend(small)
    changed.model.train_cfg = _few_points(changed.model.train_cfg)
    return changed


def _few_points(node: Any) -> Any:
    """Settings with 20 training points."""
    if isinstance(node, list | tuple):
        return [_few_points(item) for item in node]
    if isinstance(node, dict):
        for key, value in node.items():
            node[key] = 20 if key == 'num_points' else _few_points(value)
    return node


def try_model(cfg: Config) -> None:
    """Train a model for two steps and predict an image.

    Args:
        cfg: Of :func:`small_with_pointrend`.

    Raises:
        RuntimeError: A loss is not finite, or there is no mask or map.
    """
    torch.manual_seed(0)
    model: Any = build_small(cfg.model, cfg.default_scope)
    detector = cfg.default_scope == 'mmdet'
    classes = 5 if detector else model.num_classes
    semantic = getattr(getattr(model, 'roi_head', None), 'semantic_head', None)
    stride = 8 if semantic is not None else 1 if 'semantic_head' in cfg.model else None
    # One pools windows of 49 x 49 cells, the other wants maps as large as its kernel.
    text = repr(cfg.model)
    small_maps = not any(f"'type': '{kind}'" in text for kind in ('DCN', 'SAC'))
    large = 8 if 'LRASPPHead' in text else 1 if small_maps else 2
    if large > 1 and not detector:
        model.data_preprocessor.size = (HEIGHT * large, WIDTH * large)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    model.train()
    for _ in range(2):
        data = model.data_preprocessor(batch(cfg, classes, stride, large), True)
        losses = model(**data, mode='loss')
        total, _ = model.parse_losses(losses)
        if not bool(total.isfinite()):
            found = {key: str(value) for key, value in losses.items()}
            raise RuntimeError(f'a loss is not finite: {found}')
        if not any('point' in key for key in losses):
            raise RuntimeError(f'no loss of points among {sorted(losses)}')
        optimizer.zero_grad()
        total.backward()
        # Losses of random weights are large: a step must not throw them away.
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1)
        optimizer.step()
    model.eval()
    data = batch(cfg, classes, times=large)
    data = model.data_preprocessor({key: value[:1] for key, value in data.items()}, False)
    with torch.no_grad():
        (result,) = model(**data, mode='predict')
    if detector:
        panoptic = 'pred_panoptic_seg' in result
        masks = result.pred_panoptic_seg.sem_seg if panoptic else result.pred_instances.masks
        if masks.shape[-2:] != (HEIGHT * large, WIDTH * large):
            raise RuntimeError(f'masks of the shape {tuple(masks.shape)}')
    elif not bool(result.seg_logits.data.isfinite().all()):
        raise RuntimeError('logits that are not finite')


def _time_out(*_: object) -> None:
    raise TimeoutError(f'more than {_LIMIT} seconds')


def outcome_of(config: ZooConfig, seen: dict[str, dict]) -> dict[str, Any]:
    """Try a config.

    Args:
        config: The config.
        seen: Outcomes by the text of the small model, which is filled.

    Returns:
        'outcome', the 'sentence' of a refusal or fault, and the 'model' that was tried.
    """
    signal.signal(signal.SIGALRM, _time_out)
    signal.alarm(_LIMIT)
    try:
        try:
            cfg = config.load()
        except ValueError as error:
            # The rest is mmengine's search path.
            said = str(error).partition(', the current sys.path')[0]
            said = re.sub(r'[^\s\'"]*\.mim/configs/', '', said)
            return {'outcome': UNTRIED, 'sentence': f'mmengine cannot load the config: {said}'}
        if not isinstance(cfg.get('model'), dict):
            return {'outcome': REFUSED, 'sentence': 'the config has no model'}
        if cfg.default_scope is None:
            cfg.default_scope = config.package
        changed = small_with_pointrend(cfg)
        text = repr(changed.model.to_dict()) + str(cfg.default_scope)
        model = hashlib.sha256(text.encode()).hexdigest()[:12]
        if model not in seen:
            try_model(changed)
            seen[model] = {'outcome': WORKS}
        return {**seen[model], 'model': model}
    except PointRendError as error:
        # The whole model can be built: what cannot is at odds with how it was shrunk.
        fault = any(
            words in str(error) for words in ('cannot read', 'cannot be built', 'does not work')
        )
        return {'outcome': FAULT if fault else REFUSED, 'sentence': str(error)}
    except Exception as error:
        if '-v' in sys.argv:
            logging.exception(config.name)
        said = ' '.join(f'{type(error).__name__}: {error}'.split())
        if 'implementation for device cpu not found' in said:
            return {'outcome': UNTRIED, 'sentence': f'an operation of mmcv needs a GPU ({said})'}
        return {'outcome': FAULT, 'sentence': said[:500]}
    finally:
        signal.alarm(0)


def sweep(out: Path, only: Sequence[str], retry: bool, cache: Path | None) -> dict[str, dict]:
    """Try all configs that are not in a file yet.

    Args:
        out: The file, which is written after each config.
        only: Words, one of which the name of a config has to have; all configs if there is none.
        retry: Whether faults are tried again.
        cache: Folder for loaded configs.

    Returns:
        Outcomes by 'package::name'.
    """
    results: dict[str, dict] = json.loads(out.read_text()) if out.is_file() else {}
    seen = {
        result['model']: {'outcome': WORKS}
        for result in results.values()
        if result['outcome'] == WORKS and 'model' in result
    }
    for package in ('mmseg', 'mmdet'):
        for config in zoo(package, cache):
            name = f'{package}::{config.name}'
            if only and not any(word in name for word in only):
                continue
            if name in results and not (retry and results[name]['outcome'] == FAULT):
                continue
            began = time.process_time()
            result = outcome_of(config, seen)
            result['seconds'] = round(time.process_time() - began, 2)
            results[name] = result
            out.with_suffix('.part').write_text(json.dumps(results, indent=1))
            out.with_suffix('.part').replace(out)
            if result['outcome'] == FAULT or '-v' in sys.argv:
                print(name, result['outcome'], result.get('sentence', ''), flush=True)
    return results


def table(results: dict[str, dict]) -> str:
    """The table of docs/compatibility.md.

    Args:
        results: Of :func:`sweep`.

    Returns:
        Markdown: a row for each family with a mask or decode head, and the sentences of refusals by their number.
    """
    lines = [
        '| package | family | configs | work | refused | not tried | models |',
        '| --- | --- | ---: | ---: | ---: | ---: | ---: |',
    ]
    reasons: Counter[str] = Counter()
    without: Counter[str] = Counter()
    families: dict[tuple[str, str], list[dict]] = {}
    for name, result in results.items():
        package, _, path = name.partition('::')
        families.setdefault((package, path.partition('/')[0]), []).append(result)
    for (package, family), found in sorted(families.items()):
        counts = Counter(result['outcome'] for result in found)
        if counts[WORKS] == 0 and all(_has_no_head(result) for result in found):
            without[package] += len(found)
            continue
        models = {result['model'] for result in found if 'model' in result}
        refused = f'{counts[REFUSED]}'
        if counts[FAULT]:
            refused += f', **{counts[FAULT]} faults**'
        cells = (package, family, len(found), counts[WORKS], refused, counts[UNTRIED], len(models))
        lines.append(f'| {" | ".join(map(str, cells))} |')
    for result in results.values():
        if result['outcome'] in (REFUSED, UNTRIED):
            reasons[result['sentence']] += 1
    total = Counter(result['outcome'] for result in results.values())
    models = {result['model'] for result in results.values() if 'model' in result}
    lines += [
        '',
        f'{len(results)} configs: {total[WORKS]} work ({len(models)} different models after shrinking), '
        f'{total[REFUSED]} are refused, {total[UNTRIED]} not tried, {total[FAULT]} fail. Not in the table are '
        + ', '.join(f'{count} configs of {package}' for package, count in without.items())
        + ' without masks of RoIs or a decode head, which are refused.',
        '',
        '| configs | refused or not tried, because |',
        '| ---: | --- |',
    ]
    for sentence, count in reasons.most_common():
        if not _has_no_head({'outcome': REFUSED, 'sentence': sentence}):
            lines.append(f'| {count} | {sentence[:300].replace("|", "/")} |')
    return '\n'.join(lines)


def _has_no_head(result: dict) -> bool:
    sentence = result.get('sentence', '')
    reasons = ('has neither an RoI head', 'has no mask_head', 'the config has no model')
    return result['outcome'] == REFUSED and any(reason in sentence for reason in reasons)


def write_table(file: Path, results: dict[str, dict]) -> None:
    """Put the table between its marks in a page.

    Args:
        file: The page.
        results: Of :func:`sweep`.
    """
    text = file.read_text()
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    file.write_text(f'{before}{_BEGIN}\n{table(results)}\n{_END}{after}')


def main() -> None:
    """Sweep, and print or write the table."""
    parser = argparse.ArgumentParser(description='PointRend on every config of mmdet and mmseg.')
    parser.add_argument('--out', type=Path, required=True, help='JSON of outcomes, continued')
    parser.add_argument('--only', nargs='+', default=[], metavar='WORD', help='names with a WORD')
    parser.add_argument('--retry-faults', action='store_true', help='try faults again')
    parser.add_argument('--cache', type=Path, help='folder for loaded configs')
    parser.add_argument('--table', type=Path, help='Markdown page to put the table in')
    parser.add_argument('-v', action='store_true', help='print each config and tracebacks')
    args = parser.parse_args()
    warnings.simplefilter('ignore')
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    began = time.process_time()
    results = sweep(args.out, args.only, args.retry_faults, args.cache)
    total = Counter(result['outcome'] for result in results.values())
    print(dict(total), f'{time.process_time() - began:.0f} CPU seconds')
    if args.table:
        write_table(args.table, results)
    if total[FAULT]:
        raise SystemExit(1)


if __name__ == '__main__':
    run_cli(main)
