/* grad.c - gradients of the double reference against central differences. */
#include "checkops.h"

void check_grad(const check_options *options, check_tally *tally) {}
