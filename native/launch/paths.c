/* Places beneath a base directory, found and made without ever leaving it. */
#include "launch.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/* EAGAIN: something was renamed while the path was walked, so the kernel cannot say that it stayed inside. */
static long open_retrying(int base, const char *path, const struct open_how *how, size_t size)
{
    long result;

    for (int attempt = 0; attempt < 128; attempt++) {
        result = RAW4(SYS_openat2, base, path, how, size);
        if (result != -EAGAIN && result != -EINTR)
            break;
    }
    return result;
}

static long open_beneath(int base, const char *path, unsigned long flags)
{
    struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};

    return open_retrying(base, *path ? path : ".", &how, sizeof how);
}

long do_openat2(struct run *run, const unsigned long *a)
{
    (void)run;
    return open_retrying(a[0], (const char *)a[1], (const struct open_how *)a[2], a[3]);
}

/* Makes the last component of `path`, whose parent exists: 0. A link that is there already is read into `target` (of
 * PATH_MAX bytes): its length. Anything else is fine: whoever opens it next sees what it is. */
static long make_last(int base, const char *path, mode_t mode, char *target)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    size_t length = name - path;
    long descriptor, result;

    memcpy(parent, path, length);
    parent[length] = '\0';
    descriptor = open_beneath(base, parent, O_PATH | O_DIRECTORY);
    if (descriptor < 0)
        return descriptor;
    result = RAW3(SYS_mkdirat, descriptor, name, mode);
    if (result == -EEXIST) {
        result = RAW4(SYS_readlinkat, descriptor, name, target, PATH_MAX - 1);
        if (result == -EINVAL)
            result = 0; /* no link */
    }
    RAW1(SYS_close, descriptor);
    return result;
}

/* In `path`, of PATH_MAX bytes: the component [start, end) is the link that leads to target[0..length). */
static long follow_link(char *path, size_t start, size_t end, const char *target, size_t length)
{
    char followed[PATH_MAX];
    size_t before = target[0] == '/' ? 0 : start, after = strlen(path + end);

    if (before + length + after >= sizeof followed)
        return -ENAMETOOLONG;
    memcpy(followed, path, before);
    memcpy(followed + before, target, length);
    memcpy(followed + before + length, path + end, after + 1);
    memcpy(path, followed, before + length + after + 1);
    return 0;
}

static size_t name_start(const char *path, size_t end)
{
    while (end > 0 && path[end - 1] != '/')
        end--;
    return end;
}

enum { MAX_LINKS = 40, FOLLOW = 1 };

/* Makes what is missing of `path` from the front. FOLLOW when there is a link to nowhere: it is followed in `path`. */
static long make_missing(int base, char *path, mode_t mode)
{
    char prefix[PATH_MAX], target[PATH_MAX];
    size_t length = strlen(path);

    for (size_t end = 1; end <= length; end++) {
        if (path[end - 1] == '/' || (path[end] && path[end] != '/'))
            continue; /* not the end of a component */
        memcpy(prefix, path, end);
        prefix[end] = '\0';
        long result = open_beneath(base, prefix, O_PATH | O_DIRECTORY);
        if (result >= 0) {
            RAW1(SYS_close, result);
            continue;
        }
        if (result == -ENOENT)
            result = make_last(base, prefix, mode, target);
        if (result > 0) {
            result = follow_link(path, name_start(path, end), end, target, result);
            return result ? result : FOLLOW;
        }
        if (result < 0)
            return result;
    }
    return 0;
}

/* mkdir -p: tries the whole path, then makes what is missing; what a link leads to is made, too, and always inside: each
 * step is found from the base anew. Returns the last directory. */
static long make_directories(int base, const char *path, mode_t mode)
{
    char wanted[PATH_MAX];
    size_t length = strlen(path);
    long descriptor = open_beneath(base, path, O_PATH | O_DIRECTORY), result = FOLLOW;

    if (descriptor != -ENOENT)
        return descriptor;
    if (length >= sizeof wanted)
        return -ENAMETOOLONG;
    memcpy(wanted, path, length + 1);
    for (int links = 0; result == FOLLOW; links++)
        result = links < MAX_LINKS ? make_missing(base, wanted, mode) : -ELOOP;
    return result < 0 ? result : open_beneath(base, wanted, O_PATH | O_DIRECTORY);
}

