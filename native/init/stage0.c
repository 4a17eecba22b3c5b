/* The order, and what is visible after each line:
 *
 *   /dev /proc /sys         devtmpfs, proc, sysfs; 0, 1, 2 are the console
 *   modules                 pilot.modules=LIST (default /modules/list): one path a line, in load order, '#' comments
 *   root                    pilot.root=serial:NAME | /dev/PATH, pilot.fs=TYPE (default erofs), read-only on /root;
 *                           waited for at most pilot.wait=SECONDS (default 15): a disk appears when its driver has probed
 *   switch                  /dev /proc /sys move into the root, the root moves to /
 *   the rest                /dev/pts /dev/shm /dev/mqueue, tmpfs on /run and /tmp, cgroup2 (else v1) on /sys/fs/cgroup
 *   COMMAND                 pilot.exec=PATH,ARG,... (default the agent)
 *
 * An error is one line on the console, saying what and why, and the end of the machine: a kernel panic would say neither.
 * The network stays down, and lo with it: that is the agent's. */
#include "stage0.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"
#include "cmdline.h"
#include "log.h"

#define ROOT_POLL_MS 2
#define NEW_ROOT "/root"

static int halt_by_reboot;

static void fail(const char *what, const char *to_what, int error)
{
    log_line(what, to_what, error);
    stage0_end_machine(0, halt_by_reboot);
    /* Only a kernel that cannot be ended gets here; PID 1 must not return. */
    for (;;)
        pause();
}

struct mount_row {
    const char *type, *source, *target, *options;
    unsigned long flags;
    mode_t mode; /* of the mount point, made when it is missing */
    int needed;
};

/* clang-format off */
static const struct mount_row before_root[] = {
    {"devtmpfs", "dev", "/dev", "mode=755", MS_NOSUID, 0755, 1},
    {"proc", "proc", "/proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, 0555, 1},
    {"sysfs", "sys", "/sys", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, 0555, 1},
};
/* clang-format on */

/* clang-format off */
static const struct mount_row after_root[] = {
    {"devpts", "devpts", "/dev/pts", "mode=620,gid=5,ptmxmode=666", MS_NOSUID | MS_NOEXEC, 0755, 1},
    {"tmpfs", "shm", "/dev/shm", "mode=1777", MS_NOSUID | MS_NODEV, 01777, 1},
    {"mqueue", "mqueue", "/dev/mqueue", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, 01777, 0},
    {"tmpfs", "run", "/run", "mode=755", MS_NOSUID | MS_NODEV, 0755, 1},
    {"tmpfs", "tmp", "/tmp", "mode=1777", MS_NOSUID | MS_NODEV, 01777, 1},
};
/* clang-format on */

static const char *const links[][2] = {
    {"/proc/self/fd", "/dev/fd"}, {"fd/0", "/dev/stdin"}, {"fd/1", "/dev/stdout"}, {"fd/2", "/dev/stderr"}};

#define COUNT(table) (sizeof(table) / sizeof *(table))

static void mount_all(const struct mount_row *rows, size_t count)
{
    for (const struct mount_row *row = rows; row < rows + count; row++) {
        mkdir(row->target, row->mode); /* EEXIST is the rule; any other reason comes back from mount */
        if (mount(row->source, row->target, row->type, row->flags, row->options) == 0)
            continue;
        /* A kernel with DEVTMPFS_MOUNT has /dev already. */
        if (errno == EBUSY)
            continue;
        if (row->needed)
            fail("mount", row->target, errno);
        log_line("no", row->target, errno);
    }
}

static void open_console(void)
{
    int fd = open("/dev/console", O_RDWR | O_NOCTTY);
    if (fd < 0)
        fd = open("/dev/null", O_RDWR);
    if (fd < 0)
        return; /* what the kernel opened for us stays */
    for (int target = 0; target < 3; target++)
        if (fd != target)
            dup2(fd, target);
    if (fd > 2)
        close(fd);
}

/* ---- modules */

static void load_module(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    /* A module that is missing or refused may not be needed: what needs it says so. */
    if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST))
        log_line("load module", path, errno);
    if (fd >= 0)
        close(fd);
}

