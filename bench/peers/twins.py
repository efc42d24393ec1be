#!/usr/bin/env python3
"""Times a MoE and its dense twin in turn, in isomoe and in the peer, all four in one run.

    twins.py --size 2 --precision bf16 --isomoe "build/release/isomoe bench --threads 2 --blocks --shape" \\
             --dense-peer "PYTHON bench/peers/torch_peer.py --shape d2 --threads 2 --serve" \\
             --moe-peer "PYTHON bench/peers/torch_peer.py --shape m2 --threads 2 --serve"

Rounds of one block each, by the protocol of alternate.py; every second round goes backwards. A round's ratio is the MoE's
fraction of the peak around its block over the dense twin's: what a neighbour takes for minutes hits both. Prints one JSON
object; chatter goes to standard error.
"""

import argparse
import json
import signal
import sys

from alternate import Side, alternate, block_steps, check_same_work, spread
from shapes import SHAPES


def executed_over_model(side):
    return side.facts["executed_flops_per_token"] / side.facts["model_flops_per_token"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("1", "2", "3"), required=True)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--isomoe", required=True, metavar="COMMAND", help="to which the shape is appended")
    parser.add_argument("--dense-peer", required=True, metavar="COMMAND")
    parser.add_argument("--moe-peer", required=True, metavar="COMMAND")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=1.5, help="a block's length, about; at least a step")
    options = parser.parse_args()
    commands = {
        "isomoe dense": f"{options.isomoe} d{options.size}",
        "isomoe moe": f"{options.isomoe} m{options.size}",
        "peer dense": options.dense_peer,
        "peer moe": options.moe_peer,
    }

    shapes = {name: SHAPES[("m" if name.endswith("moe") else "d") + options.size] for name in commands}

    # A stopped child would outlive a driver that is terminated: leave through finally.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sides = []
    try:
        for name, command in commands.items():
            sides.append(Side(name, command))
            check_same_work(sides[-1], shapes[name], options.precision)
        n_steps = {side.name: block_steps(side, options.seconds)[0] for side in sides}
        blocks, peaks = alternate(sides, n_steps, shapes, options.rounds)
    except RuntimeError as error:
        print(f"twins: {error}", file=sys.stderr)
        return 1
    finally:
        for side in sides:
            side.close()

    fractions = {
        name: [rate * shapes[name].flops_per_token / 1e9 / peak for rate, peak in blocks[name]] for name in commands
    }

    def ratios(program, factor=1.0):
        pairs = zip(fractions[f"{program} moe"], fractions[f"{program} dense"])
        return spread([moe / dense * factor for moe, dense in pairs], 4)

    executed = executed_over_model(sides[1]) / executed_over_model(sides[0])
    result = {
        "size": options.size,
        "precision": options.precision,
        "rounds": options.rounds,
        "block_steps": n_steps,
        "commands": commands,
        "peak_gflops": spread(peaks, 1),
        "fractions": {name: spread(values, 4) for name, values in fractions.items()},
        "isomoe": {"model": ratios("isomoe"), "executed": ratios("isomoe", executed)},
        "peer": {"model": ratios("peer")},
    }
    print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
