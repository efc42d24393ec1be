"""The golden cases: tiny shapes that between them take every branch of the model, and their made-up data.

Sizes are odd on purpose (no multiple of a vector's length), weights are drawn wider than a real init so that
softmax, SiLU and router leave their linear range, and norm weights start away from 1 so that they count.
"""

import math
from dataclasses import dataclass

import numpy as np

from model import Shape, parameter_shapes
from train import Recipe


@dataclass(frozen=True)
class Case:
    name: str
    what: str  # what only this case covers
    shape: Shape
    recipe: Recipe


def recipe(**changes):
    return Recipe(**({"steps": 50, "batch_size": 4, "lr": 5e-3, "min_lr": 1e-4, "warmup_steps": 5} | changes))


CASES = [
    Case(
        "dense_alibi",
        "five heads (slopes beyond a power of two) of odd width, untied head",
        Shape(
            vocab_size=31,
            hidden_size=15,
            num_hidden_layers=2,
            num_attention_heads=5,
            intermediate_size=27,
            max_position_embeddings=16,
            initializer_range=0.15,
        ),
        recipe(),
    ),
    Case(
        "dense_rope_tied",
        "RoPE, tied head, no warmup, never clipped",
        Shape(
            vocab_size=37,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=25,
            max_position_embeddings=19,
            position="rope",
            tie_word_embeddings=True,
            initializer_range=0.1,
        ),
        recipe(batch_size=3, warmup_steps=0, lr=3e-3, grad_clip=100.0),
    ),
    Case(
        "moe_1dense_alibi",
        "the paper's layout, gates not renormalised, two balance groups a batch, three heads",
        Shape(
            vocab_size=31,
            hidden_size=12,
            num_hidden_layers=3,
            num_attention_heads=3,
            intermediate_size=21,
            max_position_embeddings=16,
            initializer_range=0.2,
            num_experts=5,
            num_experts_per_tok=2,
            moe_intermediate_size=6,
            shared_expert_intermediate_size=12,
            layer_layout="1dense",
            router_aux_group=2,
        ),
        recipe(),
    ),
    Case(
        "moe_full_rope_norm",
        "no dense layer, RoPE, gates renormalised, one sequence a group, K = 3",
        Shape(
            vocab_size=29,
            hidden_size=12,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=0,
            max_position_embeddings=15,
            position="rope",
            initializer_range=0.2,
            num_experts=7,
            num_experts_per_tok=3,
            moe_intermediate_size=5,
            shared_expert_intermediate_size=9,
            layer_layout="full",
            norm_topk_prob=True,
            router_aux_loss_coef=0.05,
            router_aux_group=1,
        ),
        recipe(),
    ),
    Case(
        "moe_interleave_sqrt",
        "interleaved layers, square-root ALiBi, no shared expert, K = 1, groups of three, idle experts at the first step",
        Shape(
            vocab_size=23,
            hidden_size=12,
            num_hidden_layers=4,
            num_attention_heads=2,
            intermediate_size=17,
            max_position_embeddings=8,
            alibi_sqrt=True,
            initializer_range=0.2,
            num_experts=11,
            num_experts_per_tok=1,
            moe_intermediate_size=3,
            layer_layout="interleave",
            router_aux_group=3,
        ),
        recipe(batch_size=6, lr=3e-3),
    ),
    Case(
        "moe_all_experts_tied",
        "K = E (routing decides nothing but the gates' order), seven heads, tied head",
        Shape(
            vocab_size=27,
            hidden_size=14,
            num_hidden_layers=2,
            num_attention_heads=7,
            intermediate_size=19,
            max_position_embeddings=13,
            tie_word_embeddings=True,
            initializer_range=0.15,
            num_experts=3,
            num_experts_per_tok=3,
            moe_intermediate_size=7,
            shared_expert_intermediate_size=7,
            layer_layout="1dense",
            router_aux_group=4,
        ),
        recipe(),
    ),
]


def draw_weights(shape, rng):
    """{name: float64 array}: matrices N(0, range), those that write to the residual over sqrt(2L), norms near 1."""
    weights = {}
    for name, dims in parameter_shapes(shape).items():
        noise = rng.standard_normal(dims)
        if len(dims) == 1:
            weights[name] = 1.0 + 0.1 * noise
            continue
        std = shape.initializer_range
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            std /= math.sqrt(2 * shape.num_hidden_layers)
        weights[name] = std * noise
    return weights


def draw_batches(shape, recipe, rng):
    """(steps, B, S+1) int32 of a noisy walk through a fixed random map, so that there is something to learn."""
    V, S = shape.vocab_size, shape.max_position_embeddings
    successor = rng.permutation(V)
    tokens = np.empty((recipe.steps, recipe.batch_size, S + 1), dtype=np.int32)
    tokens[..., 0] = rng.integers(V, size=tokens.shape[:2])
    for s in range(1, S + 1):
        jump = rng.integers(V, size=tokens.shape[:2])
        follow = rng.random(tokens.shape[:2]) < 0.75
        tokens[..., s] = np.where(follow, successor[tokens[..., s - 1]], jump)
    return tokens
