/* The table of instructions, and the loop that carries them out. */
#include "launch.h"

#define CALL(call) {#call, SYS_##call, NULL, NULL}
#define FUNCTION(name, signature) {#name, -1, do_##name, signature}

enum { EXTRA = 64 };

/* The order is that of plan/code.py. */
/* clang-format off */
static const struct call system_calls[] = {
    CALL(capset),     CALL(chdir),       CALL(chroot),     CALL(close_range),       CALL(faccessat2),
    CALL(fchdir),     CALL(fchmod),      CALL(fchmodat),   CALL(fchownat),          CALL(fsconfig),
    CALL(fsmount),    CALL(fsopen),      CALL(ioctl),      CALL(ioprio_set),        CALL(keyctl),
    CALL(mkdirat),    CALL(mknodat),     CALL(mount),      CALL(mount_setattr),     CALL(move_mount),
    CALL(open_tree),  FUNCTION(openat2, ".TB."),           CALL(personality),       CALL(pivot_root),
    CALL(prctl),      CALL(prlimit64),   CALL(sched_setaffinity), CALL(sched_setattr), CALL(set_mempolicy),
    CALL(setdomainname), CALL(setgroups), CALL(sethostname), CALL(setns),           CALL(setresgid),
    CALL(setresuid),  CALL(setsid),      CALL(symlinkat),  CALL(umask),             CALL(umount2),
    CALL(unlinkat),   CALL(unshare),     CALL(write),      CALL(socket),
};
/* clang-format on */

/* Signatures: s slot, i integer, T text, B bytes, L list, '.' whatever. */
/* clang-format off */
static const struct call functions[] = {
    {"skip", -1, NULL, "i"},
    FUNCTION(close, "i"),
    FUNCTION(make_directories, "sTi"),
    FUNCTION(open_target, "sTsi"),
    FUNCTION(set_idmap, "sTiBs"),
    FUNCTION(seccomp, "Bii"),
    FUNCTION(copy_up, "ss"),
    FUNCTION(install, "Bi"),
    FUNCTION(check_cwd, ""),
    FUNCTION(find_executable, "L"),
    FUNCTION(execute, "LLLL"),
    FUNCTION(run_hook, "TLLsiL"),
    FUNCTION(spawn, "ii"),
    FUNCTION(barrier, "Bi"),
    FUNCTION(release, ""),
    FUNCTION(await, "s"),
    FUNCTION(send, "si"),
    FUNCTION(send_to, "ssBi"),
    FUNCTION(drop_bounding, "i"),
    FUNCTION(check_device, "si"),
    FUNCTION(check_filesystem, "sii"),
    FUNCTION(check_kind, "ss"),
    FUNCTION(offer, "si"),
};
/* clang-format on */

const struct call *call_find(unsigned number)
{
    if (number < sizeof system_calls / sizeof *system_calls)
        return &system_calls[number];
    if (number >= EXTRA && number - EXTRA < sizeof functions / sizeof *functions)
        return &functions[number - EXTRA];
    return NULL;
}

static long carry_out(struct run *run, const struct instruction *in)
{
    const struct call *call = call_find(in->call);
    unsigned long a[ARGUMENTS];

    for (unsigned i = 0; i < ARGUMENTS; i++) {
        const struct argument *argument = &in->arguments[i];
        a[i] = argument->type == SLOT ? (unsigned long)run->slots[argument->value] : argument->value;
    }
    if (call->function)
        return call->function(run, a);
    if (call->number < 0) { /* SKIP */
        run->position += a[0];
        return 0;
    }
    return raw(call->number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* Where to continue after `error`; 0 when nowhere. */
static int take_branch(struct run *run, const struct instruction *in, long error)
{
    for (unsigned i = 0; i < BRANCHES; i++)
        if (in->branches[i].error && in->branches[i].error == error) {
            run->position += in->branches[i].skip;
            return 1;
        }
    return 0;
}

/* Nobody listens any more: whoever reads the process's stderr is told why it never was the container's program. Each
 * line begins with the error that it is for; the last one is for all others. */
static void complain(const struct argument *lines, long error)
{
    const char *const *line = (const char *const *)lines->value;
    size_t size = 0;

    while (line[0] && line[1] && line[0][0] != error)
        line++;
    if (!line[0])
        return;
    while (line[0][1 + size])
        size++;
    RAW3(SYS_write, 2, line[0] + 1, size);
}

static void fail(struct run *run, const struct instruction *in, long error)
{
    struct message message = {FAILED, in->step, run->position, error, run->detail};

    if (run->channel < 0 && call_find(in->call)->function == do_execute)
        complain(&in->arguments[3], error);
    else if (run->channel < 0 && call_find(in->call)->function == do_run_hook)
        complain(&in->arguments[5], error);
    else if (run->channel >= 0 && run->is_quiet)
        RAW3(SYS_write, run->channel, &message, sizeof message); /* as in tell() */
    else if (run->channel >= 0)
        send_message(run->channel, &message, -1); /* if nobody listens any more there is nobody to tell */
    end_process(call_find(in->call)->function != do_execute ? 1 : error == ENOENT ? 127 : 126);
}

void run_program(struct run *run)
{
    for (run->position = 0; run->position < run->program->header->instructions; run->position++) {
        const struct instruction *in = &run->program->instructions[run->position];
        long result = carry_out(run, in);

        if (result < 0) {
            if (!take_branch(run, in, -result))
                fail(run, in, -result);
        } else if (in->into >= 0) {
            bind_slot(run, in->into, result);
        }
    }
    struct message done = {.kind = DONE};
    if (run->channel >= 0 && !run->is_quiet)
        send_message(run->channel, &done, -1);
    end_process(0); /* a Program without Execute */
}
