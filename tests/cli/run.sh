#!/bin/sh
# Runs one command-line test: run.sh ISOMOE NAME
#
# NAME.sh is sourced in an empty folder, with $source (the repository's root) and the function `run`,
# which shows a command, what it printed (both streams) and its exit code if it is not 0. All of that
# together must be NAME.expected, byte for byte. ISO_UPDATE=1 writes that file instead: look at the
# difference before committing it.
set -u
isomoe_path=$1
name=$2
here=$(cd "$(dirname "$0")" && pwd)
source=$(cd "$here/../.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
unset CLICOLOR_FORCE
export LC_ALL=C.UTF-8 NO_COLOR=1

isomoe() {
    "$isomoe_path" "$@"
}

run() {
    echo "\$ $*"
    "$@" 2>&1
    code=$?
    test $code -eq 0 || echo "[exit $code]"
}

mkdir "$folder/work"
(cd "$folder/work" && . "$here/$name.sh") >"$folder/output" 2>&1 </dev/null
if test "${ISO_UPDATE:-}" = 1; then
    cp "$folder/output" "$here/$name.expected"
    exit 0
fi
diff -u "$here/$name.expected" "$folder/output"
