#!/bin/bash
# Killed at random times and resumed, also on other numbers of threads, a run is the undisturbed one:
# every row, every weight, every count. Steps done twice appear as waste, all of them. SIGTERM and
# SIGUSR1 save and end with 75.
#
# KILLS kills for each side (default 6; tools/prove_kills.sh gives more). SIDES: which (dense moe).
. "$(dirname "$0")/lib.sh"
KILLS=${KILLS:-6}
SIDES=${SIDES:-dense moe}
STEPS=${STEPS:-60}

now_ms() {
    echo $(($(date +%s%N) / 1000000))
}

# One run in $1 with up to $2 kills; the threads change with every start. Sets n_kills and waste: the
# rows that the newest checkpoint did not know of at each kill. A process killed before it began leaves
# the file as it was (the same inode), so its rows are the old ones.
disturbed_run() {
    local run=$1 most=$2 pid delay saved rows inode last_rows=0 last_inode=none
    n_kills=0 waste=0
    while :; do
        "$ISOMOE" train "$side.yaml" --out "$run" --quiet --train.steps="$STEPS" \
            --train.threads=$((RANDOM % 4 + 1)) 2>train.log &
        pid=$!
        if [ "$n_kills" -lt "$most" ]; then
            delay=$((RANDOM % (longest_ms + 1)))
            sleep "$(printf '%d.%03d' $((delay / 1000)) $((delay % 1000)))"
            if kill -KILL $pid 2>/dev/null; then
                wait $pid 2>/dev/null
                case $? in
                    137) ;;
                    0) return 0 ;; # it had just ended by itself
                    *) cat train.log; exit 1 ;;
                esac
                n_kills=$((n_kills + 1))
                saved=$(newest_checkpoint "$run")
                saved=${saved#step_}
                rows=$(($(steps_done "$run") - ${saved:-0}))
                inode=$(stat -c %i "$run/metrics.jsonl" 2>/dev/null)
                [ "$inode" != "$last_inode" ] || waste=$((waste - last_rows))
                waste=$((waste + rows)) last_rows=$rows last_inode=$inode
                continue
            fi
        fi
        wait $pid || { cat train.log; exit 1; }
        return 0
    done
}

make_data data
make_configs
echo "SEED=$SEED"

for side in $SIDES; do
    start=$(now_ms)
    isomoe train "$side.yaml" --out "$side" --quiet --train.steps="$STEPS" 2>train.log || { cat train.log; exit 1; }
    # A process gets about a third of the run done before it is killed: kills fall on every part of it.
    longest_ms=$((($(now_ms) - start) * 2 / 3))
    fingerprint "$side" >"$side.print"

    total=0 n_runs=0 total_waste=0
    while [ $total -lt "$KILLS" ]; do
        rm -rf killed
        disturbed_run killed $((KILLS - total))
        [ $n_kills -gt 0 ] || continue
        total=$((total + n_kills)) n_runs=$((n_runs + 1)) total_waste=$((total_waste + waste))
        fingerprint killed >killed.print
        same "$side: after $n_kills kills the run is the undisturbed one" "$side.print" killed.print
        check "$side: its $waste replayed steps are in the ledger" test \
            "$(fact killed/summary.json .replayed_steps)" -eq "$waste"
    done
    echo "$side: $total SIGKILLs in $n_runs runs of $STEPS steps, $total_waste steps replayed"
done

# Politely asked, again and again, it saves first: nothing is replayed.
ask_and_resume() { # run, config; sets n_asked, n_refused
    local run=$1 config=$2 pid signal
    n_asked=0 n_refused=0
    while [ $n_asked -lt 10 ]; do
        signal=TERM
        [ $((n_asked % 2)) -eq 0 ] || signal=USR1
        "$ISOMOE" train "$config" --out "$run" --quiet --train.steps="$STEPS" \
            --train.threads=$((RANDOM % 3 + 1)) 2>asked.log &
        pid=$!
        wait_for_steps "$run" $(($(steps_done "$run") + RANDOM % 3 + 1)) $pid && kill -$signal $pid 2>/dev/null
        wait $pid
        case $? in
            0) return ;; # it was done before the signal came
            75) n_asked=$((n_asked + 1))
                [ "$(fact "$run/summary.json" .state)" = preempted ] &&
                    grep -q 'run the same command to go on' asked.log || n_refused=$((n_refused + 1)) ;;
            *) n_asked=$((n_asked + 1)) n_refused=$((n_refused + 1))
                cat asked.log ;;
        esac
    done
    isomoe train "$config" --out "$run" --quiet --train.steps="$STEPS" 2>train.log || cat train.log
}
for side in $SIDES; do
    ask_and_resume asked-$side "$side.yaml"
    check "$side: $n_asked times SIGTERM or SIGUSR1: 75, state preempted, words how to go on" \
        test $n_asked -gt 0 -a $n_refused -eq 0
    fingerprint asked-$side >asked.print
    same "$side: resumed each time, the run is the undisturbed one" "$side.print" asked.print
    check "$side: no step is done twice" test "$(fact asked-$side/summary.json .replayed_steps)" -eq 0
done
finish
