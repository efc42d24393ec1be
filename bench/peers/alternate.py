#!/usr/bin/env python3
"""Times two programs' training steps in turn and says how they compare.

    alternate.py --shape d2 --isomoe "build/release/isomoe bench --shape d2 --threads 2 --blocks" \\
                 --peer "PYTHON bench/peers/torch_peer.py --shape d2 --threads 2 --serve"

Both sides speak one protocol: print a line that begins with "ready", then for each line "run N" do N steps and print the
seconds they took. What follows "ready" on its line may be a JSON object; "peak_gflops" in it is the machine's fp32 peak,
unless --peak-gflops gives it.

Only one side runs at a time: the other is stopped (SIGSTOP), so a thread pool that spins while idle costs the other
nothing. A noisy neighbour hits both sides alike only if blocks are short and alternate, so the ratio is taken pair by pair
and its median reported. Blocks have the length that takes about --seconds; who goes first changes with every pair.

Prints one JSON object; chatter goes to standard error.
"""

import argparse
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys

from shapes import SHAPES, shape_from_config


class Side:
    """One program under the protocol; stopped except inside run()."""

    def __init__(self, name, command):
        self.name = name
        self.process = subprocess.Popen(
            shlex.split(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        line = self.read_line()
        if not line.startswith("ready"):
            self.signal(signal.SIGKILL)
            raise RuntimeError(f"{name}: expected 'ready', got {line!r}")
        self.facts = json.loads(line[len("ready") :] or "{}")
        self.signal(signal.SIGSTOP)

    def read_line(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}: ended early with exit code {self.process.wait()}")
        return line.strip()

    def signal(self, number):
        os.killpg(self.process.pid, number)

    def run(self, n_steps):
        """Seconds of n_steps steps."""
        self.signal(signal.SIGCONT)
        try:
            self.process.stdin.write(f"run {n_steps}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # read_line says how it ended
        seconds = float(json.loads(self.read_line()))
        self.signal(signal.SIGSTOP)
        return seconds

    def close(self):
        if self.process.poll() is not None:
            return
        self.signal(signal.SIGCONT)
        self.process.stdin.close()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self.process.wait()


def check_same_work(side, shape):
    """Refuses a side that says it trains another model or batch."""
    expected = {"batch_tokens": shape.tokens_per_step, "model_flops_per_token": shape.flops_per_token}
    for key, value in expected.items():
        if side.facts.get(key, value) != value:
            raise RuntimeError(f"{side.name}: {key} is {side.facts[key]}, the shape asked for has {value}")


def block_steps(side, seconds):
    """How many steps take about so long; the first block also warms up."""
    side.run(1)
    return max(1, round(seconds / side.run(1)))


def summary(rates, shape, peak_gflops):
    """Of tokens/s: median, extremes, interquartile range over the median, FLOP rate and its share of the peak."""
    median = statistics.median(rates)
    low, _, high = statistics.quantiles(rates, n=4)
    gflops = median * shape.flops_per_token / 1e9
    return {
        "tokens_per_s": [round(rate, 1) for rate in rates],
        "median": round(median, 1),
        "min": round(min(rates), 1),
        "max": round(max(rates), 1),
        "spread_frac": round((high - low) / median, 4),
        "gflops": round(gflops, 1),
        "peak_frac": round(gflops / peak_gflops, 4) if peak_gflops else None,
    }


def alternate(sides, n_steps, shape, pairs):
    """{side: [tokens/s of each block]}."""
    rates = {side.name: [] for side in sides}
    for i_pair in range(pairs):
        for side in sides if i_pair % 2 == 0 else sides[::-1]:
            n = n_steps[side.name]
            rate = n * shape.tokens_per_step / side.run(n)
            rates[side.name].append(rate)
            print(f"pair {i_pair + 1}/{pairs}: {side.name} {rate:.1f} tokens/s", file=sys.stderr)
    return rates


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--shape", choices=SHAPES)
    source.add_argument("--config", help="an isomoe config (YAML)")
    parser.add_argument("--isomoe", required=True, metavar="COMMAND")
    parser.add_argument("--peer", required=True, metavar="COMMAND")
    parser.add_argument("--pairs", type=int, default=7, help="blocks of each side, at least 5")
    parser.add_argument("--seconds", type=float, default=5.0, help="a block's length, about")
    parser.add_argument("--peak-gflops", type=float, help="the machine's fp32 peak on the threads used")
    options = parser.parse_args()
    if options.pairs < 5:
        parser.error("--pairs below 5 says nothing about the spread")
    shape = SHAPES[options.shape] if options.shape else shape_from_config(options.config)

    # A stopped child would outlive a driver that is terminated: leave through finally.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sides = []
    try:
        for name, command in (("isomoe", options.isomoe), ("peer", options.peer)):
            sides.append(Side(name, command))
            check_same_work(sides[-1], shape)
        n_steps = {side.name: block_steps(side, options.seconds) for side in sides}
        rates = alternate(sides, n_steps, shape, options.pairs)
    except RuntimeError as error:
        print(f"alternate: {error}", file=sys.stderr)
        return 1
    finally:
        for side in sides:
            side.close()
    peak = options.peak_gflops or sides[0].facts.get("peak_gflops")
    ratios = [mine / theirs for mine, theirs in zip(rates["isomoe"], rates["peer"])]
    result = {
        "name": options.shape or options.config,
        "tokens_per_step": shape.tokens_per_step,
        "flops_per_token": shape.flops_per_token,
        "block_steps": n_steps,
        "peak_gflops": peak,
        "commands": {"isomoe": options.isomoe, "peer": options.peer},
        "isomoe": summary(rates["isomoe"], shape, peak),
        "peer": summary(rates["peer"], shape, peak),
        "ratio": {
            "median": round(statistics.median(ratios), 4),
            "min": round(min(ratios), 4),
            "max": round(max(ratios), 4),
        },
    }
    print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
