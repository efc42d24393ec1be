"""The model that isomoe trains, written once more for its tests: as plainly as the formulas read.

Owns the forward pass; PyTorch's autograd does the backward. Nothing here is tuned, and nothing is shared with
the C code: agreement between the two is evidence only as long as that stays so.

Weights are a dict {checkpoint name: tensor}; every function takes the dtype of what it is given (so the whole
model runs in float64 or float32). Letters: B sequences, S positions, H hidden_size, A heads, d = H/A, F ffn
width, L layers, E experts, K experts per token, De expert width, Dse shared width, V vocabulary.
"""

import math
from dataclasses import dataclass

import torch

ROPE_THETA = 10000.0


@dataclass(frozen=True)
class Shape:
    """The `model:` section of a config; the names are the config's."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    position: str = "alibi"
    alibi_sqrt: bool = False
    rms_norm_eps: float = 1e-5
    tie_word_embeddings: bool = False
    initializer_range: float = 0.02
    num_experts: int = 0
    num_experts_per_tok: int = 0
    moe_intermediate_size: int = 0
    shared_expert_intermediate_size: int = 0
    layer_layout: str = "dense"
    norm_topk_prob: bool = False
    router_aux_loss_coef: float = 0.01
    router_aux_group: int = 8

    def layer_is_moe(self, i_layer):
        """Whether layer i_layer, counted from 0, is an MoE layer."""
        return {
            "dense": False,
            "full": True,
            "1dense": i_layer > 0,
            "interleave": i_layer % 2 == 1,
        }[self.layer_layout]


@dataclass(frozen=True)
class Routing:
    """What one router did: probs (B,S,E), chosen (B,S,K) in falling order of probability."""

    probs: torch.Tensor
    chosen: torch.Tensor


def parameter_shapes(shape):
    """{name: dims} of every parameter, in checkpoint order."""
    V, H = shape.vocab_size, shape.hidden_size

    def swiglu_shapes(prefix, width):
        return {
            f"{prefix}.gate_proj.weight": (width, H),
            f"{prefix}.up_proj.weight": (width, H),
            f"{prefix}.down_proj.weight": (H, width),
        }

    dims = {"model.embed_tokens.weight": (V, H)}
    for i_layer in range(shape.num_hidden_layers):
        layer = f"model.layers.{i_layer}"
        dims[f"{layer}.input_layernorm.weight"] = (H,)
        for name in "qkvo":
            dims[f"{layer}.self_attn.{name}_proj.weight"] = (H, H)
        dims[f"{layer}.post_attention_layernorm.weight"] = (H,)
        if not shape.layer_is_moe(i_layer):
            dims |= swiglu_shapes(f"{layer}.mlp", shape.intermediate_size)
            continue
        dims[f"{layer}.mlp.gate.weight"] = (shape.num_experts, H)
        for e in range(shape.num_experts):
            dims |= swiglu_shapes(f"{layer}.mlp.experts.{e}", shape.moe_intermediate_size)
        if shape.shared_expert_intermediate_size > 0:
            dims |= swiglu_shapes(
                f"{layer}.mlp.shared_expert", shape.shared_expert_intermediate_size
            )
    dims["model.norm.weight"] = (H,)
    if not shape.tie_word_embeddings:
        dims["lm_head.weight"] = (V, H)
    return dims


def linear(x, weight):
    """y = x W^T: x (..., in), weight (out, in)."""
    return x @ weight.T


def rms_norm(x, weight, eps):
    """y = w * x / sqrt(mean(x^2) + eps), the mean over the last axis."""
    return weight * x / torch.sqrt((x * x).mean(dim=-1, keepdim=True) + eps)


def alibi_slopes(n_heads):
    """The A slopes: 2^(-8k/n) for k = 1..n with n = 2^floor(log2 A), then 2^(-4k/n) for k = 1, 3, 5, ..."""
    n = 2 ** int(math.log2(n_heads))
    slopes = [2.0 ** (-8.0 * k / n) for k in range(1, n + 1)]
    slopes += [2.0 ** (-4.0 * k / n) for k in range(1, 2 * (n_heads - n), 2)]
    return slopes


def attention_bias(shape, S, dtype):
    """(A,S,S), added to the scores: -inf above the diagonal; with ALiBi -m (i - j), or -m sqrt(i - j), below."""
    i = torch.arange(S, dtype=torch.float64)
    distance = i[:, None] - i[None, :]
    bias = torch.zeros(shape.num_attention_heads, S, S, dtype=torch.float64)
    if shape.position == "alibi":
        penalty = distance.clamp(min=0)
        penalty = penalty.sqrt() if shape.alibi_sqrt else penalty
        for head, slope in enumerate(alibi_slopes(shape.num_attention_heads)):
            bias[head] = -slope * penalty
    bias = bias.masked_fill(distance < 0, -math.inf)
    return bias.to(dtype)


def rope(x):
    """Rotary positions on x (B,A,S,d): the pair (x[i], x[i + d/2]) at position s turns by s * theta^(-2i/d)."""
    S, d = x.shape[-2:]
    frequency = ROPE_THETA ** (-2.0 * torch.arange(d // 2, dtype=torch.float64) / d)
    angle = torch.arange(S, dtype=torch.float64)[:, None] * frequency[None, :]
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first, second = x[..., : d // 2], x[..., d // 2 :]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def attention(shape, weights, prefix, x):
    """Causal multi-head attention without biases: x (B,S,H) -> (B,S,H)."""
    B, S, H = x.shape
    A = shape.num_attention_heads
    d = H // A

    def heads(name):
        return linear(x, weights[f"{prefix}.{name}_proj.weight"]).view(B, S, A, d).transpose(1, 2)

    q, k, v = heads("q"), heads("k"), heads("v")  # (B,A,S,d)
    if shape.position == "rope":
        q, k = rope(q), rope(k)
    scores = q @ k.transpose(-1, -2) / math.sqrt(d) + attention_bias(shape, S, x.dtype)
    mixed = torch.softmax(scores, dim=-1) @ v
    return linear(mixed.transpose(1, 2).reshape(B, S, H), weights[f"{prefix}.o_proj.weight"])


def swiglu(weights, prefix, x):
    """down(silu(gate x) * (up x)): x (..., H) -> (..., H)."""
    gate = linear(x, weights[f"{prefix}.gate_proj.weight"])
    up = linear(x, weights[f"{prefix}.up_proj.weight"])
    return linear(gate * torch.sigmoid(gate) * up, weights[f"{prefix}.down_proj.weight"])


def moe(shape, weights, prefix, x):
    """Routed experts, dropless, plus the ungated shared expert: x (B,S,H) -> (B,S,H), Routing."""
    B, S, H = x.shape
    K = shape.num_experts_per_tok
    probs = torch.softmax(linear(x, weights[f"{prefix}.gate.weight"]), dim=-1)
    # topk() leaves the order of equals open; a stable sort gives them to the lowest index.
    chosen = torch.sort(probs, dim=-1, descending=True, stable=True).indices[..., :K]
    gates = probs.gather(-1, chosen)
    if shape.norm_topk_prob:
        gates = gates / gates.sum(dim=-1, keepdim=True)

    flat = x.reshape(B * S, H)
    y = torch.zeros_like(flat)
    for e in range(shape.num_experts):
        token, slot = torch.nonzero(chosen.reshape(B * S, K) == e, as_tuple=True)
        out = swiglu(weights, f"{prefix}.experts.{e}", flat[token])
        y = y.index_add(0, token, gates.reshape(B * S, K)[token, slot, None] * out)
    if shape.shared_expert_intermediate_size > 0:
        y = y + swiglu(weights, f"{prefix}.shared_expert", flat)
    return y.view(B, S, H), Routing(probs, chosen)


def balance_loss(shape, routing):
    """One layer's balance loss: per group of G sequences E * sum_i f_i p_i, averaged over the groups.

    f_i = (times expert i was chosen in the group) / (tokens * K), a constant in backward; p_i = mean probability.
    A perfectly even router gives 1.
    """
    E, K, G = shape.num_experts, shape.num_experts_per_tok, shape.router_aux_group
    B = routing.probs.shape[0]
    if B % G != 0:
        raise ValueError(f"batch of {B} sequences is no multiple of router_aux_group {G}")
    losses = []
    for first in range(0, B, G):
        probs = routing.probs[first : first + G].reshape(-1, E)
        chosen = routing.chosen[first : first + G].reshape(-1)
        f = torch.bincount(chosen, minlength=E).to(probs.dtype) / (probs.shape[0] * K)
        losses.append(E * (f * probs.mean(dim=0)).sum())
    return torch.stack(losses).mean()


def forward(shape, weights, tokens):
    """tokens (B,S) int -> logits (B,S,V), balance loss (None in a dense model), [Routing] of the MoE layers."""
    x = weights["model.embed_tokens.weight"][tokens]
    routings = []
    for i_layer in range(shape.num_hidden_layers):
        layer = f"model.layers.{i_layer}"
        normed = rms_norm(x, weights[f"{layer}.input_layernorm.weight"], shape.rms_norm_eps)
        x = x + attention(shape, weights, f"{layer}.self_attn", normed)
        normed = rms_norm(x, weights[f"{layer}.post_attention_layernorm.weight"], shape.rms_norm_eps)
        if shape.layer_is_moe(i_layer):
            out, routing = moe(shape, weights, f"{layer}.mlp", normed)
            routings.append(routing)
        else:
            out = swiglu(weights, f"{layer}.mlp", normed)
        x = x + out
    x = rms_norm(x, weights["model.norm.weight"], shape.rms_norm_eps)
    head = "model.embed_tokens.weight" if shape.tie_word_embeddings else "lm_head.weight"
    balance = torch.stack([balance_loss(shape, r) for r in routings]).mean() if routings else None
    return linear(x, weights[head]), balance, routings


def cross_entropy(logits, targets):
    """Mean over all tokens of -log softmax(logits)[target], in nats: logits (B,S,V), targets (B,S)."""
    return -torch.log_softmax(logits, dim=-1).gather(-1, targets[..., None]).mean()
