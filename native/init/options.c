#include "options.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

enum kind { FLAG, TEXT, NUMBER, PID };

struct row {
    const char *word;
    enum kind kind;
    size_t offset;
};

/* clang-format off */
static const struct row rows[] = {
    {"--keeper", FLAG, offsetof(struct options, keeper)},
    {"--reaper", FLAG, offsetof(struct options, reaper)},
    {"--name", TEXT, offsetof(struct options, name)},
    {"--listen", TEXT, offsetof(struct options, listen)},
    {"--take-from", PID, offsetof(struct options, take_from)},
    {"--grace-ms", NUMBER, offsetof(struct options, grace_ms)},
    {"--agent-grace-ms", NUMBER, offsetof(struct options, agent_grace_ms)},
    {"--keep-records-ms", NUMBER, offsetof(struct options, keep_records_ms)},
    {"--longest-pause-ms", NUMBER, offsetof(struct options, longest_pause_ms)},
};
/* clang-format on */

static int set_number(const struct row *row, const char *text, void *field)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || *end || end == text || value < 0 || value > 1000000000)
        return -1;
    if (row->kind == PID)
        *(pid_t *)field = (pid_t)value;
    else
        *(int64_t *)field = value;
    return 0;
}

/* Takes one option; how many words it was, or -1. */
static int take(char **words, struct options *out)
{
    for (const struct row *row = rows; row < rows + sizeof rows / sizeof *rows; row++) {
        if (strcmp(words[0], row->word) != 0)
            continue;
        void *field = (char *)out + row->offset;
        if (row->kind == FLAG)
            return *(int *)field = 1;
        if (!words[1])
            return -1;
        if (row->kind == TEXT)
            *(const char **)field = words[1];
        else if (set_number(row, words[1], field) != 0)
            return -1;
        return 2;
    }
    return -1;
}

static int complain(const char *about)
{
    log_line("bad command line", about, 0);
    log_line("usage",
             "pilot-init [--name N] [--keeper [--take-from PID]] [--grace-ms N] -- COMMAND ARG... | pilot-init "
             "--keeper --listen NAME | pilot-init --reaper",
             0);
    return -1;
}

struct options options_default(void)
{
    return (struct options){.name = "pilot-init",
                            .grace_ms = 5000,
                            .agent_grace_ms = 30000,
                            .keep_records_ms = 600000,
                            .longest_pause_ms = 1000};
}

int options_parse(int argc, char **argv, struct options *out)
{
    int index = 1;
    *out = options_default();
    while (index < argc && strcmp(argv[index], "--") != 0) {
        int words = take(&argv[index], out);
        if (words < 0)
            return complain(argv[index]);
        index += words;
    }
    if (index + 1 < argc)
        out->command = &argv[index + 1];
    int alone = out->reaper || out->listen;
    if (out->command && alone)
        return complain("--reaper and --listen take no COMMAND");
    if (!out->command && !alone)
        return complain("COMMAND is missing");
    if (out->listen && (!out->keeper || out->reaper))
        return complain("--listen is for a keeper");
    if (out->take_from && !out->keeper)
        return complain("--take-from is for a keeper");
    return 0;
}
