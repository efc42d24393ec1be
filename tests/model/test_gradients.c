/* test_gradients.c - the whole model's gradient against numeric derivatives, in double.
 *
 * Per tensor, along random directions inside that tensor: central differences (three pairs of
 * points, error h^6) of the plain definition of the loss, mean cross-entropy + coef * balance loss,
 * the latter taken here from probabilities and choices (formulas: E sum f_i p_i per group of
 * sequences). The gradient holds f constant, and so do the differences as long as no choice
 * changes: a direction along which routing flips is drawn again.
 */
#include "tiny_model.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N_SEQUENCES  4
#define N_DIRECTIONS 8
#define MOST_REDRAWS 100
#define STEP         5e-4
#define TOLERANCE    1e-6
/* Derivatives below are zero but for rounding: routers whose gates and loads are constant. */
#define FLOOR 1e-5

typedef struct probe {
    tiny_model *tiny;
    int32_t *inputs, *targets;
    double *nats, *grads, *direction;
    int32_t *choices; /* (L,T,K) of the unmoved model */
    uint64_t n_draws;
} probe;

static int64_t n_tokens_of(const probe *p) {
    return N_SEQUENCES * p->tiny->model->shape.max_position_embeddings;
}

/* The balance losses of one layer, summed over groups. */
static double layer_balance(const iso_model *model, int64_t layer, int64_t T) {
    const iso_shape *s = &model->shape;
    const double *probs = model->layers[layer].probs;
    const int32_t *chosen = model->layers[layer].routing.expert;
    int64_t E = s->num_experts, K = s->num_experts_per_tok;
    int64_t n = s->router_aux_group * s->max_position_embeddings;
    double sum = 0;
    for (int64_t first = 0; first < T; first += n)
        for (int64_t e = 0; e < E; e++) {
            double p = 0, f = 0;
            for (int64_t t = first; t < first + n; t++) {
                p += probs[t * E + e] / (double)n;
                for (int64_t k = 0; k < K; k++) f += chosen[t * K + k] == e;
            }
            sum += (double)E * f / (double)(n * K) * p;
        }
    return sum;
}

static double aux_scale_of(const probe *p) {
    const iso_shape *s = &p->tiny->model->shape;
    int64_t n_layers = iso_shape_n_moe_layers(s);
    if (n_layers == 0) return 0;
    return 1.0 / (double)(N_SEQUENCES / s->router_aux_group * n_layers);
}

static double balance_sum(const probe *p) {
    const iso_shape *s = &p->tiny->model->shape;
    double sum = 0;
    for (int64_t i = 0; i < s->num_hidden_layers; i++)
        if (iso_shape_layer_is_moe(s, i)) sum += layer_balance(p->tiny->model, i, n_tokens_of(p));
    return sum;
}

static double total_loss(const probe *p) {
    iso_model *model = p->tiny->model;
    double nats = 0;
    iso_model_score(model, p->inputs, p->targets, N_SEQUENCES, p->nats);
    for (int64_t t = 0; t < n_tokens_of(p); t++) nats += p->nats[t];
    return nats / (double)n_tokens_of(p) +
           model->shape.router_aux_loss_coef * aux_scale_of(p) * balance_sum(p);
}

static void copy_choices(const probe *p, int32_t *out) {
    const iso_model *model = p->tiny->model;
    int64_t R = n_tokens_of(p) * model->shape.num_experts_per_tok;
    for (int64_t i = 0; i < model->shape.num_hidden_layers; i++)
        if (iso_shape_layer_is_moe(&model->shape, i))
            memcpy(out + i * R, model->layers[i].routing.expert, (size_t)R * sizeof *out);
}

static bool routing_flipped(const probe *p) {
    const iso_model *model = p->tiny->model;
    int64_t R = n_tokens_of(p) * model->shape.num_experts_per_tok;
    for (int64_t i = 0; i < model->shape.num_hidden_layers; i++)
        if (iso_shape_layer_is_moe(&model->shape, i) &&
            memcmp(p->choices + i * R, model->layers[i].routing.expert,
                   (size_t)R * sizeof *p->choices) != 0)
            return true;
    return false;
}

static void probe_create(probe *p, const iso_shape *shape) {
    *p = (probe){0};
    tiny_model_create(&p->tiny, shape, "ref", ISO_F64, N_SEQUENCES, true);
    iso_model *model = p->tiny->model;
    int64_t T = n_tokens_of(p), n = model->params.n_elements;
    p->inputs = tiny_malloc(T, sizeof *p->inputs);
    p->targets = tiny_malloc(T, sizeof *p->targets);
    p->nats = tiny_malloc(T, sizeof *p->nats);
    p->grads = tiny_malloc(n, sizeof *p->grads);
    p->direction = tiny_malloc(n, sizeof *p->direction);
    p->choices = tiny_malloc(shape->num_hidden_layers * T * (shape->num_experts_per_tok + 1),
                             sizeof *p->choices);
    tiny_batch(p->inputs, p->targets, N_SEQUENCES, shape->max_position_embeddings,
               shape->vocab_size, 5);
    p->targets[3] = -1; /* counts in the mean, contributes nothing */
}

