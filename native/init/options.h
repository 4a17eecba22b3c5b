/* The command line. */
#ifndef PILOT_OPTIONS_H
#define PILOT_OPTIONS_H
#include <stdint.h>
#include <sys/types.h>

struct options {
    const char *name;
    const char *listen; /* the stored descriptor at which agents come in; NULL: there is an agent of our own, or none */
    int keeper, reaper;
    pid_t take_from; /* 0: nobody */
    int64_t grace_ms, agent_grace_ms, keep_records_ms, longest_pause_ms;
    char **command;
};

/* What holds when nothing is said. */
struct options options_default(void);

/* 0, or -1 when the words make no sense; then a line has said so. */
int options_parse(int argc, char **argv, struct options *out);
#endif
