# Copyright (c) The mmpointrend authors.
"""The fuzzer finds what is planted, and finds nothing in a short run on the product."""

import io
import json
import os
import random
import signal
import struct
import time
import zipfile
import zlib
from pathlib import Path

import pytest
from fuzzing.__main__ import _import_product
from fuzzing.campaign import Campaign
from fuzzing.cases import SPECIAL, Case, materialise, read_cases
from fuzzing.containers import mutate_pickle, mutate_png, mutate_zip, pickle_parts, zip_bomb
from fuzzing.format import Format
from fuzzing.formats import FORMATS
from fuzzing.mutation import mutate_bytes, mutate_text_object
from fuzzing.outcomes import Escaped, observe
from fuzzing.report import BEGIN, END, table, write_report
from fuzzing.workers import run_alone

from mmpointrend.errors import CheckpointError, InputError

SEED = Case('number.txt', b'7')


def spin(case):
    while True:
        pass


def block_in_c(case):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    time.sleep(60)


def hog(case):
    return len(bytes(3 << 30))


def hog_quietly(case):
    try:
        bytes(3 << 30)
    except MemoryError as error:
        raise InputError('the file is too large.') from error


def die(case):
    os.kill(os.getpid(), signal.SIGSEGV)


def fail(case):
    return {}[case.kind]


def advise(case):
    raise CheckpointError('the file is damaged: set weights_only=False.')


def escape(case):
    raise Escaped('a file beside the folder')


def refuse(case):
    raise InputError(f'the file {case.kind} has the number {len(case.content)}.')


def planted(run, once=()):
    """A format whose entry point is a function."""

    def mutate(rng, case, others):
        return Case(case.kind, mutate_bytes(rng, case.content))

    class Planted(Format):
        def seeds(self):
            return [SEED]

    return Planted('planted', 1, lambda folder: run, mutate, lambda: list(once))


def campaign_of(run, folder, inputs=1, seconds=0.3, **options):
    campaign = Campaign(planted(run, **options), folder, seconds=seconds)
    campaign.begin()
    campaign.advance(inputs)
    return campaign


@pytest.mark.parametrize(
    ('run', 'verdict', 'key'),
    [
        (
            fail,
            'foreign',
            'foreign: KeyError at outside mmpointrend, raised in test_fuzzing.py:fail',
        ),
        (spin, 'hang', 'hang: Unresponsive at outside mmpointrend'),
        (block_in_c, 'hang', 'hang: number.txt kept C code busy, killed'),
        (hog, 'memory', 'memory: MemoryError at outside mmpointrend'),
        (hog_quietly, 'memory', 'memory: InputError at outside mmpointrend'),
        (die, 'crash', 'crash: SIGSEGV on number.txt'),
        (advise, 'advice', 'advice: CheckpointError at'),
        (escape, 'escape', 'escape: Escaped at'),
    ],
)
def test_what_is_planted_is_found_and_replays(run, verdict, key, tmp_path):
    campaign = campaign_of(run, tmp_path)
    assert campaign.tally.verdicts == {verdict: 1}
    (found,) = campaign.tally.outcomes
    assert found.startswith(key)
    assert campaign.tally.findings == 1
    folder = tmp_path / 'findings' / 'planted'
    written = {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.suffixes[-2:] != ['.txt', '.txt']
    }
    assert written == {SEED.file_name: SEED.content}
    (case,) = [case for case in read_cases(folder) if case.kind == 'number.txt']
    assert run_alone(campaign.format.opening, tmp_path, case, 0.3).verdict == verdict


def test_inputs_after_a_death_are_still_run(tmp_path):
    def run(case):
        return die(case) if case.content == b'die' else refuse(case)

    once = [Case('a', b'x'), Case('b', b'die'), Case('c', b'y'), Case('d', b'z')]
    tally = campaign_of(run, tmp_path, inputs=5, once=once).tally
    assert tally.verdicts == {'refused': 4, 'crash': 1}


def test_what_only_an_earlier_input_caused_is_no_finding(tmp_path):
    held = []

    def run(case):
        held.append(bytearray(600 << 20))

    tally = campaign_of(run, tmp_path, inputs=2, once=[Case('a', b'x')], seconds=5).tally
    assert tally.verdicts == {'accepted': 2}
    assert tally.unconfirmed == 1


def test_a_sentence_counts_once_whatever_the_input_puts_into_it(tmp_path):
    def run(case):
        content = case.content
        raise InputError(
            f"the dataset's file /a/{len(content)}.json has {content!r} and {len(content)} zq ({case})."
        )

    tally = campaign_of(run, tmp_path, inputs=60).tally
    assert tally.inputs == tally.verdicts['refused'] == 60
    assert len(tally.outcomes) == 1


def test_the_same_seed_gives_the_same_inputs(tmp_path):
    def outcomes(folder, seed=0):
        campaign = Campaign(planted(lambda case: zlib.crc32(case.content)), tmp_path / folder, seed)
        campaign.begin()
        campaign.advance(100)
        return campaign.tally.outcomes

    first = outcomes('a')
    assert len(first) > 20
    assert outcomes('b') == first
    assert outcomes('c', seed=1) != first


