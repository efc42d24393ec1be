#include "runs/run_rows.h"

#define INTEGER(field, moe)                                                                        \
    { #field, offsetof(iso_step_row, field), true, moe }
#define REAL(field, moe)                                                                           \
    { #field, offsetof(iso_step_row, field), false, moe }

const iso_step_field iso_step_fields[] = {
    INTEGER(step, false),
    INTEGER(tokens, false),
    INTEGER(epoch, false),
    REAL(loss, false),
    REAL(aux_loss, true),
    REAL(grad_norm, false),
    REAL(lr, false),
    REAL(step_ms, false),
    REAL(tokens_per_s, false),
    REAL(mfu, false),
    REAL(load_imbalance, true),
    INTEGER(dead_experts, true),
    REAL(router_entropy, true),
};
const int iso_n_step_fields = (int)(sizeof iso_step_fields / sizeof *iso_step_fields);

iso_status iso_row_identify(iso_row_kind *kind, int64_t *step, const json_t *row,
                            const char *what) {
    ISO_TRY(iso_json_get_i64(step, row, "step", what));
    if (*step < 0) return iso_fail(ISO_ERR_DATA, "%s: a negative step", what);
    static const char *const keys[ISO_N_ROW_KINDS] = {"loss", "val", "router", "replayed_steps"};
    for (int i = 0; i < ISO_N_ROW_KINDS; i++) {
        if (!json_object_get(row, keys[i])) continue;
        *kind = (iso_row_kind)i;
        return ISO_OK;
    }
    return iso_fail(ISO_ERR_DATA,
                    "%s: a row of no known kind: neither \"loss\" nor \"val\", \"router\" or "
                    "\"replayed_steps\"",
                    what);
}

iso_status iso_row_get_replayed(int64_t *n_steps, const json_t *row, const char *what) {
    ISO_TRY(iso_json_get_i64(n_steps, row, "replayed_steps", what));
    if (*n_steps < 0) return iso_fail(ISO_ERR_DATA, "%s: replayed_steps is negative", what);
    return ISO_OK;
}
