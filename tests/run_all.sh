#!/bin/bash
# run_all.sh BUILD [CTEST OPTION...] - runs the tests of a build folder and counts them.
#
# Programs: everything that ctest knows there; each cmocka case counts as one test, a program without
# cases as one, a crash as one failed. Scripts: tests/cli/*.sh, each one test: exit code 0 is passed, 77
# is skipped; it runs in a fresh empty folder with ISOMOE (the program) and ISO_SOURCE (this tree) set.
# With ctest options (-R REGEX to choose, say) only programs run.
#
# Prints a line for each program and script, the whole output of those that fail, and last, alone on its
# line, "N passed, N failed". The exit code is 0 only if something ran and nothing failed.
set -u

[ $# -ge 1 ] || { echo "usage: tests/run_all.sh BUILD [CTEST OPTION...]" >&2; exit 2; }
source_dir=$(cd "$(dirname "$0")/.." && pwd)
build_dir=$(cd "$1" && pwd) || exit 2
shift
n_jobs=$(nproc)
work_dir=$(mktemp -d)
trap 'rm -rf "$work_dir"' EXIT

# --- programs ---
ctest --test-dir "$build_dir" -j "$n_jobs" --timeout 300 --no-tests=error -V "$@" \
    >"$work_dir/ctest.log" 2>&1
ctest_rc=$?

# Lines of the log: "12: OUTPUT" of test 12, and "3/9 Test #12: NAME ......   Passed    0.01 sec".
awk -v counts="$work_dir/counts" '
    match($0, /^[0-9]+: /) {
        id = $1 + 0
        line = substr($0, RLENGTH + 1)
        output[id] = output[id] "    " line "\n"
        if (match(line, /\[  (PASSED|FAILED|SKIPPED)  ?\] [0-9]+ test\(s\)/)) {
            split(substr(line, RSTART), word, /[^A-Z0-9]+/)
            cases[id, word[2]] += word[3]
        }
        next
    }
    /^ *[0-9]+\/[0-9]+ +Test +#[0-9]+: / {
        sub(/^[^#]*#/, "")
        id = $1 + 0
        ok = / Passed +[0-9.]+ sec/
        p = cases[id, "PASSED"] + 0; f = cases[id, "FAILED"] + 0; s = cases[id, "SKIPPED"] + 0
        if (ok && p + s == 0) p = 1
        if (!ok && f == 0) f = 1
        passed += p; failed += f; skipped += s
        printf "%-6s %s: %d passed%s%s\n", ok && !f ? "ok" : "FAILED", $2, p,
            f ? ", " f " failed" : "", s ? ", " s " skipped" : ""
        if (!ok || f || s) printf "%s", output[id]
    }
    END { print passed + 0, failed + 0, skipped + 0 >counts }
' "$work_dir/ctest.log"
read -r passed failed skipped <"$work_dir/counts"
if [ "$ctest_rc" -ne 0 ] && [ "$failed" -eq 0 ]; then
    tail -n 20 "$work_dir/ctest.log"
    echo "FAILED ctest itself (exit code $ctest_rc)"
    failed=$((failed + 1))
fi

# --- scripts ---
run_script() { # SCRIPT: leaves NAME.log and NAME.rc in $work_dir
    local name
    name=$(basename "$1" .sh)
    mkdir "$work_dir/$name"
    (cd "$work_dir/$name" && TMPDIR=$work_dir/$name timeout --kill-after=10 300 bash "$1") \
        >"$work_dir/$name.log" 2>&1 </dev/null
    echo $? >"$work_dir/$name.rc"
}

if [ $# -eq 0 ]; then
    export ISOMOE=$build_dir/cli/isomoe ISO_SOURCE=$source_dir work_dir
    export -f run_script
    shopt -s nullglob
    scripts=("$source_dir"/tests/cli/*.sh)
    [ ${#scripts[@]} -eq 0 ] ||
        printf '%s\0' "${scripts[@]}" | xargs -0 -n 1 -P "$n_jobs" bash -c 'run_script "$1"' _
    for script in "${scripts[@]}"; do
        name=$(basename "$script" .sh)
        case $(cat "$work_dir/$name.rc" 2>/dev/null) in
        0) passed=$((passed + 1)); echo "ok     cli/$name" ;;
        77) skipped=$((skipped + 1)); echo "skip   cli/$name"; sed 's/^/    /' "$work_dir/$name.log" ;;
        *) failed=$((failed + 1)); echo "FAILED cli/$name"; sed 's/^/    /' "$work_dir/$name.log" ;;
        esac
    done
fi

[ "$skipped" -eq 0 ] || echo "$skipped skipped: see above why"
echo "$passed passed, $failed failed"
[ "$passed" -gt 0 ] && [ "$failed" -eq 0 ]
