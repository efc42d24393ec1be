/* closed_form.h - the paper's equations 1 to 10, as functions of its ratios.
 *
 * Owns: the closed forms, each under its number, and the two misprints of the paper beside what
 * must stand there. Does not own: exact counts (count.h); nothing in the program computes with
 * what is here where an exact figure can be had. They are for seeing what the equations leave out,
 * and for reasoning about shapes that do not exist yet.
 *
 * Symbols (its Table 1; dims.h for the letters):
 *
 *   zeta  = H / L                 alpha = F / H               gamma = S / H
 *   mu    = (Dse + E De) / H      beta  = (Dse + K De) / H    L = L_e + L_d: MoE layers, dense ones
 *
 *   (1)  N   ~ (4 + 3 alpha) H^2 L                              dense: L_d = L
 *   (2)  M   ~ 2 N + 4 H S L  = 2 N + 4 zeta^2 gamma L^3        dense, forward, per token
 *   (3)      = 2 N (1 + 2 gamma / (4 + 3 alpha))
 *   (4)  N   ~ (4 + 3 mu)   H^2 L_e + (4 + 3 alpha) H^2 L_d
 *   (5)  N_a ~ (4 + 3 beta) H^2 L_e + (4 + 3 alpha) H^2 L_d
 *   (6)  M   ~ 2 N_a + 4 H S L
 *   (7)  r_a = (4 + 3 beta) / (4 + 3 mu)                        all layers MoE: L_d = 0
 *   (8)  M   ~ 2 r_a N + 4 zeta^2 gamma L^3                     likewise
 *   (9)      = 2 r_a N (1 + 2 gamma / (4 + 3 beta))             likewise
 *   (10) R_c = M_moe / M_dense at equal N
 *            = r_a [1 + 2 gamma_m / (4 + 3 beta)] / [1 + 2 gamma_d / (4 + 3 alpha)]
 *
 * H^2 L = zeta^2 L^3: 1, 2, 4, 5, 6 are computed in that form. They leave out the router, the
 * norms, the softmax and the vocabulary: with exact ratios 1 to 6 are the counts of the convention
 * `paper` without remainder. 7 to 10 also forget dense layers of an MoE.
 */
#ifndef ISO_ARCH_CLOSED_FORM_H
#define ISO_ARCH_CLOSED_FORM_H

#include "arch/count.h"

/* The arguments of the equations. A ratio of a part that the model lacks is not read where L_e or
 * L_d makes its term vanish. */
typedef struct iso_closed_form {
    double zeta, alpha, mu, beta, gamma;
    double n_moe_layers, n_dense_layers; /* L_e, L_d */
} iso_closed_form;

/* Of a checked shape. */
iso_closed_form iso_closed_form_of(const iso_shape *shape);

/* Equation 4; equation 1 where L_e = 0. */
double iso_closed_form_params(const iso_closed_form *form);
/* Equation 5. */
double iso_closed_form_params_active(const iso_closed_form *form);
/* Equation 6 as it must be, with 2 N_a; equation 2 where L_e = 0. FLOPs of a token, forward. */
double iso_closed_form_forward_flops(const iso_closed_form *form);
/* Equation 6 as printed, M ~ N_a + 4 H S L: a factor 2 of N_a is lost. The printed second form,
 * 2 r_a N + 4 zeta^2 gamma L^3, and equation 2 contradict it. */
double iso_closed_form_forward_flops_printed(const iso_closed_form *form);

/* Equation 7. */
double iso_closed_form_rate(double beta, double mu);
/* Equation 8 from N, r_a and the frame; equation 2 with r_a = 1. */
double iso_closed_form_flops_of_rate(double N, double r_a, double zeta, double gamma, double L);
/* Equation 9 from N, r_a, gamma and beta; equation 3 with r_a = 1 and alpha for beta. */
double iso_closed_form_flops_factored(double N, double r_a, double gamma, double beta);

/* What equation 10 takes: a dense model and an MoE of the same N. r_a is N_a / N (equations 5 and
 * 4); equation 7's, without the dense layers, makes 10 up to 10 % worse. */
typedef struct iso_relative_compute {
    double alpha, gamma_dense; /* of the dense model */
    double r_a, beta, gamma_moe;
} iso_relative_compute;
/* Equation 10 as it must be: the quotient of equations 9 and 3. Within 0.73 % of the models of the
 * paper's Tables 10, 12 and 15, but for the sparsest with r_a < 0.12: 2.4 %, for their dense layer.
 * D_moe = D_dense / R_c at equal C
 * (the paper says "R_c times more tokens"; it must be 1/R_c). */
double iso_closed_form_relative_compute(const iso_relative_compute *of);
/* Equation 10 as printed: R_c = r_a (4 + 3 alpha + 2 gamma_d) / (4 + 3 beta + 2 gamma_m). Upside
 * down, and without the factor (4 + 3 beta) / (4 + 3 alpha): between -66 % and +61 % off on the
 * models of the paper's Tables 10, 12 and 15. */
double iso_closed_form_relative_compute_printed(const iso_relative_compute *of);

#endif