def test_rounds_accumulate(tmp_path):
    campaign_of(refuse, tmp_path, inputs=30)
    again = campaign_of(refuse, tmp_path, inputs=20)
    assert (again.tally.inputs, again.tally.rounds) == (50, 2)
    assert json.loads((tmp_path / 'state' / 'planted.json').read_text())['inputs'] == 50


def test_what_leads_elsewhere_is_changed_further(tmp_path):
    campaign = campaign_of(lambda case: len(case.content), tmp_path, inputs=50)
    kept = read_cases(tmp_path / 'corpus' / 'planted')
    assert len({len(case.content) for case in kept}) == len(kept) > 3
    assert len(campaign.pool) == 1 + len(kept)


@pytest.mark.parametrize('special', SPECIAL)
def test_things_that_are_no_files_are_put_in_their_place(special, tmp_path):
    path = tmp_path / 'x'
    materialise(Case('x', SPECIAL[special]), path)
    kinds = {'fifo': path.is_fifo(), 'folder': path.is_dir(), 'device': path.is_char_device()}
    kinds['dangling link'] = path.is_symlink() and not path.exists()
    assert [kind for kind, is_it in kinds.items() if is_it] == [special]
    assert materialise(Case('x', b'7'), path).read_bytes() == b'7'
    assert not path.is_symlink()


@pytest.mark.filterwarnings('ignore:Duplicate name')
def test_the_checksums_of_changed_archives_fit():
    seed = FORMATS['checkpoints'].seeds()[0].content
    changed = {
        mutate_zip(random.Random(number), seed, lambda name: mutate_bytes) for number in range(60)
    }
    assert len(changed) > 50
    for content in changed:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert archive.testzip() is None


def test_the_checksums_of_changed_images_fit():
    seed = next(case.content for case in FORMATS['images'].seeds() if case.content[1:4] == b'PNG')
    changed = {mutate_png(random.Random(number), seed) for number in range(60)}
    assert len(changed) > 50
    for content in changed:
        place = 8
        while place < len(content):
            (length,) = struct.unpack('>I', content[place : place + 4])
            body = content[place + 4 : place + 8 + length]
            (stored,) = struct.unpack('>I', content[place + 8 + length : place + 12 + length])
            assert zlib.crc32(body) == stored
            place += 12 + length


def test_a_bomb_unpacks_to_what_it_says():
    bomb = zip_bomb('x', 3, b'head')
    assert len(bomb) < 8000
    with zipfile.ZipFile(io.BytesIO(bomb)) as archive:
        assert archive.read('x') == b'head' + bytes(3 << 20)


def test_a_pickle_falls_into_its_operations():
    # PROTO 2, BININT1 1, BINPUT 0, STOP
    assert pickle_parts(b'\x80\x02K\x01q\x00.') == (b'\x80\x02', b'K\x01', b'q\x00', b'.')
    assert (
        len({mutate_pickle(random.Random(number), b'\x80\x02K\x01q\x00.') for number in range(50)})
        > 30
    )


def test_most_changed_jsons_still_are_jsons():
    seed = json.dumps({'images': [{'id': 1}], 'annotations': [{'bbox': [0.5, 1, 2, 3]}]}).encode()
    changed = [mutate_text_object(random.Random(number), seed) for number in range(100)]
    assert len(set(changed)) > 60
    readable = 0
    for content in changed:
        try:
            json.loads(content)
            readable += 1
        except ValueError:
            pass
    assert 60 < readable < 100


def test_the_table_stands_between_the_markers(tmp_path):
    tally = campaign_of(fail, tmp_path, inputs=3).tally
    page = tmp_path / 'page.md'
    page.write_text(f'before\n{BEGIN}\nold\n{END}\nafter\n')
    write_report(page, {'planted': tally})
    text = page.read_text()
    assert text.startswith(f'before\n{BEGIN}\n\n| format | inputs |') and text.endswith(
        f'{END}\nafter\n'
    )
    assert 'old' not in text and table({'planted': tally}) in text
    planted_row = next(line for line in text.splitlines() if line.startswith('| planted'))
    # Inputs, speed, accepted, refused, distinct outcomes, foreign.
    assert [cell.strip() for cell in planted_row.split('|')][2::2][:3] == ['3', '0', '1']
    with pytest.raises(ValueError, match='lacks the markers'):
        write_report(Path(__file__), {'planted': tally})


def test_an_error_of_the_harness_is_not_an_outcome(tmp_path):
    def opening(folder):
        raise RuntimeError('not prepared')

    with pytest.raises(RuntimeError, match=r'the harness itself failed: .*not prepared'):
        run_alone(opening, tmp_path, SEED, 1)


def test_an_accepted_input_is_no_finding():
    outcome = observe(lambda: 'fine', 1)
    assert (outcome.verdict, outcome.key) == ('accepted', 'accepted: fine')


@pytest.mark.parametrize('name', FORMATS)
def test_a_short_run_finds_nothing(name, tmp_path):
    _import_product()
    campaign = Campaign(FORMATS[name], tmp_path)
    campaign.begin(once=False)
    assert campaign.advance(60 if name == 'head_configs' else 300)
    seeds = len(campaign.format.seeds())
    assert campaign.tally.inputs >= seeds > 4
    assert campaign.tally.verdicts['accepted'] > 4
    findings = [path.read_text() for path in (tmp_path / 'findings').rglob('*.txt')]
    assert not findings, '\n\n'.join(findings)
