#!/usr/bin/env python3
"""Checks that torch_step.py computes the model of tests/reference: loss and every gradient, from the same weights, in double
where PyTorch can.

A peer that did less work would make isomoe's comparison worthless. Exits 1 on a difference.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "reference"))

import model as reference  # noqa: E402

from shapes import Shape, moe_shape  # noqa: E402
from torch_step import Model  # noqa: E402

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


def split_weights(peer, shape):
    """The peer's fused tensors under the reference's names; views, so gradients can be split the same way."""

    def split(name, tensor):
        layer, _, rest = name.removeprefix("blocks.").partition(".")
        at = f"model.layers.{layer}"
        plain = {
            "norm1.weight": "input_layernorm.weight",
            "norm2.weight": "post_attention_layernorm.weight",
            "attention.o.weight": "self_attn.o_proj.weight",
            "ffn.router": "mlp.gate.weight",
            "ffn.w_out.weight": "mlp.down_proj.weight",
            "ffn.shared.w_out.weight": "mlp.shared_expert.down_proj.weight",
        }
        if rest in plain:
            return {f"{at}.{plain[rest]}": tensor}
        if rest == "attention.qkv.weight":
            return {f"{at}.self_attn.{n}_proj.weight": part for n, part in zip("qkv", tensor.chunk(3))}
        if rest in ("ffn.w_in.weight", "ffn.shared.w_in.weight"):
            prefix = f"{at}.mlp" + (".shared_expert" if "shared" in rest else "")
            return {f"{prefix}.{n}_proj.weight": part for n, part in zip(("gate", "up"), tensor.chunk(2))}
        out = {}
        for e, expert in enumerate(tensor):
            prefix = f"{at}.mlp.experts.{e}"
            if rest == "ffn.w_out":
                out[f"{prefix}.down_proj.weight"] = expert.T
            else:
                gate, up = expert.T.chunk(2)
                out |= {f"{prefix}.gate_proj.weight": gate, f"{prefix}.up_proj.weight": up}
        return out

    top = {
        "embedding.weight": "model.embed_tokens.weight",
        "norm.weight": "model.norm.weight",
        "head.weight": "lm_head.weight",
    }
    weights, grads = {}, {}
    for name, p in peer.named_parameters():
        weights |= {top[name]: p.detach()} if name in top else split(name, p.detach())
        grads |= {top[name]: p.grad} if name in top else split(name, p.grad)
    return weights, grads


def check(what, shape, position, experts="loop", loss="plain", dtype=torch.float64):
    torch.set_default_dtype(dtype)
    torch.manual_seed(1)
    options = SimpleNamespace(mode="eager", position=position, experts=experts, loss=loss)
    peer = Model(shape, options)
    for p in peer.parameters():
        if p.dim() > 1:
            torch.nn.init.normal_(p, std=0.2)
    tokens = torch.randint(shape.vocab_size, (shape.batch, shape.S + 1))
    got = peer(tokens)
    got.backward()
    weights, grads = split_weights(peer, shape)
    leaves = {name: w.clone().requires_grad_() for name, w in weights.items()}
    fields = {key: value for key, value in shape.__dict__.items() if key in reference.Shape.__dataclass_fields__}
    ref_shape = reference.Shape(**fields | {"max_position_embeddings": shape.S, "position": position})
    logits, balance, _ = reference.forward(ref_shape, leaves, tokens[:, :-1])
    total = reference.cross_entropy(logits, tokens[:, 1:])
    total = total if balance is None else total + shape.router_aux_loss_coef * balance
    total.backward()
    worst = abs(got.item() - total.item())
    for name, w in leaves.items():
        worst = max(worst, (w.grad - grads[name]).abs().max().item() / (w.grad.abs().max().item() or 1.0))
    good = worst <= TOLERANCE[dtype]
    print(f"{'ok  ' if good else 'FAIL'} {what}: loss and {len(leaves)} gradients: {worst:.1e}")
    return good


def main():
    size = {"S": 16, "batch": 4, "vocab_size": 31, "router_aux_group": 2}
    dense = Shape(24, 2, 3, 40, **size)
    moe = moe_shape(24, 3, 3, 40, 7, 2, 12, **size)
    norm = Shape(**moe.__dict__ | {"norm_topk_prob": True, "layer_layout": "full"})
    good = [
        check("dense, rope", dense, "rope"),
        check("dense, alibi", dense, "alibi"),
        check("moe, 1dense, rope", moe, "rope"),
        check("moe, 1dense, alibi", moe, "alibi"),
        check("moe, full, norm_topk_prob, alibi", norm, "alibi"),
        check("moe, experts padded", moe, "rope", experts="padded"),
        check("moe, experts grouped, float", moe, "rope", experts="grouped", dtype=torch.float32),
        check("moe, loss chunked", moe, "rope", loss="chunked"),
    ]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
