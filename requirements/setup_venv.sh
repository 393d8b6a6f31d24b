#!/usr/bin/env bash
# Copyright (c) The mmpointrend authors.
# Make the development environment: setup_venv.sh VENV [PYTHON]
#
# Needs CPython 3.11 with its headers and venv, and a C++ compiler. Downloads go through pip, whose
# own variables say where from (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS, ...).
# mmcv is compiled once for each Python, torch and machine type; its wheel is kept in
# ${XDG_CACHE_HOME:-~/.cache}/mmpointrend/wheels.
set -euo pipefail

venv=$(realpath -m "$1")
python=${2:-python3}
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
lock=$repo/requirements/lock.txt
mmcv_version=2.1.0
compiler=${CXX:-g++}

say() { printf '[set-up] %s\n' "$*"; }
die() { printf '[set-up] FAILED: %s\n' "$*" >&2; exit 1; }

check_machine() {
  command -v "$python" > /dev/null || die "no '$python' here: install CPython 3.11 or pass PYTHON=..."
  "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' ||
    die "$python is $("$python" -V 2>&1), the pinned packages are for CPython 3.11: pass PYTHON=python3.11"
  "$python" -c 'import ensurepip, venv' 2> /dev/null ||
    die "$python has no venv module (Debian: apt-get install python3-venv)"
}

check_compiler() {
  command -v "${compiler%% *}" > /dev/null ||
    die "no C++ compiler '${compiler%% *}' here (Debian: apt-get install g++; CXX names another one)"
  local header
  header=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h
  [ -e "$header" ] || die "$header is missing (Debian: apt-get install python3-dev)"
}

# -m pip: the scripts in bin/ name their interpreter in one line, which a deep folder overflows.
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

# torch first: it loads the libraries that the operators link to.
mmcv_imports() { (cd / && "$venv/bin/python" -c 'import torch, mmcv._ext' 2>&1); }

# Prints a line every half minute until it is killed, for the compiler says nothing for long.
report_progress() {
  local log=$1 begin=$SECONDS files
  # The sleep outlives a killed reporter; it must not keep the output open.
  while sleep 30 > /dev/null 2>&1 && kill -0 $$ 2> /dev/null; do
    files=$(grep -oE '\[[0-9]+/[0-9]+\]' "$log" | tail -n 1 || true)
    say "  compiling mmcv: $(((SECONDS - begin) / 60)) min $(((SECONDS - begin) % 60)) s${files:+, file $files}"
  done
}

build_mmcv() {
  local cache=$1 work jobs reporter built=yes
  check_compiler
  # nproc would answer with OMP_NUM_THREADS, which the Makefile sets.
  jobs=${MAX_JOBS:-$(env -u OMP_NUM_THREADS nproc)}
  say "compiling mmcv $mmcv_version with $jobs jobs, once for this torch"
  work=$(mktemp -d)
  report_progress "$work/build.log" &
  reporter=$!
  mkdir "$work/header"
  # A link, whose path has no blank, which torch's build could not stand.
  ln -s "$repo/requirements/cxx_with_header.sh" "$work/cxx"
  # All of mmcv's files begin with torch/types.h, which takes most of their time.
  # No pip cache: pip would hand out a wheel compiled against another torch.
  HEADER=torch/types.h HEADER_FOLDER=$work/header HEADER_CXX=$compiler \
    CXX=$work/cxx MMCV_WITH_OPS=1 MAX_JOBS=$jobs \
    pip wheel -v --no-cache-dir --no-deps --no-binary mmcv --no-build-isolation \
    --wheel-dir "$work" "mmcv==$mmcv_version" > "$work/build.log" 2>&1 || built=no
  kill "$reporter"
  if [ $built = no ]; then
    tail -n 30 "$work/build.log" >&2
    die "mmcv did not compile; the whole log: $work/build.log"
  fi
  # Into place in one step, so that nobody ever finds half a wheel.
  cp "$work"/mmcv-*.whl "$cache/.incoming-$$"
  mv "$cache/.incoming-$$" "$cache/$(basename "$work"/mmcv-*.whl)"
  rm -r "$work"
}

install_mmcv() {
  local cache wheel
  cache=${XDG_CACHE_HOME:-$HOME/.cache}/mmpointrend/wheels/$("$venv/bin/python" -c '
import platform, sys, torch
print(f"cp{sys.version_info[0]}{sys.version_info[1]}-torch{torch.__version__}-{platform.machine()}")')
  mkdir -p "$cache"
  wheel=$(find "$cache" -name "mmcv-$mmcv_version-*.whl" | head -n 1)
  if [ -n "$wheel" ]; then
    say "mmcv $mmcv_version: the wheel compiled before, $wheel"
    pip install -q --no-deps --force-reinstall "$wheel" && mmcv_imports > /dev/null && return
    say 'that wheel does not work here: compiling again'
    rm -f "$wheel"
  fi
  build_mmcv "$cache"
  wheel=$(find "$cache" -name "mmcv-$mmcv_version-*.whl" | head -n 1)
  pip install -q --no-deps --force-reinstall "$wheel"
  local error
  error=$(mmcv_imports) || die "mmcv is compiled, but mmcv._ext does not import: $error"
}

begin=$SECONDS
check_machine
[ -x "$venv/bin/python" ] || { say "making $venv"; "$python" -m venv "$venv"; }
say '1/4 torch (about 200 MB; with its requirements, which differ from build to build)'
pip install -q --constraint "$lock" "$(grep -E '^torch==' "$lock")"
say '2/4 the pinned packages'
pip install -q --no-deps --requirement "$lock"
say '3/4 mmcv with its operators'
mmcv_imports > /dev/null || install_mmcv
say '4/4 mmpointrend itself, editable'
pip install -q --no-deps --no-build-isolation --editable "$repo"
(cd / && "$venv/bin/python" -c 'import mmpointrend.registry') || die 'mmpointrend does not import'
say "done in $((SECONDS - begin)) s"
