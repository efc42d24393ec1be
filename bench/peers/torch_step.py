"""The model and its training step as a PyTorch user would write them for speed on a CPU. See torch_peer.py."""

import torch
import torch.nn.functional as F
from torch import nn


def swiglu(h):
    """h (rows, 2 width) holds gate and up side by side -> (rows, width)."""
    gate, up = h.chunk(2, dim=-1)
    return F.silu(gate) * up


def expert_activation(h, gates):
    """-> silu(gate) up and the same times the gates (rows, 1): what down_proj takes."""
    a = swiglu(h)
    return a, a * gates


def expert_activation_backward(h, gates, d_scaled, a):
    """-> dh (rows, 2 width), d_gates (rows)."""
    gate, up = h.chunk(2, dim=-1)
    da = d_scaled * gates
    d_gates = (d_scaled * a).sum(dim=-1)
    sigmoid = torch.sigmoid(gate)
    d_gate = da * up * sigmoid * (1 + gate * (1 - sigmoid))
    return torch.cat([d_gate, da * gate * sigmoid], dim=-1), d_gates


class Experts(torch.autograd.Function):
    """y = sum over a token's K experts of gate * down(silu(gate_proj x) * up_proj x), dropless.

    x (T,H), gates and chosen (T,K), w_in (E,H,2De), w_out (E,De,H). Every (token, choice) has a slot; the slots of an
    expert lie together, so that each of its products is one matrix product over a slice.
    """

    @staticmethod
    def forward(ctx, x, gates, chosen, w_in, w_out, engine):
        T, K = chosen.shape
        E = w_in.shape[0]
        expert = chosen.reshape(-1)
        order = expert.argsort(stable=True)
        count = torch.bincount(expert, minlength=E)
        first = count.cumsum(0) - count
        room = engine.room(count)
        starts = room.cumsum(0) - room
        rows = room.tolist()
        slot = torch.empty_like(expert)
        in_order = expert[order]
        slot[order] = starts[in_order] + torch.arange(T * K) - first[in_order]
        # A slot for padding reads token 0 and has gate 0, so that nothing flows through it.
        token = torch.zeros(sum(rows), dtype=torch.int64)
        token[slot] = torch.arange(T * K) // K
        gate = gates.new_zeros(sum(rows))
        gate[slot] = gates.reshape(-1)
        gate = gate[:, None].to(x.dtype)

        xs = x.index_select(0, token)
        h = engine.product(xs, w_in, rows)
        a, scaled = engine.activation(h, gate)
        out = engine.product(scaled, w_out, rows)
        ctx.save_for_backward(xs, h, a, scaled, gate, slot, token, w_in, w_out)
        ctx.rows, ctx.engine, ctx.K = rows, engine, K
        return out.index_select(0, slot).view(T, K, -1).sum(dim=1)

    @staticmethod
    def backward(ctx, dy):
        xs, h, a, scaled, gate, slot, token, w_in, w_out = ctx.saved_tensors
        engine, rows = ctx.engine, ctx.rows
        dout = dy.index_select(0, token)
        d_scaled = engine.product(dout, w_out.transpose(1, 2), rows)
        dw_out = engine.weight_gradient(scaled, dout, w_out, rows)
        dh, d_gates = engine.activation_backward(h, gate, d_scaled, a)
        dw_in = engine.weight_gradient(xs, dh, w_in, rows)
        dxs = engine.product(dh, w_in.transpose(1, 2), rows)
        dx = dxs.index_select(0, slot).view(dy.shape[0], ctx.K, -1).sum(dim=1)
        return dx, d_gates.index_select(0, slot).view(-1, ctx.K), None, dw_in, dw_out, None


