#include "study/handicap.h"

#include <math.h>

iso_status iso_handicap_find(iso_handicap *out, const iso_scan *sweep, double used) {
    iso_scan of_one = *sweep;
    iso_scan_curve curve;
    *out = (iso_handicap){.used = used};
    of_one.one_shape = true;
    ISO_TRY(iso_scan_curve_fit(&curve, &of_one));
    if (!(used >= curve.low && used <= curve.high))
        return iso_fail(ISO_ERR_USAGE,
                        "the learning rate used, %.3g, lies outside the sweep, %.3g to %.3g; add "
                        "it to the sweep",
                        exp(used), exp(curve.low), exp(curve.high));
    out->optimum = iso_optimum_find(&curve);
    iso_scan_contrast contrast = iso_scan_rise(&curve, out->optimum.at, used);
    iso_scan_estimate rise = iso_scan_curve_estimate(&curve, &contrast);
    iso_scan_critical critical = iso_scan_pointwise(&curve);
    out->value = fmax(rise.value, 0.0); /* at the optimum itself it may round below */
    out->half = iso_scan_half(&rise, &critical);
    out->resolved = out->value > out->half;
    out->at_least = out->optimum.outcome != ISO_OPTIMUM_INSIDE;
    return ISO_OK;
}

iso_handicap_difference iso_handicap_compare(const iso_handicap *first,
                                             const iso_handicap *second) {
    iso_handicap_difference out = {.value = first->value - second->value,
                                   .half = hypot(first->half, second->half),
                                   .known = !first->at_least && !second->at_least};
    out.low = second->at_least ? -INFINITY : out.value - out.half;
    out.high = first->at_least ? INFINITY : out.value + out.half;
    out.resolved = out.low > 0.0 || out.high < 0.0;
    return out;
}
