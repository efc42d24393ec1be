/* routing_measures.h - what counts of routing say: balance, specialisation, co-activation.
 *
 * Owns: the measures and their noise. Does not own: the counts (train/route_counts.h), words and
 * pictures (report/specialisation.h).
 *
 * Domains compared are the named ones (the hold-out is a mixture of the training text) with at
 * least half a block of tokens; where there is none, all. They weigh the same, as in the headline
 * score: n(d,e) choices of expert e in domain d, out of n(d), make p(e|d) = n(d,e) / n(d) and
 * p(e) = mean over the domains compared of p(e|d).
 *
 * (I1) a pure function of the counts; (I2) nothing is called specialised for its tokens' number:
 * noise is that of whole documents dealt to the domains at random.
 */
#ifndef ISO_STUDY_ROUTING_MEASURES_H
#define ISO_STUDY_ROUTING_MEASURES_H

#include "base/status.h"
#include "train/route_counts.h"

#include <stdbool.h>
#include <stdint.h>

/* Documents dealt to the domains at random, so many times; the least p is 1 / (one more). */
#define ISO_ROUTING_DEALS 399

/* One MoE layer. All information is in bits per choice of an expert; NaN where it needs more
 * domains, or pairs, than there are. */
typedef struct iso_routing_layer {
    int64_t layer; /* from 0 */

    /* Balance of p(e): the fullest expert over the mean, max p(e) E; and the coefficient of
     * variation, sd of p(e) over its mean (Shazeer et al. 2017, equation 6, has its square). */
    double max_over_mean, variation;
    double max_over_mean_in_a_domain; /* of p(e|d), in the domain where it is largest */
    /* Mean entropy of the router's softmax over its largest, ln E: 1 = undecided, 0 = certain. */
    double entropy;

    /* Specialisation by domain: mutual information of domain and expert,
     *     I = mean over d of sum over e of p(e|d) log2 (p(e|d) / p(e)),
     * at most log2 of the number of domains, reached when no expert serves two. With the same p(e)
     * everywhere it is still above 0 by chance: by (D-1)(E-1) / (2 n ln 2) were choices independent
     * (Miller 1955), by far more with choices that hang together within documents. Therefore blocks
     * of documents are dealt to the domains at random, each domain keeping its number of blocks:
     * noise is the mean of I over the deals, and p = (1 + deals with at least I) / (1 + deals)
     * (Phipson & Smyth 2010). */
    double domain_bits, domain_noise_bits, domain_p;

    /* I(class; expert), of the token's class (route_counts.h), and I(domain; expert | class): what
     * is left of specialisation by domain where domains only differ in their characters. Both as
     * counted: their noise is in them. */
    double class_bits, domain_given_class_bits;

    /* Co-activation: divergence of the pairs chosen from quasi-independence, bits per pair. */
    double together_bits;

    double *share;        /* (n_domains,E) p(e|d), of all domains, the hold-out too */
    double *mean_share;   /* (E) p(e) */
    double *mean_gate;    /* (E) gate weight when chosen, over the domains compared; NaN if never */
    double *class_share;  /* (ISO_N_TOKEN_CLASSES,E) part of an expert's tokens in each class */
    double *contribution; /* (E) bits: the part of domain_bits that is the expert's */
    /* A contribution this large comes up at one expert or another in one of 20 deals (the largest
     * of all experts counts, as in Westfall & Young 1993, so that many looks find no more). */
    double contribution_noise_95;
    int64_t *home;  /* (E) the domain compared whose p(e|d) / p(e) is largest; -1 if never chosen */
    int64_t *order; /* (E) experts by home, then by that ratio, falling; the unchosen last */

    /* (n_pairs) tokens of the domains compared that chose both, and how many would by
     * quasi-independence (Goodman 1968): within each domain u(a) u(b) for every pair of different
     * experts, with u such that every expert has the pairs it has. The ratio is their lift, its
     * log2 their pointwise mutual information (Church & Hanks 1990) with two things taken out that
     * are no affinity: that an expert cannot meet itself, and that domains have their favourites.
     */
    double *together, *together_expected;
} iso_routing_layer;

typedef struct iso_routing_measures {
    int64_t n_domains, n_layers, E, K, n_pairs;
    int64_t n_compared;
    bool *is_compared;   /* (n_domains) */
    double *class_share; /* (ISO_N_TOKEN_CLASSES) part of all tokens, domains weighing the same */
    iso_routing_layer *layers;
} iso_routing_measures;

/* ISO_ERR_DATA if there is not a domain with tokens. */
iso_status iso_routing_measure(iso_routing_measures *out, const iso_route_counts *counts);
void iso_routing_measures_free(iso_routing_measures *measures);

/* expected (E (E-1) / 2) of pairs by quasi-independence as above, of one table of pairs. */
iso_status iso_quasi_independence(double *expected, const int64_t *pairs, int64_t E);

#endif
