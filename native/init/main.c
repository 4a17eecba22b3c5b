/* pilot-init: PID 1 of a machine, or the keeper of a host's descriptors (docs/reference/joints.md, 2; README.md beside).
 *
 * One thread, one loop, nothing allocated in it:
 *
 *     start the agent when due ─► send what is owed ─► poll(signals, link; next deadline) ─► reap ─► read requests ─┐
 *              ▲                                                                                                   │
 *              └─────────────── until SHUTDOWN, or the agent is gone after SIGTERM/INT/PWR ◄───────────────────────┘
 *     SIGTERM all, grace, SIGKILL all, sync (VM), exit or reboot(2)
 *
 * All signals stay blocked and come through a signalfd; every descriptor is close-on-exec. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent.h"
#include "clock.h"
#include "door.h"
#include "end.h"
#include "health.h"
#include "inherited.h"
#include "keeper.h"
#include "link.h"
#include "log.h"
#include "message.h"
#include "options.h"
#include "reaper.h"
#include "records.h"
#include "stage0.h"
#include "store.h"

#define REAPS_PER_TURN 256
#define SPARE_DESCRIPTORS 64 /* of the limit: ours, and a packet's on its way into the store */
#define EXIT_FAILED 1
#define EXIT_USAGE 2
#define EXIT_REBOOT 3 /* of a container whose agent asked for a reboot */
#define CLOSE_RANGE_CLOEXEC_FLAG 4u

static struct options options;
static struct agent_settings settings;
static int64_t stop_deadline_ms = -1; /* the agent was told to stop and must be gone by then; -1: it was not */

/* ---- the start */

static void ensure_standard_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd < 3);
    if (fd > 2)
        close(fd);
}

static void raise_descriptor_limit(void)
{
    struct rlimit mine;
    getrlimit(RLIMIT_NOFILE, &settings.descriptors);
    mine = settings.descriptors;
    mine.rlim_cur = mine.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &mine) != 0)
        log_line("raise the limit of descriptors", NULL, errno);
}

static uint32_t store_room(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur <= SPARE_DESCRIPTORS)
        return 0;
    return limit.rlim_cur - SPARE_DESCRIPTORS < STORE_LIMIT ? (uint32_t)limit.rlim_cur - SPARE_DESCRIPTORS
                                                            : STORE_LIMIT;
}

