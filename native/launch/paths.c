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

/* Makes the last component of `path`, whose parent exists. EEXIST is fine: whoever opens it next sees what it is. */
static long make_last(int base, const char *path, mode_t mode)
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
    RAW1(SYS_close, descriptor);
    return result == -EEXIST ? 0 : result;
}

/* mkdir -p: tries the whole path, then makes what is missing from the front. Returns the last directory. */
static long make_directories(int base, const char *path, mode_t mode)
{
    char prefix[PATH_MAX];
    size_t length = strlen(path);
    long descriptor = open_beneath(base, path, O_PATH | O_DIRECTORY), result;

    if (descriptor != -ENOENT)
        return descriptor;
    if (length >= sizeof prefix)
        return -ENAMETOOLONG;
    for (size_t end = 1; end <= length; end++) {
        if (path[end - 1] == '/' || (path[end] && path[end] != '/'))
            continue; /* not the end of a component */
        memcpy(prefix, path, end);
        prefix[end] = '\0';
        descriptor = open_beneath(base, prefix, O_PATH | O_DIRECTORY);
        if (descriptor >= 0) {
            RAW1(SYS_close, descriptor);
            continue;
        }
        result = descriptor == -ENOENT ? make_last(base, prefix, mode) : descriptor;
        if (result < 0)
            return result;
    }
    return open_beneath(base, path, O_PATH | O_DIRECTORY);
}

long do_make_directories(struct run *run, const unsigned long *a)
{
    (void)run;
    return make_directories(a[0], (const char *)a[1], a[2]);
}

static long make_file(int base, const char *path, mode_t mode)
{
    char parent[PATH_MAX];
    size_t length = strlen(path);
    const char *slash = strrchr(path, '/');
    long directory, file;

    if (length >= sizeof parent)
        return -ENAMETOOLONG;
    memcpy(parent, path, length + 1);
    parent[slash ? slash - path : 0] = '\0';
    directory = make_directories(base, parent, mode);
    if (directory < 0)
        return directory;
    file = RAW4(SYS_openat, directory, slash ? slash + 1 : path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                mode & 0666);
    RAW1(SYS_close, directory);
    if (file < 0)
        return file == -EEXIST ? -ENOENT : file; /* it is a link to nowhere */
    RAW1(SYS_close, file);
    return open_beneath(base, path, O_PATH);
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
