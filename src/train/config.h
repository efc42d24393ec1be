/* config.h - the configuration of one run: what a YAML file and --section.key=value say.
 *
 * Owns: the option table (names, ranges, defaults, help), and how `auto` values become numbers.
 * Does not own: the shape's arithmetic (arch/), reading YAML (base/yaml.h, base/options.h).
 *
 * An iso_config is a plain value: copy it with `=`, nothing is to be released. It is *loaded* (what
 * was written, keywords kept) and then *resolved* (every keyword replaced by its number).
 *
 * (I1) a resolved config has train.steps, batch_size, micro_batch_size, lr and warmup_steps as
 *      positive numbers (warmup may be 0), and train.tokens = train.flops = 0: steps say it all;
 * (I2) saving a resolved config and loading it again gives the same config, bit for bit, and
 *      resolving twice is resolving once.
 */
#ifndef ISO_TRAIN_CONFIG_H
#define ISO_TRAIN_CONFIG_H

#include "arch/shape.h"
#include "arch/steplaw.h"
#include "base/fileio.h"
#include "base/json.h"
#include "base/str.h"
#include "base/yaml.h"

#include <stdint.h>

#define ISO_CONFIG_PATH_BYTES 1024

/* Values that stand for a keyword in the file. */
#define ISO_LR_STEPLAW        0.0  /* train.lr: steplaw */
#define ISO_BATCH_STEPLAW     0    /* train.batch_size: steplaw */
#define ISO_MICRO_BATCH_WHOLE 0    /* train.micro_batch_size: all - the batch in one piece */
#define ISO_WARMUP_AUTO       (-1) /* train.warmup_steps: auto */
#define ISO_UNIQUE_TOKENS_ALL 0    /* data.unique_tokens: all */
#define ISO_THREADS_ALL       0    /* train.threads: all - every processor this process may use */
#define ISO_EVERY_NEVER       0    /* train.*_every: never - only at the end */
#define ISO_EVAL_TOKENS_ALL   0    /* train.*eval_tokens: all - the whole validation set */

typedef enum iso_precision { ISO_PRECISION_FP32, ISO_PRECISION_BF16 } iso_precision;

typedef struct iso_data_config {
    char dir[ISO_CONFIG_PATH_BYTES]; /* a prepared folder; "" = none given */
    int64_t unique_tokens;           /* D-hat; ISO_UNIQUE_TOKENS_ALL */
    int64_t seed;                    /* of the subset and of the order */
} iso_data_config;

typedef struct iso_train_config {
    /* How long: exactly one of the three is given, the others are 0. Resolved: steps. */
    int64_t tokens;
    int64_t steps;
    double flops; /* training FLOPs by the convention `paper` */

    int64_t batch_size;       /* sequences; ISO_BATCH_STEPLAW */
    int64_t micro_batch_size; /* sequences; ISO_MICRO_BATCH_WHOLE */
    double lr;                /* before the multiplier; ISO_LR_STEPLAW */
    double lr_multiplier;     /* the peak is lr x lr_multiplier */
    double min_lr;            /* absolute, where the cosine ends */
    int64_t warmup_steps;     /* ISO_WARMUP_AUTO */
    double weight_decay;
    double betas[2];
    double eps;
    double grad_clip; /* global norm; 0 = no clipping */
    iso_precision precision;
    int64_t seed;    /* of the initial weights */
    int64_t threads; /* ISO_THREADS_ALL; never changes a result */

    int64_t checkpoint_every;  /* steps; ISO_EVERY_NEVER */
    int64_t keep_last;         /* checkpoints kept, at least 1 */
    int64_t eval_every;        /* steps; ISO_EVERY_NEVER */
    int64_t eval_tokens;       /* per domain, during training */
    int64_t final_eval_tokens; /* per domain, at the end */
} iso_train_config;

typedef struct iso_config {
    iso_shape model;
    iso_data_config data;
    iso_train_config train;
} iso_config;

iso_config iso_config_default(void);

/* Reads a YAML file (path NULL: the defaults alone), then applies `overrides`, each
 * "section.key=value" with or without leading dashes. Checks names, types and ranges, not yet
 * whether the whole makes sense. ISO_ERR_USAGE lists every fault found with file, line and key. */
iso_status iso_config_load(iso_config *out, const char *path, const char *const *overrides,
                           int64_t n_overrides);
/* The same from text in memory; `what` names it in messages. */
iso_status iso_config_parse(iso_config *out, const char *text, int64_t n_bytes, const char *what,
                            const char *const *overrides, int64_t n_overrides);

/* Applies the sections that `root` has to `config`; what they don't name stays. The same faults. */
iso_status iso_config_read(iso_config *config, const iso_yaml *root, const char *what);
/* Applies one "section.key=value". */
iso_status iso_config_set(iso_config *config, const char *assignment);

/* Checks the whole and replaces keywords by numbers (I1): steps from tokens or flops (nearest whole
 * number, at least 1), batch and lr from Step Law with N = all non-vocabulary parameters and
 * D = the tokens asked for, warmup = clip(0.01 steps, 200, 2000) and at most a tenth of the run.
 * `threads` is left as it is: it belongs to the machine.
 * Appends a line per warning to `warnings` (may be NULL): things legal but doubtful.
 * ISO_ERR_USAGE on anything impossible. `data.dir` is not looked at. */
iso_status iso_config_resolve(iso_config *config, iso_str *warnings);

/* The law's batch for that many tokens, in sequences: the nearest multiple of the micro-batch
 * (where that is the whole batch: of router_aux_group), at least one. */
int64_t iso_config_law_batch(const iso_config *config, iso_steplaw law, double tokens);

/* Of a resolved config. */
double iso_config_peak_lr(const iso_config *config);       /* lr x lr_multiplier */
int64_t iso_config_batch_tokens(const iso_config *config); /* tokens per optimizer step */
int64_t iso_config_tokens(const iso_config *config);       /* D = steps x batch tokens */

/* Every key in table order, floats with as few digits as give the same double back. */
void iso_config_to_yaml(iso_str *out, const iso_config *config);
iso_status iso_config_save(const iso_config *config, const char *path);
/* {"model": {...}, "data": {...}, "train": {...}}; the caller owns it (json_decref). */
json_t *iso_config_to_json(const iso_config *config);

/* SHA-256 of everything that can change a result: not threads, keep_last, checkpoint_every,
 * data.dir (the data's own hash speaks for it). */
void iso_config_hash(char hex[ISO_SHA256_HEX_BYTES], const iso_config *config);

/* The option table as help text. */
void iso_config_help(iso_str *out);

const char *iso_precision_name(iso_precision precision);

#endif
