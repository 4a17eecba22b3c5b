#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "link.h"
#include "log.h"

#define YOUNG_MS 1000
#define FIRST_PAUSE_MS 10
#define ENVIRONMENT_LIMIT 512
#define LINK_TARGET 3 /* PILOT_INIT_FD */

extern char **environ;

static const struct agent_settings *settings;
static char *environment[ENVIRONMENT_LIMIT];
static pid_t pid;
static uint32_t number; /* of the agent that runs, or ran last */
static uint32_t died_young;
static int64_t started_ms, due_ms;

static int is_variable(const char *text, const char *name)
{
    size_t length = strlen(name);
    return strncmp(text, name, length) == 0 && text[length] == '=';
}

int agent_prepare(const struct agent_settings *given)
{
    static char link_variable[] = "PILOT_INIT_FD=3", path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    size_t count = 0;
    int has_path = 0;
    settings = given;
    for (char **variable = environ; *variable; variable++) {
        if (is_variable(*variable, "PILOT_FDS") || is_variable(*variable, "PILOT_INIT_FD"))
            continue;
        if (count == ENVIRONMENT_LIMIT - 3)
            return E2BIG;
        has_path |= is_variable(*variable, "PATH");
        environment[count++] = *variable;
    }
    if (!has_path)
        environment[count++] = path;
    environment[count++] = link_variable;
    return 0;
}

/* By the kernel's own call: the C library keeps 32 to 34 to itself and would leave them as init's caller had them. */
static void reset_dispositions(void)
{
    struct {
        void *handler;
        unsigned long flags;
        void *restorer;
        uint64_t mask;
    } by_default = {0};
    for (int number = 1; number < NSIG; number++)
        syscall(SYS_rt_sigaction, number, &by_default, NULL, sizeof by_default.mask); /* refused for KILL and STOP */
}

/* In the child. */
static void become_agent(int agent_end, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    if (settings->die_with_init) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(127); /* init died before the line above */
    }
    setsid();
    /* Everything else that init holds is close-on-exec. The end may be 3 already; dup2 would leave the flag on then. */
    int moved = fcntl(agent_end, F_DUPFD_CLOEXEC, LINK_TARGET + 1);
    if (moved < 0 || dup2(moved, LINK_TARGET) < 0)
        _exit(127);
    setrlimit(RLIMIT_NOFILE, &settings->descriptors); /* not before: the store may have used up the agent's numbers */
    reset_dispositions();
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(settings->command[0], settings->command, environment);
    log_line("start the agent", settings->command[0], errno);
    _exit(127);
}

static int pause_ms(void)
{
    if (died_young <= 1)
        return 0;
    uint32_t doublings = died_young - 2 < 10 ? died_young - 2 : 10;
    int64_t pause = (int64_t)FIRST_PAUSE_MS << doublings;
    return (int)(pause < settings->longest_pause_ms ? pause : settings->longest_pause_ms);
}

static void plan_start(int64_t now_ms)
{
    died_young = now_ms - started_ms < YOUNG_MS ? died_young + 1 : 0;
    due_ms = now_ms + pause_ms();
}

void agent_start_if_due(int64_t now_ms)
{
    if (pid || now_ms < due_ms)
        return;
    started_ms = now_ms;
    pid_t parent = getpid();
    int agent_end = link_open(++number);
    pid_t child = agent_end < 0 ? -1 : fork();
    if (child == 0)
        become_agent(agent_end, parent);
    if (child < 0) {
        log_line("start the agent", settings->command[0], agent_end < 0 ? -agent_end : errno);
        link_close();
        plan_start(now_ms);
    } else {
        pid = child;
    }
    if (agent_end >= 0)
        close(agent_end);
}

int64_t agent_due_ms(void) { return pid ? -1 : due_ms; }

pid_t agent_pid(void) { return pid; }

void agent_died(int32_t status, int64_t now_ms)
{
    if (WIFSIGNALED(status))
        log_line("the agent was killed by signal", log_number((unsigned)WTERMSIG(status)), 0);
    else
        log_line("the agent exited with status", log_number((unsigned)WEXITSTATUS(status)), 0);
    pid = 0;
    link_close();
    plan_start(now_ms);
}
