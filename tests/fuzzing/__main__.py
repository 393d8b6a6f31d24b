# Copyright (c) The mmpointrend authors.
"""Fuzz what reads strangers' files: ``make fuzz``, or ``PYTHONPATH=tests python -m fuzzing [options]``.

Exits with status 1 if there is a finding.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from fuzzing.campaign import Campaign
from fuzzing.cases import Case
from fuzzing.formats import FORMATS
from fuzzing.report import table, write_report
from fuzzing.workers import run_alone

_MILLION = 1_000_000
_STEP = 2000
# What covers new code is found out anew by each worker.
_GUIDED_STEP = 20_000


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='fuzzing', description="Fuzz what reads strangers' files, on one core."
    )
    parser.add_argument('--minutes', type=float, default=60, help='stop after so long (default 60)')
    parser.add_argument(
        '--inputs', type=int, default=_MILLION, help='inputs of a round (default 1,000,000)'
    )
    parser.add_argument(
        '--rounds', type=int, default=1, help='rounds, within the minutes (default 1)'
    )
    parser.add_argument(
        '--formats', nargs='+', choices=FORMATS, default=list(FORMATS), help='only these'
    )
    parser.add_argument(
        '--engine',
        choices=('chance', 'atheris'),
        default='chance',
        help='how inputs are chosen; atheris, by coverage, has to be installed (default chance)',
    )
    parser.add_argument('--seed', type=int, default=0, help='of all chance')
    parser.add_argument(
        '--seconds', type=float, default=5, help='an input that takes longer hangs (default 5)'
    )
    parser.add_argument(
        '--work-dir', type=Path, default=Path('work_dirs/fuzz'), help='counts, findings, corpus'
    )
    parser.add_argument(
        '--replay',
        nargs='+',
        type=Path,
        metavar='FILE',
        help='run kept findings again, and nothing else',
    )
    parser.add_argument(
        '--write', type=Path, metavar='PAGE', help='put the table between the markers of a page'
    )
    return parser.parse_args()


def _replay(paths: list[Path], seconds: float) -> int:
    found = 0
    for path in paths:
        format_ = FORMATS[path.parent.name]
        case = Case(path.name.partition('.')[2], path.read_bytes())
        with tempfile.TemporaryDirectory() as folder:
            outcome = run_alone(format_.opening, Path(folder), case, seconds)
        found += outcome.verdict not in ('accepted', 'refused')
        print(f'{path}: {outcome.key}\n{outcome.details}')
    return found


def _fuzz(campaigns: list[Campaign], inputs: int, rounds: int, deadline: float) -> None:
    """Run rounds of all formats, each in proportion to its share at all times."""
    shares = {campaign: campaign.format.share for campaign in campaigns}
    scale = inputs / sum(shares.values())
    quota = {campaign: max(1, round(share * scale)) for campaign, share in shares.items()}
    for _ in range(rounds):
        done = dict.fromkeys(campaigns, 0)
        for campaign in campaigns:
            campaign.begin()
        while time.monotonic() < deadline:
            waiting = [campaign for campaign in campaigns if done[campaign] < quota[campaign]]
            if not waiting:
                break
            campaign = min(waiting, key=lambda one: done[one] / quota[one])
            most = _GUIDED_STEP if campaign.guided else _STEP
            step = min(most, quota[campaign] - done[campaign], max(50, quota[campaign] // 50))
            done[campaign] += campaign.advance(step, deadline)


def main() -> int:
    """Fuzz, or replay.

    Returns:
        1 if there is a finding.
    """
    args = _arguments()
    if args.replay:
        return int(_replay(args.replay, args.seconds) > 0)
    campaigns = [
        Campaign(FORMATS[name], args.work_dir, args.seed, args.seconds, args.engine == 'atheris')
        for name in args.formats
    ]
    _import_product()
    _fuzz(campaigns, args.inputs, args.rounds, time.monotonic() + 60 * args.minutes)
    tallies = {campaign.format.name: campaign.tally for campaign in campaigns}
    print(table(tallies))
    if args.write:
        write_report(args.write, tallies)
    findings = sum(tally.findings for tally in tallies.values())
    if findings:
        print(
            f'{findings} distinct findings in {args.work_dir / "findings"}; --replay FILE runs one again.'
        )
    return int(findings > 0)


def _import_product() -> None:
    """Import once what every worker needs; workers are forks."""
    import mmseg.models  # noqa: F401

    import mmpointrend.engine
    import mmpointrend.evaluation
    import mmpointrend.models  # noqa: F401


if __name__ == '__main__':
    sys.exit(main())