static int open_signals(void)
{
    static const int wanted[] = {SIGCHLD, SIGTERM, SIGINT, SIGPWR};
    sigset_t all, ours;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    /* An ignored SIGCHLD, inherited over exec, would make the kernel reap for us and lose the status. */
    signal(SIGCHLD, SIG_DFL);
    sigemptyset(&ours);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        sigaddset(&ours, wanted[i]);
    return signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* ---- the loop */

static void take_signals(int signals, int64_t now_ms)
{
    struct signalfd_siginfo info;
    while (read(signals, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGCHLD)
            continue; /* the loop reaps in every turn */
        if (options.listen)
            continue; /* what is stored must not end with a session or a service */
        if (stop_deadline_ms < 0)
            stop_deadline_ms = now_ms + options.agent_grace_ms;
        if (agent_pid())
            kill(agent_pid(), (int)info.ssi_signo);
    }
}

/* Reaps a bounded number; 1 when there may be more. */
static int reap(int64_t now_ms)
{
    struct death death;
    for (int turn = 0; turn < REAPS_PER_TURN; turn++) {
        if (reaper_peek(&death) != 1)
            return 0;
        if (death.pid != agent_pid() && settings.command)
            records_add((uint32_t)death.pid, death.start_time, death.status, now_ms);
        reaper_release(&death);
        if (death.pid == agent_pid())
            agent_died(death.status, now_ms);
    }
    return 1;
}

static int64_t sooner(int64_t one, int64_t other) { return one < 0 ? other : other < 0 || one < other ? one : other; }

/* The next moment at which there is something to do without being woken, or -1. */
static int64_t next_deadline_ms(int64_t now_ms)
{
    int64_t oldest = records_oldest_ms();
    int64_t next = oldest < 0 ? -1 : oldest + options.keep_records_ms + 1;
    if (settings.command)
        next = sooner(next, agent_due_ms());
    next = sooner(next, stop_deadline_ms);
    return link_paused() ? sooner(next, now_ms + LINK_PAUSE_MS) : next;
}

static void wait_for_events(int signals, int64_t deadline_ms)
{
    struct pollfd polled[] = {{.fd = signals, .events = POLLIN},
                              {.fd = link_fd(), .events = link_events()},
                              {.fd = door_fd(), .events = POLLIN},
                              {.fd = health_fd(), .events = POLLIN}};
    if (!polled[1].events)
        polled[1].fd = -1; /* else a closed peer would wake us for ever by POLLHUP */
    int64_t left = deadline_ms < 0 ? -1 : deadline_ms - clock_ms();
    poll(polled, 4, deadline_ms < 0 ? -1 : left < 0 ? 0 : (int)left);
}

static int is_over(int64_t now_ms)
{
    if (link_shutdown_request() >= 0 || door_is_deserted())
        return 1;
    return stop_deadline_ms >= 0 && (!agent_pid() || now_ms >= stop_deadline_ms);
}

/* Runs until the end is asked for. */
static void loop(int signals)
{
    int more = 1; /* a child of the program that we were before exec may have died, and its SIGCHLD gone */
    for (;;) {
        int64_t now_ms = clock_ms();
        if (settings.command)
            agent_start_if_due(now_ms);
        link_write();
        wait_for_events(signals, more ? 0 : next_deadline_ms(now_ms));
        now_ms = clock_ms();
        take_signals(signals, now_ms);
        more = reap(now_ms);
        records_expire(now_ms - options.keep_records_ms);
        link_read();
        door_admit();
        health_answer(stop_deadline_ms >= 0);
        if (is_over(now_ms))
            return;
    }
}

/* ---- the whole */

static int fail(const char *what, int error)
{
    log_line(what, NULL, error);
    return EXIT_FAILED;
}

static int run(const struct stage0 *vm)
{
    settings = (struct agent_settings){
        .command = options.command, .longest_pause_ms = options.longest_pause_ms, .die_with_init = options.keeper};
    prctl(PR_SET_NAME, options.name);
    inherited_read(getenv("PILOT_FDS"));
    int signals = open_signals();
    raise_descriptor_limit();
    int error = signals < 0 ? errno : store_open(store_room());
    if (!error)
        error = agent_prepare(&settings);
    if (error)
        return fail("start", error);
    inherited_store();
    if (options.keeper && prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
        return fail("become the reaper of descendants", errno);
    if (options.take_from && (error = keeper_take_from(options.take_from)))
        return fail("take the store of the old keeper", error);
    if (options.listen && (error = door_open(options.listen)))
        return fail("listen at the stored descriptor", error);
    health_open();
    loop(signals);
    if (options.listen)
        return 0; /* it started nobody */
    end_processes(options.grace_ms);
    int again = link_shutdown_request() == SHUTDOWN_REBOOT;
    if (vm) {
        end_sync();
        stage0_end_machine(again, vm->halt_by_reboot);
    }
    return again ? EXIT_REBOOT : 0;
}

static int run_in_vm(void)
{
    struct stage0 vm = stage0_run();
    options = options_default();
    options.command = vm.command;
    int failed = run(&vm);
    /* A PID 1 that returns is a kernel panic. */
    stage0_end_machine(0, vm.halt_by_reboot);
    return failed;
}

int main(int argc, char **argv)
{
    if (stage0_wanted(argv[0]))
        return run_in_vm();
    ensure_standard_descriptors();
    if (options_parse(argc, argv, &options) != 0)
        return EXIT_USAGE;
    syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC_FLAG);
    return run(NULL);
}
