#include "keeper.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "reaper.h"
#include "store.h"

#define STOP_MS 2000

static int pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }
static int pidfd_getfd(int pidfd, int fd) { return (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0); }

/* The number of the descriptor of `pid` that is its store, or -1. */
static int find_table(pid_t pid)
{
    char directory[64] = "/proc/", path[128], target[64];
    strcat(directory, log_number((unsigned long long)pid));
    strcat(directory, "/fd");
    DIR *descriptors = opendir(directory);
    int found = -1;
    for (struct dirent *entry; descriptors && found < 0 && (entry = readdir(descriptors));) {
        if (strlen(entry->d_name) > 10)
            continue;
        strcat(strcat(strcpy(path, directory), "/"), entry->d_name);
        ssize_t size = readlink(path, target, sizeof target - 1);
        target[size > 0 ? size : 0] = 0;
        if (strncmp(target, "/memfd:" STORE_MEMFD, sizeof "/memfd:" STORE_MEMFD - 1) == 0)
            found = atoi(entry->d_name);
    }
    if (descriptors)
        closedir(descriptors);
    return found;
}

static const struct store_table *map_table(int pidfd, pid_t pid)
{
    struct stat status;
    int number = find_table(pid);
    int fd = number < 0 ? -1 : pidfd_getfd(pidfd, number);
    if (fd < 0)
        return NULL;
    void *memory = MAP_FAILED;
    if (fstat(fd, &status) == 0 && status.st_size == (off_t)sizeof(struct store_table))
        memory = mmap(NULL, sizeof(struct store_table), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    const struct store_table *table = memory == MAP_FAILED ? NULL : memory;
    return table && table->magic == STORE_MAGIC && table->count <= STORE_LIMIT ? table : NULL;
}

/* Copies every descriptor; 0 or the first errno. */
static int copy_all(int pidfd, const struct store_table *table)
{
    for (uint32_t i = 0; i < table->count; i++) {
        const struct store_entry *entry = &table->entries[i];
        int fd = pidfd_getfd(pidfd, entry->fd);
        int error = fd < 0 ? errno : store_put(entry->name, fd, 0);
        if (error)
            return error;
    }
    return 0;
}

static int is_stopped(pid_t pid)
{
    char state = reaper_state(pid);
    return state == 'T' || state == 't';
}

/* SIGSTOP takes effect when the process next looks; a table that still changes must not be copied. */
static int wait_until_stopped(pid_t pid)
{
    for (int64_t deadline = clock_ms() + STOP_MS; clock_ms() < deadline; clock_sleep_ms(1))
        if (is_stopped(pid))
            return 0;
    return ETIMEDOUT;
}

static int signal_by(int pidfd, int number)
{
    return syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0) ? errno : 0;
}

static int copy_from_stopped(int pidfd, pid_t old)
{
    int error = wait_until_stopped(old);
    if (error)
        return error;
    const struct store_table *table = map_table(pidfd, old);
    return table ? copy_all(pidfd, table) : ESRCH;
}

/* Its end is also the end of its agent (PR_SET_PDEATHSIG), which the next one must not meet. */
static int kill_and_wait(int pidfd)
{
    struct pollfd gone = {.fd = pidfd, .events = POLLIN};
    int error = signal_by(pidfd, SIGKILL);
    return error ? error : poll(&gone, 1, STOP_MS) == 1 ? 0 : ETIMEDOUT;
}

int keeper_take_from(pid_t old)
{
    int pidfd = pidfd_open(old);
    if (pidfd < 0)
        return errno;
    int error = signal_by(pidfd, SIGSTOP);
    if (!error)
        error = copy_from_stopped(pidfd, old);
    if (error)
        signal_by(pidfd, SIGCONT);
    else
        error = kill_and_wait(pidfd);
    close(pidfd);
    return error;
}
