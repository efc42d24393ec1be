#include "arch/closed_form.h"

iso_closed_form iso_closed_form_of(const iso_shape *shape) {
    iso_ratios ratios = iso_shape_ratios(shape);
    int64_t n_moe = iso_shape_n_moe_layers(shape);
    return (iso_closed_form){
        .zeta = ratios.zeta,
        .alpha = ratios.alpha,
        .mu = ratios.mu,
        .beta = ratios.beta,
        .gamma = ratios.gamma,
        .n_moe_layers = (double)n_moe,
        .n_dense_layers = (double)(shape->num_hidden_layers - n_moe),
    };
}

static double n_layers(const iso_closed_form *form) {
    return form->n_moe_layers + form->n_dense_layers;
}

/* H^2 = zeta^2 L^2. */
static double hidden_squared(const iso_closed_form *form) {
    double H = form->zeta * n_layers(form);
    return H * H;
}

/* Equations 4 and 5: experts is mu or beta. */
static double params(const iso_closed_form *form, double experts) {
    return hidden_squared(form) *
           ((4 + 3 * experts) * form->n_moe_layers + (4 + 3 * form->alpha) * form->n_dense_layers);
}

/* 4 H S L. */
static double scores(const iso_closed_form *form) {
    return 4 * form->gamma * hidden_squared(form) * n_layers(form);
}

double iso_closed_form_params(const iso_closed_form *form) {
    return params(form, form->mu);
}

double iso_closed_form_params_active(const iso_closed_form *form) {
    return params(form, form->beta);
}

double iso_closed_form_forward_flops(const iso_closed_form *form) {
    return 2 * iso_closed_form_params_active(form) + scores(form);
}

double iso_closed_form_forward_flops_printed(const iso_closed_form *form) {
    return iso_closed_form_params_active(form) + scores(form);
}

double iso_closed_form_rate(double beta, double mu) {
    return (4 + 3 * beta) / (4 + 3 * mu);
}

double iso_closed_form_flops_of_rate(double N, double r_a, double zeta, double gamma, double L) {
    return 2 * r_a * N + 4 * zeta * zeta * gamma * L * L * L;
}

double iso_closed_form_flops_factored(double N, double r_a, double gamma, double beta) {
    return 2 * r_a * N * (1 + 2 * gamma / (4 + 3 * beta));
}

double iso_closed_form_relative_compute(const iso_relative_compute *of) {
    return iso_closed_form_flops_factored(1, of->r_a, of->gamma_moe, of->beta) /
           iso_closed_form_flops_factored(1, 1, of->gamma_dense, of->alpha);
}

double iso_closed_form_relative_compute_printed(const iso_relative_compute *of) {
    return of->r_a * (4 + 3 * of->alpha + 2 * of->gamma_dense) /
           (4 + 3 * of->beta + 2 * of->gamma_moe);
}
