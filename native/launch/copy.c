/* cp -a of a directory's contents, by descriptors and without allocation. Extended attributes are not copied. */
#include "launch.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

enum { MAX_DEPTH = 64 };

struct entry { /* struct linux_dirent64 */
    uint64_t inode;
    int64_t next;
    uint16_t length;
    uint8_t type;
    char name[];
};

static long copy_directory(int from, int to, int depth);

static long copy_bytes(int from, const char *name, int to)
{
    int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    int out = in < 0 ? -1 : openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    long result = out < 0 ? -errno : 0;

    while (!result && (result = RAW4(SYS_sendfile, out, in, NULL, 1 << 30)) > 0)
        result = 0;
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return result;
}

static long copy_link(int from, const char *name, int to)
{
    char target[PATH_MAX];
    ssize_t length = readlinkat(from, name, target, sizeof target - 1);

    if (length < 0)
        return -errno;
    target[length] = '\0';
    return symlinkat(target, to, name) ? -errno : 0;
}

static long copy_below(int from, const char *name, int to, int depth)
{
    int source, target = -1;
    long result = mkdirat(to, name, 0700) ? -errno : 0;

    if (result)
        return result;
    source = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (source >= 0)
        target = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    result = target < 0 ? -errno : copy_directory(source, target, depth + 1);
    if (source >= 0)
        close(source);
    if (target >= 0)
        close(target);
    return result;
}

static long copy_metadata(int to, const char *name, const struct stat *status)
{
    struct timespec times[2] = {status->st_atim, status->st_mtim};

    if (fchownat(to, name, status->st_uid, status->st_gid, AT_SYMLINK_NOFOLLOW))
        return -errno;
    if (!S_ISLNK(status->st_mode) && fchmodat(to, name, status->st_mode & 07777, 0))
        return -errno;
    return utimensat(to, name, times, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

static long copy_entry(int from, const char *name, int to, int depth)
{
    struct stat status;
    long result;

    if (fstatat(from, name, &status, AT_SYMLINK_NOFOLLOW))
        return -errno;
    if (S_ISDIR(status.st_mode))
        result = copy_below(from, name, to, depth);
    else if (S_ISREG(status.st_mode))
        result = copy_bytes(from, name, to);
    else if (S_ISLNK(status.st_mode))
        result = copy_link(from, name, to);
    else
        result = RAW4(SYS_mknodat, to, name, status.st_mode, status.st_rdev);
    return result ? result : copy_metadata(to, name, &status);
}

static long copy_directory(int from, int to, int depth)
{
    char buffer[4096] __attribute__((aligned(8)));
    long size;

    if (depth > MAX_DEPTH)
        return -ELOOP;
    while ((size = RAW3(SYS_getdents64, from, buffer, sizeof buffer)) > 0) {
        for (long at = 0; at < size;) {
            const struct entry *entry = (const struct entry *)(buffer + at);
            at += entry->length;
            if (!strcmp(entry->name, ".") || !strcmp(entry->name, ".."))
                continue;
            long result = copy_entry(from, entry->name, to, depth);
            if (result)
                return result;
        }
    }
    return size;
}

long do_copy_up(struct run *run, const unsigned long *a)
{
    int from = openat(a[0], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    long result = from < 0 ? -errno : copy_directory(from, a[1], 0);

    (void)run;
    if (from >= 0)
        close(from);
    return result;
}
