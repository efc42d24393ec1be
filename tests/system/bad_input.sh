#!/bin/bash
# Bad input: the right exit code, and words that name what is wrong, where, and what to do.
. "$(dirname "$0")/lib.sh"

make_data data
make_configs

train() {
    isomoe train "$@" --quiet
}

# --- config ---

sed 's/hidden_size: 36/hidden_sise: 36/' dense.yaml >typo.yaml
expect "config: a typo" 2 'typo\.yaml:1:' 'hidden_sise' 'did you mean model\.hidden_size' -- train typo.yaml --out typo
expect "config: a typo on the command line" 2 'hidden_sise' 'hidden_size' -- train dense.yaml --out typo --model.hidden_sise=36
expect "config: hidden size not divisible by heads" 2 'num_attention_heads' '\b5\b' '36' -- \
    train dense.yaml --out shape --model.num_attention_heads=5
expect "config: more experts a token than experts" 2 'num_experts_per_tok' '\b10\b' '\b9\b' -- \
    train moe.yaml --out shape --model.num_experts_per_tok=10
expect "config: no run folder named" 2 '--out' -- train dense.yaml
expect "config: no data" 2 'data\.dir' 'isomoe data prepare' -- train dense.yaml --out nodata --data.dir=
expect "config: no such data" 1 'nowhere is no prepared folder' -- train dense.yaml --out nodata --data.dir=nowhere
check "nothing was trained" test ! -e typo/metrics.jsonl -a ! -e shape/metrics.jsonl -a ! -e nodata/checkpoints

# --- text ---

