# shellcheck shell=bash
# prove_lib.sh - what the prove scripts share; sourced from the repository's root.
isomoe=$(realpath "${ISOMOE:-build/release/cli/isomoe}") # ISOMOE: another build

# Where and when figures came about, as a list in Markdown.
circumstances() {
    local changed=
    git diff --quiet HEAD -- src cli include || changed=", with local changes"
    echo "- $(date -u +%Y-%m-%d), commit $(git rev-parse --short HEAD)$changed"
    echo "- $(lscpu | sed -n 's/^Model name: *//p' | head -n 1), $(nproc) cores, load average $(cut -d' ' -f1 /proc/loadavg)"
    echo "- $("$isomoe" --version)"
}

# The program's own hash: results of another build are not gone on with.
build_key() {
    sha256sum "$isomoe" | cut -c1-12
}
