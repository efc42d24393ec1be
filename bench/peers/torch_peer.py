#!/usr/bin/env python3
"""Times training steps in PyTorch on the CPU: what isomoe's steps are compared with.

    torch_peer.py --shape d2 --mode eager                   prints a JSON line with tokens/s of each repetition
    torch_peer.py --config CONFIG --mode compile --serve    prints "ready", then for each line "run N" does N steps and
                                                            prints the seconds they took
    torch_peer.py --shape v3 --memory --loss chunked        prints what steps hold beyond weights, gradients, moments

A step is forward, backward, clipping by the global norm and AdamW on a random batch, with the model of isomoe
(balance loss included). It is written to be as fast as PyTorch goes without C++ of one's own; the aids are

- the process starts itself again with a one-function library that lets MKL use AVX-512 on a CPU that is not Intel's
  (here 2.5 times the fp32 GEMM speed), and with a malloc that keeps its pages (fresh pages cost more than the work);
- q, k, v and gate, up are one matrix each; attention is scaled_dot_product_attention; AdamW is the fused one;
- experts have an autograd function of their own: rows sorted by expert, gates applied before down_proj; their
  products are done in one of three ways (--experts).

Position defaults to RoPE with is_causal; --position alibi adds the bias as a mask. --loss chunked is
linear_cross_entropy, which keeps no logits of all tokens. Memory is measured with a malloc that gives
pages back.
"""

import argparse
import ctypes
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from shapes import SHAPES, shape_from_config

RESTARTED = "ISOMOE_PEER_RESTARTED"
MKL_SOURCE = "int mkl_serv_intel_cpu_true(void) { return 1; }\n"
HUGE_PAGES = "glibc.malloc.hugetlb=1"
KEEP_PAGES = (
    f":glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold={1 << 40}:glibc.malloc.top_pad={64 << 20}"
    ":glibc.malloc.arena_max=1"
)


def mkl_library():
    """Path of the one-function library, compiled at first use; None without a C compiler."""
    digest = hashlib.sha256(MKL_SOURCE.encode()).hexdigest()[:12]
    path = Path(tempfile.gettempdir()) / f"isomoe-peer-mkl-{os.getuid()}-{digest}.so"
    if not path.exists():
        build = path.with_suffix(f".{os.getpid()}")
        command = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(build)]
        try:
            subprocess.run(command, input=MKL_SOURCE, text=True, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"torch_peer: MKL stays on its slow path: {error}", file=sys.stderr)
            return None
        build.rename(path)
    return str(path)


def restart_tuned(threads, keep_pages):
    """Replaces this process by itself with the environment that PyTorch wants; the process id stays."""
    if os.environ.get(RESTARTED):
        return
    env = dict(os.environ, **{RESTARTED: "1"})
    env["OMP_NUM_THREADS"] = env["MKL_NUM_THREADS"] = str(threads)
    env["GLIBC_TUNABLES"] = HUGE_PAGES + (KEEP_PAGES if keep_pages else "")
    library = mkl_library()
    if library:
        env["LD_PRELOAD"] = ":".join(filter(None, (library, env.get("LD_PRELOAD"))))
    os.execve(sys.executable, [sys.executable, *sys.argv], env)


def precision_of(mode):
    return "bf16" if "bf16" in mode else "fp32"


def serve(step, shape, options):
    """The driver's protocol: the idle side blocks in readline and uses no CPU."""
    import torch

    warmup = options.warmup
    facts = {
        "precision": precision_of(options.mode),
        "batch_tokens": shape.tokens_per_step,
        "model_flops_per_token": shape.flops_per_token,
        "version": f"PyTorch {torch.__version__}",
    }
    for _ in range(warmup):
        step()
    print("ready", json.dumps(facts), flush=True)
    for line in sys.stdin:
        words = line.split()
        if len(words) != 2 or words[0] != "run":
            print(f"torch_peer: expected 'run N', got {line!r}", file=sys.stderr)
            return 1
        start = time.perf_counter()
        for _ in range(int(words[1])):
            step()
        print(json.dumps(time.perf_counter() - start), flush=True)
    return 0


def measure(step, options, shape, name):
    for _ in range(options.warmup):
        step()
    rates = []
    for _ in range(options.repetitions):
        start = time.perf_counter()
        for _ in range(options.steps):
            step()
        rates.append(options.steps * shape.tokens_per_step / (time.perf_counter() - start))
    row = {
        "name": name,
        "mode": options.mode,
        "position": options.position,
        "experts": options.experts,
        "threads": options.threads,
        "tokens_per_s": [round(rate, 1) for rate in rates],
        "median": round(statistics.median(rates), 1),
        "gflops": round(statistics.median(rates) * shape.flops_per_token / 1e9, 1),
    }
    print(json.dumps(row), flush=True)
    return 0


def status_bytes(key):
    """VmRSS or VmHWM of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {key}")


def memory(make_step, shape, options, name):
    """What whole steps hold beyond the state, as `isomoe bench` counts it: VmHWM less what the process held before it
    made the model, less 16 bytes a parameter. A tiny model goes first, so that loaded code is not counted."""
    sizes = {"vocab_size": 64, "hidden_size": 16 * shape.num_attention_heads, "intermediate_size": 64, "S": 64}
    make_step(replace(shape, **sizes, num_hidden_layers=2, batch=shape.router_aux_group))()
    ctypes.CDLL(None).malloc_trim(0)  # what the tiny model left must not be there to be used again
    start = status_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    step = make_step(shape)
    for _ in range(options.steps):
        step()
    peak, n = status_bytes("VmHWM"), sum(p.numel() for p in step.parameters)
    row = {
        "name": name,
        "precision": precision_of(options.mode),
        "mode": options.mode,
        "loss": options.loss,
        "n_parameters": n,
        "start_rss_bytes": start,
        "peak_rss_bytes": peak,
        "beyond_state_bytes": peak - start - 16 * n,
    }
    print(json.dumps(row), flush=True)
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--shape", choices=SHAPES)
    source.add_argument("--config", help="an isomoe config (YAML)")
    parser.add_argument("--mode", choices=("eager", "compile", "bf16", "compile-bf16"), default="eager")
    parser.add_argument("--position", choices=("rope", "alibi"), default="rope")
    parser.add_argument("--experts", choices=("loop", "padded", "grouped"), default="loop")
    parser.add_argument("--loss", choices=("plain", "chunked"), default="plain")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", action="store_true", help="print memory instead of time")
    parser.add_argument("--serve", action="store_true", help="take 'run N' from standard input")
    parser.add_argument("--warmup", type=int, default=3, help="steps before the first timed one")
    parser.add_argument("--steps", type=int, default=3, help="steps a repetition")
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    restart_tuned(options.threads, keep_pages=not options.memory)

    from torch_step import TrainingStep  # only now: PyTorch reads the environment when it loads

    shape = SHAPES[options.shape] if options.shape else shape_from_config(options.config)
    name = options.shape or Path(options.config).stem
    if options.memory:
        return memory(lambda of_shape: TrainingStep(of_shape, options), shape, options, name)
    step = TrainingStep(shape, options)
    return serve(step, shape, options) if options.serve else measure(step, options, shape, name)


if __name__ == "__main__":
    sys.exit(main())
