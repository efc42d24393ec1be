/* bench_shapes.c - the shapes of docs/speed.md: pairs of equal N (within 1.3 %), about 20 % active,
 * De 64, no tied head; v3 is d3 with a vocabulary of tokens instead of bytes. */
#include "bench.h"

#include "arch/shape_search.h"

#include <string.h>

/* H, L, A, F, E, K, De; V; S and sequences. */
static const struct {
    const char *name;
    int64_t H, L, A, F, E, K, De, V, S, B;
} shapes[] = {
    {"d1", 256, 8, 4, 704, 0, 0, 0, 256, 512, 8},
    {"m1", 192, 6, 3, 384, 28, 1, 64, 256, 512, 8},
    {"d2", 512, 10, 8, 1408, 0, 0, 0, 256, 512, 8},
    {"m2", 320, 8, 5, 880, 64, 2, 64, 256, 512, 8},
    {"d3", 768, 12, 12, 2128, 0, 0, 0, 256, 1024, 4},
    {"m3", 512, 10, 8, 1408, 80, 3, 64, 256, 1024, 4},
    {"v3", 768, 12, 12, 2128, 0, 0, 0, 65536, 1024, 4},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

/* N of the demo's models: d0 and m0 are its dense and 20 % shapes. */
#define DEMO_PARAMS 400000

static void fill_shape(iso_config *config, int i) {
    iso_shape *s = &config->model;
    s->vocab_size = shapes[i].V;
    s->hidden_size = shapes[i].H;
    s->num_hidden_layers = shapes[i].L;
    s->num_attention_heads = shapes[i].A;
    s->intermediate_size = shapes[i].F;
    s->max_position_embeddings = shapes[i].S;
    s->num_experts = shapes[i].E;
    s->num_experts_per_tok = shapes[i].K;
    s->moe_intermediate_size = shapes[i].De;
    s->shared_expert_intermediate_size = shapes[i].K * shapes[i].De;
    s->layer_layout = shapes[i].E > 0 ? ISO_LAYOUT_1DENSE : ISO_LAYOUT_DENSE;
    config->train.batch_size = shapes[i].B;
    s->router_aux_group = shapes[i].B;
}

static iso_status demo_shape(iso_config *config, bool is_moe) {
    iso_search_goal goal = iso_search_goal_default(DEMO_PARAMS);
    iso_search_result result;
    goal.base.vocab_size = 257;
    goal.expert_width = 32;
    goal.n_rates = 4;
    memcpy(goal.rates, (double[]){0.20, 0.27, 0.35, 0.50}, 4 * sizeof(double));
    ISO_TRY(iso_shape_search(&result, &goal));
    config->model = is_moe ? result.moe[0].shape : result.dense.shape;
    config->train.batch_size = 64;
    return ISO_OK;
}

static int find_shape(const char *name) {
    for (int i = 0; i < N_SHAPES; i++)
        if (strcmp(name, shapes[i].name) == 0) return i;
    return -1;
}

iso_status bench_config(iso_config *config, const char *name) {
    int i = find_shape(name);
    *config = iso_config_default();
    config->train.steps = 1000000;
    config->train.lr = 1e-3;
    if (i >= 0)
        fill_shape(config, i);
    else if (strcmp(name, "d0") == 0 || strcmp(name, "m0") == 0)
        ISO_TRY(demo_shape(config, name[0] == 'm'));
    else if (!strpbrk(name, "./"))
        return iso_fail(ISO_ERR_USAGE,
                        "bench: no shape '%s'; there are " BENCH_SHAPE_NAMES
                        ", or give a config file (a path with a '.' or '/')",
                        name);
    else
        ISO_TRY(iso_config_load(config, name, NULL, 0));
    return iso_config_resolve(config, NULL);
}
