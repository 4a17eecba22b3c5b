/* Programs in memory, and what runs them. The format is drawn in src/pilot/plan/code.py. */
#ifndef PILOT_LAUNCH_H
#define PILOT_LAUNCH_H

#include <stddef.h>
#include <stdint.h>

enum {
    MAGIC = 0x314E4C50,
    MAX_SLOTS = 1024,
    MAX_INSTRUCTIONS = 524288,
    ARGUMENTS = 6,
    BRANCHES = 4,
    MAX_RECEIVED = 32
};

enum argument_type { INTEGER, SLOT, TEXT, BYTES, LIST };

struct header {
    uint32_t magic, size, instructions, slots;
    uint64_t flags;
    int32_t cgroup;
    uint32_t data;
};

struct argument {
    uint32_t type, length;
    uint64_t value; /* TEXT, BYTES, LIST: offset into the data; once loaded, the address */
};

struct branch {
    uint16_t error, skip;
};

struct instruction {
    uint16_t call, step;
    int16_t into;
    uint16_t zero;
    struct argument arguments[ARGUMENTS];
    struct branch branches[BRANCHES];
};

_Static_assert(sizeof(struct header) == 32, "as plan/code.py packs it");
_Static_assert(sizeof(struct instruction) == 120, "as plan/code.py packs it");

/* A checked Program; owns its memory. */
struct program {
    struct header *header;
    struct instruction *instructions;
    const char **pointers; /* of all lists, each ended by NULL */
};

/* The process that runs a Program. */
struct run {
    const struct program *program;
    int slots[MAX_SLOTS];
    int channel;  /* to the parent; -1 after RELEASE */
    int is_quiet; /* DONE was said. A seccomp filter may be loaded: only the plainest system calls from here on */
    int detail;   /* a hook's wait status, when that is why it failed */
    unsigned position;
};

/* program.c: copies, checks and loads; NULL, or what is wrong with it. program_free in both cases. */
const char *program_load(struct program *program, const void *bytes, size_t size);
void program_free(struct program *program);

/* calls.c */
struct call {
    const char *name;
    long number;                                           /* a system call, or */
    long (*function)(struct run *, const unsigned long *); /* a function: a descriptor or 0, or -errno */
    const char *signature;                                 /* what a function dereferences: t text, b bytes, l list */
};
const struct call *call_find(unsigned number);
void run_program(struct run *run) __attribute__((noreturn));

/* start.c: the beginning of a process that runs a Program, and the clone of a second one. */
void begin(struct run *run) __attribute__((noreturn));
void end_process(int status) __attribute__((noreturn));
long do_spawn(struct run *run, const unsigned long *a);
long clone_process(uint64_t flags, int exit_signal, int cgroup_fd, int *pid_fd);

/* What the extension gives to the stage: a file with this and the encoded Program behind it. */
struct block {
    int32_t channel;
    int32_t slots[MAX_SLOTS];
    uint32_t unused;
};

/* enter.c: in the parent. Returns 0 or an errno. */
struct entrance {
    int stage_fd, block_fd;    /* the program to execute, and its file */
    const struct block *block; /* descriptors to hand on */
    const struct header *header;
    uint64_t flags;
    int exit_signal;
    int pid, pid_fd; /* out */
};
int enter_stage(struct entrance *entrance);

/* channel.c: messages to the parent; see native/README.md. */
enum { NO_STEP = 0xFFFF }; /* what happens before the first step */
enum message_kind { FAILED = 1, BARRIER, RELEASE, SPAWNED, DESCRIPTOR, DONE, OFFER };
struct message {
    uint32_t kind, step, instruction;
    int32_t error, value;
};
int send_message(int channel, const struct message *message, int descriptor);
int tell(struct run *run, enum message_kind kind, int value, int descriptor);
void await_go(struct run *run, const uint32_t *receives, unsigned count);
long do_barrier(struct run *run, const unsigned long *a);
long do_release(struct run *run, const unsigned long *a);
long do_send(struct run *run, const unsigned long *a);
long do_send_to(struct run *run, const unsigned long *a);
long do_offer(struct run *run, const unsigned long *a);

/* paths.c */
long do_openat2(struct run *run, const unsigned long *a);
long do_make_directories(struct run *run, const unsigned long *a);
long do_open_target(struct run *run, const unsigned long *a);
long do_set_idmap(struct run *run, const unsigned long *a);
long do_check_cwd(struct run *run, const unsigned long *a);
long do_check_device(struct run *run, const unsigned long *a);
long do_check_filesystem(struct run *run, const unsigned long *a);
long do_check_kind(struct run *run, const unsigned long *a);

/* copy.c */
long do_copy_up(struct run *run, const unsigned long *a);

/* process.c */
long do_close(struct run *run, const unsigned long *a);
long do_install(struct run *run, const unsigned long *a);
long do_seccomp(struct run *run, const unsigned long *a);
long do_drop_bounding(struct run *run, const unsigned long *a);
long do_await(struct run *run, const unsigned long *a);
long do_find_executable(struct run *run, const unsigned long *a);
long do_execute(struct run *run, const unsigned long *a);
long do_run_hook(struct run *run, const unsigned long *a);
void bind_slot(struct run *run, int slot, int descriptor);

/* The raw system call: a result or -errno. The process is a copy, so errno is its own. */
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>
static inline long raw(long number, unsigned long a, unsigned long b, unsigned long c, unsigned long d, unsigned long e,
                       unsigned long f)
{
    long result = syscall(number, a, b, c, d, e, f);
    return result == -1 ? -errno : result;
}
#define RAW1(n, a) raw(n, (unsigned long)(a), 0, 0, 0, 0, 0)
#define RAW2(n, a, b) raw(n, (unsigned long)(a), (unsigned long)(b), 0, 0, 0, 0)
#define RAW3(n, a, b, c) raw(n, (unsigned long)(a), (unsigned long)(b), (unsigned long)(c), 0, 0, 0)
#define RAW4(n, a, b, c, d) raw(n, (unsigned long)(a), (unsigned long)(b), (unsigned long)(c), (unsigned long)(d), 0, 0)
#define RAW5(n, a, b, c, d, e)                                                                                         \
    raw(n, (unsigned long)(a), (unsigned long)(b), (unsigned long)(c), (unsigned long)(d), (unsigned long)(e), 0)

#endif
