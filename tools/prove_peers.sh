#!/bin/bash
# prove_peers.sh [tries|rows|twins|memory|page] [SHAPE-PRECISION...] - training steps beside PyTorch's, in turn, on two
# threads (bench/peers). Keeps docs/evidence/peers.md.
#
#   tries    the fastest of PyTorch's ways for each row, by a short run of each (1 to 3 minutes a row)
#   rows     the timing in turn (about a minute a row; d3, m3 up to two)
#   twins    MoE and dense twin, isomoe and PyTorch, all four in turn, of the MoE rows m1 to m3 (two to four minutes each)
#   memory   what a step of v3 holds beyond weights, gradients and moments, PyTorch's loss plain and chunked (7 GB of
#            memory or more, a minute or two each)
#   page     the page, of the rows that there are
#
# Without a part: all. Rows: d0 m0 to d3 m3, each -fp32 and -bf16 (default: all). Resumable: each row is a file in
# build/peers/; what was done by this build is not done again. Wants a quiet machine.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/prove_lib.sh
. tools/prove_lib.sh
venv=${PEERS_VENV:-$HOME/.cache/isomoe-peers/venv}
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q -r bench/peers/requirements.txt
fi
python=$venv/bin/python
parts="tries rows twins memory page"
case ${1-} in
tries | rows | twins | memory | page) parts=$1 && shift ;;
esac
[ $# -gt 0 ] || set -- {d0,m0,d1,m1,d2,m2,d3,m3}-{fp32,bf16}
for row in "$@"; do
    [[ $row =~ ^[dm][0-3]-(fp32|bf16)$ ]] || { echo "no row '$row'; rows are d0-fp32 to m3-bf16" >&2; exit 2; }
done
ways=build/peers/ways work=build/peers/$(build_key)
mkdir -p "$ways" "$work" docs/evidence

# The flags that name a row's shape to the peer. The demo's shapes are isomoe's to say.
shape_flags() {
    local shape=${1%-*}
    case $shape in
    ?0) "$isomoe" bench --print-config "$shape" >"build/peers/$shape.yaml" && echo "--config build/peers/$shape.yaml" ;;
    *) echo "--shape $shape" ;;
    esac
}

# Few steps where one takes seconds.
few() {
    case $1 in
    ?3*) echo "--warmup 1" ;;
    *) echo "--warmup 3" ;;
    esac
}

# Tokens/s of one way, 0 if it fails.
rate() {
    local row=$1 flags
    shift
    flags="$(shape_flags "$row") $(few "$row") --threads 2 --repetitions 3"
    case $row in
    ?0*) flags+=" --steps 20" ;;
    ?1*) flags+=" --steps 3" ;;
    *) flags+=" --steps 1" ;;
    esac
    # shellcheck disable=SC2086 # words
    "$python" bench/peers/torch_peer.py $flags "$@" 2>/dev/null |
        "$python" -c 'import json, sys; print(int(max([json.loads(l)["median"] for l in sys.stdin if l.startswith("{")] or [0])))' || echo 0
}

# Tries a row in one way, unless its file has it already; a line "RATE WAY" each.
try_way() {
    local row=$1 way=$2
    # shellcheck disable=SC2086 # words
    grep -qs -- " $way\$" "$ways/$row" || echo "$(rate "$row" $way) $way" >>"$ways/$row"
    grep -- " $way\$" "$ways/$row" | sed "s/^/$row: /" >&2
}

fastest() {
    sort -n "$ways/$1" | tail -n 1 | cut -d' ' -f2-
}

try_row() {
    local row=$1 mode half="" experts position way
    case $row in *bf16) half=-bf16 ;; esac
    for mode in eager$half compile$half; do
        for position in rope alibi; do
            try_way "$row" "--mode ${mode/eager-/} --position $position"
        done
    done
    case $row in
    m*)
        way=$(fastest "$row")
        for experts in padded grouped; do try_way "$row" "${way%% --experts*} --experts $experts"; done
        ;;
    esac
    ! sort -n "$ways/$row" | tail -n 1 | grep -q '^0 ' || { echo "$row: none of PyTorch's ways works" >&2; return 1; }
}

# The peer's process that answers "run N", in a row's fastest way.
peer_command() {
    echo "$python bench/peers/torch_peer.py $(shape_flags "$1") $(fastest "$1") $(few "$1") --threads 2 --serve"
}

time_row() {
    local row=$1 shape=${1%-*} precision=${1#*-}
    [ ! -s "$work/$row.json" ] || return 0
    try_row "$row"
    # shellcheck disable=SC2046 # words
    "$python" bench/peers/alternate.py $(shape_flags "$row") --precision "$precision" \
        --isomoe "$isomoe bench --shape $shape --precision $precision --threads 2 --blocks" \
        --peer "$(peer_command "$row")" \
        >"$work/$row.part"
    mv "$work/$row.part" "$work/$row.json"
}

twin_row() {
    local row=$1 size=${1:1:1} precision=${1#*-} dense=d${1:1}
    [[ $row == m[1-3]-* ]] && [ ! -s "$work/twins-$size-$precision.json" ] || return 0
    try_row "$row" && try_row "$dense"
    "$python" bench/peers/twins.py --size "$size" --precision "$precision" \
        --isomoe "$isomoe bench --precision $precision --threads 2 --blocks --shape" \
        --dense-peer "$(peer_command "$dense")" --moe-peer "$(peer_command "$row")" \
        >"$work/twins.part"
    mv "$work/twins.part" "$work/twins-$size-$precision.json"
}

# One process each: v3's peak of memory.
memory_row() {
    local precision=$1 loss mode=eager
    [ "$precision" = fp32 ] || mode=bf16
    [ -s "$work/memory-$precision.json" ] ||
        "$isomoe" bench --shape v3 --precision "$precision" --threads 2 --repeat 1 --json >"$work/memory.part"
    [ ! -s "$work/memory.part" ] || mv "$work/memory.part" "$work/memory-$precision.json"
    for loss in plain chunked; do
        [ -s "$ways/memory-$precision-$loss.json" ] ||
            "$python" bench/peers/torch_peer.py --shape v3 --mode $mode --loss $loss --threads 2 --memory --steps 2 \
                >"$ways/memory-$precision-$loss.json"
    done
}

for part in $parts; do
    case $part in
    tries) for row in "$@"; do try_row "$row"; done ;;
    rows) for row in "$@"; do time_row "$row"; done ;;
    twins) for row in "$@"; do twin_row "$row"; done ;;
    memory) memory_row fp32 && memory_row bf16 ;;
    page)
        {
            echo "# Training steps beside PyTorch"
            echo
            circumstances
            "$python" bench/peers/peers_page.py "$work" "$ways"
        } >docs/evidence/peers.md
        cat docs/evidence/peers.md
        ;;
    esac
done
