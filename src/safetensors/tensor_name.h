/* tensor_name.h - the one rule for tensor names, for reader and writer alike. */
#ifndef ISO_SAFETENSORS_TENSOR_NAME_H
#define ISO_SAFETENSORS_TENSOR_NAME_H

#include <stdbool.h>

#define ISO_SAFETENSORS_METADATA "__metadata__"

/* 1 to ISO_SAFETENSOR_NAME_BYTES - 1 characters of [A-Za-z0-9._-], and not the metadata's key. So a
 * name is safe in a message, in a path and in any other program. */
bool iso_tensor_name_is_valid(const char *name);

#endif
