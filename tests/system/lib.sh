# shellcheck shell=bash
# lib.sh - what the system tests share; sourced by NAME.sh, which ctest starts as NAME.sh ISOMOE.
#
# A script runs in an empty folder of its own and is a list of checks. A failed check is told and the
# script goes on; `finish` prints the counts in cmocka's words, which tests/run_all.sh adds up. Random
# numbers come from SEED (printed; the same SEED draws the same numbers again).
set -u
export LC_ALL=C.UTF-8 NO_COLOR=1
unset CLICOLOR_FORCE

[ $# -ge 1 ] || { echo "usage: $0 ISOMOE" >&2; exit 2; }
ISOMOE=$(realpath "$1")
SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
SEED=${SEED:-$RANDOM$RANDOM}
RANDOM=$SEED
n_passed=0 n_failed=0 n_skipped=0
# In memory where there is room: these tests save thousands of files, each of them synced.
memory_mib=$(df --output=avail -m /dev/shm 2>/dev/null | tail -n 1)
if [ -z "${TMPDIR:-}" ] && [ -w /dev/shm ] && [ "${memory_mib:-0}" -ge 1024 ]; then TMPDIR=/dev/shm; fi
work=$(mktemp -d -p "${TMPDIR:-/tmp}" isomoe-test.XXXXXX)
at_exit=()

leave() {
    local command pid
    for pid in $(jobs -p); do kill -KILL "$pid" 2>/dev/null; done
    wait
    cd /
    for command in "${at_exit[@]}"; do $command; done
    rm -rf "$work"
}
trap leave EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1

# In the background use "$ISOMOE" itself: $! of a function is a shell's.
isomoe() {
    "$ISOMOE" "$@"
}

# --- checks ---

pass() {
    n_passed=$((n_passed + 1))
    echo "ok      $1"
}

fail() { # what, file that shows why
    n_failed=$((n_failed + 1))
    echo "FAILED  $1"
    [ $# -lt 2 ] || tail -n 30 "$2" | sed 's/^/        /'
}

skip() { # what, why
    n_skipped=$((n_skipped + 1))
    echo "skipped $1: $2"
}

check() { # what, command...
    local what=$1
    shift
    if "$@" >check.log 2>&1; then pass "$what"; else fail "$what" check.log; fi
}

# The command ends with this code and says each of the words (extended regular expressions, any case).
expect() { # what, code, words..., --, command...
    local what=$1 wanted=$2 code word missing=
    local words=()
    shift 2
    while [ "$1" != -- ]; do words+=("$1"); shift; done
    shift
    "$@" >expect.log 2>&1 </dev/null
    code=$?
    for word in "${words[@]}"; do
        grep -qiE -e "$word" expect.log || missing="$missing '$word'"
    done
    [ "$code" -eq "$wanted" ] || missing="$missing [exit $wanted, not $code]"
    if [ -z "$missing" ]; then pass "$what"; else fail "$what: lacks$missing" expect.log; fi
}

same() { # what, file, file
    if diff "$2" "$3" >same.log 2>&1; then pass "$1"; else fail "$1" same.log; fi
}

differ() { # what, file, file
    if cmp -s "$2" "$3"; then fail "$1"; else pass "$1"; fi
}

finish() {
    echo "[  PASSED  ] $n_passed test(s)."
    [ "$n_skipped" -eq 0 ] || echo "[  SKIPPED ] $n_skipped test(s)."
    [ "$n_failed" -eq 0 ] || echo "[  FAILED  ] $n_failed test(s). SEED=$SEED"
    [ "$n_failed" -eq 0 ] && [ "$n_passed" -gt 0 ]
    exit
}

# --- material ---

# Real text: some of the program's own source to train on, two documents to validate on.
make_text() {
    mkdir -p text/train
    cp "$SOURCE"/src/train/*.c "$SOURCE"/src/data/*.c text/train
    cp "$SOURCE/LICENSE" text/words.txt
    cp "$SOURCE/docs/formats.md" text/docs.txt
}

make_data() { # folder, further flags of data prepare...
    [ -d text ] || make_text
    isomoe data prepare --train text/train --val words=text/words.txt --val docs=text/docs.txt \
        --holdout 10 --out "$@" >prepare.log 2>&1 || { cat prepare.log; exit 1; }
}

# Two small models, strictly equal in N, C and D; widths that no vector or block divides. They cross
# several epochs, evaluations and checkpoints.
make_configs() {
    cat >dense.yaml <<'YAML'
model: {vocab_size: 257, hidden_size: 36, num_hidden_layers: 3, num_attention_heads: 3,
        intermediate_size: 88, max_position_embeddings: 40}
data: {dir: data, unique_tokens: 8000}
train: {steps: 60, batch_size: 24, micro_batch_size: 8, lr: 0.003, threads: 2, checkpoint_every: 7,
        eval_every: 10, eval_tokens: 1000, final_eval_tokens: 4000}
YAML
    cat >moe.yaml <<'YAML'
model: {vocab_size: 257, hidden_size: 36, num_hidden_layers: 3, num_attention_heads: 3,
        intermediate_size: 88, max_position_embeddings: 40, layer_layout: 1dense, num_experts: 9,
        num_experts_per_tok: 2, moe_intermediate_size: 8, shared_expert_intermediate_size: 16}
data: {dir: data, unique_tokens: 8000}
train: {steps: 60, batch_size: 24, micro_batch_size: 8, lr: 0.003, threads: 2, checkpoint_every: 7,
        eval_every: 10, eval_tokens: 1000, final_eval_tokens: 4000}
YAML
}

# --- what a run came to ---

# The rows of metrics.jsonl as text, without times and without the note of replayed steps.
series() { # run
    sed -E 's/,"(step_ms|tokens_per_s|mfu)":[^,}]*//g' "$1/metrics.jsonl"
}

newest_checkpoint() { # run: step_N, or nothing
    find "$1/checkpoints" -maxdepth 1 -name 'step_*[0-9]' -printf '%f\n' 2>/dev/null |
        sort -t_ -k2n | tail -n 1
}

# Everything that must not depend on threads, kills or times: rows, weights, moments, subset, scores of
# every window, and the ledger.
fingerprint() { # run
    local newest
    newest=$1/checkpoints/$(newest_checkpoint "$1")
    series "$1" | grep -v replayed_steps
    (cd "$newest" && sha256sum model.safetensors optimizer.safetensors loop.bin) || return 1
    sha256sum <"$1/evaluation.json"
    [ ! -e "$1/routing.safetensors" ] || sha256sum <"$1/routing.safetensors"
    jq -S 'del(.name, .replayed_steps, .wall_s, .tokens_per_s, .mfu, .train.threads,
        .counted.memory_bytes)' "$1/summary.json"
}

fact() { # file, jq filter
    jq -r "$2" "$1"
}

steps_done() { # run: whole step rows so far
    local n
    n=$(grep -c '"loss":.*"grad_norm".*}$' "$1/metrics.jsonl" 2>/dev/null)
    echo "${n:-0}"
}

wait_for_steps() { # run, number, process: false if the process ends first
    while [ "$(steps_done "$1")" -lt "$2" ]; do
        kill -0 "$3" 2>/dev/null || return 1
        sleep 0.01
    done
}

# Every run's fingerprint in a study, and what the study chose.
study_prints() { # folder
    local run
    for run in "$1"/runs/*; do
        echo "run $(basename "$run")"
        fingerprint "$run" || return 1
    done
    [ ! -d "$1/steps" ] || cat "$1"/steps/*
}
