# Copyright (c) The mmpointrend authors.
"""``tools/check_benchmark.py``: what it runs, prints and exits with."""

import json
import runpy
import shutil

import pytest
import yaml


@pytest.fixture
def check(repo, monkeypatch):
    """Runs the command and returns its exit status; ``printed`` stands in for the test's figures."""
    tool = runpy.run_path(str(repo / 'tools' / 'check_benchmark.py'))

    def call(*arguments, printed=None):
        if printed is not None:
            monkeypatch.setitem(tool['main'].__globals__, 'test', lambda argv: printed)
        monkeypatch.setattr('sys.argv', ['check_benchmark.py', *map(str, arguments)])
        try:
            tool['run_cli'](tool['main'])
        except SystemExit as end:
            return end.code
        return 0

    return call


def publish(folder, run, tolerance, **metrics):
    """A copy of a run's config with figures published beside it."""
    config = shutil.copy(run.config, folder / run.config.name)
    results = [{'Task': 'any', 'Dataset': 'tiny', 'Metrics': metrics}]
    entry = {'Name': run.config.stem, 'Metadata': {'Tolerance': tolerance}, 'Results': results}
    (folder / 'metafile.yml').write_text(yaml.safe_dump({'Models': [entry]}, sort_keys=False))
    return config


def test_a_checkpoint_is_tested(check, run, tmp_path, capsys):
    """After a few iterations nothing is found of the instances, and a third at most of the label maps."""
    name, key, factor = {
        'semantic': ('mIoU', 'mIoU', 1),
        'instance': ('mask AP', 'coco/segm_mAP', 100),
    }[run.task]
    config = publish(tmp_path, run, 5, **{name: 90.0})
    out = tmp_path / 'report.json'
    options = ('--out', out, '--work-dir', tmp_path / 'run')
    named = ('--cfg-options', f'experiment_name=check_{run.task}')
    assert check(config, run.checkpoint, *options, *named) == 3
    report = json.loads(out.read_text())
    (figure,) = report['figures']
    assert not report['passed'] and figure['verdict'] == 'below'
    assert figure['measured'] == pytest.approx(factor * report['evaluator'][key])
    assert 0 <= figure['measured'] < 60 and figure['difference'] == figure['measured'] - 90
    printed = capsys.readouterr().out
    assert name in printed and f'{figure["measured"]:.2f}' in printed
    assert (tmp_path / 'run').is_dir()


@pytest.mark.parametrize(
    ('measured', 'options', 'status'),
    [
        (77.0, (), 0),
        (76.5, (), 0),
        (76.4, (), 3),
        (77.6, (), 3),
        (76.4, ('--tolerance', '1'), 0),
        (76.9, ('--tolerance', '0.05'), 3),
    ],
)
def test_status(check, semantic_run, tmp_path, measured, options, status):
    config = publish(tmp_path, semantic_run, 0.5, mIoU=77.0)
    arguments = (config, semantic_run.checkpoint, *options)
    assert check(*arguments, printed={'mIoU': measured}) == status


def test_every_figure_has_to_be_inside(check, semantic_run, tmp_path):
    config = publish(tmp_path, semantic_run, 0.5, **{'mIoU': 77.0, 'boundary IoU': 60.0})
    arguments = (config, semantic_run.checkpoint)
    printed = {'mIoU': 77.1, 'mBoundaryIoU': 50.0}
    assert check(*arguments, printed=printed) == 3
    assert check(*arguments, '--metrics', 'mIoU', printed=printed) == 0


def test_a_figure_that_the_evaluator_does_not_print(check, semantic_run, tmp_path):
    """Only in the report, as long as another one is printed and this one is not asked for."""
    config = publish(tmp_path, semantic_run, 0.5, **{'mIoU': 77.0, 'mask AP*': 39.7})
    out = tmp_path / 'report.json'
    arguments = (config, semantic_run.checkpoint, '--out', out)
    assert check(*arguments, printed={'mIoU': 77.0}) == 0
    report = json.loads(out.read_text())
    assert [figure['verdict'] for figure in report['figures']] == ['inside', 'not printed']
    assert report['passed']
    sentence = check(*arguments, '--metrics', 'mIoU', 'mask AP*', printed={'mIoU': 77.0})
    assert 'does not print mask AP*, but mIoU: set test_evaluator' in sentence
    assert not json.loads(out.read_text())['passed']
    sentence = check(*arguments, printed={'aAcc': 90.0})
    assert 'does not print mIoU, mask AP*, but aAcc: set test_evaluator' in sentence


def test_refusals(check, semantic_run, tmp_path):
    config = publish(tmp_path, semantic_run, 0.5, mIoU=77.0)
    lost = ('--out', tmp_path / 'none' / 'report.json')
    assert 'there is no folder' in check(config, semantic_run.checkpoint, *lost, printed={})
    sentence = check(semantic_run.config, semantic_run.checkpoint, printed={})
    assert sentence.startswith('error: ') and 'has no metafile.yml beside it' in sentence
