/* study_keys.h - the table of a study file's keys. For study_file.c and study_value.c only. */
#ifndef ISO_STUDY_STUDY_KEYS_H
#define ISO_STUDY_STUDY_KEYS_H

#include "base/yaml.h"
#include "study/study_file.h"

typedef enum iso_study_type {
    ISO_STUDY_FORMAT, /* 1 */
    ISO_STUDY_NAME,
    ISO_STUDY_PATH,
    ISO_STUDY_CHOICE, /* one of `names` */
    ISO_STUDY_COUNT,  /* 400K */
    ISO_STUDY_COMPUTE,
    ISO_STUDY_NUMBER,
    ISO_STUDY_WHOLE,   /* min..max, or `auto` where min is 0 */
    ISO_STUDY_RATES,   /* [10%, 20%] or 0.1..0.5/9 */
    ISO_STUDY_SEEDS,   /* a list, or a number of them */
    ISO_STUDY_COUNTS,  /* a list of counts */
    ISO_STUDY_WHOLES,  /* of whole numbers in min..max */
    ISO_STUDY_NUMBERS, /* of numbers above min */
    ISO_STUDY_CHOICES, /* of `names` */
    ISO_STUDY_SECTIONS /* read by study_file.c itself */
} iso_study_type;

#define ISO_STUDY_TAKES(kind) (1u << (kind))
#define ISO_STUDY_TAKES_ALL   127u

typedef struct iso_study_key {
    const char *section; /* "" = top */
    const char *name;
    iso_study_type type;
    unsigned kinds; /* ISO_STUDY_TAKES bits */
    size_t offset;
    double min, max;
    const char *const *names;
    const char *help;
} iso_study_key;

extern const iso_study_key iso_study_keys[];
extern const int64_t iso_n_study_keys;

/* NULL: there is none. */
const iso_study_key *iso_study_key_find(const char *section, const char *name);

/* Reads one value into the study. False with what would do in `fault`. */
bool iso_study_value_read(iso_study *study, const iso_study_key *key, const iso_yaml *node,
                          iso_str *fault);

/* What a key takes, in words. */
const char *iso_study_type_say(const iso_study_key *key);

#endif