prepare() { # text, further flags...
    isomoe data prepare --val words=text/words.txt --holdout 0 --out bad-data --train "$@"
}
printf 'a good line\nbad: \xff\xfe\n' >invalid.txt
printf '{"text": "good"}\n{"text": "bad \xc3("}\n' >invalid.jsonl
: >empty.txt
expect "text: invalid UTF-8" 1 'invalid\.txt' 'UTF-8' '--invalid' -- prepare invalid.txt
expect "text: invalid UTF-8 in a line" 1 'invalid\.jsonl' '(line|:) ?2' 'UTF-8' -- prepare invalid.jsonl
expect "text: of which the good part may be taken" 0 -- prepare invalid.jsonl --invalid skip
rm -rf bad-data
expect "text: empty" 1 'empty\.txt|training text|no (text|document)' -- prepare empty.txt
expect "text: no such file" 1 'nowhere\.txt' 'No such file' -- prepare nowhere.txt
cat text/train/*.c | zstd -q -o whole.txt.zst
head -c $(($(stat -c %s whole.txt.zst) * 2 / 3)) whole.txt.zst >cut.txt.zst
expect "text: a truncated .zst" 1 'cut\.txt\.zst' 'cut|ends|truncated|incomplete' -- prepare cut.txt.zst
gzip -c text/train/loop.c | head -c 2000 >cut.txt.gz
expect "text: a truncated .gz" 1 'cut\.txt\.gz' 'cut|ends|truncated|incomplete' -- prepare cut.txt.gz
check "no half prepared folder is left" test ! -e bad-data

echo 'Fewer than forty bytes.' >short.txt
prepare short.txt --out short >/dev/null 2>&1
expect "text: smaller than one sequence" 1 'split train holds 25 tokens' 'one sequence of 40' 'more text' -- train dense.yaml --out nodata --data.dir=short --data.unique_tokens=all
expect "text: smaller than the subset asked for" 2 'unique_tokens' '900000' -- train dense.yaml --out nodata --data.unique_tokens=900000

# --- tokens ---

expect "tokens: ids beyond the vocabulary" 2 'vocab_size is 200' '256' 'at least 257' -- \
    train dense.yaml --out nodata --model.vocab_size=200
cp -r data tampered
shard=tampered/train-00000.bin
printf '\xff\xff' | dd of="$shard" bs=1 seek=200 conv=notrunc status=none
expect "tokens: a shard with an id beyond the vocabulary" 1 "$shard" 'token id 65535' 'prepare the data again' -- \
    train dense.yaml --out nodata --data.dir=tampered --data.unique_tokens=all
expect "tokens: data verify finds it, too" 1 "$shard" -- isomoe data verify tampered
printf 'x' | dd of="$shard" bs=1 seek=200 conv=notrunc status=none
printf '\0' | dd of="$shard" bs=1 seek=201 conv=notrunc status=none
expect "tokens: and any other changed byte" 1 'train-00000\.bin is not as SHA256SUMS has it' -- isomoe data verify tampered
truncate -s -2 "$shard"
expect "tokens: a shard cut short" 1 "$shard" 'bytes' 'prepare the data again' -- train dense.yaml --out nodata --data.dir=tampered

# --- checkpoints ---

train dense.yaml --out whole 2>/dev/null
fingerprint whole >whole.print

flip() { # file, offset
    local byte
    byte=$(od -An -tu1 -j "$2" -N 1 "$1")
    printf "\\x$(printf %02x $((byte ^ 1 << RANDOM % 8)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

echo "SEED=$SEED"
for name in model.safetensors optimizer.safetensors loop.json loop.bin manifest.json manifest.sha256; do
    size=$(stat -c %s "whole/checkpoints/step_60/$name")
    for offset in 0 $((RANDOM * 32768 % size)) $((size - 1)); do
        rm -rf flipped
        cp -r whole flipped
        flip "flipped/checkpoints/step_60/$name" "$offset"
        expect "checkpoint: byte $offset of $name flipped, by name" 1 'step_60' 'damaged|SHA-256|seal' -- \
            train dense.yaml --out flipped --resume flipped/checkpoints/step_60
    done
    expect "checkpoint: the same, auto: falls back and says so" 0 'warning' 'step_60' 'going on from step 56' -- \
        isomoe train dense.yaml --out flipped
    fingerprint flipped >flipped.print
    same "checkpoint: and comes to the same end" whole.print flipped.print
done
rm flipped/checkpoints/step_60/optimizer.safetensors
expect "checkpoint: a file missing" 1 'optimizer\.safetensors' -- \
    train dense.yaml --out flipped --resume flipped/checkpoints/step_60
for step in 56 60; do flip flipped/checkpoints/step_$step/model.safetensors 5000; done
expect "checkpoint: none is good" 1 'none of the 2 checkpoints' 'start afresh' -- train dense.yaml --out flipped
expect "checkpoint: of another config" 2 'another configuration' 'another folder' -- \
    train dense.yaml --out whole --train.lr=0.001
expect "checkpoint: of another text" 2 'another prepared folder' -- \
    bash -c "$(declare -f isomoe make_data make_text); ISOMOE=$ISOMOE SOURCE=$SOURCE;
        echo more >>text/train/loop.c; make_data other; isomoe train dense.yaml --quiet --out whole --data.dir=other"
expect "eval: a damaged checkpoint is not scored" 1 'step_60' -- isomoe eval flipped/checkpoints/step_60

# --- two at once ---

"$ISOMOE" train moe.yaml --out shared --quiet --train.steps=200 2>first.log &
first=$!
wait_for_steps shared 1 $first
kill -STOP $first
expect "two runs on one folder: the second ends" 5 'shared/lock' 'held by another process' 'another folder' -- \
    train moe.yaml --out shared --train.steps=200
kill -CONT $first
wait $first
check "two runs on one folder: the first goes on to its end" test $? -eq 0
check "two runs on one folder: with every row once" test "$(steps_done shared)" -eq 200

# --- full disk ---

full_disk() {
    local code
    mkdir disk
    if [ "$(id -u)" -ne 0 ] || ! mount -t tmpfs -o size=4m tmpfs disk 2>mount.log; then
        skip "full disk" "a small tmpfs needs root: $(cat mount.log 2>/dev/null)"
        return
    fi
    at_exit+=("umount -l $work/disk")
    # No room for a second checkpoint: seen ahead.
    head -c 1800000 /dev/zero >disk/filler
    expect "full disk: before a save" 4 'disk/run/checkpoints' 'needed' 'make room and run again' -- \
        train dense.yaml --out disk/run
    check "full disk: the last checkpoint is there" test -f disk/run/checkpoints/"$(newest_checkpoint disk/run)"/manifest.sha256
    rm disk/filler
    expect "full disk: with room again it goes on" 0 'going on from step [1-9]' -- isomoe train dense.yaml --out disk/run
    fingerprint disk/run >disk.print
    same "full disk: and comes to the same end" whole.print disk.print
    # Not a byte left, in the middle of a row.
    rm -rf disk/run
    (train dense.yaml --out disk/run --train.checkpoint_every=never) 2>disk.log &
    wait $!
    rm -rf disk/run/checkpoints/step_60 disk/run/summary.json
    head -c 40000 /dev/zero >disk/room
    cat /dev/zero >disk/filler 2>/dev/null
    rm disk/room
    expect "full disk: in the middle of the rows" 4 'disk/run' 'No space left|needed' -- \
        train dense.yaml --out disk/run --train.checkpoint_every=never
    rm disk/filler
    expect "full disk: it begins again" 0 -- train dense.yaml --out disk/run
    fingerprint disk/run >disk.print
    same "full disk: and comes to the same end, too" whole.print disk.print
    head -c 3900000 /dev/zero >disk/filler
    expect "full disk: while preparing text" 4 'disk/data' -- make_data_on_disk
    check "full disk: no half prepared folder is left" test ! -e disk/data
}
make_data_on_disk() {
    isomoe data prepare --train text/train --val words=text/words.txt --holdout 0 --out disk/data
}
full_disk
expect "full disk: standard output" 1 'standard output' -- bash -c "'$ISOMOE' count dense.yaml >/dev/full"
finish
