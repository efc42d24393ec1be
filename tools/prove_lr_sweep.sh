#!/bin/bash
# prove_lr_sweep.sh - the learning-rate sweep behind src/study/lr_rule.c: one procedure for every side.
#
# Takes the demo's own plan (text, shapes, batch, steps, one seed) and trains every side with multiples
# of Step Law's rate a factor of two apart, the MoE near 20 % also without gate normalisation. What is
# best is decided on the hold-out, so that the validation domains stay untouched. A side whose best
# multiplier lies at an edge of the sweep gets one more beyond it, until it does not.
# Keeps docs/evidence/lr-sweep.md. Resumable: a finished run is not run again.
set -euo pipefail
cd "$(dirname "$0")/.."
isomoe=${ISOMOE:-build/release/cli/isomoe}
work=${SWEEP_DIR:-build/lr-sweep}
jobs=${SWEEP_JOBS:-$(nproc)}
[ -f demo/corpus/complete ] || { tools/fetch_corpus.sh demo/corpus && : >demo/corpus/complete; }
mkdir -p "$work/runs"
"$isomoe" compare demo/corpus/train_*.jsonl --params 400000 --out "$work/plan" --plan-only \
    --val general=demo/corpus/val_general.jsonl --val maths=demo/corpus/val_maths.jsonl \
    --val code=demo/corpus/val_code.jsonl

# train SIDE NORM MULTIPLIER: one run, named after them
train() {
    local run="$work/runs/$1-norm$2-x$3"
    mkdir -p "$run"
    "$isomoe" train "$work/plan/configs/$1-s1.yaml" --out "$run" --quiet --model.norm_topk_prob="$2" \
        --train.lr=steplaw --train.lr_multiplier="$3" --train.eval_every=never \
        --train.checkpoint_every=never >"$run/log.txt" 2>&1 || { echo "FAILED: $run" >&2; return 1; }
}

# score RUN KEY: a number of its summary; the hold-out's bpb for key "holdout"
score() {
    awk -v key="$2" '
        /^  "in_distribution"/ { inside = 1 }
        inside && /"bpb"/ { gsub(/[^0-9.e+-]/, "", $2); holdout = $2; inside = 0 }
        /^  "bpc"/ { gsub(/[^0-9.e+-]/, "", $2); bpc = $2 }
        /^  "lr"/ { gsub(/[^0-9.e+-]/, "", $2); lr = $2 }
        /^  "state"/ { state = $2 }
        END { if (state !~ /finished/) print "nan"; else print key == "holdout" ? holdout : key == "lr" ? lr : bpc }
    ' "$work/runs/$1/summary.json"
}

export -f train
export isomoe work
tasks() { # of all sides and multipliers that are still to do, longest first
    for x in "${multipliers[@]}"; do
        for side in moe-20:true moe-20:false moe-27:true moe-35:true moe-50:true dense:false; do
            run="${side%:*}-norm${side#*:}-x$x"
            grep -qs '"state": "finished"' "$work/runs/$run/summary.json" || echo "${side%:*} ${side#*:} $x"
        done
    done
}

# best SIDE NORM: its best multiplier so far
best() {
    for x in "${multipliers[@]}"; do
        echo "$(score "$1-norm$2-x$x" holdout) $x"
    done | grep -v nan | sort -g | head -n 1 | cut -d' ' -f2
}

multipliers=(0.125 0.25 0.5 1)
while :; do
    tasks | xargs -r -P "$jobs" -L 1 bash -c 'train "$0" "$1" "$2"'
    low=$(printf '%s\n' "${multipliers[@]}" | sort -g | head -n 1)
    high=$(printf '%s\n' "${multipliers[@]}" | sort -g | tail -n 1)
    extend=
    for side in "dense false" "moe-20 true" "moe-20 false" "moe-27 true" "moe-35 true" "moe-50 true"; do
        # shellcheck disable=SC2086 # two words
        at=$(best $side)
        [ "$at" != "$low" ] || extend="$extend $(awk "BEGIN { print $low / 2 }")"
        [ "$at" != "$high" ] || extend="$extend $(awk "BEGIN { print $high * 2 }")"
    done
    [ -n "$extend" ] || break
    # shellcheck disable=SC2086 # a list
    multipliers+=($(printf '%s\n' $extend | sort -gu))
    [ "${#multipliers[@]}" -le 8 ] || { echo "the optimum runs away: ${multipliers[*]}" >&2; exit 1; }
done

mkdir -p docs/evidence
{
    echo "# Learning-rate sweep of the demo's sides"
    echo
    echo "\`make prove-lr_sweep\`, commit $(git rev-parse --short HEAD), $(date -u +%F), $(lscpu | sed -n 's/^Model name: *//p'), $(nproc) cores."
    echo "One seed a run, the demo's text, shapes, batch and steps; multipliers are over Step Law's rate at the run's own N and D."
    echo "Bold: the best of its side on the hold-out, which alone decides; bpc is the mean over the validation domains."
    echo
    echo "| side | gates normalised | multiplier | peak lr | hold-out, bits per byte | domains, bits per character |"
    echo "|---|---|---|---|---|---|"
    for side in "dense false" "moe-20 true" "moe-20 false" "moe-27 true" "moe-35 true" "moe-50 true"; do
        # shellcheck disable=SC2086 # two words
        set -- $side
        at=$(best "$1" "$2")
        for x in $(printf '%s\n' "${multipliers[@]}" | sort -g); do
            run="$1-norm$2-x$x"
            mark=
            [ "$x" != "$at" ] || mark='**'
            norm=$2
            [ "$1" != dense ] || norm=-
            printf '| %s | %s | %s%s%s | %.5f | %s%.4f%s | %.4f |\n' "$1" "$norm" "$mark" "$x" "$mark" \
                "$(score "$run" lr)" "$mark" "$(score "$run" holdout)" "$mark" "$(score "$run" bpc)"
        done
    done
} | tee docs/evidence/lr-sweep.md
