#!/usr/bin/env python3
"""Times two programs' training steps in turn and says how they compare.

    alternate.py --shape d2 --isomoe "build/release/isomoe bench --shape d2 --threads 2 --blocks" \\
                 --peer "PYTHON bench/peers/torch_peer.py --shape d2 --threads 2 --serve"

Both sides speak one protocol: print a line that begins with "ready", then for each line "run N" do N steps and print the
seconds they took. isomoe's answers "peak", too, with the GFLOP/s of multiply-adds that the machine has at that moment. What
follows "ready" on its line may be a JSON object of facts about the side.

Only one side runs at a time: the other is stopped (SIGSTOP), so a thread pool that spins while idle costs the other
nothing. A noisy neighbour hits both sides alike only if blocks are short and alternate, so the ratio is taken pair by pair
and its median reported; who goes first changes with every pair. Between any two blocks the peak is measured, and a block's
fraction is its rate over the mean of the two peaks around it. Blocks have the length that takes about --seconds; there are
as many pairs as take about --budget seconds, between 5 and 15, unless --pairs says.

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
from types import SimpleNamespace

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

    def ask(self, line):
        """The number that answers the line."""
        self.signal(signal.SIGCONT)
        try:
            self.process.stdin.write(f"{line}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # read_line says how it ended
        number = float(json.loads(self.read_line()))
        self.signal(signal.SIGSTOP)
        return number

    def run(self, n_steps):
        """Seconds of n_steps steps."""
        return self.ask(f"run {n_steps}")

    def peak(self):
        """GFLOP/s that the machine has now."""
        return statistics.mean(self.ask("peak") for _ in range(3))

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


def check_same_work(side, shape, precision):
    """Refuses a side that says it trains another model or batch."""
    expected = {
        "batch_tokens": shape.tokens_per_step,
        "model_flops_per_token": shape.flops_per_token,
        "precision": precision,
    }
    for key, value in expected.items():
        if side.facts.get(key, value) != value:
            raise RuntimeError(f"{side.name}: {key} is {side.facts[key]}, asked for was {value}")


def work_of(facts):
    """A step's size as a side tells it."""
    return SimpleNamespace(tokens_per_step=facts["batch_tokens"], flops_per_token=facts["model_flops_per_token"])


def block_steps(side, seconds):
    """How many steps take about so long, and their time. The first also warms up: only a long one is believed."""
    one = side.run(1)
    if one < seconds:
        one = side.run(1)
    n = max(1, round(seconds / one))
    return n, n * one


def spread(values, digits):
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
    }


def summary(side, blocks, shape):
    """Of [(tokens/s, peak around it)]: rates, and fractions of the peak by the FLOPs that are known."""
    gflop = shape.flops_per_token / 1e9
    fractions = [rate * gflop / peak for rate, peak in blocks]
    low, _, high = statistics.quantiles([rate for rate, _ in blocks], n=4)
    tokens = spread([rate for rate, _ in blocks], 1)
    result = {
        "facts": side.facts,
        "tokens_per_s": tokens | {"all": [round(rate, 1) for rate, _ in blocks]},
        "spread_frac": round((high - low) / tokens["median"], 4),
        "model_frac": spread(fractions, 4),
    }
    executed = side.facts.get("executed_flops_per_token")
    if executed:
        result["executed_frac"] = spread([f * executed / shape.flops_per_token for f in fractions], 4)
    return result


def alternate(sides, n_steps, shapes, pairs):
    """{side: [(tokens/s, peak GFLOP/s around it) of each block]}, and all peaks; shapes by side."""
    blocks, peaks = {side.name: [] for side in sides}, [sides[0].peak()]
    for i_pair in range(pairs):
        for side in sides if i_pair % 2 == 0 else sides[::-1]:
            n = n_steps[side.name]
            rate = n * shapes[side.name].tokens_per_step / side.run(n)
            peaks.append(sides[0].peak())
            around = (peaks[-2] + peaks[-1]) / 2
            blocks[side.name].append((rate, around))
            print(f"pair {i_pair + 1}/{pairs}: {side.name} {rate:.1f} tokens/s, peak {around:.0f}", file=sys.stderr)
    return blocks, peaks


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--shape", choices=SHAPES)
    source.add_argument("--config", help="an isomoe config (YAML); without either, what isomoe says of itself")
    parser.add_argument("--isomoe", required=True, metavar="COMMAND")
    parser.add_argument("--peer", required=True, metavar="COMMAND")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of both sides")
    parser.add_argument("--pairs", type=int, help="blocks of each side, at least 5")
    parser.add_argument("--seconds", type=float, default=2.0, help="a block's length, about")
    parser.add_argument("--budget", type=float, default=40.0, help="seconds of all blocks together, about")
    options = parser.parse_args()
    if options.pairs is not None and options.pairs < 5:
        parser.error("--pairs below 5 says nothing about the spread")
    shape = SHAPES.get(options.shape) or (shape_from_config(options.config) if options.config else None)

    # A stopped child would outlive a driver that is terminated: leave through finally.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sides = []
    try:
        for name, command in (("isomoe", options.isomoe), ("peer", options.peer)):
            sides.append(Side(name, command))
            shape = shape or work_of(sides[0].facts)
            check_same_work(sides[-1], shape, options.precision)
        lengths = {side.name: block_steps(side, options.seconds) for side in sides}
        n_steps = {name: n for name, (n, _) in lengths.items()}
        fitting = int(options.budget / sum(seconds for _, seconds in lengths.values()))
        shapes = {side.name: shape for side in sides}
        blocks, peaks = alternate(sides, n_steps, shapes, options.pairs or min(max(fitting, 5), 15))
    except RuntimeError as error:
        print(f"alternate: {error}", file=sys.stderr)
        return 1
    finally:
        for side in sides:
            side.close()
    ratios = [mine / theirs for (mine, _), (theirs, _) in zip(blocks["isomoe"], blocks["peer"])]
    if min(peaks) < 0.8 * max(peaks):
        print(f"alternate: the peak moved between {min(peaks):.0f} and {max(peaks):.0f} GFLOP/s: not quiet", file=sys.stderr)
    result = {
        "name": options.shape or options.config,
        "precision": options.precision,
        "tokens_per_step": shape.tokens_per_step,
        "flops_per_token": shape.flops_per_token,
        "block_steps": n_steps,
        "peak_gflops": spread(peaks, 1),
        "commands": {"isomoe": options.isomoe, "peer": options.peer},
        **{side.name: summary(side, blocks[side.name], shape) for side in sides},
        "ratio": spread(ratios, 4),
    }
    print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
