/* Waits for every child: what it was and how it ended is known before its pid can be used again. */
#ifndef PILOT_REAPER_H
#define PILOT_REAPER_H
#include <stdint.h>
#include <sys/types.h>

struct death {
    pid_t pid;
    int32_t status;      /* as wait(2) gives it */
    uint64_t start_time; /* field 22 of /proc/PID/stat, in clock ticks since boot; 0 when /proc did not say */
};

/* The next child that has ended, still a zombie; 1, or 0 when none has, or -1 when there are no children at all. */
int reaper_peek(struct death *out);

/* Lets the zombie go. */
void reaper_release(const struct death *death);

/* Field `number` (4 = parent, 22 = start time) of /proc/PID/stat; 0 when it cannot be read. */
uint64_t reaper_stat_field(pid_t pid, int number);

/* The state letter of /proc/PID/stat, or 0. */
char reaper_state(pid_t pid);
#endif
