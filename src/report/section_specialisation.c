/* Which experts serve which text: specialisation.h, of the first seed of every MoE side. */
#include "report/page.h"
#include "report/sections.h"
#include "report/specialisation.h"

#include <stdlib.h>

static bool append_side(iso_str *out, const iso_side *side, int64_t i_side) {
    const char **dirs = calloc((size_t)side->n_runs + 1, sizeof *dirs);
    ISO_ASSERT(dirs);
    for (int64_t i = 0; i < side->n_runs; i++) dirs[i] = side->runs[i]->run.dir;
    bool shown;
    char *id = iso_strf("special-%lld", (long long)i_side);
    iso_status status = iso_specialisation_append(out, &shown, id, side->label, dirs, side->n_runs);
    if (status != ISO_OK) iso_page_text(out, NULL, iso_error_message());
    free(id);
    free(dirs);
    return shown || status != ISO_OK;
}

void iso_section_specialisation(iso_str *out, const iso_page_data *data) {
    iso_str parts = {0};
    bool any = false;
    for (int64_t i = 0; i < data->sides->n; i++)
        if (data->sides->sides[i].is_moe) any |= append_side(&parts, &data->sides->sides[i], i);
    iso_page_section(out, "specialisation", "Expert specialisation");
    if (any) {
        iso_page_text(out, NULL,
                      "Where the router sends the tokens of the final evaluation, for each MoE "
                      "side the run of the first seed.");
        iso_str_append(out, parts.data);
    } else {
        iso_page_text(out, NULL, "No finished MoE run has a record of its routing.");
    }
    iso_page_section_close(out);
    iso_str_release(&parts);
}