static void probe_free(probe *p) {
    tiny_model_free(p->tiny);
    free(p->inputs);
    free(p->targets);
    free(p->nats);
    free(p->grads);
    free(p->direction);
    free(p->choices);
}

/* The analytic side: gradients, and loss and balance loss as the model says them. */
static void probe_gradients(probe *p) {
    iso_model *model = p->tiny->model;
    double aux, nats = 0, T = (double)n_tokens_of(p);
    iso_model_reset_grads(model);
    iso_model_train(model, p->inputs, p->targets, N_SEQUENCES, 1 / T, aux_scale_of(p), p->nats,
                    &aux);
    memcpy(p->grads, model->grads, (size_t)model->params.n_elements * sizeof *p->grads);
    copy_choices(p, p->choices);
    for (int64_t t = 0; t < n_tokens_of(p); t++) nats += p->nats[t];
    assert_true(p->nats[3] == 0);
    assert_true(fabs(aux - balance_sum(p)) <= 1e-13 * (1 + fabs(aux)));
    double loss = nats / T + model->shape.router_aux_loss_coef * aux_scale_of(p) * aux;
    assert_true(fabs(loss - total_loss(p)) <= 1e-13 * loss);
}

/* A unit vector inside the tensor. */
static void draw_direction(probe *p, int64_t n) {
    double norm = 0;
    for (int64_t j = 0; j < n; j++) {
        p->direction[j] = iso_rng_normal(9, ISO_RNG_TEST, p->n_draws, (uint64_t)j);
        norm += p->direction[j] * p->direction[j];
    }
    for (int64_t j = 0; j < n; j++) p->direction[j] /= sqrt(norm);
    p->n_draws++;
}

/* The loss at distance h along the direction; the weights are put back bit for bit. */
static double loss_at(probe *p, double *weights, double *saved, int64_t n, double h,
                      bool *flipped) {
    for (int64_t j = 0; j < n; j++) weights[j] = saved[j] + h * p->direction[j];
    double loss = total_loss(p);
    *flipped |= routing_flipped(p);
    memcpy(weights, saved, (size_t)n * sizeof *weights);
    return loss;
}

/* Returns the relative error along one direction that does not flip routing. */
static double direction_error(probe *p, const iso_param *param) {
    int64_t n = param->dims[0] * param->dims[1];
    double *weights = (double *)p->tiny->model->weights + param->offset;
    double *saved = tiny_malloc(n, sizeof *saved), error = 0;
    memcpy(saved, weights, (size_t)n * sizeof *saved);
    bool flipped = true;
    for (int i_try = 0; flipped; i_try++) {
        if (i_try > MOST_REDRAWS) fail_msg("%s: routing flips in every direction", param->name);
        flipped = false;
        draw_direction(p, n);
        double difference[3], analytic = 0;
        for (int i = 0; i < 3; i++)
            difference[i] = loss_at(p, weights, saved, n, (i + 1) * STEP, &flipped) -
                            loss_at(p, weights, saved, n, -(i + 1) * STEP, &flipped);
        double numeric = (45 * difference[0] - 9 * difference[1] + difference[2]) / (60 * STEP);
        for (int64_t j = 0; j < n; j++) analytic += p->grads[param->offset + j] * p->direction[j];
        error = fabs(numeric - analytic) / fmax(FLOOR, fmax(fabs(numeric), fabs(analytic)));
    }
    free(saved);
    return error;
}

/* Every tensor of the model; returns the largest error. */
static double check_model(const iso_shape *shape, const char *what) {
    probe p;
    double worst = 0;
    probe_create(&p, shape);
    probe_gradients(&p);
    const iso_params *params = &p.tiny->model->params;
    for (int64_t i = 0; i < params->n_items; i++)
        for (int i_direction = 0; i_direction < N_DIRECTIONS; i_direction++) {
            double error = direction_error(&p, &params->items[i]);
            if (!(error <= TOLERANCE))
                fail_msg("%s: %s: relative error %g", what, params->items[i].name, error);
            worst = fmax(worst, error);
        }
    probe_free(&p);
    return worst;
}

/* Position and tying in turn, so that every pair of settings meets. */
static void turn(iso_shape *shape, int i) {
    shape->position = i % 3 == 2 ? ISO_POSITION_ROPE : ISO_POSITION_ALIBI;
    shape->alibi_sqrt = i % 3 == 1;
    shape->tie_word_embeddings = i / 3 % 2 == 1;
}

