"""The shapes whose training step is timed, and their FLOPs; shared by the peer and the driver, needs no PyTorch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """A model and the batch of one step; S positions, batch sequences."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    S: int = 512
    batch: int = 8
    vocab_size: int = 256
    num_experts: int = 0
    num_experts_per_tok: int = 0
    moe_intermediate_size: int = 0
    shared_expert_intermediate_size: int = 0
    layer_layout: str = "dense"
    position: str = "rope"
    norm_topk_prob: bool = False
    tie_word_embeddings: bool = False
    router_aux_loss_coef: float = 0.01
    router_aux_group: int = 8
    rms_norm_eps: float = 1e-5

    def layer_is_moe(self, i_layer):
        return {
            "dense": False,
            "full": True,
            "1dense": i_layer > 0,
            "interleave": i_layer % 2 == 1,
        }[self.layer_layout]

    @property
    def tokens_per_step(self):
        return self.batch * self.S

    @property
    def flops_per_token(self):
        """6 N_a + 12 S H L: training, convention `paper` (no embedding, head, router or norms; attention not causal)."""
        H, L = self.hidden_size, self.num_hidden_layers
        active = self.num_experts_per_tok * self.moe_intermediate_size + self.shared_expert_intermediate_size
        widths = [active if self.layer_is_moe(i) else self.intermediate_size for i in range(L)]
        return 6 * sum(4 * H * H + 3 * H * width for width in widths) + 12 * self.S * H * L


def moe_shape(H, L, A, F, E, K, De, **more):
    """One dense layer, a shared expert of K De: the paper's layout."""
    experts = {
        "num_experts": E,
        "num_experts_per_tok": K,
        "moe_intermediate_size": De,
        "shared_expert_intermediate_size": K * De,
    }
    return Shape(H, L, A, F, layer_layout="1dense", **experts, **more)


SHAPES = {
    "d1": Shape(256, 8, 4, 704),
    "m1": moe_shape(192, 6, 3, 384, 28, 1, 64),
    "d2": Shape(512, 10, 8, 1408),
    "m2": moe_shape(320, 8, 5, 880, 64, 2, 64),
    "d3": Shape(768, 12, 12, 2128, S=1024, batch=4),
    "m3": moe_shape(512, 10, 8, 1408, 80, 3, 64, S=1024, batch=4, router_aux_group=4),
    "v3": Shape(768, 12, 12, 2128, S=1024, batch=4, vocab_size=65536),
}


def shape_from_config(path):
    """The model: section and train.batch_size of an isomoe config."""
    import yaml

    with open(path, encoding="utf-8") as file:
        config = yaml.safe_load(file)
    model = dict(config["model"])
    known = set(Shape.__dataclass_fields__)
    batch = config["train"]["batch_size"]
    fields = {key: value for key, value in model.items() if key in known}
    fields["rms_norm_eps"] = float(fields.get("rms_norm_eps", 1e-5))  # YAML 1.1 reads 1e-5 as a string
    group = min(int(fields.pop("router_aux_group", 8)), batch)
    return Shape(S=model["max_position_embeddings"], batch=batch, router_aux_group=group, **fields)
