# shellcheck shell=bash
# prove_lib.sh - what the prove scripts share; sourced from the repository's root.
isomoe=$(realpath "${ISOMOE:-build/release/cli/isomoe}") # ISOMOE: another build

# A virtual machine's name says "AMD EPYC" for several generations: family and model tell them apart.
processor() {
    lscpu | sed -n -e 's/^Model name: *\(.*\)/\1/p' -e 's/^CPU family: *\(.*\)/(family \1,/p' -e 's/^Model: *\(.*\)/model \1)/p' | paste -sd' '
}

# Where and when figures came about, as a list in Markdown.
circumstances() {
    local changed=
    git diff --quiet HEAD -- src cli include || changed=", with local changes"
    echo "- $(date -u +%Y-%m-%d), commit $(git rev-parse --short HEAD)$changed"
    echo "- $(processor), $(nproc) cores, load average $(cut -d' ' -f1 /proc/loadavg)"
    echo "- $("$isomoe" --version)"
}

# The program's own hash: results of another build are not gone on with.
build_key() {
    sha256sum "$isomoe" | cut -c1-12
}
