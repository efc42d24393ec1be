#!/usr/bin/env python3
"""Checks the reference itself against others' code: torch.optim and Hugging Face's modeling files.

Those are the two that a user would compare isomoe with. Prints one line a check; exits 1 if one fails.
"""

import json
import math
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
from transformers.models.qwen2_moe.modeling_qwen2_moe import load_balancing_loss_func
from transformers.utils import logging as transformers_logging

from cases import CASES, draw_batches, draw_weights
from model import Routing, Shape, alibi_slopes, attention, balance_loss, cross_entropy, forward
from train import Recipe, global_norm, lr_at, train

FAILED = []


def expect(what, deviation, tolerance):
    good = deviation <= tolerance
    print(f"{'ok  ' if good else 'FAIL'} {what}: {deviation:.2e} (at most {tolerance:.0e})")
    if not good:
        FAILED.append(what)


def draw(shape, recipe, dtype, seed=7):
    rng = np.random.default_rng(seed)
    weights = {name: torch.from_numpy(w).to(dtype) for name, w in draw_weights(shape, rng).items()}
    return weights, torch.from_numpy(draw_batches(shape, recipe, rng)).long()


def check_optimizer():
    """Our update against torch.optim.AdamW, with torch's clipping and with exact clipping."""
    case = next(case for case in CASES if case.name == "moe_1dense_alibi")
    shape, recipe = case.shape, case.recipe
    ours, batches = draw(shape, recipe, torch.float64)
    theirs = {name: w.clone().requires_grad_() for name, w in ours.items()}
    losses = [step.loss for step in train(shape, recipe, ours, batches)]
    for exact_clip, tolerance in ((True, 1e-12), (False, 1e-6)):
        leaves = {name: w.detach().clone().requires_grad_() for name, w in theirs.items()}
        groups = [
            {"params": [w for w in leaves.values() if w.dim() == 2], "weight_decay": recipe.weight_decay},
            {"params": [w for w in leaves.values() if w.dim() == 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, betas=recipe.betas, eps=recipe.eps)
        deviation = 0.0
        for step, batch in enumerate(batches, start=1):
            logits, balance, _ = forward(shape, leaves, batch[:, :-1])
            loss = cross_entropy(logits, batch[:, 1:])
            deviation = max(deviation, abs(loss.item() - losses[step - 1]))
            optimizer.zero_grad()
            (loss + shape.router_aux_loss_coef * balance).backward()
            if exact_clip:
                norm = global_norm({name: w.grad for name, w in leaves.items()}).item()
                for w in leaves.values():
                    w.grad *= min(1.0, recipe.grad_clip / norm)
            else:
                torch.nn.utils.clip_grad_norm_(leaves.values(), recipe.grad_clip)
            for group in optimizer.param_groups:
                group["lr"] = lr_at(recipe, step)
            optimizer.step()
        clip = "exact clipping" if exact_clip else "clip_grad_norm_ (norm + 1e-6)"
        expect(f"{recipe.steps} losses against torch.optim.AdamW, {clip}", deviation, tolerance)


def hugging_face_config(shape):
    config = {
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "num_hidden_layers": shape.num_hidden_layers,
        "num_attention_heads": shape.num_attention_heads,
        "num_key_value_heads": shape.num_attention_heads,
        "intermediate_size": shape.intermediate_size,
        "max_position_embeddings": shape.max_position_embeddings,
        "rms_norm_eps": shape.rms_norm_eps,
        "tie_word_embeddings": shape.tie_word_embeddings,
        "rope_theta": 10000.0,
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    if shape.layer_layout == "dense":
        return config | {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    layers = range(shape.num_hidden_layers)
    return config | {
        "model_type": "qwen2_moe",
        "architectures": ["Qwen2MoeForCausalLM"],
        "num_experts": shape.num_experts,
        "num_experts_per_tok": shape.num_experts_per_tok,
        "moe_intermediate_size": shape.moe_intermediate_size,
        "shared_expert_intermediate_size": shape.shared_expert_intermediate_size,
        "norm_topk_prob": shape.norm_topk_prob,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [i for i in layers if not shape.layer_is_moe(i)],
    }


def hugging_face_weights(shape, weights):
    """Our weights for the stock class: biases 0; the shared expert's gate at sigmoid(0) = 1/2, so its output doubled."""
    out = dict(weights)
    if shape.layer_layout == "dense":
        return out
    zero = torch.zeros(shape.hidden_size)
    for i_layer in range(shape.num_hidden_layers):
        layer = f"model.layers.{i_layer}"
        for name in "qkv":
            out[f"{layer}.self_attn.{name}_proj.bias"] = zero.clone()
        if shape.layer_is_moe(i_layer):
            out[f"{layer}.mlp.shared_expert_gate.weight"] = zero.clone()[None, :]
            out[f"{layer}.mlp.shared_expert.down_proj.weight"] = 2.0 * out[f"{layer}.mlp.shared_expert.down_proj.weight"]
    return out


def gradient_of(grads, name, shape):
    """Their gradient of one of our tensors: experts are stacked there, the shared expert's down_proj is doubled."""
    if ".experts." in name:
        prefix, rest = name.split(".experts.")
        e, kind = int(rest.split(".")[0]), rest.split(".")[1]
        if kind == "down_proj":
            return grads[f"{prefix}.experts.down_proj"][e]
        gate, up = grads[f"{prefix}.experts.gate_up_proj"][e].split(shape.moe_intermediate_size)
        return gate if kind == "gate_proj" else up
    return grads[name] * 2.0 if name.endswith("shared_expert.down_proj.weight") else grads[name]


def check_hugging_face(what, shape):
    """Loss and every gradient of a RoPE model, in float32 (their RoPE and norms are float32 in any case)."""
    weights, batches = draw(shape, Recipe(1, 3, 1.0, 1.0, 0), torch.float32)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(hugging_face_config(shape)))
        save_file(hugging_face_weights(shape, weights), Path(folder, "model.safetensors"), metadata={"format": "pt"})
        theirs, report = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    unmatched = [key for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for key in report[kind]]
    expect(f"{what}: checkpoint names unknown to it", len(unmatched), 0)

    leaves = {name: w.requires_grad_() for name, w in weights.items()}
    logits, _, _ = forward(shape, leaves, batches[0, :, :-1])
    cross_entropy(logits, batches[0, :, 1:]).backward()
    their_logits = theirs(batches[0, :, :-1]).logits
    cross_entropy(their_logits, batches[0, :, 1:]).backward()
    expect(f"{what}: logits", (logits - their_logits).abs().max().item(), 1e-5)
    their_grads = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    deviation = 0.0
    for name, w in leaves.items():
        grad = gradient_of(their_grads, name, shape)
        deviation = max(deviation, (w.grad - grad).abs().max().item() / w.grad.abs().max().item())
    expect(f"{what}: {len(leaves)} gradients", deviation, 1e-5)


def check_balance_loss():
    """One layer, one group: theirs counts f without the division by K. Value and gradient by the router's logits."""
    shape = Shape(5, 4, 1, 1, 4, 7, num_experts=6, num_experts_per_tok=2, router_aux_group=3)
    torch.manual_seed(0)
    logits = torch.randn(3, 7, 6, dtype=torch.float64, requires_grad=True)
    probs = torch.softmax(logits, dim=-1)
    ours = balance_loss(shape, Routing(probs, probs.topk(2).indices))
    theirs = load_balancing_loss_func((logits.reshape(-1, 6),), 6, 2) / shape.num_experts_per_tok
    deviation = abs(ours.item() - theirs.item())
    ours_grad, their_grad = (torch.autograd.grad(loss, logits, retain_graph=True)[0] for loss in (ours, theirs))
    deviation = max(deviation, (ours_grad - their_grad).abs().max().item())
    expect("balance loss against Hugging Face's (its f is float32) over K", deviation, 1e-6)


def check_alibi():
    """Slopes against published values, the bias against attention written as scalar loops."""
    press = {8: [2.0**-k for k in range(1, 9)], 3: [2.0**-4, 2.0**-8, 2.0**-2]}
    press[11] = press[8] + [2.0**-0.5, 2.0**-1.5, 2.0**-2.5]
    press[17] = [2.0 ** (-k / 2) for k in range(1, 17)] + [2.0**-0.25]
    for n_heads, slopes in press.items():
        expect(f"ALiBi slopes of {n_heads} heads", float(np.abs(np.subtract(slopes, alibi_slopes(n_heads))).max()), 0)

    S, A, d = 6, 3, 2
    for root in (False, True):
        shape = Shape(5, A * d, 1, A, 4, S, alibi_sqrt=root)
        torch.manual_seed(0)
        w = {f"a.{n}_proj.weight": torch.randn(A * d, A * d, dtype=torch.float64) for n in "qkvo"}
        x = torch.randn(1, S, A * d, dtype=torch.float64)
        q, k, v = ((x[0] @ w[f"a.{n}_proj.weight"].T).tolist() for n in "qkv")
        mixed = torch.zeros(S, A * d, dtype=torch.float64)
        for a in range(A):
            at = range(a * d, (a + 1) * d)
            for i in range(S):
                far = [math.sqrt(i - j) if root else i - j for j in range(i + 1)]
                score = [sum(q[i][c] * k[j][c] for c in at) / math.sqrt(d) - press[3][a] * far[j] for j in range(i + 1)]
                e = [math.exp(s) for s in score]
                for c in at:
                    mixed[i, c] = sum(e[j] * v[j][c] for j in range(i + 1)) / sum(e)
        deviation = (attention(shape, w, "a", x)[0] - mixed @ w["a.o_proj.weight"].T).abs().max().item()
        expect(f"ALiBi attention{', square root' if root else ''}, against scalar loops", deviation, 1e-13)


def main():
    torch.set_num_threads(1)
    transformers_logging.disable_progress_bar()
    check_optimizer()
    dense = Shape(31, 24, 2, 3, 40, 16, position="rope", initializer_range=0.15)
    moe = {
        "num_experts": 5,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 12,
        "shared_expert_intermediate_size": 16,
        "router_aux_group": 3,
    }
    common = dense.__dict__
    check_hugging_face("LlamaForCausalLM", dense)
    check_hugging_face("LlamaForCausalLM, tied", Shape(**common | {"tie_word_embeddings": True}))
    check_hugging_face("Qwen2MoeForCausalLM, 1dense", Shape(**common | moe | {"layer_layout": "1dense"}))
    full = {"layer_layout": "full", "norm_topk_prob": True}
    check_hugging_face("Qwen2MoeForCausalLM, full, norm_topk_prob", Shape(**common | moe | full))
    check_balance_loss()
    check_alibi()
    return 1 if FAILED else 0


if __name__ == "__main__":
    sys.exit(main())