long do_make_directories(struct run *run, const unsigned long *a)
{
    (void)run;
    return make_directories(a[0], (const char *)a[1], a[2]);
}

/* An empty file in a directory that is made, too; a link in its place is followed in `path` (FOLLOW). */
static long make_missing_file(int base, char *path, mode_t mode)
{
    char parent[PATH_MAX], target[PATH_MAX];
    size_t start = name_start(path, strlen(path));
    long directory, file, length = -EINVAL;

    memcpy(parent, path, start);
    parent[start ? start - 1 : 0] = '\0';
    directory = make_directories(base, parent, mode);
    if (directory < 0)
        return directory;
    file = RAW4(SYS_openat, directory, path + start, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode & 0666);
    if (file == -EEXIST)
        length = RAW4(SYS_readlinkat, directory, path + start, target, sizeof target - 1);
    RAW1(SYS_close, directory);
    if (file >= 0) {
        RAW1(SYS_close, file);
        return 0;
    }
    if (length < 0)
        return file == -EEXIST ? 0 : file; /* somebody else has just made it */
    length = follow_link(path, start, strlen(path), target, length);
    return length ? length : FOLLOW;
}

static long make_file(int base, const char *path, mode_t mode)
{
    char wanted[PATH_MAX];
    size_t length = strlen(path);
    long result = FOLLOW;

    if (length >= sizeof wanted)
        return -ENAMETOOLONG;
    memcpy(wanted, path, length + 1);
    for (int links = 0; result == FOLLOW; links++)
        result = links < MAX_LINKS ? make_missing_file(base, wanted, mode) : -ELOOP;
    return result < 0 ? result : open_beneath(base, wanted, O_PATH);
}

/* The place to mount `like` on: it is made when it is missing, of the same kind. */
long do_open_target(struct run *run, const unsigned long *a)
{
    const char *path = (const char *)a[1];
    struct stat status;
    long found = open_beneath(a[0], path, O_PATH);

    (void)run;
    if (found != -ENOENT)
        return found;
    if (fstat(a[2], &status) != 0)
        return -errno;
    return S_ISDIR(status.st_mode) ? make_directories(a[0], path, a[3]) : make_file(a[0], path, a[3]);
}

/* Of a directory over a file, or a file over a directory, move_mount(2) says EINVAL, as of much else. */
long do_check_kind(struct run *run, const unsigned long *a)
{
    struct stat tree, target;

    (void)run;
    if (fstat(a[0], &tree) || fstat(a[1], &target))
        return -errno;
    return S_ISDIR(tree.st_mode) == S_ISDIR(target.st_mode) ? 0 : -ENOTDIR;
}

long do_set_idmap(struct run *run, const unsigned long *a)
{
    struct mount_attr attributes;

    (void)run;
    memcpy(&attributes, (const void *)a[3], sizeof attributes);
    attributes.userns_fd = (int)a[4] < 0 ? UINT64_MAX : a[4];
    return RAW5(SYS_mount_setattr, a[0], a[1], a[2], &attributes, sizeof attributes);
}

/* The kernel says "(unreachable)/..." of a directory outside the root. */
long do_check_cwd(struct run *run, const unsigned long *a)
{
    char path[PATH_MAX];
    long length = RAW2(SYS_getcwd, path, sizeof path);

    (void)run;
    (void)a;
    if (length < 0)
        return length;
    return path[0] == '/' ? 0 : -EXDEV;
}

/* Is it the character device that its name says? Whoever wrote the root file system may have put another in its place. */
long do_check_device(struct run *run, const unsigned long *a)
{
    struct stat status;

    (void)run;
    if (fstat(a[0], &status))
        return -errno;
    return S_ISCHR(status.st_mode) && status.st_rdev == a[1] ? 0 : -ENODEV;
}

/* Is it (a[2] 1), or is it not (0), in a file system of this type? */
long do_check_filesystem(struct run *run, const unsigned long *a)
{
    struct statfs status;

    (void)run;
    if (fstatfs(a[0], &status))
        return -errno;
    return ((unsigned long)status.f_type == a[1]) == a[2] ? 0 : -EXDEV;
}