static void load_modules(const char *list)
{
    static char text[16384];
    int fd = open(list, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return;
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (size < 0)
        fail("read the list of modules", list, errno);
    close(fd);
    text[size] = 0;
    for (char *at = text; *at;) {
        char *line = at;
        at += strcspn(at, "\n");
        if (*at)
            *at++ = 0;
        if (*line && *line != '#')
            load_module(line);
    }
}

/* ---- the root disk */

static int read_word(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t got = read(fd, out, size - 1);
    close(fd);
    out[got > 0 ? got : 0] = 0;
    out[strcspn(out, "\n")] = 0;
    return got > 0;
}

static int has_serial(const char *disk, const char *serial)
{
    char path[300], found[64];
    snprintf(path, sizeof path, "/sys/block/%s/serial", disk);
    return read_word(path, found, sizeof found) && strcmp(found, serial) == 0;
}

/* The device node of the disk with this serial; 0 when there is none yet. */
static int find_serial(const char *serial, char *out, size_t size)
{
    DIR *disks = opendir("/sys/block");
    int found = 0;
    for (struct dirent *entry; disks && !found && (entry = readdir(disks));)
        if (has_serial(entry->d_name, serial)) {
            snprintf(out, size, "/dev/%s", entry->d_name);
            found = 1;
        }
    if (disks)
        closedir(disks);
    return found;
}

static int find_root(const char *wanted, char *out, size_t size)
{
    if (strncmp(wanted, "serial:", 7) == 0)
        return find_serial(wanted + 7, out, size);
    snprintf(out, size, "%s", wanted);
    return 1;
}

static void mount_root(const char *wanted, const char *type)
{
    int64_t deadline = clock_ms() + strtol(cmdline_get("pilot.wait", "15"), NULL, 10) * 1000;
    char device[300];
    int error = ENOENT;
    mkdir(NEW_ROOT, 0755);
    for (;;) {
        if (find_root(wanted, device, sizeof device)) {
            if (mount(device, NEW_ROOT, type, MS_RDONLY, NULL) == 0)
                return;
            error = errno;
            /* Not there yet: no node, or a node without its disk. Anything else does not change by waiting. */
            if (error != ENOENT && error != ENXIO)
                fail("mount the root", device, error);
        }
        if (clock_ms() > deadline)
            fail("find the root disk in time", wanted, error);
        clock_sleep_ms(ROOT_POLL_MS);
    }
}

static void switch_root(void)
{
    for (size_t i = 0; i < COUNT(before_root); i++) {
        char target[32];
        snprintf(target, sizeof target, NEW_ROOT "%s", before_root[i].target);
        if (mount(before_root[i].target, target, NULL, MS_MOVE, NULL) != 0)
            fail("move into the root", target, errno);
    }
    /* pivot_root(2) refuses an initramfs; moving the mount over / is the way (initramfs documentation of the kernel). */
    if (chdir(NEW_ROOT) != 0 || mount(".", "/", NULL, MS_MOVE, NULL) != 0 || chroot(".") != 0 || chdir("/") != 0)
        fail("switch root", NEW_ROOT, errno);
}

/* ---- cgroups */

static void mount_cgroup1(const char *controller)
{
    char target[96];
    snprintf(target, sizeof target, "/sys/fs/cgroup/%s", controller);
    mkdir(target, 0755);
    if (mount("cgroup", target, "cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, controller) != 0)
        log_line("no cgroup controller", controller, errno);
}

/* /proc/cgroups: a header line, then "name hierarchy cgroups enabled". */
static void mount_cgroup1_all(void)
{
    static char text[4096];
    int fd = open("/proc/cgroups", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[size > 0 ? size : 0] = 0;
    for (char *at = text; *at;) {
        char *line = at, name[64];
        int enabled;
        at += strcspn(at, "\n");
        if (*at)
            *at++ = 0;
        if (*line != '#' && sscanf(line, "%63s %*d %*d %d", name, &enabled) == 2 && enabled)
            mount_cgroup1(name);
    }
}

static void mount_cgroups(void)
{
    unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (mount("cgroup2", "/sys/fs/cgroup", "cgroup2", flags, "nsdelegate") == 0)
        return;
    log_line("no cgroup2, using v1", NULL, errno);
    if (mount("cgroup", "/sys/fs/cgroup", "tmpfs", flags, "mode=755") == 0)
        mount_cgroup1_all();
}

/* ---- the whole */

int stage0_wanted(const char *argv0)
{
    return getpid() == 1 && strcmp(argv0, "/init") == 0 && access("/proc/self", F_OK) != 0;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit = {.rlim_cur = 1024, .rlim_max = 524288};
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_line("raise the limit of descriptors", NULL, errno);
}

struct stage0 stage0_run(void)
{
    static char *command[32];
    mount_all(before_root, COUNT(before_root));
    open_console();
    int error = cmdline_read();
    if (error)
        fail("read", "/proc/cmdline", error);
    halt_by_reboot = strcmp(cmdline_get("pilot.halt", "poweroff"), "reboot") == 0;
    reboot(RB_DISABLE_CAD); /* Ctrl-Alt-Del is then a SIGINT to us, which goes to the agent */
    load_modules(cmdline_get("pilot.modules", "/modules/list"));
    mount_root(cmdline_get("pilot.root", "serial:pilot-root"), cmdline_get("pilot.fs", "erofs"));
    switch_root();
    mount_all(after_root, COUNT(after_root));
    for (size_t i = 0; i < COUNT(links); i++)
        if (symlink(links[i][0], links[i][1]) != 0 && errno != EEXIST)
            log_line("link", links[i][1], errno);
    mount_cgroups();
    raise_descriptor_limit();
    const char *exec = cmdline_get("pilot.exec", "/usr/bin/python3,-ISE,/usr/lib/pilot");
    if (cmdline_split(exec, command, COUNT(command)) < 1 || *command[0] != '/')
        fail("read pilot.exec", exec, EINVAL);
    return (struct stage0){.command = command, .halt_by_reboot = halt_by_reboot};
}

void stage0_end_machine(int again, int by_reboot)
{
    if (again || by_reboot)
        reboot(RB_AUTOBOOT);
    else
        reboot(RB_POWER_OFF);
    log_line("end the machine", NULL, errno);
}
