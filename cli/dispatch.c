#include "cli.h"

#include <stdlib.h>
#include <string.h>

static void print_commands(const char *program, const cli_command *commands, size_t n_commands) {
    int width = 0;
    for (size_t i = 0; i < n_commands; i++)
        if ((int)strlen(commands[i].name) > width) width = (int)strlen(commands[i].name);
    printf("usage: %s COMMAND ...\n\n", program);
    for (size_t i = 0; i < n_commands; i++)
        printf("  %s%-*s%s  %s\n", cli_styled(stdout, CLI_BOLD), width, commands[i].name,
               cli_styled(stdout, CLI_PLAIN), commands[i].summary);
    printf("\n%s COMMAND --help tells more about one of them.\n", program);
}

static iso_status fail_unknown(const char *program, const cli_command *commands, size_t n_commands,
                               const char *name) {
    const char **names = calloc(n_commands + 1, sizeof *names);
    ISO_ASSERT(names != NULL);
    for (size_t i = 0; i < n_commands; i++) names[i] = commands[i].name;
    const char *near = iso_str_nearest(name, names, n_commands);
    iso_status status =
        near ? iso_fail(ISO_ERR_USAGE, "%s %s: no such command; did you mean %s?", program, name,
                        near)
             : iso_fail(ISO_ERR_USAGE, "%s %s: no such command; %s --help lists them", program,
                        name, program);
    free(names);
    return status;
}

/* `help X ...` is `X ... --help`. */
static iso_status run_help(const char *program, const cli_command *commands, size_t n_commands,
                           int argc, char **argv) {
    char **rest = malloc(((size_t)argc + 2) * sizeof *rest);
    ISO_ASSERT(rest != NULL);
    char flag[] = "--help";
    memcpy(rest, argv, (size_t)argc * sizeof *rest);
    rest[argc] = flag;
    rest[argc + 1] = NULL;
    iso_status status = cli_dispatch(program, commands, n_commands, argc + 1, rest);
    free(rest);
    return status;
}

iso_status cli_dispatch(const char *program, const cli_command *commands, size_t n_commands,
                        int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "--help";
    if (strcmp(name, "help") == 0 && argc > 2)
        return run_help(program, commands, n_commands, argc - 1, argv + 1);
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        print_commands(program, commands, n_commands);
        return ISO_OK;
    }
    for (size_t i = 0; i < n_commands; i++)
        if (strcmp(commands[i].name, name) == 0) return commands[i].run(argc - 1, argv + 1);
    return fail_unknown(program, commands, n_commands, name);
}
