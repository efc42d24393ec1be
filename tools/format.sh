#!/bin/sh
# format.sh [--check] - clang-format 14 over every C and C++ file that git knows, in place or as a check.
set -eu
cd "$(dirname "$0")/.."
case ${1-} in
--check) options="--dry-run -Werror" ;;
'') options=-i ;;
*) echo "usage: tools/format.sh [--check]" >&2; exit 2 ;;
esac
# shellcheck disable=SC2086 # two options
git ls-files -z '*.c' '*.h' '*.cc' | xargs -0 clang-format-14 $options
