#!/usr/bin/env python3
"""Makes and checks tests/golden: what isomoe's numbers are held against.

    make_golden.py write [CASE...]            make the files anew
    make_golden.py check [CASE...]            run again and compare with the files, without writing
    make_golden.py compare CASE --metrics metrics.jsonl --tensors model.safetensors
                                              compare another program's run of a case with the files

Files of a case: see README.md. Owns nothing but those files. Invariants:
(I1) Seeds are tried from 0 upwards and the first whose routing is robust is taken: at every decision of the run
     the probabilities at the top-K boundary differ by over MARGIN times what float32 moves any probability, and
     float32 routes every token as float64 does. So an implementation with other rounding routes alike.
(I2) One thread and deterministic kernels: the same versions on the same kind of CPU give the same bytes.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import torch
import yaml
from safetensors.numpy import load_file, save_file

from cases import CASES, draw_batches, draw_weights
from train import train

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
MARGIN = 10.0
MAX_SEEDS = 100
CHECK_TOLERANCE = 1e-11  # another CPU may sum in another order
SERIES = ("loss", "aux_loss", "grad_norm", "lr")


class ConfigDumper(yaml.SafeDumper):
    """Block style for sections, [a, b] for lists: the way a person writes an isomoe config."""


ConfigDumper.add_representer(
    list, lambda dumper, items: dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)
)


def run(case, weights, tokens, dtype):
    """All steps of a case in one dtype: [Step], final weights."""
    state = {name: torch.from_numpy(w.copy()).to(dtype) for name, w in weights.items()}
    batches = torch.from_numpy(tokens).long()
    steps = list(train(case.shape, case.recipe, state, batches))
    return steps, state


def boundary_margin(shape, probs):
    """The smallest gap between the K-th and the next probability; infinite where all experts are chosen."""
    K = shape.num_experts_per_tok
    if K == shape.num_experts:
        return float("inf")
    falling = probs.sort(dim=-1, descending=True).values
    return (falling[..., K - 1] - falling[..., K]).min().item()


def routing_is_robust(case, steps64, steps32):
    """(I1) for one pair of runs."""
    margin, drift = float("inf"), 0.0
    for a, b in zip(steps64, steps32):
        for r64, r32 in zip(a.routings, b.routings):
            if not torch.equal(r64.chosen.sort(dim=-1).values, r32.chosen.sort(dim=-1).values):
                return False
            margin = min(margin, boundary_margin(case.shape, r64.probs))
            drift = max(drift, (r64.probs - r32.probs).abs().max().item())
    return margin > MARGIN * drift


def config_of(case):
    """The case as an isomoe config."""
    moe = case.shape.layer_layout != "dense"
    expert_keys = (
        "num_experts",
        "num_experts_per_tok",
        "moe_intermediate_size",
        "shared_expert_intermediate_size",
        "norm_topk_prob",
        "router_aux_loss_coef",
        "router_aux_group",
    )
    model = dataclasses.asdict(case.shape)
    model = {key: value for key, value in model.items() if moe or key not in expert_keys}
    recipe = dataclasses.asdict(case.recipe)
    recipe["betas"] = list(recipe["betas"])
    return {"model": model, "train": recipe}


def series_of(steps):
    """{name: [one number a step]}; aux_loss only where there is an MoE layer."""
    series = {name: [getattr(step, name) for step in steps] for name in SERIES}
    if series["aux_loss"][0] is None:
        del series["aux_loss"]
    return series


def make(case):
    """Every file of a case, as {file name: content}."""
    for seed in range(MAX_SEEDS):
        rng = np.random.default_rng(seed)
        weights = draw_weights(case.shape, rng)
        tokens = draw_batches(case.shape, case.recipe, rng)
        steps64, final = run(case, weights, tokens, torch.float64)
        steps32, _ = run(case, weights, tokens, torch.float32)
        if routing_is_robust(case, steps64, steps32):
            break
    else:
        raise RuntimeError(f"{case.name}: no seed below {MAX_SEEDS} routes robustly; change the case")
    first = steps64[0]
    tensors = {"logits": first.logits.reshape(-1, case.shape.vocab_size).numpy()}
    tensors |= {f"grad.{name}": g.numpy() for name, g in first.grads.items()}
    tensors |= {f"final.{name}": w.numpy() for name, w in final.items()}
    origin = {"case": case.name, "covers": case.what, "seed": seed, "torch": torch.__version__}
    return {
        "config.yaml": config_of(case),
        "weights.safetensors": weights,
        "tokens.bin": tokens,
        "golden.json": origin | {"dtype": "float64"} | series_of(steps64),
        "golden_fp32.json": origin | {"dtype": "float32"} | series_of(steps32),
        "golden.safetensors": tensors,
    }


def write(case):
    folder = GOLDEN / case.name
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in make(case).items():
        path = folder / name
        if name.endswith(".yaml"):
            header = f"# {case.what}\n# Made by tests/reference/make_golden.py.\n"
            path.write_text(header + yaml.dump(content, Dumper=ConfigDumper, sort_keys=False))
        elif name.endswith(".json"):
            # repr() of a float, which json uses, reads back to the same bits.
            rows = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
            path.write_text("{\n" + rows + "\n}\n")
        elif name.endswith(".safetensors"):
            arrays = {key: np.ascontiguousarray(a) for key, a in content.items()}
            save_file(arrays, path, metadata={"format": "pt"})
        else:
            content.astype("<i4").tofile(path)
    size = sum(path.stat().st_size for path in folder.iterdir())
    series = json.loads((folder / "golden.json").read_text())
    print(f"{case.name}: seed {series['seed']}, loss {series['loss'][0]:.4f} -> {series['loss'][-1]:.4f}, {size} bytes")


def series_deviations(case, golden, other):
    """(what, largest absolute difference) of each series."""
    for name in SERIES:
        if name not in golden:
            continue
        if len(other.get(name, ())) != len(golden[name]):
            raise ValueError(f"{case.name}: {name} has {len(other.get(name, ()))} steps, not {len(golden[name])}")
        yield name, float(np.abs(np.subtract(golden[name], other[name])).max())


def tensor_deviations(golden, other):
    """(what, largest difference over the tensor's largest entry) of each tensor that both have."""
    for name, a in golden.items():
        if name in other:
            b = other[name].astype(np.float64).reshape(a.shape)
            yield name, float(np.abs(a - b).max() / (np.abs(a).max() or 1.0))


def judge(case, deviations, tolerance):
    """Prints the worst of each kind; returns whether all are within tolerance."""
    worst = {}
    for name, deviation in deviations:
        kind = name.split(".")[0]
        if kind not in worst or not deviation <= worst[kind][0]:
            worst[kind] = (deviation, name)
    for kind, (deviation, name) in worst.items():
        verdict = "ok" if deviation <= tolerance else "FAIL"
        print(f"{case.name}: {kind:10} {deviation:.3e} {verdict}" + (f" ({name})" if name != kind else ""))
    return bool(worst) and all(deviation <= tolerance for deviation, _ in worst.values())


def check(case):
    folder = GOLDEN / case.name
    fresh = make(case)
    good = yaml.safe_load((folder / "config.yaml").read_text()) == fresh["config.yaml"]
    good &= bool(np.array_equal(np.fromfile(folder / "tokens.bin", "<i4"), fresh["tokens.bin"].ravel()))
    if not good:
        print(f"{case.name}: config or tokens differ from what the case says FAIL")
    deviations = list(series_deviations(case, json.loads((folder / "golden.json").read_text()), fresh["golden.json"]))
    for name in ("weights.safetensors", "golden.safetensors"):
        deviations += tensor_deviations(load_file(folder / name), fresh[name])
    return judge(case, deviations, CHECK_TOLERANCE) and good


def compare(case, metrics, tensors, tolerance):
    folder = GOLDEN / case.name
    deviations = []
    if metrics:
        rows = [json.loads(line) for line in Path(metrics).read_text().splitlines()]
        rows = [row for row in rows if "loss" in row]
        other = {name: [row[name] for row in rows] for name in SERIES if rows and name in rows[0]}
        deviations += series_deviations(case, json.loads((folder / "golden.json").read_text()), other)
    if tensors:
        # A checkpoint has bare names: those are the weights at the end.
        named = {
            name if name == "logits" or name.startswith(("grad.", "final.")) else f"final.{name}": a
            for name, a in load_file(tensors).items()
        }
        deviations += tensor_deviations(load_file(folder / "golden.safetensors"), named)
    return judge(case, deviations, tolerance)


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    by_name = {case.name: case for case in CASES}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("write", "check"):
        commands.add_parser(name).add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(by_name)}")
    other = commands.add_parser("compare")
    other.add_argument("case", choices=by_name)
    other.add_argument("--metrics", help="metrics.jsonl of the run")
    other.add_argument("--tensors", help="its final weights, or logits, grad.* and final.*, as safetensors")
    other.add_argument("--tolerance", type=float, default=1e-9)
    options = parser.parse_args()

    if options.command == "compare":
        if not options.metrics and not options.tensors:
            parser.error("compare needs --metrics or --tensors")
        good = compare(by_name[options.case], options.metrics, options.tensors, options.tolerance)
        return 0 if good else 1
    unknown = [name for name in options.cases if name not in by_name]
    if unknown:
        parser.error(f"no case {unknown[0]}; there are {', '.join(by_name)}")
    chosen = [by_name[name] for name in options.cases] or CASES
    if options.command == "write":
        for case in chosen:
            write(case)
        return 0
    return 0 if all([check(case) for case in chosen]) else 1


if __name__ == "__main__":
    sys.exit(main())