class ExpertEngine:
    """How the work of all experts is done; rows are the slots of each.

    loop: a product per expert on slices. padded: one batched product, every expert padded to the fullest; faster while
    the load is even, far slower when it isn't (64 experts, the fullest at five times the mean: a third of the speed).
    grouped: F.grouped_mm, made for this. Which is fastest depends on shape and precision: try them.
    """

    def __init__(self, options):
        self.kind = options.experts
        # oneDNN, which does bf16, keeps a kernel per shape: few distinct row counts keep it from making new ones.
        self.pad = 32 if "bf16" in options.mode else 1
        self.activation, self.activation_backward = expert_activation, expert_activation_backward
        if "compile" in options.mode:
            self.activation = torch.compile(expert_activation, dynamic=True)
            self.activation_backward = torch.compile(expert_activation_backward, dynamic=True)

    def room(self, count):
        """count (E) -> slots of each expert."""
        room = count + -count % self.pad
        return room.max().expand_as(room) if self.kind == "padded" else room

    def product(self, x, w, rows):
        """x (slots, in), w (E, in, out) -> (slots, out)."""
        if self.kind == "padded":
            return torch.bmm(x.view(len(rows), rows[0], -1), w).flatten(0, 1)
        if self.kind == "grouped":
            return F.grouped_mm(x, w, offs=ends(rows))
        y = x.new_empty(x.shape[0], w.shape[2])
        for part, weight, out in zip(x.split(rows), w.unbind(0), y.split(rows)):
            torch.mm(part, weight, out=out)
        return y

    def weight_gradient(self, x, dy, w, rows):
        """Per expert x^T dy, (E, in, out)."""
        if self.kind == "padded":
            E, m = len(rows), rows[0]
            return torch.bmm(x.view(E, m, -1).transpose(1, 2), dy.view(E, m, -1))
        if self.kind == "grouped":
            return F.grouped_mm(x.t(), dy, offs=ends(rows))
        dw = torch.empty_like(w)
        for part, grad, out in zip(x.split(rows), dy.split(rows), dw.unbind(0)):
            torch.mm(part.t(), grad, out=out)
        return dw


def ends(rows):
    """Where each expert's slots end, as grouped_mm wants it."""
    return torch.tensor(rows).cumsum(0).to(torch.int32)


@torch.compiler.disable
def run_experts(x, gates, chosen, w_in, w_out, engine):
    if torch.is_autocast_enabled("cpu"):
        half = torch.get_autocast_dtype("cpu")
        with torch.autocast("cpu", enabled=False):
            return Experts.apply(x.to(half), gates, chosen, w_in.to(half), w_out.to(half), engine)
    return Experts.apply(x, gates, chosen, w_in, w_out, engine)


class MoE(nn.Module):
    def __init__(self, shape, engine):
        super().__init__()
        H, E, De = shape.hidden_size, shape.num_experts, shape.moe_intermediate_size
        self.shape, self.engine = shape, engine
        self.router = nn.Parameter(torch.empty(E, H))
        self.w_in = nn.Parameter(torch.empty(E, H, 2 * De))
        self.w_out = nn.Parameter(torch.empty(E, De, H))
        Dse = shape.shared_expert_intermediate_size
        self.shared = SwiGLU(H, Dse) if Dse else None

    def forward(self, x):
        shape = self.shape
        B, S, H = x.shape
        E, K = shape.num_experts, shape.num_experts_per_tok
        flat = x.reshape(B * S, H)
        with torch.autocast("cpu", enabled=False):
            probs = F.linear(flat.to(self.router.dtype), self.router).softmax(dim=-1)
            gates, chosen = probs.topk(K, dim=-1)
            if shape.norm_topk_prob:
                gates = gates / gates.sum(dim=-1, keepdim=True)
            n_groups = B // shape.router_aux_group
            grouped = chosen.view(n_groups, -1)
            f = probs.new_zeros(n_groups, E).scatter_add_(1, grouped, torch.ones_like(grouped, dtype=probs.dtype))
            f = f / grouped.shape[1]
            balance = E * (f * probs.view(n_groups, -1, E).mean(dim=1)).sum(dim=-1).mean()
        y = run_experts(flat, gates, chosen, self.w_in, self.w_out, self.engine).view(B, S, H)
        return (y if self.shared is None else y + self.shared(x)), balance


class SwiGLU(nn.Module):
    def __init__(self, H, width):
        super().__init__()
        self.w_in = nn.Linear(H, 2 * width, bias=False)
        self.w_out = nn.Linear(width, H, bias=False)

    def forward(self, x):
        return self.w_out(swiglu(self.w_in(x)))


class Attention(nn.Module):
    def __init__(self, shape):
        super().__init__()
        H = shape.hidden_size
        self.A = shape.num_attention_heads
        self.qkv = nn.Linear(H, 3 * H, bias=False)
        self.o = nn.Linear(H, H, bias=False)

    def forward(self, x, cos, sin, bias):
        B, S, H = x.shape
        q, k, v = self.qkv(x).view(B, S, 3, self.A, H // self.A).permute(2, 0, 3, 1, 4)
        if bias is None:
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        return self.o(y.transpose(1, 2).reshape(B, S, H))


def rotate(x, cos, sin):
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x.dtype)


