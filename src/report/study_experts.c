/* Which experts serve which text, for the MoEs of a study. A study may have dozens of
 * configurations; the page shows those that were trained most often, which are the ones that
 * choices fell on. */
#include "report/page.h"
#include "report/specialisation.h"
#include "report/study_page.h"

#include <stdlib.h>
#include <string.h>

#define SHOWN_MAX 4

/* The runs of one configuration stand side by side in page->run_dirs. */
typedef struct group {
    int64_t first, n;
    char *label; /* the folder's name without "-s" and the seed */
} group;

static char *label_of(const char *run_dir) {
    const char *slash = strrchr(run_dir, '/');
    char *label = iso_strf("%s", slash ? slash + 1 : run_dir);
    char *seed = NULL;
    for (char *at = label; (at = strstr(at, "-s")); at++) seed = at;
    if (seed && seed[2] && seed[2 + strspn(seed + 2, "0123456789")] == '\0') *seed = '\0';
    return label;
}

static group *group_runs(const iso_study_page *page, int64_t *n_groups) {
    group *groups = calloc((size_t)page->n_run_dirs + 1, sizeof *groups);
    ISO_ASSERT(groups);
    *n_groups = 0;
    for (int64_t i = 0; i < page->n_run_dirs; i++) {
        char *label = label_of(page->run_dirs[i]);
        group *last = *n_groups > 0 ? &groups[*n_groups - 1] : NULL;
        if (last && strcmp(last->label, label) == 0) {
            last->n++;
            free(label);
        } else {
            groups[(*n_groups)++] = (group){i, 1, label};
        }
    }
    return groups;
}

/* Configurations of `n_seeds` runs, until there are enough. */
static void append_groups(iso_str *out, const iso_study_page *page, const group *groups,
                          int64_t n_groups, int64_t n_seeds, int64_t *n_shown) {
    for (int64_t i = 0; i < n_groups && *n_shown < SHOWN_MAX; i++) {
        if (groups[i].n != n_seeds) continue;
        bool shown = false;
        char *id = iso_strf("experts-%lld", (long long)i);
        iso_status status = iso_specialisation_append(
            out, &shown, id, groups[i].label, page->run_dirs + groups[i].first, groups[i].n);
        free(id);
        if (status != ISO_OK) iso_page_text(out, "soft", iso_error_message());
        *n_shown += shown;
    }
}

void iso_study_section_experts(iso_str *out, const iso_study_page *page) {
    int64_t n_groups, n_shown = 0, most = 0;
    iso_str experts = {0};
    group *groups = group_runs(page, &n_groups);
    for (int64_t i = 0; i < n_groups; i++)
        if (groups[i].n > most) most = groups[i].n;
    for (int64_t n = most; n > 0; n--) append_groups(&experts, page, groups, n_groups, n, &n_shown);
    iso_page_section(out, "specialisation", "Expert specialisation");
    if (n_shown == 0)
        iso_page_text(
            out, "empty",
            "Nothing to show: no MoE of this study has a final evaluation with a record of "
            "its routing.");
    if (experts.len) iso_str_append(out, experts.data);
    if (n_shown == SHOWN_MAX)
        iso_page_text(
            out, "soft",
            "These are the configurations trained most often; data/specialisation.csv has "
            "every run.");
    iso_page_section_close(out);
    iso_str_release(&experts);
    for (int64_t i = 0; i < n_groups; i++) free(groups[i].label);
    free(groups);
}
