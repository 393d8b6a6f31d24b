#!/usr/bin/env bash
# Copyright (c) The mmpointrend authors.
# A C++ compiler that parses one large header once: for builds whose files all begin with it.
#
# Called like the compiler (as CXX=), it hands every call on to $HEADER_CXX (default g++). The first
# compilation also makes a precompiled header of `#include <$HEADER>` from its own flags, in the
# folder $HEADER_FOLDER; compilations with the same flags from then on begin with it, by -include.
# GCC gives the same object, byte for byte. Whatever is not such a compilation runs as it is, and so
# does everything if the header cannot be made, or if the compiler is not GCC.
set -u

read -ra compiler <<< "${HEADER_CXX:-g++}"
folder=${HEADER_FOLDER:-}
as_it_is() { exec "${compiler[@]}" "$@"; }

# What decides about the header: every word but the file, the output and the list of dependencies.
flags=()
sources=0
compiles=no
begins_otherwise=no
skip=no
for word in "$@"; do
  if [ $skip = yes ]; then
    skip=no
    continue
  fi
  case $word in
    -c) compiles=yes ;;
    -o | -MF | -MT | -MQ) skip=yes ;;
    -MD | -MMD | -MP) ;;
    -E | -S | -M | -MM | -x* | -include* | -imacros* | @*) begins_otherwise=yes ;;
    *.cpp | *.cc | *.cxx) sources=$((sources + 1)) ;;
    *) flags+=("$word") ;;
  esac
done
if [ $compiles = no ] || [ $begins_otherwise = yes ] || [ $sources != 1 ] || [ ! -d "$folder" ]; then
  as_it_is "$@"
fi

wanted=$(printf '%q ' "$PWD" "${compiler[@]}" "${flags[@]}")
header=$folder/header.h

is_gcc() {
  local macros
  macros=$("${compiler[@]}" -dM -E -x c++ /dev/null 2> /dev/null) || return
  [[ $macros == *__GNUC__* && $macros != *__clang__* && $macros != *__INTEL_COMPILER* ]]
}

# Making the folder is the lock: one call wins, for good. Others do not wait, they compile without
# the header; the flags are written last, so that nobody finds half a header.
if mkdir "$folder/lock" 2> /dev/null; then
  printf '#include <%s>\n' "${HEADER:?}" > "$header"
  if is_gcc && "${compiler[@]}" "${flags[@]}" -x c++-header "$header" -o "$header.gch" 2> "$folder/log"; then
    printf '%s' "$wanted" > "$folder/lock/flags"
    mv "$folder/lock/flags" "$folder/flags"
  fi
fi

if [ ! -e "$folder/flags" ] || [ "$wanted" != "$(< "$folder/flags")" ]; then
  as_it_is "$@"
fi
# A failure is told by the compilation without the header, in the words of the file itself.
said=$(mktemp "$folder/said.XXXXXX") || as_it_is "$@"
if "${compiler[@]}" -include "$header" "$@" 2> "$said"; then
  cat "$said" >&2
  exit
fi
as_it_is "$@"
