/* Why not getopt_long: it permutes and prints by itself, knows no list flags, and its errors can't
 * name the nearest flag. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

static void add(cli_list *list, const char *item) {
    list->items = realloc(list->items, (size_t)(list->n + 1) * sizeof *list->items);
    ISO_ASSERT(list->items != NULL);
    list->items[list->n++] = item;
}

void cli_list_release(cli_list *list) {
    free(list->items);
    *list = (cli_list){0};
}

/* --- help --- */

static void print_flag(const char *left, const char *help) {
    printf(strlen(left) > 24 ? "  %s\n  %24s  %s\n" : "  %-24s%s  %s\n", left, "", help);
}

static void print_usage(const cli_usage *usage) {
    printf("usage: isomoe %s\n\n%s\n", usage->synopsis, usage->summary);
    if (usage->n_flags > 0 || usage->overrides) printf("\n");
    for (size_t i = 0; i < usage->n_flags; i++) {
        const cli_flag *flag = &usage->flags[i];
        char *left = flag->value ? iso_strf("--%s %s%s", flag->name, flag->value,
                                            flag->kind == CLI_LIST ? "..." : "")
                                 : iso_strf("--%s", flag->name);
        print_flag(left, flag->help);
        free(left);
    }
    if (usage->overrides) print_flag("--SECTION.KEY=VALUE", "replaces that value of the config");
    print_flag("--help", "this text");
    printf("\nexample:\n");
    for (const char *line = usage->example; *line;) {
        size_t length = strcspn(line, "\n");
        printf("  %.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
    if (!usage->more) return;
    iso_str more = {0};
    usage->more(&more);
    printf("\n%s", more.data);
    iso_str_release(&more);
}

/* --- flags --- */

static const cli_flag *find_flag(const cli_usage *usage, const char *name, size_t n_name) {
    for (size_t i = 0; i < usage->n_flags; i++)
        if (strlen(usage->flags[i].name) == n_name &&
            memcmp(usage->flags[i].name, name, n_name) == 0)
            return &usage->flags[i];
    return NULL;
}

/* Other programs' words, and people's, for what is a flag here. */
static const struct {
    const char *word, *flag;
} synonyms[] = {
    {"tokens", "data"},
    {"dataset", "data"},
    {"corpus", "data"},
    {"size", "params"},
    {"n-params", "params"},
    {"parameters", "params"},
    {"model-size", "params"},
    {"flops", "compute"},
    {"budget", "compute"},
    {"gpus", "compute"},
    {"rate", "activation-rate"},
    {"sparsity", "activation-rate"},
    {"active", "activation-rate"},
    {"experts-per-token", "active-experts"},
    {"top-k", "active-experts"},
    {"moe-intermediate-size", "expert-width"},
    {"context", "seq-len"},
    {"lr", "lr-multiplier"},
    {"verbose", "all"},
    {"full", "all"},
};

/* The flag of this command that another word for it stands for, or NULL. */
static const char *meant_flag(const cli_usage *usage, const char *word) {
    for (size_t i = 0; i < sizeof synonyms / sizeof *synonyms; i++)
        if (strcmp(synonyms[i].word, word) == 0 &&
            find_flag(usage, synonyms[i].flag, strlen(synonyms[i].flag)))
            return synonyms[i].flag;
    return NULL;
}

static iso_status fail_unknown(const cli_usage *usage, const char *name, size_t n_name) {
    const char **names = calloc(usage->n_flags + 1, sizeof *names);
    char *word = iso_strf("%.*s", (int)n_name, name);
    ISO_ASSERT(names != NULL);
    for (size_t i = 0; i < usage->n_flags; i++) names[i] = usage->flags[i].name;
    const char *near = meant_flag(usage, word);
    if (!near) near = iso_str_nearest(word, names, usage->n_flags);
    iso_status status =
        near ? iso_fail(ISO_ERR_USAGE, "--%s: no such flag; did you mean --%s?", word, near)
             : iso_fail(ISO_ERR_USAGE, "--%s: no such flag", word);
    free(word);
    free(names);
    return status;
}

static iso_status set_choice(const cli_flag *flag, const char *value) {
    iso_str known = {0};
    for (int i = 0; flag->choices[i]; i++) {
        if (strcmp(flag->choices[i], value) == 0) {
            *(const char **)flag->out = value;
            iso_str_release(&known);
            return ISO_OK;
        }
        iso_str_appendf(&known, "%s%s", i ? ", " : "", flag->choices[i]);
    }
    iso_status status =
        iso_fail(ISO_ERR_USAGE, "--%s: `%.80s` is not one of %s", flag->name, value, known.data);
    iso_str_release(&known);
    return status;
}

static iso_status set_flag(const cli_flag *flag, const char *value) {
    switch (flag->kind) {
    case CLI_BOOL:
        *(bool *)flag->out = true;
        return ISO_OK;
    case CLI_STRING:
        *(const char **)flag->out = value;
        return ISO_OK;
    case CLI_I64:
        if (iso_str_to_i64(value, flag->out)) return ISO_OK;
        return iso_fail(ISO_ERR_USAGE, "--%s: `%.80s` is not a whole number", flag->name, value);
    case CLI_F64:
        if (iso_str_to_f64(value, flag->out)) return ISO_OK;
        return iso_fail(ISO_ERR_USAGE, "--%s: `%.80s` is not a number", flag->name, value);
    case CLI_CHOICE:
        return set_choice(flag, value);
    case CLI_LIST:
        add(flag->out, value);
        return ISO_OK;
    }
    return ISO_OK;
}

static bool is_flag(const char *argument) {
    return argument[0] == '-' && argument[1] == '-';
}

/* The flag at argv[i]; *used says how many arguments it took. */
static iso_status parse_flag(const cli_usage *usage, int argc, char **argv, int i, int *used) {
    const char *name = argv[i] + 2, *equals = strchr(name, '=');
    size_t n_name = equals ? (size_t)(equals - name) : strlen(name);
    const cli_flag *flag = find_flag(usage, name, n_name);
    *used = 1;
    if (!flag && usage->overrides && memchr(name, '.', n_name)) {
        if (!equals)
            return iso_fail(ISO_ERR_USAGE, "%s: write %s=VALUE, in one word", argv[i], argv[i]);
        add(usage->overrides, argv[i]);
        return ISO_OK;
    }
    if (!flag) return fail_unknown(usage, name, n_name);
    if (flag->kind == CLI_BOOL && equals)
        return iso_fail(ISO_ERR_USAGE, "--%s takes no value", flag->name);
    if (flag->kind == CLI_BOOL || equals) return set_flag(flag, equals ? equals + 1 : NULL);
    if (i + 1 >= argc || is_flag(argv[i + 1]))
        return iso_fail(ISO_ERR_USAGE, "--%s needs a value: --%s %s", flag->name, flag->name,
                        flag->value);
    do {
        ISO_TRY(set_flag(flag, argv[i + *used]));
        ++*used;
    } while (flag->kind == CLI_LIST && i + *used < argc && !is_flag(argv[i + *used]));
    return ISO_OK;
}

static iso_status add_positional(const cli_usage *usage, int64_t *n_given, const char *argument) {
    bool any_number = usage->positionals && usage->max_positionals < 0;
    int64_t most = usage->positionals ? usage->max_positionals : 0;
    if (!any_number && *n_given >= most)
        return iso_fail(ISO_ERR_USAGE, "`%.80s` is one argument too many; usage: isomoe %s",
                        argument, usage->synopsis);
    add(usage->positionals, argument);
    ++*n_given;
    return ISO_OK;
}

iso_status cli_parse(const cli_usage *usage, int argc, char **argv, bool *done) {
    *done = false;
    int64_t n_positionals = 0;
    bool flags_ended = false;
    for (int i = 1, used = 1; i < argc; i += used) {
        used = 1;
        if (flags_ended || argv[i][0] != '-' || argv[i][1] == '\0') {
            ISO_TRY(add_positional(usage, &n_positionals, argv[i]));
        } else if (strcmp(argv[i], "--") == 0) {
            flags_ended = true;
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_usage(usage);
            *done = true;
            return ISO_OK;
        } else if (is_flag(argv[i])) {
            ISO_TRY(parse_flag(usage, argc, argv, i, &used));
        } else {
            return iso_fail(ISO_ERR_USAGE, "%s: no such flag; flags begin with two dashes",
                            argv[i]);
        }
    }
    if (n_positionals >= usage->min_positionals) return ISO_OK;
    return iso_fail(ISO_ERR_USAGE, "an argument is missing; usage: isomoe %s", usage->synopsis);
}

/* As a shell takes it: in quotes where a character might mean something to one. */
static void append_quoted(iso_str *line, const char *argument) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "%+,-./:=@_";
    if (*argument && argument[strspn(argument, plain)] == '\0') {
        iso_str_append(line, argument);
        return;
    }
    iso_str_append(line, "'");
    for (; *argument; argument++) {
        if (*argument == '\'')
            iso_str_append(line, "'\\''");
        else
            iso_str_append_bytes(line, argument, 1);
    }
    iso_str_append(line, "'");
}

char *cli_command_line(int argc, char **argv) {
    iso_str line = {0};
    iso_str_append(&line, "isomoe");
    for (int i = 0; i < argc; i++) {
        iso_str_append(&line, " ");
        append_quoted(&line, argv[i]);
    }
    return line.data;
}
