/* Keeps the agent running: one at a time, started again at once, with pauses when it keeps dying young. */
#ifndef PILOT_AGENT_H
#define PILOT_AGENT_H
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

struct agent_settings {
    char **command;            /* NULL-terminated; NULL when there is no agent (--reaper) */
    int64_t longest_pause_ms;  /* between two starts */
    int die_with_init;         /* a keeper's agent: a new keeper starts its own */
    struct rlimit descriptors; /* the limit that the agent gets */
};

/* Copies the environment for the agent: without PILOT_FDS, with PILOT_INIT_FD=3 and a PATH. 0 or an errno (E2BIG). */
int agent_prepare(const struct agent_settings *settings);

/* Starts the agent when it is due; what goes wrong counts as a death. */
void agent_start_if_due(int64_t now_ms);

/* When the next start is due; -1 when the agent runs. */
int64_t agent_due_ms(void);

/* The agent's pid, or 0. */
pid_t agent_pid(void);

/* It was reaped: takes in its last words and plans the next start. */
void agent_died(int32_t status, int64_t now_ms);
#endif
