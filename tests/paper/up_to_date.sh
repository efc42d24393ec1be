#!/bin/sh
# What is committed is what the program writes: up_to_date.sh ISOMOE SOURCE_DIR
#
# After a change that is meant: isomoe paper > docs/paper.md; isomoe paper --configs configs/paper
set -eu
isomoe=$1
source=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$isomoe" paper >"$folder/paper.md"
diff -u "$source/docs/paper.md" "$folder/paper.md"
"$isomoe" paper --configs "$folder/configs" 2>/dev/null
diff -ru "$source/configs/paper" "$folder/configs"
for config in "$source"/configs/paper/*.yaml; do
    "$isomoe" count "$config" --json >/dev/null
done
