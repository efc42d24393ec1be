#!/bin/bash
# eval scores a run's model as the run itself did; generate continues a text, the same one for a seed.
. "$(dirname "$0")/lib.sh"

make_data data
make_configs

for side in dense moe; do
    isomoe train $side.yaml --out $side --quiet 2>train.log || { cat train.log; exit 1; }
    facts='.bpb, .bpc, .validation_hash, (.domains | to_entries[] | .key, (.value | .loss, .bpb, .bpc, .tokens, .bytes, .chars))'
    fact $side/summary.json "$facts" >summary.facts
    for threads in 1 3; do
        isomoe eval $side --max-tokens 4000 --threads $threads --json >eval.json 2>eval.log || cat eval.log
        fact eval.json "$facts" >eval.facts
        same "$side: eval on $threads threads gives the run's final scores, every digit" summary.facts eval.facts
    done
    isomoe eval $side/checkpoints/step_56 --max-tokens 4000 --json >earlier.json 2>/dev/null
    differ "$side: an earlier checkpoint scores otherwise" eval.json earlier.json

    if [ $side = moe ]; then
        for threads in 1 3; do
            isomoe eval moe --max-tokens 4000 --threads $threads --routing again.safetensors --json >eval.json 2>eval.log || cat eval.log
            same "moe: eval on $threads threads gives the run's record of routing" moe/routing.safetensors again.safetensors
            check "moe: and measures of it" test "$(fact eval.json '.routing | length')" -gt 0
        done
    else
        check "dense: no record of routing" test ! -e dense/routing.safetensors
        expect "dense: nor can there be one" 2 "dense" -- isomoe eval dense --routing none.safetensors
    fi

    generate() { # file, flags...
        local file=$1
        shift
        isomoe generate $side --max-tokens 80 "$@" >"$file" 2>generate.log || cat generate.log
    }
    generate one.txt --prompt 'static int ' --seed 7
    generate two.txt --prompt 'static int ' --seed 7 --threads 3
    generate three.txt --prompt 'static int ' --seed 8
    same "$side: the same seed writes the same text" one.txt two.txt
    differ "$side: another seed another" one.txt three.txt
    check "$side: the text continues the prompt" grep -qa '^static int ' one.txt
    generate likeliest.txt --prompt 'for (' --temperature 0 --seed 1
    generate again.txt --prompt 'for (' --temperature 0 --seed 2
    same "$side: at temperature 0 the seed means nothing" likeliest.txt again.txt
    generate likely.txt --prompt 'for (' --top-k 1
    same "$side: nor among the one likeliest" likeliest.txt likely.txt
    generate none.txt --prompt 'A → Ω 🙂' --max-tokens 0
    check "$side: a prompt beyond ASCII comes out as it went in" test "$(cat none.txt)" = 'A → Ω 🙂'
done

# A model of a text beyond ASCII, which it knows by heart.
mkdir greek
for _ in $(seq 60); do echo 'Ἀνὴρ 漢字 🙂 äöü · '; done >greek/text.txt
head -n 3 greek/text.txt >greek.txt
isomoe data prepare --train greek --val same=greek.txt --holdout 0 --out greek-data 2>prepare.log >/dev/null || cat prepare.log
isomoe train dense.yaml --out greek-run --quiet --data.dir=greek-data --data.unique_tokens=all --train.steps=120 2>train.log ||
    cat train.log
isomoe generate greek-run --prompt 'Ἀνὴρ' --max-tokens 200 --temperature 0 2>generate.log | head -n 3 >learnt.txt
same "characters of several bytes come out whole" greek.txt learnt.txt

expect "generate: no such run" 2 "nowhere" "neither a checkpoint nor a run folder" -- isomoe generate nowhere
expect "eval: no such data" 1 "nowhere is no prepared folder" "isomoe data prepare" -- isomoe eval dense --data nowhere
finish
