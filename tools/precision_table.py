#!/usr/bin/env python3
"""Runs of prove_precision.sh -> a table: bits per byte by shape, precision and seed, and what the precision changes.

    precision_table.py FOLDER    of SHAPE-PRECISION-sSEED run folders

A seed is a pair: the same weights and data in both precisions. The difference is taken pair by pair; "within the seed
spread" compares its mean with the standard deviation over seeds, pooled over both precisions.
"""

import json
import pathlib
import statistics
import sys

SEEDS = (1, 2, 3)


def bpb(folder, shape, precision, seed):
    with open(folder / f"{shape}-{precision}-s{seed}" / "summary.json", encoding="utf-8") as file:
        return json.load(file)["bpb"]


def main():
    folder = pathlib.Path(sys.argv[1])
    print("| | fp32, seeds 1 to 3 | bf16 | bf16 - fp32, by seed | mean difference | seed standard deviation |")
    print("|---|---|---|---|---|---|")
    for shape in ("d2", "m2"):
        scores = {p: [bpb(folder, shape, p, seed) for seed in SEEDS] for p in ("fp32", "bf16")}
        differences = [half - full for half, full in zip(scores["bf16"], scores["fp32"])]
        spread = statistics.fmean(statistics.variance(values) for values in scores.values()) ** 0.5
        mean = statistics.fmean(differences)
        words = "within" if abs(mean) <= spread else "beyond"
        cells = [", ".join(f"{value:.4f}" for value in scores[p]) for p in ("fp32", "bf16")]
        by_seed = ", ".join(f"{value:+.4f}" for value in differences)
        print(f"| {shape} | {cells[0]} | {cells[1]} | {by_seed} | {mean:+.4f}, {words} it | {spread:.4f} |")


if __name__ == "__main__":
    main()
