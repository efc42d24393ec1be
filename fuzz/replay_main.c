/* replay_main: a fuzz target without a fuzzer: runs it once on every file of the folders and files
 * named on the command line, so that plain CI keeps what fuzzing has found. */
#include "base/fileio.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path) {
    char *bytes;
    int64_t n_bytes;
    if (iso_file_read(&bytes, &n_bytes, path, INT64_C(1) << 26) != ISO_OK) {
        fprintf(stderr, "%s\n", iso_error_message());
        return 1;
    }
    LLVMFuzzerTestOneInput((const uint8_t *)bytes, (size_t)n_bytes);
    free(bytes);
    return 0;
}

static int replay_folder(const char *dir, int64_t *n_files) {
    char **names;
    if (iso_dir_list(&names, n_files, dir) != ISO_OK) {
        fprintf(stderr, "%s\n", iso_error_message());
        return 1;
    }
    int failed = 0;
    for (int64_t i = 0; i < *n_files; i++) {
        char *path = iso_strf("%s/%s", dir, names[i]);
        failed |= replay_file(path);
        free(path);
    }
    iso_names_free(names, *n_files);
    return failed;
}

int main(int argc, char **argv) {
    int64_t n_files = 0, n_all = 0;
    int failed = 0;
    for (int i = 1; i < argc; i++, n_all += n_files) {
        n_files = 1;
        failed |=
            iso_path_is_dir(argv[i]) ? replay_folder(argv[i], &n_files) : replay_file(argv[i]);
    }
    if (n_all == 0) fprintf(stderr, "no input to replay\n");
    printf("%lld inputs replayed\n", (long long)n_all);
    return failed || n_all == 0;
}
