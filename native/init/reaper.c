#include "reaper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"

/* __WALL: also children whose exit signal is not SIGCHLD. */
#define WAIT_FLAGS (WEXITED | WNOHANG | __WALL)

static int raw_status(const siginfo_t *info)
{
    if (info->si_code == CLD_EXITED)
        return (info->si_status & 0xff) << 8;
    return info->si_status | (info->si_code == CLD_DUMPED ? 0x80 : 0);
}

#define STAT_SIZE 1024

/* 1 when `out` (STAT_SIZE bytes) holds /proc/PID/stat. */
static int read_stat(pid_t pid, char *out)
{
    char path[64] = "/proc/";
    strcat(strcat(path, log_number((unsigned long long)pid)), "/stat");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t size = read(fd, out, STAT_SIZE - 1);
    close(fd);
    out[size > 0 ? size : 0] = 0;
    return size > 0;
}

/* Where field `number` starts in `text`, or NULL. The command's name is field 2, in parentheses, and may hold anything:
 * count from the last one. */
static const char *find_field(const char *text, int number)
{
    const char *at = strrchr(text, ')');
    for (int field = 2; at && field < number; field++)
        at = strchr(at + 1, ' ');
    return at ? at + 1 : NULL;
}

uint64_t reaper_stat_field(pid_t pid, int number)
{
    char text[STAT_SIZE];
    const char *field = read_stat(pid, text) ? find_field(text, number) : NULL;
    return field ? strtoull(field, NULL, 10) : 0;
}

char reaper_state(pid_t pid)
{
    char text[STAT_SIZE];
    const char *field = read_stat(pid, text) ? find_field(text, 3) : NULL;
    return field ? *field : 0;
}

int reaper_peek(struct death *out)
{
    siginfo_t info = {.si_pid = 0};
    if (waitid(P_ALL, 0, &info, WAIT_FLAGS | WNOWAIT) != 0)
        return errno == ECHILD ? -1 : 0;
    if (info.si_pid == 0)
        return 0;
    *out = (struct death){info.si_pid, raw_status(&info), reaper_stat_field(info.si_pid, 22)};
    return 1;
}

void reaper_release(const struct death *death)
{
    siginfo_t info;
    waitid(P_PID, (id_t)death->pid, &info, WAIT_FLAGS);
}
