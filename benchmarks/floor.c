/* The floor: what the kernel alone charges for one default container, from create to delete.
 *
 *     floor BUNDLE ROOT ID FILTER DEVICES CGROUP...
 *
 * The same steps as the runtime takes for the configuration that `runc spec` writes, with all that can be known before
 * already known: no JSON, no decisions, no checks that could be left out. FILTER is a file with a compiled seccomp
 * program, or "-"; DEVICES is the v1 cgroup directory of the devices controller, or "-"; each CGROUP is a directory to
 * make, to join and to remove (the last one may be of cgroup2: it is cloned into).
 *
 * One container per line on stdin; the answer is one line with nanoseconds: create start exit delete.
 * It must never be used for anything but a benchmark.
 *
 *     parent                                   child
 *     directory, config.json, lock, exec.fifo
 *     mkdir CGROUP..., clone3 ───────────────► cgroup.procs, mounts, devices, pivot_root, masks, ids, capabilities
 *     state.json (temp + rename) ◄─ ready ──── (waits)
 *                                 ── go ─────► seccomp, opens exec.fifo (waits)
 *     exec.fifo: one byte ───────────────────► exec BUNDLE/rootfs's /bin/true
 *     end of file of `ready`: executed
 *     waitid, rmdir CGROUP..., unlink
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define MAX_CGROUPS 32
#define PATH 4096

struct job {
	char *bundle, *root, *id, *devices;
	char **cgroups;
	int cgroup_count;
	struct sock_fprog filter;
};

static void check(long result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
		_exit(1);
	}
}

static long long now_ns(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void write_file(int directory, const char *name, const char *text, int flags)
{
	int fd = openat(directory, name, O_WRONLY | O_CLOEXEC | flags, 0600);
	check(fd, name);
	check(write(fd, text, strlen(text)), name);
	close(fd);
}

/* ---- child ------------------------------------------------------------------------------------------------------ */

static const char *const MASKED[] = {"proc/acpi", "proc/asound", "proc/kcore", "proc/keys", "proc/latency_stats",
	"proc/timer_list", "proc/timer_stats", "proc/sched_debug", "sys/firmware", "proc/scsi"};
static const char *const READONLY[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};
static const struct { const char *path; int major, minor; } NODES[] = {{"dev/null", 1, 3}, {"dev/random", 1, 8},
	{"dev/full", 1, 7}, {"dev/tty", 5, 0}, {"dev/zero", 1, 5}, {"dev/urandom", 1, 9}};
static const char *const LINKS[][2] = {{"/proc/self/fd", "dev/fd"}, {"/proc/self/fd/0", "dev/stdin"},
	{"/proc/self/fd/1", "dev/stdout"}, {"/proc/self/fd/2", "dev/stderr"}, {"pts/ptmx", "dev/ptmx"}};

static void join_cgroups(const int *procs, int count)
{
	for (int i = 0; i < count; i++)
		check(write(procs[i], "0", 1), "join cgroup");
}

