#!/bin/bash
# The index of many runs: status and questions, equal when made again, right after kills, damage and a
# full disk. RUNS, KILLS and FLIPS set the size (tools/prove_run_index.sh); lines that begin with
# "figure" are measurements, which no check depends on.
. "$(dirname "$0")/lib.sh"
RUNS=${RUNS:-16} KILLS=${KILLS:-4} FLIPS=${FLIPS:-6}
echo "SEED=$SEED"

# --- a study: two real trainings, and copies with other names, seeds and scores ---

make_data data
make_configs
for side in dense moe; do
    isomoe train $side.yaml --out real/$side --quiet --train.checkpoint_every=never --train.threads=1 || exit 1
    rm -rf real/$side/checkpoints
done

copies() { # folder, number of runs
    python3 - "$1" "$2" <<'PY'
import json, pathlib, random, re, shutil, sys
out, n_runs = pathlib.Path(sys.argv[1]), int(sys.argv[2])
draw = random.Random(5)
for i in range(n_runs):
    side, seed = ("dense", "moe")[i % 2], i // 2 + 1
    real = pathlib.Path("real") / side
    run = out / f"{side}-s{seed}"
    run.mkdir(parents=True)
    summary = json.loads((real / "summary.json").read_text())
    summary["name"] = run.name
    summary["seed"] = summary["train"]["seed"] = seed
    for key in ("bpb", "bpc"):
        summary[key] += draw.gauss(0, 0.01)
    (run / "summary.json").write_text(json.dumps(summary, indent=2))
    head, train = (real / "config.yaml").read_text().split("\ntrain:")
    (run / "config.yaml").write_text(head + "\ntrain:" + re.sub(r"\n  seed: \d+", f"\n  seed: {seed}", train))
    rows = (real / "metrics.jsonl").read_text()
    factor = draw.uniform(0.98, 1.02)
    rows = re.sub(r'("loss":)([\d.]+)(,"(?:aux_loss|grad_norm))',
                  lambda m: f"{m[1]}{float(m[2]) * factor:.17g}{m[3]}", rows)
    (run / "metrics.jsonl").write_text(rows)
    shutil.copy(real / "evaluation.json", run / "evaluation.json")
PY
}

# One that goes on, with a torn line, and one that is damaged.
special_cases() { # folder of runs
    sed -i 's/"state": "finished"/"state": "running"/' "$1/moe-s1/summary.json"
    sed -i '/"final"/d' "$1/moe-s1/metrics.jsonl"
    head -c -30 "$1/moe-s1/metrics.jsonl" >part && cat part >"$1/moe-s1/metrics.jsonl"
    echo 'rubbish' >>"$1/dense-s2/metrics.jsonl"
}

copies study/runs "$RUNS"
special_cases study/runs

tables="runs scores evaluations curves router_layers router_loads"
dump() { # folder
    local table
    for table in $tables; do
        isomoe study sql "$1" "SELECT * FROM $table ORDER BY 1, 2, 3" --csv || return 1
    done
}

seconds() { # command...
    local start=$EPOCHREALTIME end
    "$@" >seconds.log 2>&1 || return 1
    end=$EPOCHREALTIME
    echo "$((${end/./} - ${start/./}))" | awk '{printf "%.3f", $1 / 1e6}'
}

figures() { # what, how often, command...
    local i what=$1 times=$2
    shift 2
    for ((i = 0; i < times; i++)); do seconds "$@" || exit 1; echo; done | sort -n |
        awk -v what="$what" '{x[NR] = $1}
            END {print "figure " what ": median " x[int((NR + 1) / 2)] " s, " x[1] " to " x[NR] " s, " NR " times"}'
}

# --- what it says ---

isomoe study status study >status.txt 2>&1
expect "status: a row for each run, with its state" 0 "^moe-s1 +moe +1 +(running|silent) +[0-9.]+ %" \
    "^dense-s1 +dense +1 +finished +100" "^$RUNS runs: 1 running, .*finished, 1 unreadable" \
    'unreadable: runs/dense-s2/metrics.jsonl: line' -- isomoe study status study
check "status: each run once" test "$(grep -cE '^(dense|moe)-s[0-9]+ ' status.txt)" -eq "$RUNS"
isomoe study status study --json >status.json
check "status: the same as JSON" jq -e --argjson n "$RUNS" \
    '.sums.runs == $n and (.runs | length) == $n and .sums.states.running == 1' status.json
expect "sql: one question, a table" 0 '^side +n' '^dense +[0-9]' -- \
    isomoe study sql study "SELECT side, count(*) AS n FROM runs GROUP BY side"
isomoe study sql study "SELECT bpc_gap FROM v_comparison WHERE seed = 3" --csv >gap.csv
jq -s '"bpc_gap", .[0].bpc - .[1].bpc' study/runs/moe-s3/summary.json study/runs/dense-s3/summary.json >gap.txt
check "sql: the gap is that of the two summaries" \
    awk 'NR == FNR {x[FNR] = $1; next} FNR == 2 {d = x[2] - $1; found = d < 1e-12 && d > -1e-12} END {exit !found}' gap.csv gap.txt
expect "sql: no SELECT, no answer" 2 'only SELECT' -- isomoe study sql study "DELETE FROM runs"
expect "sql: faulty SQL" 2 'no such column: nonsense' -- isomoe study sql study "SELECT nonsense FROM runs"
mkdir nothing
expect "a folder without runs" 2 'nothing: no run folder' -- isomoe study status nothing
check "and no index is left in it" test -z "$(ls -A nothing)"

