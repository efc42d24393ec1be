#!/bin/bash
# run_all.sh BUILD [CTEST OPTION...] - runs the tests that ctest knows in a build folder, and counts them.
#
# Each cmocka case counts as one test; so does a program without cases or a script (tests/cli), and a
# program that crashed or ran too long counts as one failed. Options such as -R REGEX or -E REGEX choose.
#
# Prints a line for each program, the whole output of those that failed or skipped something, and last,
# alone on its line, "N passed, N failed". The exit code is 0 only if something passed and nothing failed.
set -u

[ $# -ge 1 ] || { echo "usage: tests/run_all.sh BUILD [CTEST OPTION...]" >&2; exit 2; }
build_dir=$1
shift
work_dir=$(mktemp -d)
trap 'rm -rf "$work_dir"' EXIT

# Lines of the log: "12: OUTPUT" of test 12, and "3/9 Test #12: NAME ......   Passed    0.01 sec".
ctest --test-dir "$build_dir" -j "$(nproc)" --timeout 300 --no-tests=error -V "$@" 2>&1 |
    tee "$work_dir/log" | awk -v counts="$work_dir/counts" '
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
        p = cases[id, "PASSED"] + 0; f = cases[id, "FAILED"] + 0; s = cases[id, "SKIPPED"] + 0
        if (/\*\*\*Skipped/) s += p + s == 0
        else if (/ Passed +[0-9.]+ sec/) p += p + s == 0
        else f += f == 0
        passed += p; failed += f; skipped += s
        printf "%-6s %s (%s s): %d passed%s%s\n", f ? "FAILED" : "ok", $2, $(NF - 1), p,
            f ? ", " f " failed" : "", s ? ", " s " skipped" : ""
        if (f || s) printf "%s", output[id]
        fflush()
    }
    END { print passed + 0, failed + 0, skipped + 0 >counts }
'
ctest_rc=${PIPESTATUS[0]}
read -r passed failed skipped <"$work_dir/counts"
if [ "$ctest_rc" -ne 0 ] && [ "$failed" -eq 0 ]; then
    tail -n 20 "$work_dir/log"
    echo "FAILED ctest itself (exit code $ctest_rc)"
    failed=$((failed + 1))
fi
[ "$skipped" -eq 0 ] || echo "$skipped skipped: the reasons are above"
echo "$passed passed, $failed failed"
[ "$passed" -gt 0 ] && [ "$failed" -eq 0 ]
