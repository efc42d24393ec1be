/* isomoe doctor: what this build and this machine can do. */
#include "build_commit.h"
#include "cli.h"

#include "base/json.h"
#include "base/threads.h"
#include "ops/ops.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <sqlite3.h>
#include <string.h>
#include <utf8proc.h>
#include <xxhash.h>
#include <yaml.h>
#include <zlib.h>
#include <zstd.h>

typedef struct library {
    const char *name;
    char version[64];
} library;

enum { MAX_LIBRARIES = 10, MAX_FEATURES = 12 };

/* The versions that run, not those compiled against: a machine can differ from its builder. */
static int list_libraries(library *out) {
    int n = 0;
    unsigned xxhash = XXH_versionNumber();
    out[n].name = "xxhash";
    snprintf(out[n++].version, sizeof out->version, "%u.%u.%u", xxhash / 10000, xxhash / 100 % 100,
             xxhash % 100);
    const struct {
        const char *name, *version;
    } texts[] = {
        {"jansson", jansson_version_str()},
        {"libyaml", yaml_get_version_string()},
        {"libcrypto", OpenSSL_version(OPENSSL_VERSION_STRING)},
        {"sqlite3", sqlite3_libversion()},
        {"zlib", zlibVersion()},
        {"zstd", ZSTD_versionString()},
        {"utf8proc", utf8proc_version()},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        out[n].name = texts[i].name;
        snprintf(out[n++].version, sizeof out->version, "%s", texts[i].version);
    }
    return n;
}

/* What the kernels ask for. */
static int list_isa(const char **out) {
    int n = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2")) out[n++] = "avx2";
    if (__builtin_cpu_supports("fma")) out[n++] = "fma";
    if (__builtin_cpu_supports("avx512f")) out[n++] = "avx512f";
    if (__builtin_cpu_supports("avx512bw")) out[n++] = "avx512bw";
    if (__builtin_cpu_supports("avx512vl")) out[n++] = "avx512vl";
    if (__builtin_cpu_supports("avx512bf16")) out[n++] = "avx512bf16";
#endif
    return n;
}

/* The precisions that a backend computes in here, "fp32 bf16". */
static const char *list_precisions(char out[16], const char *backend) {
    static const struct {
        iso_dtype dtype;
        const char *name;
    } dtypes[] = {{ISO_F32, "fp32"}, {ISO_F64, "fp64"}, {ISO_BF16, "bf16"}};
    iso_counters counters = {.executed_flops = 0};
    out[0] = '\0';
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        iso_exec exec;
        if (iso_exec_create(&exec, backend, dtypes[i].dtype, NULL, &counters) != ISO_OK) continue;
        iso_exec_release(&exec);
        size_t used = strlen(out);
        snprintf(out + used, 16 - used, "%s%s", used ? " " : "", dtypes[i].name);
    }
    return out;
}

static const char *const backends[] = {"cpu", "ref"};
enum { N_BACKENDS = sizeof backends / sizeof *backends };

static iso_status print_json(const library *libraries, int n_libraries, const char *const *isa,
                             int n_isa) {
    json_t *versions = json_object(), *features = json_array(), *kernels = json_object();
    for (int i = 0; i < n_libraries; i++)
        json_object_set_new(versions, libraries[i].name, json_string(libraries[i].version));
    for (int i = 0; i < n_isa; i++) json_array_append_new(features, json_string(isa[i]));
    for (int i = 0; i < N_BACKENDS; i++) {
        char precisions[16];
        json_object_set_new(kernels, backends[i],
                            json_string(list_precisions(precisions, backends[i])));
    }
    json_t *ops = json_object();
    for (int i = 0; i < ISO_OP_N; i++)
        json_object_set_new(ops, iso_op_name((iso_op)i), json_string(iso_op_kernel((iso_op)i)));
    json_t *object = json_pack("{s:s, s:s, s:s, s:i, s:o, s:s, s:s, s:o, s:o, s:o}", "version",
                               ISO_VERSION, "commit", cli_build_commit(), "compiler", __VERSION__,
                               "threads", iso_machine_n_threads(), "isa", features, "kernel_isa",
                               iso_exec_isa(ISO_F32), "kernel_isa_bf16", iso_exec_isa(ISO_BF16),
                               "backends", kernels, "ops", ops, "libraries", versions);
    return cli_print_json(object, CLI_JSON_EXACT);
}

/* Which kernels each operation of the fast backend runs on. */
static void print_ops(void) {
    static const char *const headers[] = {"operation", "kernel"};
    cli_table table;
    printf("\n");
    cli_table_init(&table, headers, 2);
    for (int i = 0; i < ISO_OP_N; i++) {
        cli_table_add(&table, iso_op_name((iso_op)i));
        cli_table_add(&table, iso_op_kernel((iso_op)i));
    }
    cli_table_print(&table, stdout);
    cli_table_release(&table);
}

static void print_text(const library *libraries, int n_libraries, const char *const *isa,
                       int n_isa) {
    static const char *const headers[] = {"library", "version"};
    printf("isomoe %s, commit %s, compiler %s\n", ISO_VERSION, cli_build_commit(), __VERSION__);
    printf("%d threads;", iso_machine_n_threads());
    for (int i = 0; i < n_isa; i++) printf(" %s", isa[i]);
    printf("%s\nkernels:", n_isa ? "" : " no vector extension that the kernels use");
    for (int i = 0; i < N_BACKENDS; i++) {
        char precisions[16];
        printf("%s %s (%s)", i ? "," : "", backends[i], list_precisions(precisions, backends[i]));
    }
    printf("; cpu uses %s, for bf16 %s\n\n", iso_exec_isa(ISO_F32), iso_exec_isa(ISO_BF16));
    cli_table table;
    cli_table_init(&table, headers, 2);
    for (int i = 0; i < n_libraries; i++) {
        cli_table_add(&table, libraries[i].name);
        cli_table_add(&table, libraries[i].version);
    }
    cli_table_print(&table, stdout);
    cli_table_release(&table);
    print_ops();
}

iso_status cmd_doctor(int argc, char **argv) {
    bool json = false, done;
    const cli_flag flags[] = {{"json", CLI_BOOL, &json, NULL, "print JSON", NULL}};
    const cli_usage usage = {
        .synopsis = "doctor [--json]",
        .summary =
            "Shows this build, the instruction sets it can use here, threads, library versions,\n"
            "and which kernel each operation runs on.",
        .example = "isomoe doctor",
        .flags = flags,
        .n_flags = 1,
    };
    ISO_TRY(cli_parse(&usage, argc, argv, &done));
    if (done) return ISO_OK;
    library libraries[MAX_LIBRARIES];
    const char *isa[MAX_FEATURES];
    int n_libraries = list_libraries(libraries), n_isa = list_isa(isa);
    if (json) return print_json(libraries, n_libraries, isa, n_isa);
    print_text(libraries, n_libraries, isa, n_isa);
    return ISO_OK;
}
