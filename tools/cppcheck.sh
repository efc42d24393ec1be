#!/bin/sh
# cppcheck.sh - the static analyser over the sources, at zero warnings.
#
# A false alarm is silenced where it is, with the reason: // cppcheck-suppress ID; why
set -eu
cd "$(dirname "$0")/.."
exec cppcheck --quiet --error-exitcode=1 -j "$(nproc)" \
    --enable=warning,performance,portability --inline-suppr --std=c11 --std=c++17 --library=tools/cppcheck.cfg \
    -D_GNU_SOURCE -D__x86_64__ -D__linux__ -Isrc -Iinclude -Icli src cli
