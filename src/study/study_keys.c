#include "study/study_keys.h"

#include "study/budget.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

const char *const iso_study_kind_names[] = {"scan",  "reuse",   "search", "grid",
                                            "sweep", "control", "method", NULL};

static const char *const hold_names[] = {"compute", "tokens", NULL};
static const char *const lr_names[] = {"steplaw", "sweep", NULL};
static const char *const select_names[] = {"half", "all", NULL};
static const char *const bool_names[] = {"false", "true", NULL};
static const char *const repeat_names[] = {"dense", "moe", NULL};

_Static_assert(sizeof(iso_study_kind) == sizeof(int) && sizeof(iso_study_hold) == sizeof(int) &&
                   sizeof(iso_study_lr) == sizeof(int) && sizeof(iso_study_select) == sizeof(int) &&
                   sizeof(iso_gap_scheme) == sizeof(int),
               "choices are written as int");

#define SCAN    ISO_STUDY_TAKES(ISO_STUDY_SCAN)
#define REUSE   ISO_STUDY_TAKES(ISO_STUDY_REUSE)
#define SEARCH  ISO_STUDY_TAKES(ISO_STUDY_SEARCH)
#define GRID    ISO_STUDY_TAKES(ISO_STUDY_GRID)
#define SWEEP   ISO_STUDY_TAKES(ISO_STUDY_SWEEP)
#define CONTROL ISO_STUDY_TAKES(ISO_STUDY_CONTROL)
#define METHOD  ISO_STUDY_TAKES(ISO_STUDY_METHOD)
#define ALL     ISO_STUDY_TAKES_ALL
#define ALONE   (SCAN | REUSE | SEARCH | SWEEP | CONTROL)
#define PLANNED (ALONE | METHOD)
#define AT(m)   offsetof(iso_study, m)

