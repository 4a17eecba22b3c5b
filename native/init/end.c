#include "end.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "reaper.h"

#define KILL_MS 2000
#define SYNC_MS 20000
#define AGAIN_MS 100 /* what was forked between two sweeps gets its signal too */

/* A keeper is the subreaper of its descendants: each becomes its child when what is between them has died. */
static void signal_children(int number)
{
    pid_t self = getpid();
    DIR *all = opendir("/proc");
    for (struct dirent *entry; all && (entry = readdir(all));) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid > 0 && reaper_stat_field(pid, 4) == (uint64_t)self)
            kill(pid, number);
    }
    if (all)
        closedir(all);
}

static void signal_all(int number)
{
    /* As anything but PID 1, -1 would mean the whole host. */
    if (getpid() == 1)
        kill(-1, number);
    else
        signal_children(number);
}

/* Reaps all that has ended; 1 when there are no children left. */
static int reap_all(void)
{
    struct death death;
    int found;
    while ((found = reaper_peek(&death)) == 1)
        reaper_release(&death);
    return found < 0;
}

static void wait_for_child(int64_t milliseconds)
{
    struct timespec limit = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000};
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigtimedwait(&child, NULL, &limit); /* blocked, as all signals are; EAGAIN is the end of the time */
}

/* Sends `number` until nothing is left; 1 when that came true within `limit_ms`. */
static int sweep(int number, int64_t limit_ms)
{
    int64_t deadline = clock_ms() + limit_ms;
    signal_all(number);
    for (;;) {
        if (reap_all())
            return 1;
        int64_t left = deadline - clock_ms();
        if (left <= 0)
            return 0;
        wait_for_child(left < AGAIN_MS ? left : AGAIN_MS);
        if (number == SIGKILL || getpid() != 1)
            signal_all(number);
    }
}

void end_processes(int64_t grace_ms)
{
    if (sweep(SIGTERM, grace_ms) || sweep(SIGKILL, KILL_MS))
        return;
    log_line("some processes did not die", NULL, 0);
}

void end_sync(void)
{
    int64_t deadline = clock_ms() + SYNC_MS;
    pid_t child = fork();
    if (child == 0) {
        sync();
        _exit(0);
    }
    if (child < 0)
        sync();
    while (!reap_all()) {
        int64_t left = deadline - clock_ms();
        if (left <= 0) {
            log_line("sync has not ended, going on without", NULL, 0);
            return;
        }
        wait_for_child(left);
    }
}