static void test_dense(void **state) {
    double worst = 0;
    for (int i = 0; i < 6; i++) {
        iso_shape shape = tiny_shape(ISO_LAYOUT_DENSE);
        turn(&shape, i);
        char what[64];
        snprintf(what, sizeof what, "dense, case %d", i);
        worst = fmax(worst, check_model(&shape, what));
    }
    print_message("dense: largest relative error %.1e\n", worst);
}

static void test_moe(void **state) {
    iso_layout layout = *(const iso_layout *)*state;
    double worst = 0;
    int i = (int)layout;
    for (int i_k = 0; i_k < 3; i_k++)
        for (int norm = 0; norm < 2; norm++)
            for (int shared = 0; shared < 2; shared++, i++) {
                iso_shape shape = tiny_shape(layout);
                turn(&shape, i);
                shape.num_experts_per_tok = i_k == 2 ? shape.num_experts : i_k + 1;
                shape.norm_topk_prob = norm;
                if (!shared) shape.shared_expert_intermediate_size = 0;
                char what[96];
                snprintf(what, sizeof what, "%s, K = %d, norm_topk %d, shared %d",
                         iso_layout_name(layout), (int)shape.num_experts_per_tok, norm, shared);
                worst = fmax(worst, check_model(&shape, what));
            }
    print_message("%s: largest relative error %.1e\n", iso_layout_name(layout), worst);
}

/* Router rows w, -w, 0, 0, ...: one of the first two always wins, the others get no token. With w
 * zero all probabilities tie, and the lowest index takes all. */
static void set_router(tiny_model *tiny, double w) {
    iso_model *model = tiny->model;
    int64_t E = model->shape.num_experts, H = model->shape.hidden_size;
    for (int64_t i = 0; i < model->shape.num_hidden_layers; i++) {
        int64_t first = iso_params_offset(&model->params, ISO_FIELD_ROUTER, i);
        for (int64_t j = 0; j < E * H; j++) {
            double x = iso_rng_normal(3, ISO_RNG_TEST, (uint64_t)i, (uint64_t)(j % H));
            double sign = j < H ? 1 : j < 2 * H ? -1 : 0;
            tiny_set(model->weights, tiny->exec.dtype, first + j, sign * w * x);
        }
    }
}

static void check_idle(const char *backend, iso_dtype dtype, double w, int64_t n_busy) {
    iso_shape shape = tiny_shape(ISO_LAYOUT_FULL);
    shape.num_experts = 6;
    shape.num_experts_per_tok = 1;
    int64_t S = shape.max_position_embeddings;
    int32_t *inputs = tiny_malloc(N_SEQUENCES * S, sizeof *inputs);
    int32_t *targets = tiny_malloc(N_SEQUENCES * S, sizeof *targets);
    double *nats = tiny_malloc(N_SEQUENCES * S, sizeof *nats), aux;
    tiny_model *tiny;
    tiny_model_create(&tiny, &shape, backend, dtype, N_SEQUENCES, true);
    set_router(tiny, w);
    tiny_batch(inputs, targets, N_SEQUENCES, S, shape.vocab_size, 6);
    iso_model_reset_grads(tiny->model);
    iso_model_train(tiny->model, inputs, targets, N_SEQUENCES, 0.1, 0.1, nats, &aux);
    const iso_params *params = &tiny->model->params;
    for (int64_t i = 0; i < params->n_items; i++) {
        const iso_param *p = &params->items[i];
        double most = 0;
        for (int64_t j = 0; j < p->dims[0] * p->dims[1]; j++)
            most = fmax(most, fabs(tiny_get(tiny->model->grads, dtype, p->offset + j)));
        if (p->expert >= n_busy ? most != 0 : !(most > 0))
            fail_msg("%s: largest gradient %g", p->name, most);
    }
    tiny_model_free(tiny);
    free(inputs);
    free(targets);
    free(nats);
}

static void test_experts_without_tokens(void **state) {
    check_idle("ref", ISO_F64, 1, 2);
    check_idle("cpu", ISO_F32, 1, 2);
    check_idle("ref", ISO_F64, 0, 1);
    check_idle("cpu", ISO_F32, 0, 1);
}

int main(void) {
    static iso_layout layouts[] = {ISO_LAYOUT_FULL, ISO_LAYOUT_1DENSE, ISO_LAYOUT_INTERLEAVE};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dense),
        {"test_moe_full", test_moe, NULL, NULL, &layouts[0]},
        {"test_moe_1dense", test_moe, NULL, NULL, &layouts[1]},
        {"test_moe_interleave", test_moe, NULL, NULL, &layouts[2]},
        cmocka_unit_test(test_experts_without_tokens),
    };
    return cmocka_run_group_tests_name("gradients", tests, NULL, NULL);
}
