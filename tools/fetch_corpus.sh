#!/bin/sh
# fetch_corpus.sh [--preset small|full] OUT_DIR - real text for training and validation.
#
# Downloads Debian packages (nothing is installed, no root is needed), takes the text out of them and
# writes OUT_DIR/{train,val}_DOMAIN.jsonl. Training and validation come from different packages, so
# they differ in distribution. The small preset takes 57 MB of downloads, from packages that do not
# change with security releases, and its text is compared with tools/corpus.sha256.
set -eu
export LC_ALL=C

tools=$(cd "$(dirname "$0")" && pwd)
preset=small
out=
while [ $# -gt 0 ]; do
    case $1 in
        --preset) preset=${2:?--preset needs a value}; shift ;;
        --preset=*) preset=${1#*=} ;;
        --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 0 ;;
        -*) echo "fetch_corpus.sh: unknown flag $1" >&2; exit 2 ;;
        *) out=$1 ;;
    esac
    shift
done
[ -n "$out" ] || { echo "usage: tools/fetch_corpus.sh [--preset small|full] OUT_DIR" >&2; exit 2; }

# output            package              version                          kind      cap  inputs
# "-" is any version (packages that follow security or point releases). Caps in bytes of text.
small_table='
train_general  dict-gcide            0.48.5+nmu2                      dict     12000000 usr/share/dictd/gcide
train_maths    metamath-databases    0.0.0~20210101.git55fe226-2      metamath 3000000 usr/share/metamath/databases/set.mm
train_maths    hol88-source          2.02.19940316dfsg-5              ml        1000000 usr/share/hol88-2.02.19940316dfsg
train_maths    hol88-library-source  2.02.19940316dfsg-5              ml        1000000 usr/share/hol88-2.02.19940316dfsg
train_maths    hol88-contrib-source  2.02.19940316dfsg-5              ml        1000000 usr/share/hol88-2.02.19940316dfsg
train_code     golang-1.19-src       1.19.8-2                         go        6000000 usr/share/go-1.19/src
val_general    dict-foldoc           20230119-1                       dict      3000000 usr/share/dictd/foldoc
val_maths      hol-light             20230128-1+b1                    ml        3000000 usr/share/hol-light
val_code       python3-networkx      2.8.8-1                          py        3000000 usr/lib/python3/dist-packages/networkx
'
full_table='
train_general  dict-gcide            0.48.5+nmu2                      dict     0 usr/share/dictd/gcide
train_docs     linux-doc-6.1         -                                rst      0 usr/share/doc/linux-doc-6.1
train_docs     python3.11-doc        -                                rst      0 usr/share/doc/python3.11
train_docs     perl-doc              -                                pod      0 usr/share/perl
train_maths    metamath-databases    0.0.0~20210101.git55fe226-2      metamath 0 usr/share/metamath/databases/set.mm
train_code     golang-1.19-src       1.19.8-2                         go       0 usr/share/go-1.19/src
val_general    dict-foldoc           20230119-1                       dict     0 usr/share/dictd/foldoc
val_maths      hol-light             20230128-1+b1                    ml       0 usr/share/hol-light
val_code       libpython3.11-stdlib  -                                py       0 usr/lib/python3.11
val_code       libpython3.11-minimal -                                py       0 usr/lib/python3.11
val_languages  installation-guide-amd64 -                             txtgz    0 usr/share/doc/installation-guide-amd64
'
case $preset in
    small) table=$small_table ;;
    full) table=$full_table ;;
    *) echo "fetch_corpus.sh: --preset $preset: small or full" >&2; exit 2 ;;
esac

mkdir -p "$out/packages"
out=$(cd "$out" && pwd)
work=$(mktemp -d "$out/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# The lines of corpus.sha256 for this preset, as sha256sum -c reads them in OUT_DIR.
grep " $preset/" "$tools/corpus.sha256" | sed "s| $preset/| |" > "$work/expected" || true
if [ "$preset" = small ] && (cd "$out" && sha256sum --status -c "$work/expected" 2> /dev/null); then
    echo "corpus ($preset): $out is there and whole" >&2
    exit 0
fi

# --- download ---

# Package lists of our own, where the system has none (a fresh container) or we may not refresh them.
own_lists=
apt_get() {
    if [ -n "$own_lists" ]; then
        apt-get -o Dir::State="$own_lists" -o Dir::State::lists="$own_lists/lists" \
            -o Dir::State::status=/var/lib/dpkg/status -o Dir::Cache="$own_lists/cache" "$@"
    else
        apt-get "$@"
    fi
}
use_own_lists() {
    [ -z "$own_lists" ] || return 0
    own_lists=$work/apt
    mkdir -p "$own_lists/lists/partial" "$own_lists/cache/archives/partial"
    echo "corpus: reading the package lists" >&2
    apt_get -qq -o APT::Sandbox::User="$(id -un)" update
}
download() { # spec: in the current folder
    apt_get -qq -o APT::Sandbox::User="$(id -un)" download "$1" > "$work/log" 2>&1
}

# Leaves the package's file name in $deb.
fetch() { # package version
    deb=
    spec=$1
    if [ "$2" != - ]; then
        spec=$1=$2
        deb=$(find "$out/packages" -name "$1_$2_*.deb" | head -n 1)
        [ -z "$deb" ] || return 0
    fi
    mkdir -p "$work/new"
    (cd "$work/new" && rm -f -- *.deb)
    echo "corpus: fetching $spec" >&2
    if ! (cd "$work/new" && download "$spec"); then
        use_own_lists
        if ! (cd "$work/new" && download "$spec"); then
            echo "corpus: WARNING: $spec is not to be had; taking the version that is," >&2
            echo "corpus: WARNING: so results cannot be compared with the recorded ones" >&2
            (cd "$work/new" && download "$1") || { cat "$work/log" >&2; exit 1; }
        fi
    fi
    deb=$(find "$work/new" -name '*.deb' | head -n 1)
    [ -n "$deb" ] || { cat "$work/log" >&2; exit 1; }
    # apt writes an epoch or a tilde its own way; ours is the name that is looked for above.
    kept=$out/packages/$1_$2_.deb
    [ "$2" != - ] || kept=$out/packages/$(basename "$deb")
    mv -f "$deb" "$kept"
    deb=$kept
}

# --- take the text out ---

rm -f "$out"/*.jsonl
echo "$table" | grep . > "$work/table"
while read -r output package version kind cap input; do
    fetch "$package" "$version" < /dev/null
    rm -rf "$work/tree"
    mkdir "$work/tree"
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$work/tree" --wildcards "./$input*"
    set -- "$work/tree/$input"
    if [ "$kind" = dict ]; then
        gzip -dc < "$1.dict.dz" > "$work/dict"
        set -- "$1.index" "$work/dict"
    fi
    perl "$tools/clean_corpus.pl" "$kind" "$cap" "$@" >> "$work/$output.jsonl"
done < "$work/table"
mv "$work"/*.jsonl "$out"

# --- say what there is ---

(cd "$out" && for file in *.jsonl; do
    printf '%-14s %6d documents  %6.1f MB\n' "${file%.jsonl}" "$(wc -l < "$file")" \
        "$(wc -c < "$file" | awk '{ print $1 / 1e6 }')"
done) >&2
if [ -s "$work/expected" ] && ! (cd "$out" && sha256sum --quiet -c "$work/expected") >&2; then
    echo "corpus: WARNING: this text is not the one that tools/corpus.sha256 records;" >&2
    echo "corpus: WARNING: results cannot be compared with the recorded ones" >&2
fi