static void mount_filesystems(const char *rootfs)
{
	check(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL), "propagation");
	check(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL), "rootfs");
	check(chdir(rootfs), "chdir");
	check(mount("proc", "proc", "proc", 0, NULL), "proc");
	check(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"), "dev");
	mkdir("dev/pts", 0755);
	mkdir("dev/shm", 0755);
	mkdir("dev/mqueue", 0755);
	check(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"), "pts");
	check(mount("shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=65536k"), "shm");
	check(mount("mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "mqueue");
	check(mount("sysfs", "sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL), "sysfs");
}

/* What the container sees of its cgroups: a tmpfs with one read-only bind mount per hierarchy. */
static void mount_cgroups(const struct job *job)
{
	unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
	check(mount("tmpfs", "sys/fs/cgroup", "tmpfs", flags, "mode=755"), "cgroup tmpfs");
	for (int i = 0; i < job->cgroup_count; i++) {
		char path[64];
		snprintf(path, sizeof path, "sys/fs/cgroup/%d", i);
		mkdir(path, 0755);
		check(mount(job->cgroups[i], path, NULL, MS_BIND, NULL), "cgroup");
		check(mount(NULL, path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | flags, NULL), "cgroup read-only");
	}
	check(mount(NULL, "sys/fs/cgroup", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | flags, NULL), "cgroup tmpfs read-only");
}

static void make_devices(void)
{
	for (size_t i = 0; i < COUNT(NODES); i++)
		check(mknod(NODES[i].path, S_IFCHR | 0666, makedev(NODES[i].major, NODES[i].minor)), NODES[i].path);
	for (size_t i = 0; i < COUNT(LINKS); i++)
		check(symlink(LINKS[i][0], LINKS[i][1]), LINKS[i][1]);
}

static void change_root(void)
{
	check(mount(NULL, ".", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), "read-only root");
	check(syscall(SYS_pivot_root, ".", "."), "pivot_root");
	check(mount(NULL, ".", NULL, MS_SLAVE | MS_REC, NULL), "old root");
	check(umount2(".", MNT_DETACH), "old root");
	check(chdir("/"), "chdir");
}

static void hide_paths(void)
{
	for (size_t i = 0; i < COUNT(READONLY); i++)
		if (!mount(READONLY[i], READONLY[i], NULL, MS_BIND | MS_REC, NULL))
			check(mount(NULL, READONLY[i], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), READONLY[i]);
	for (size_t i = 0; i < COUNT(MASKED); i++)
		if (mount("/dev/null", MASKED[i], NULL, MS_BIND, NULL) && errno == ENOTDIR)
			check(mount("tmpfs", MASKED[i], "tmpfs", MS_RDONLY, "nr_inodes=1"), MASKED[i]);
}

static void raise_loopback(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	check(ioctl(control, SIOCSIFFLAGS, &request), "lo");
	close(control);
}

static void drop_privileges(void)
{
	/* CAP_KILL, CAP_NET_BIND_SERVICE, CAP_AUDIT_WRITE: the default of `runc spec`. */
	unsigned int keep = 1u << CAP_KILL | 1u << CAP_NET_BIND_SERVICE | 1u << CAP_AUDIT_WRITE;
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{.effective = keep, .permitted = keep}};
	struct rlimit files = {1024, 1024};

	check(setrlimit(RLIMIT_NOFILE, &files), "rlimit");
	for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (!(keep >> cap & 1 && cap < 32))
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	check(setresgid(0, 0, 0), "setresgid");
	check(setresuid(0, 0, 0), "setresuid");
	check(syscall(SYS_capset, &header, data), "capset");
	check(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "ambient");
	check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
}

static void run_child(const struct job *job, const int *procs, int procs_count, int fifo, int ready, int go)
{
	char rootfs[PATH], byte;
	char *arguments[] = {"/bin/true", NULL};
	char *variables[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", "HOME=/", NULL};

	snprintf(rootfs, sizeof rootfs, "%s/rootfs", job->bundle);
	join_cgroups(procs, procs_count);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, job->id, 0, 0, 0);
	mount_filesystems(rootfs);
	mount_cgroups(job);
	make_devices();
	change_root();
	hide_paths();
	raise_loopback();
	check(sethostname("floor", 5), "hostname");
	check(setsid(), "setsid");
	drop_privileges();
	check(write(ready, "r", 1), "ready");
	check(read(go, &byte, 1) - 1, "go");
	check(read(fifo, &byte, 1) - 1, "exec.fifo");
	if (job->filter.len)
		check(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &job->filter), "seccomp");
	execve(arguments[0], arguments, variables);
	check(-1, "exec");
}

/* ---- parent ----------------------------------------------------------------------------------------------------- */

static void allow_devices(const char *directory)
{
	static const char *const RULES[] = {"c *:* m", "b *:* m", "c 1:3 rwm", "c 1:8 rwm", "c 1:7 rwm", "c 5:0 rwm",
		"c 1:5 rwm", "c 1:9 rwm", "c 136:* rwm", "c 5:2 rwm", "c 10:200 rwm"};
	int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	check(fd, directory);
	write_file(fd, "devices.deny", "a", 0);
	for (size_t i = 0; i < COUNT(RULES); i++)
		write_file(fd, "devices.allow", RULES[i], 0);
	close(fd);
}

static int open_unified(const char *directory)
{
	char path[PATH];
	snprintf(path, sizeof path, "%s/tasks", directory);
	return access(path, F_OK) ? open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
}

static void read_file(const char *directory, const char *name, char *text, size_t size)
{
	char path[PATH];
	snprintf(path, sizeof path, "%s/%s", directory, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	check(fd, path);
	ssize_t length = read(fd, text, size - 1);
	check(length, path);
	text[length] = 0;
	close(fd);
}

/* A new cpuset of v1 is empty, and nobody can join it. */
static void fill_cpuset(const char *directory)
{
	static const char *const FILES[] = {"cpuset.cpus", "cpuset.mems"};
	char name[32], text[256];
	int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	check(fd, directory);
	for (size_t i = 0; i < COUNT(FILES) && !faccessat(fd, FILES[i], F_OK, 0); i++) {
		snprintf(name, sizeof name, "../%s", FILES[i]);
		read_file(directory, name, text, sizeof text);
		write_file(fd, FILES[i], text, 0);
	}
	close(fd);
}

static int make_cgroups(const struct job *job, int *procs, int *unified)
{
	int count = 0;
	*unified = -1;
	for (int i = 0; i < job->cgroup_count; i++) {
		char path[PATH];
		check(mkdir(job->cgroups[i], 0755), job->cgroups[i]);
		if ((*unified = open_unified(job->cgroups[i])) >= 0)
			continue;
		fill_cpuset(job->cgroups[i]);
		snprintf(path, sizeof path, "%s/cgroup.procs", job->cgroups[i]);
		check(procs[count++] = open(path, O_WRONLY | O_CLOEXEC), path);
	}
	return count;
}

static int make_directory(const struct job *job)
{
	static char config[1 << 16];
	int root = open(job->root, O_PATH | O_DIRECTORY | O_CLOEXEC), directory;
	check(mkdirat(root, job->id, 0711), job->id);
	check(directory = openat(root, job->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC), job->id);
	close(root);
	read_file(job->bundle, "config.json", config, sizeof config);
	write_file(directory, "config.json", config, O_CREAT | O_EXCL);
	write_file(directory, "lock", "", O_CREAT | O_EXCL);
	check(mkfifoat(directory, "exec.fifo", 0622), "exec.fifo");
	return directory;
}

static void remove_directory(const struct job *job, int directory)
{
	char path[PATH];
	unlinkat(directory, "config.json", 0);
	unlinkat(directory, "state.json", 0);
	unlinkat(directory, "lock", 0);
	close(directory);
	snprintf(path, sizeof path, "%s/%s", job->root, job->id);
	check(rmdir(path), path);
}

static void write_state(int directory, const struct job *job, int pid)
{
	char text[512];
	snprintf(text, sizeof text, "{\"id\":\"%s\",\"bundle\":\"%s\",\"pid\":%d}", job->id, job->bundle, pid);
	write_file(directory, "state.json.new", text, O_CREAT | O_EXCL);
	check(renameat(directory, "state.json.new", directory, "state.json"), "state.json");
}

static int clone_child(int unified, int *pid_fd)
{
	struct clone_args arguments = {
		.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_PIDFD,
		.pidfd = (unsigned long)pid_fd,
		.exit_signal = SIGCHLD,
	};
	if (unified >= 0) {
		arguments.flags |= CLONE_INTO_CGROUP;
		arguments.cgroup = unified;
	}
	int pid = syscall(SYS_clone3, &arguments, sizeof arguments);
	check(pid, "clone3");
	return pid;
}

static void run_one(const struct job *job)
{
	int procs[MAX_CGROUPS], unified, ready[2], go[2], pid_fd;
	char byte;
	siginfo_t info;
	long long begin = now_ns();

	int directory = make_directory(job);
	int procs_count = make_cgroups(job, procs, &unified);
	int fifo = openat(directory, "exec.fifo", O_RDWR | O_CLOEXEC);
	check(fifo, "exec.fifo");
	check(pipe2(ready, O_CLOEXEC), "pipe");
	check(pipe2(go, O_CLOEXEC), "pipe");
	int pid = clone_child(unified, &pid_fd);
	if (pid == 0)
		run_child(job, procs, procs_count, fifo, ready[1], go[0]);
	close(ready[1]);
	check(read(ready[0], &byte, 1) - 1, "ready");
	if (*job->devices == '/')
		allow_devices(job->devices);
	write_state(directory, job, pid);
	check(write(go[1], "g", 1), "go");
	long long created = now_ns();

	check(write(fifo, "s", 1), "start");
	check(unlinkat(directory, "exec.fifo", 0), "exec.fifo");
	check(read(ready[0], &byte, 1), "executed");
	long long started = now_ns();

	check(waitid(P_PIDFD, pid_fd, &info, WEXITED), "waitid");
	if (info.si_code != CLD_EXITED || info.si_status) {
		fprintf(stderr, "floor: the container ended with %d\n", info.si_status);
		exit(1);
	}
	long long ended = now_ns();

	for (int i = 0; i < job->cgroup_count; i++)
		check(rmdir(job->cgroups[i]), job->cgroups[i]);
	remove_directory(job, directory);
	for (int i = 0; i < procs_count; i++)
		close(procs[i]);
	if (unified >= 0)
		close(unified);
	close(fifo), close(ready[0]), close(go[0]), close(go[1]), close(pid_fd);
	printf("%lld %lld %lld %lld\n", created - begin, started - created, ended - started, now_ns() - ended);
	fflush(stdout);
}

static struct sock_fprog read_filter(const char *path)
{
	static struct sock_filter instructions[BPF_MAXINSNS];
	struct sock_fprog filter = {.filter = instructions};
	if (!strcmp(path, "-"))
		return filter;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	check(fd, path);
	ssize_t size = read(fd, instructions, sizeof instructions);
	check(size, path);
	filter.len = size / sizeof *instructions;
	close(fd);
	return filter;
}

int main(int count, char **words)
{
	char line[16];
	if (count < 6 || count - 6 > MAX_CGROUPS) {
		fprintf(stderr, "usage: floor BUNDLE ROOT ID FILTER DEVICES CGROUP...\n");
		return 2;
	}
	struct job job = {.bundle = words[1], .root = words[2], .id = words[3], .devices = words[5],
		.cgroups = words + 6, .cgroup_count = count - 6, .filter = read_filter(words[4])};
	umask(0022);
	while (fgets(line, sizeof line, stdin))
		run_one(&job);
	return 0;
}