# --- equal when made again ---

dump study >before.csv
rm study/run-index.sqlite
dump study >after.csv
same "deleted and made again: the same in all tables" before.csv after.csv
mkdir grown
for run in study/runs/*; do # moved, not copied: the same files
    mkdir -p grown/runs
    mv "$run" grown/runs
    [ $((RANDOM % 3)) -ne 0 ] || isomoe study status grown >/dev/null || exit 1
done
dump grown >grown.csv
same "grown run by run: the same as in one go" before.csv grown.csv
isomoe study status study >/dev/null 2>&1
check "runs that are gone are forgotten" test "$(isomoe study sql study 'SELECT count(*) FROM runs' --csv | tail -n 1)" -eq 0
mv grown/runs/* study/runs
rm -r grown
figures "status without an index, $RUNS runs" 3 bash -c "rm -f study/run-index.sqlite && '$ISOMOE' study status study"
figures "status, nothing changed, $RUNS runs" 5 isomoe study status study
echo "figure index: $(stat -c %s study/run-index.sqlite) bytes for $(du -sb study/runs | cut -f1) of runs"

# --- kills ---

longest=$(seconds isomoe study status study --rebuild)
n_right=0 n_midway=0 n_journals=0
for ((i = 0; i < KILLS; i++)); do
    "$ISOMOE" study status study --rebuild >/dev/null 2>&1 &
    pid=$!
    sleep "$(awk -v r=$RANDOM -v t="$longest" 'BEGIN {printf "%.4f", r / 32768 * t}')"
    ! kill -KILL $pid 2>/dev/null || n_midway=$((n_midway + 1))
    wait $pid 2>/dev/null
    [ ! -e study/run-index.sqlite-journal ] || n_journals=$((n_journals + 1))
    dump study >killed.csv 2>killed.log
    if cmp -s before.csv killed.csv; then n_right=$((n_right + 1)); else diff before.csv killed.csv | head -n 3; cat killed.log; fi
done
check "kills: after each of $KILLS the next question is answered right" test $n_right -eq "$KILLS"
echo "figure kills: $n_midway of $KILLS in the middle of a rebuild of $longest s, $n_journals within a transaction, $n_right right"

# --- damage ---

flip() { # file, offset
    local byte
    byte=$(od -An -tu1 -j "$2" -N 1 "$1")
    printf "\\x$(printf %02x $((byte ^ 1 << RANDOM % 8)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
n_right=0 n_noticed=0 n_by_sqlite=0
for ((i = 0; i < FLIPS; i++)); do
    flip study/run-index.sqlite $(((RANDOM * 32768 + RANDOM) % $(stat -c %s study/run-index.sqlite)))
    python3 -c 'import sqlite3, sys
db = sqlite3.connect("file:study/run-index.sqlite?mode=ro", uri=True)
try: sys.exit(db.execute("PRAGMA integrity_check").fetchone()[0] == "ok")
except sqlite3.DatabaseError: pass' && n_by_sqlite=$((n_by_sqlite + 1))
    isomoe study status study >/dev/null 2>flip.log
    ! grep -q 'warning: .*is damaged: it is made anew' flip.log || n_noticed=$((n_noticed + 1))
    dump study >flipped.csv 2>&1
    ! cmp -s before.csv flipped.csv || n_right=$((n_right + 1))
done
check "damage: each of $FLIPS flipped bits is noticed" test $n_noticed -eq "$FLIPS"
check "damage: and the answers are right" test $n_right -eq "$FLIPS"
echo "figure flips: $n_noticed of $FLIPS noticed ($n_by_sqlite of them by SQLite's own integrity_check), $n_right right"

# --- several at once ---

pids=()
for i in 1 2 3 4; do
    flag=
    [ $i -gt 2 ] || flag=--rebuild
    "$ISOMOE" study status study $flag >at-once-$i.log 2>&1 &
    pids+=($!)
done
n_right=0
for pid in "${pids[@]}"; do ! wait "$pid" || n_right=$((n_right + 1)); done
check "four at once, two of them rebuilding: all answer" test $n_right -eq 4
dump study >together.csv
same "and leave the index right" before.csv together.csv

# --- full disk ---

full_disk() {
    mkdir disk
    if [ "$(id -u)" -ne 0 ] || ! mount -t tmpfs -o size=1g tmpfs disk 2>mount.log; then
        skip "full disk" "a small tmpfs needs root: $(cat mount.log 2>/dev/null)"
        return
    fi
    at_exit+=("umount -l $work/disk")
    cp -r study/runs disk/runs
    (cd disk && find runs -type f -exec sha256sum {} + | sort) >folders.before
    dump disk >with-room.csv
    rm disk/run-index.sqlite
    mount -o "remount,size=$(($(du -sk disk | cut -f1) + 96))k" disk
    expect "full disk: it says so" 4 'disk/run-index.sqlite' 'disk is full; make room' '--db' -- isomoe study status disk
    expect "full disk: the index can be kept elsewhere" 0 "^$RUNS runs" -- isomoe study status disk --db :memory:
    (cd disk && find runs -type f -exec sha256sum {} + | sort) >folders.after
    same "full disk: the run folders are as they were" folders.before folders.after
    mount -o remount,size=1g disk
    dump disk >room-again.csv
    same "full disk: with room again the index is right" with-room.csv room-again.csv
}
full_disk
finish