const iso_study_key iso_study_keys[] = {
    {"", "format", ISO_STUDY_FORMAT, ALL, 0, 0, 0, NULL, "1"},
    {"", "name", ISO_STUDY_NAME, ALL, AT(name), 0, 0, NULL, "of the study; needed"},
    {"", "kind", ISO_STUDY_CHOICE, ALL, AT(kind), 0, 0, iso_study_kind_names, "needed"},
    {"", "scheme", ISO_STUDY_CHOICE, PLANNED & ~REUSE, AT(scheme), 0, 0, iso_budget_scheme_names,
     "how the unique text is shared (strict)"},
    {"", "base", ISO_STUDY_PATH, ALL, AT(base_path), 0, 0, NULL,
     "a config: settings of all runs; without a budget, its N, C and D, too"},
    {"", "config", ISO_STUDY_SECTIONS, ALL, 0, 0, 0, NULL,
     "sections of a config (model, data, train) over the base"},
    {"", "seeds", ISO_STUDY_SEEDS, ALL, AT(seeds), 0, 0, NULL, "train.seed of the runs (1)"},
    {"", "runs", ISO_STUDY_SECTIONS, SCAN, 0, 0, 0, NULL,
     "written by isomoe plan: name, config, activation_rate, seeds of each; instead of axes"},
    {"", "budget", ISO_STUDY_SECTIONS, PLANNED, 0, 0, 0, NULL, "see below"},
    {"", "parts", ISO_STUDY_SECTIONS, METHOD, 0, 0, 0, NULL,
     "studies by kind (sweep, control, scan, reuse, search), run in this order; see below"},
    {"", "axes", ISO_STUDY_SECTIONS, ALL & ~METHOD, 0, 0, 0, NULL, "see below"},
    {"", "shapes", ISO_STUDY_SECTIONS, PLANNED, 0, 0, 0, NULL, "see below"},
    {"", "rules", ISO_STUDY_SECTIONS, ALL, 0, 0, 0, NULL, "see below"},
    {"", "machine", ISO_STUDY_SECTIONS, ALL, 0, 0, 0, NULL, "see below"},

    {"budget", "params", ISO_STUDY_COUNT, PLANNED, AT(params), 0, 0, NULL, "N"},
    {"budget", "compute", ISO_STUDY_COMPUTE, PLANNED, AT(compute), 0, 0, NULL, "C of each run"},
    {"budget", "data", ISO_STUDY_COUNT, PLANNED, AT(data), 0, 0, NULL,
     "D in tokens; at most, and by default, the text of data.dir"},
    {"budget", "flops", ISO_STUDY_NUMBER, SCAN, AT(flops), 0, HUGE_VAL, NULL,
     "C that the runs of a written plan have"},
    {"budget", "unique_tokens", ISO_STUDY_COUNT, SCAN, AT(unique_tokens), 0, 0, NULL,
     "D-hat that the runs of a written plan have"},

    {"shapes", "own_experts", ISO_STUDY_CHOICE, PLANNED, AT(own_experts), 0, 0, bool_names,
     "each MoE may have a De of its own (false: one along all rates)"},
    {"shapes", "expert_width", ISO_STUDY_WHOLE, PLANNED, AT(expert_width), 1, 65536, NULL,
     "De of every routed expert (auto)"},
    {"shapes", "width_multiple", ISO_STUDY_WHOLE, PLANNED, AT(width_multiple), 1, 4096, NULL,
     "F and De are multiples of it (auto)"},
    {"shapes", "head_dim", ISO_STUDY_WHOLE, PLANNED, AT(head_dim), 2, 1024, NULL,
     "d (auto: by size)"},
    {"shapes", "zeta", ISO_STUDY_NUMBER, PLANNED, AT(aspect), 0, 512, NULL,
     "H/L of the MoEs (by size)"},
    {"shapes", "dense_zeta", ISO_STUDY_NUMBER, PLANNED, AT(dense_aspect), 0, 512, NULL,
     "H/L of the baseline (by size)"},
    {"shapes", "mu", ISO_STUDY_NUMBER, PLANNED, AT(total_mu), 0, 512, NULL,
     "(Dse + E De)/H (about 22)"},

    {"axes", "activation_rates", ISO_STUDY_RATES, ALONE, AT(activation_rates), 0, 1, NULL,
     "r_a of the MoEs; a search takes one (sweep, control: 20%)"},
    {"axes", "dense_compute", ISO_STUDY_NUMBERS, SCAN, AT(dense_compute), 0, 100, NULL,
     "dense baselines at these multiples of C ([1])"},
    {"axes", "data", ISO_STUDY_COUNTS, SCAN, AT(data_sizes), 0, 0, NULL,
     "a comparison at each D, the baseline seeing it once: C follows"},
    {"axes", "hold", ISO_STUDY_CHOICE, SCAN, AT(hold), 0, 0, hold_names,
     "what the rates share: C, or the tokens D (compute)"},
    {"axes", "sides", ISO_STUDY_CHOICES, CONTROL, AT(sides), 0, 0, repeat_names,
     "what is repeated under every seed ([dense, moe])"},
    {"axes", "schemes", ISO_STUDY_CHOICES, REUSE, AT(schemes), 0, 0, iso_budget_scheme_names,
     "([unique, strict, loose])"},
    {"axes", "epochs", ISO_STUDY_WHOLES, REUSE, AT(epochs), 1, 64, NULL,
     "of the dense baseline under strict: D-hat is that part of its D ([1])"},
    {"axes", "layouts", ISO_STUDY_CHOICES, SEARCH, AT(layouts), 1, 0, iso_layout_names,
     "step 1 ([full, 1dense, interleave])"},
    {"axes", "shared_expert", ISO_STUDY_CHOICES, SEARCH, AT(shared_expert), 0, 0, bool_names,
     "step 1, with each layout ([false, true])"},
    {"axes", "norm_topk", ISO_STUDY_CHOICES, SEARCH, AT(norm_topk), 0, 0, bool_names,
     "step 2, gates normalised ([false, true])"},
    {"axes", "granularity", ISO_STUDY_NUMBERS, SEARCH, AT(granularity), 0, 64, NULL,
     "step 3, K and E times this, De over it ([0.5, 1, 2, 4])"},
    {"axes", "zeta", ISO_STUDY_NUMBERS, SEARCH, AT(zeta), 0, 512, NULL,
     "step 4, H/L ([16, 32, 64])"},
    {"axes", "mu", ISO_STUDY_NUMBERS, SEARCH, AT(mu), 0, 512, NULL,
     "step 5, (Dse + E De)/H ([15, 22, 35])"},
    {"axes", "dense_zeta", ISO_STUDY_NUMBERS, SEARCH, AT(dense_zeta), 0, 512, NULL,
     "dense step 1, H/L ([8, 16, 24, 32, 48, 64])"},
    {"axes", "dense_alpha", ISO_STUDY_NUMBERS, SEARCH, AT(dense_alpha), 0, 16, NULL,
     "dense step 2, F/H ([1.5, 2, 2.77, 4, 5.5, 8])"},
    {"axes", "dense_head_dim", ISO_STUDY_WHOLES, SEARCH, AT(dense_head_dim), 2, 1024, NULL,
     "dense step 3, d ([8, 16, 32, 64])"},

    {"rules", "lr", ISO_STUDY_CHOICE, ALONE & ~SWEEP, AT(lr), 0, 0, lr_names,
     "Step Law times the measured rule, or a sweep per side (steplaw)"},
    {"rules", "lr_multipliers", ISO_STUDY_NUMBERS, PLANNED, AT(lr_multipliers), 0, 1000, NULL,
     "of the sweep, over Step Law ([0.25, 0.5, 1])"},
    {"rules", "lr_extend", ISO_STUDY_WHOLE, PLANNED, AT(lr_extend), 0, 16, NULL,
     "how often a sweep goes on where its best lies at an edge (2)"},
    {"rules", "retries", ISO_STUDY_WHOLE, ALL, AT(retries), 0, 100, NULL,
     "of a run that a crash, the disk or a signal ended (2)"},
    {"rules", "stop_hopeless", ISO_STUDY_NUMBER, SEARCH | METHOD, AT(stop_hopeless), 0, 100, NULL,
     "ends a candidate so many BPC behind its step's first from half way on (never)"},
    {"rules", "select", ISO_STUDY_CHOICE, PLANNED, AT(select), 0, 0, select_names,
     "documents that choose: half, the others then report; or all (half)"},
    {"rules", "seed_sd", ISO_STUDY_NUMBER, ALL, AT(seed_sd), 0, 10, NULL,
     "BPC between seeds, where no runs tell (0.005)"},
    {"rules", "expected_gap", ISO_STUDY_NUMBER, ALL, AT(expected_gap), 0, 10, NULL,
     "BPC, dense minus MoE, that the study is to find out (by the paper's runs, where they tell)"},

    {"machine", "parallel", ISO_STUDY_WHOLE, ALL, AT(parallel), 0, 256, NULL,
     "runs at once (auto: as many as processors and memory take)"},
    {"machine", "threads", ISO_STUDY_WHOLE, ALL, AT(threads), 0, 256, NULL,
     "of each run (auto: 1)"},
};
const int64_t iso_n_study_keys = sizeof iso_study_keys / sizeof *iso_study_keys;

const iso_study_key *iso_study_key_find(const char *section, const char *name) {
    for (int64_t i = 0; i < iso_n_study_keys; i++)
        if (strcmp(iso_study_keys[i].section, section) == 0 &&
            strcmp(iso_study_keys[i].name, name) == 0)
            return &iso_study_keys[i];
    return NULL;
}
