#!/usr/bin/env python3
"""peers_page.py ROWS WAYS - the tables of docs/evidence/peers.md from tools/prove_peers.sh's files, in Markdown.

ROWS holds SHAPE-PRECISION.json (alternate.py), twins-SIZE-PRECISION.json (twins.py) and memory-PRECISION.json (isomoe bench); WAYS holds what PyTorch was tried
with, and its memory-PRECISION-LOSS.json. Rows that are missing are left out and named.
"""

import json
import sys
from pathlib import Path

SHAPES = [kind + size for size in "0123" for kind in "dm"]
PRECISIONS = ["fp32", "bf16"]

METHOD = """
`make prove-peers`: whole training steps on two threads. Blocks of about 2 s (at least one step) in turn in one run, one side stopped
while the other runs, at least 5 pairs; medians, with the slowest and fastest block. Between any two blocks the machine's peak
in that precision is measured; a fraction is a block's rate over the mean of the two peaks around it. Model FLOPs:
6 N_a + 12 S H L per token, the head apart, the masked half of attention included; executed FLOPs: multiply-adds that ran. PyTorch
in its fastest way for each row, found by a short run of each (bench/peers/README.md)."""

TWINS = """
## MoE beside its dense twin

The MoE's fraction of the peak over its dense twin's, 1 is equal FLOP/s: dense and MoE in isomoe and in PyTorch, all four in turn in one
run (bench/peers/twins.py), blocks of about 1.5 s; medians of the rounds' ratios, least and most."""
MEMORY = """
## Memory of a step with a vocabulary of 65,536

MB beyond weights, gradients and moments: the most a process held (VmHWM), less what it held before the model was made,
less 16 bytes a parameter. In brackets: isomoe's over it. Chunked is `F.linear_cross_entropy` with its options."""


def read(path):
    return json.loads(path.read_text()) if path.exists() and path.stat().st_size else None


def span(values, digits=0):
    return f"{values['median']:.{digits}f} ({values['min']:.{digits}f} to {values['max']:.{digits}f})"


def table(header, rows, above=""):
    """Nothing without rows."""
    rows = list(rows)
    if not rows:
        return
    print(above)
    print("\n| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def way_of(row):
    words = row["commands"]["peer"].split()
    flags = [words[words.index(flag) + 1] for flag in ("--mode", "--position", "--experts") if flag in words]
    return ", ".join(flags)


def print_rates(rows):
    header = ["row", "isomoe, tokens/s", "of peak, model", "executed", "PyTorch, tokens/s", "of peak, model", "isomoe : PyTorch"]
    header += ["peak, GFLOP/s", "PyTorch's way"]
    table(
        header,
        (
            [
                f"{shape} {precision}",
                span(row["isomoe"]["tokens_per_s"]),
                span(row["isomoe"]["model_frac"], 3),
                f"{row['isomoe']['executed_frac']['median']:.3f}",
                span(row["peer"]["tokens_per_s"]),
                span(row["peer"]["model_frac"], 3),
                span(row["ratio"], 2),
                span(row["peak_gflops"]),
                way_of(row),
            ]
            for (shape, precision), row in rows.items()
        ),
    )


def twins(rows_dir):
    for size in "123":
        for precision in PRECISIONS:
            twin = read(rows_dir / f"twins-{size}-{precision}.json")
            if not twin:
                continue
            yield [
                f"m{size} : d{size}, {precision}",
                span(twin["isomoe"]["model"], 2),
                span(twin["isomoe"]["executed"], 2),
                span(twin["peer"]["model"], 2),
                str(twin["rounds"]),
                span(twin["peak_gflops"]),
            ]


def memory(rows_dir, ways_dir):
    for precision in PRECISIONS:
        mine = read(rows_dir / f"memory-{precision}.json")
        peers = {loss: read(ways_dir / f"memory-{precision}-{loss}.json") for loss in ("plain", "chunked")}
        if not mine or not all(peers.values()):
            continue
        beyond = mine["results"][0]["memory"]["beyond_state_bytes"]
        cells = [f"{peer['beyond_state_bytes'] / 1e6:.0f} ({beyond / peer['beyond_state_bytes']:.2f})" for peer in peers.values()]
        yield [f"v3 {precision}", f"{beyond / 1e6:.0f}", *cells]


def main():
    rows_dir, ways_dir = map(Path, sys.argv[1:3])
    read_rows = {(s, p): read(rows_dir / f"{s}-{p}.json") for s in SHAPES for p in PRECISIONS}
    rows = {key: row for key, row in read_rows.items() if row}
    if rows:
        first = next(iter(rows.values()))
        print(f"- {first['peer']['facts']['version']}")
    print(METHOD)
    missing = [f"{s}-{p}" for (s, p), row in read_rows.items() if not row]
    if missing:
        print("\nNot yet timed with this build: " + ", ".join(missing) + ".")
    print_rates(rows)
    header = ["pair", "isomoe, model FLOPs", "executed FLOPs", "PyTorch, model FLOPs", "rounds", "peak, GFLOP/s"]
    table(header, twins(rows_dir), TWINS)
    table(["model", "isomoe", "PyTorch, plain loss", "PyTorch, chunked loss"], memory(rows_dir, ways_dir), MEMORY)
    return 0


if __name__ == "__main__":
    sys.exit(main())
