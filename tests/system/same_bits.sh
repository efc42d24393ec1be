#!/bin/bash
# Losses and weights are a function of config, data and numeric profile: not of the number of threads,
# of how often the run evaluates or saves (src/train/loop.h, I1).
. "$(dirname "$0")/lib.sh"

make_data data
make_configs

for side in dense moe; do
    for threads in 1 2 3 7; do
        isomoe train $side.yaml --out $side-$threads --quiet --train.threads=$threads 2>train.log ||
            { cat train.log; exit 1; }
        fingerprint $side-$threads >$side-$threads.print
    done
    for threads in 2 3 7; do
        same "$side: the same bits on $threads threads as on 1" $side-1.print $side-$threads.print
    done
    epochs=$(fact $side-1/summary.json '.epochs | floor')
    check "$side: the runs cross epochs ($epochs)" test "$epochs" -ge 3
    check "$side: 60 losses, no two in a row alike" test \
        "$(grep -o '"loss":[^,]*,"\(aux_loss\|grad_norm\)' $side-1/metrics.jsonl | uniq | wc -l)" -eq 60

    isomoe train $side.yaml --out $side-other --quiet --train.checkpoint_every=never --train.eval_every=13 2>/dev/null
    grep '"loss":.*"lr"' <(series $side-1) >expected.rows
    grep '"loss":.*"lr"' <(series $side-other) >other.rows
    same "$side: evaluating and saving at other times changes no loss" expected.rows other.rows
    check "$side: nor the final weights" cmp $side-{1,other}/checkpoints/step_60/model.safetensors

    isomoe train $side.yaml --out $side-seed --quiet --train.seed=2 2>/dev/null
    fingerprint $side-seed >$side-seed.print
    differ "$side: another seed gives another run" $side-1.print $side-seed.print
done
finish
