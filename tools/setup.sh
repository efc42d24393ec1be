#!/bin/sh
# setup.sh [GROUP...] - installs the Debian packages that isomoe needs and that are missing.
#
# The one list of them: cmake/IsoDependencies.cmake checks the versions. Groups: build (the default),
# test, lint. Does nothing, and asks for no rights, when everything is there.
set -eu

packages_of() {
    case $1 in
    build)
        echo make cmake ninja-build pkgconf gcc g++ libc6-dev
        echo libjansson-dev libyaml-dev libsqlite3-dev libzstd-dev zlib1g-dev
        echo libxxhash-dev libssl-dev libutf8proc-dev libsentencepiece-dev librandom123-dev
        ;;
    test) echo libcmocka-dev python3 jq zstd gzip ;;
    lint) echo git python3 clang-14 libomp-14-dev clang-format-14 cppcheck ;;
    *)
        echo "setup.sh: no group '$1'; there are build, test, lint" >&2
        exit 2
        ;;
    esac
}

[ $# -gt 0 ] || set -- build
wanted=
for group in "$@"; do
    # shellcheck disable=SC2046 # one word per package
    wanted="$wanted $(echo $(packages_of "$group"))"
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "setup.sh: not a Debian system; install by its own means what these packages hold:" >&2
    echo " $wanted" >&2
    exit 0 # CMake tells what is missing
fi

missing=
for package in $wanted; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "setup.sh: not root and no sudo here; as root, run: apt-get install$missing" >&2
        exit 1
    fi
    as_root=sudo
fi

echo "setup.sh: installing$missing" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3 \
        -o DPkg::Lock::Timeout=300 "$@" >"$log" 2>&1 || {
        cat "$log" >&2
        echo "setup.sh: apt-get $1 failed (its output is above)" >&2
        exit 1
    }
}
apt update
# shellcheck disable=SC2086 # one word per package
apt install -y --no-install-recommends $missing
