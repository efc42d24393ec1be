"""The optimizer that isomoe uses, written out: AdamW, clipping by the global norm, warmup and cosine.

Not torch.optim, because its clipping adds 1e-6 to the norm; self_check.py shows that the two agree but for that.
"""

import math
from dataclasses import dataclass

import torch

from model import Routing, cross_entropy, forward


@dataclass(frozen=True)
class Recipe:
    """The `train:` section of a config, as far as it changes numbers."""

    steps: int
    batch_size: int
    lr: float
    min_lr: float
    warmup_steps: int
    weight_decay: float = 0.1
    betas: tuple = (0.9, 0.95)
    eps: float = 1e-8
    grad_clip: float = 1.0


@dataclass(frozen=True)
class Step:
    """What one step did; logits (B,S,V) and grads {name: tensor} are those before clipping and updating."""

    loss: float
    aux_loss: float | None
    grad_norm: float
    lr: float
    logits: torch.Tensor
    grads: dict
    routings: list


def lr_at(recipe, step):
    """The rate of step 1..steps: linear up to the peak at warmup_steps, then a half cosine down to min_lr."""
    if step <= recipe.warmup_steps:
        return recipe.lr * step / recipe.warmup_steps
    progress = (step - recipe.warmup_steps) / (recipe.steps - recipe.warmup_steps)
    return recipe.min_lr + 0.5 * (recipe.lr - recipe.min_lr) * (1.0 + math.cos(math.pi * progress))


def global_norm(grads):
    """The Euclidean norm over all gradients as one vector."""
    return torch.sqrt(sum((g * g).sum() for g in grads.values()))


class AdamW:
    """p -= lr (wd p + m_hat / (sqrt(v_hat) + eps)); wd on matrices only, embeddings, router and head included."""

    def __init__(self, recipe, weights):
        self.recipe = recipe
        self.m = {name: torch.zeros_like(w) for name, w in weights.items()}
        self.v = {name: torch.zeros_like(w) for name, w in weights.items()}

    def update(self, weights, grads, step):
        """Changes weights in place; step counts from 1."""
        beta1, beta2 = self.recipe.betas
        lr = lr_at(self.recipe, step)
        for name, w in weights.items():
            g, m, v = grads[name], self.m[name], self.v[name]
            m.mul_(beta1).add_((1.0 - beta1) * g)
            v.mul_(beta2).add_((1.0 - beta2) * g * g)
            m_hat = m / (1.0 - beta1**step)
            v_hat = v / (1.0 - beta2**step)
            decay = self.recipe.weight_decay * w if w.dim() == 2 else 0.0
            w.sub_(lr * (decay + m_hat / (torch.sqrt(v_hat) + self.recipe.eps)))


def train(shape, recipe, weights, batches):
    """Yields a Step per batch, changing weights in place. batches: (steps, B, S+1) int64."""
    optimizer = AdamW(recipe, weights)
    for step, batch in enumerate(batches, start=1):
        leaves = {name: w.detach().requires_grad_() for name, w in weights.items()}
        logits, balance, routings = forward(shape, leaves, batch[:, :-1])
        loss = cross_entropy(logits, batch[:, 1:])
        total = loss if balance is None else loss + shape.router_aux_loss_coef * balance
        # An expert without a token takes no part in the graph's values: its gradient is zero, not absent.
        grads = dict(zip(leaves, torch.autograd.grad(total, list(leaves.values()))))
        norm = global_norm(grads)
        scale = recipe.grad_clip / norm if norm > recipe.grad_clip else 1.0
        with torch.no_grad():
            optimizer.update(weights, {name: g * scale for name, g in grads.items()}, step)
        yield Step(
            loss=loss.item(),
            aux_loss=None if balance is None else balance.item(),
            grad_norm=norm.item(),
            lr=lr_at(recipe, step),
            logits=logits.detach(),
            grads=grads,
            routings=[Routing(r.probs.detach(), r.chosen) for r in routings],
        )