class Block(nn.Module):
    def __init__(self, shape, i_layer, engine):
        super().__init__()
        H = shape.hidden_size
        self.norm1 = nn.RMSNorm(H, eps=shape.rms_norm_eps)
        self.attention = Attention(shape)
        self.norm2 = nn.RMSNorm(H, eps=shape.rms_norm_eps)
        self.is_moe = shape.layer_is_moe(i_layer)
        self.ffn = MoE(shape, engine) if self.is_moe else SwiGLU(H, shape.intermediate_size)

    def forward(self, x, cos, sin, bias):
        x = x + self.attention(self.norm1(x), cos, sin, bias)
        if self.is_moe:
            y, balance = self.ffn(self.norm2(x))
            return x + y, balance
        return x + self.ffn(self.norm2(x)), None


class Model(nn.Module):
    """tokens (B, S+1) -> the loss that training descends: cross-entropy plus the weighted balance loss."""

    def __init__(self, shape, options):
        super().__init__()
        self.shape, self.loss = shape, options.loss
        H, L = shape.hidden_size, shape.num_hidden_layers
        engine = ExpertEngine(options)
        self.embedding = nn.Embedding(shape.vocab_size, H)
        self.blocks = nn.ModuleList(Block(shape, i, engine) for i in range(L))
        self.norm = nn.RMSNorm(H, eps=shape.rms_norm_eps)
        self.head = nn.Linear(H, shape.vocab_size, bias=False)
        for name, p in self.named_parameters():
            # isomoe's init, so that the routers spread tokens as evenly here as there.
            to_residual = name.endswith(("o.weight", "w_out", "w_out.weight"))
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02 / (2 * L) ** 0.5 if to_residual else 0.02)
        if shape.tie_word_embeddings:
            self.head.weight = self.embedding.weight
        self.set_positions(options.position)

    def set_positions(self, position):
        shape, S = self.shape, self.shape.S
        d = shape.hidden_size // shape.num_attention_heads
        angle = torch.arange(S)[:, None] * 10000.0 ** (-2.0 * torch.arange(d // 2) / d)[None, :]
        bias = None
        if position == "alibi":
            A = shape.num_attention_heads
            n = 1 << (A.bit_length() - 1)
            slopes = [2.0 ** (-8 * k / n) for k in range(1, n + 1)]
            slopes += [2.0 ** (-4 * k / n) for k in range(1, 2 * (A - n), 2)]
            distance = (torch.arange(S)[:, None] - torch.arange(S)[None, :]).to(torch.get_default_dtype())
            bias = -torch.tensor(slopes)[:, None, None] * distance
            bias = bias.masked_fill(distance < 0, float("-inf"))[None]
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, tokens):
        x = self.embedding(tokens[:, :-1])
        balances = []
        for block in self.blocks:
            x, balance = block(x, self.cos, self.sin, self.bias)
            if balance is not None:
                balances.append(balance)
        x, targets = self.norm(x).flatten(0, 1), tokens[:, 1:].flatten()
        if self.loss == "chunked":  # PyTorch's own way without (T, V) logits
            loss = F.linear_cross_entropy(x, self.head.weight, targets, options=nn.LinearCrossEntropyOptions())
        else:
            loss = F.cross_entropy(self.head(x), targets)
        if balances:
            loss = loss + self.shape.router_aux_loss_coef * torch.stack(balances).mean()
        return loss


class TrainingStep:
    """Callable: one whole step; returns the loss.

    The batch is random but always the same one, as in `isomoe bench`: there is something to learn, so routers spread
    tokens about as in real training. On fresh noise every step they collapse onto a few experts.
    """

    def __init__(self, shape, options):
        torch.set_num_threads(options.threads)
        torch.manual_seed(0)
        self.shape, self.half = shape, "bf16" in options.mode
        self.model = Model(shape, options)
        matrices = [p for p in self.model.parameters() if p.dim() > 1]
        vectors = [p for p in self.model.parameters() if p.dim() == 1]
        groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-8, fused=True)
        self.parameters = list(self.model.parameters())
        self.tokens = torch.randint(shape.vocab_size, (shape.batch, shape.S + 1))
        self.loss_of = torch.compile(self.model) if "compile" in options.mode else self.model

    def __call__(self):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.half):
            loss = self.loss_of(self.tokens)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0, foreach=True)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.item()
