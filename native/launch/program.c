/* Copies a Program, checks every bound and offset, and turns offsets into addresses. Runs before the clone. */
#include "launch.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

struct data {
    char *start;
    size_t size;
};

static const char *check_header(const struct header *header, size_t size)
{
    if (header->magic != MAGIC)
        return "not a program";
    if (header->size != size)
        return "size does not match";
    if (header->instructions > MAX_INSTRUCTIONS || header->slots > MAX_SLOTS)
        return "too many instructions or slots";
    if (header->data != sizeof *header + header->instructions * sizeof(struct instruction) || header->data > size)
        return "data offset out of bounds";
    if (header->cgroup < -1 || header->cgroup >= (int64_t)header->slots)
        return "cgroup slot out of bounds";
    return NULL;
}

/* A list is count u32, then count texts that fill it to the end. Returns the count, or -1. */
static long list_count(const char *list, size_t length)
{
    uint32_t count, found = 0;

    if (length < sizeof count)
        return -1;
    memcpy(&count, list, sizeof count);
    for (size_t i = sizeof count; i < length; i++)
        found += list[i] == '\0';
    if (found != count || (count && list[length - 1] != '\0') || (!count && length != sizeof count))
        return -1;
    return count;
}

static const char *check_argument(const struct argument *argument, const struct header *header, const struct data *data)
{
    if (argument->type > LIST)
        return "unknown argument type";
    if (argument->type == INTEGER)
        return NULL;
    if (argument->type == SLOT)
        return argument->value < header->slots ? NULL : "slot out of bounds";
    if (argument->value > data->size || argument->length > data->size - argument->value || argument->value % 8)
        return "argument out of bounds";
    const char *bytes = data->start + argument->value;
    if (argument->type == TEXT
        && (!argument->length || memchr(bytes, 0, argument->length) != bytes + argument->length - 1))
        return "text does not end where it should";
    if (argument->type == LIST && list_count(bytes, argument->length) < 0)
        return "list is not well formed";
    return NULL;
}

/* Functions of ours dereference their arguments, so those must be of the right type. The kernel checks for itself. */
static const char *check_signature(const struct instruction *instruction, const char *signature)
{
    static const char letters[] = "isTBL";

    for (unsigned i = 0; i < ARGUMENTS && signature[i]; i++) {
        char letter = letters[instruction->arguments[i].type];
        if (signature[i] != '.' && signature[i] != letter)
            return "argument of the wrong type";
    }
    return NULL;
}

static int slots_within(const struct argument *words, uint64_t count, int64_t lowest, const struct header *header,
                        const struct data *data)
{
    if (count > words->length / 4)
        return 0;
    for (uint64_t i = 0; i < count; i++) {
        int32_t slot;
        memcpy(&slot, data->start + words->value + 4 * i, sizeof slot);
        if (slot < lowest || slot >= (int64_t)header->slots)
            return 0;
    }
    return 1;
}

/* The meaning of lengths and slot numbers that our own functions index with. */
static const char *check_indices(const struct instruction *in, const struct header *header, const struct data *data)
{
    const struct argument *a = in->arguments;
    long (*function)(struct run *, const unsigned long *) = call_find(in->call)->function;

    if (function == do_install && (a[1].value > MAX_SLOTS || !slots_within(&a[0], a[1].value, -1, header, data)))
        return "install: slots out of bounds";
    if (function == do_barrier && (a[1].value > MAX_RECEIVED || !slots_within(&a[0], a[1].value, 0, header, data)))
        return "barrier: slots out of bounds";
    if (function == do_close && a[0].value >= header->slots)
        return "close: slot out of bounds";
    if (function == do_spawn && (int64_t)a[1].value >= (int64_t)header->slots)
        return "spawn: slot out of bounds";
    if (function == do_seccomp && (a[1].value > 4096 || a[1].value * 8 > a[0].length))
        return "seccomp: filter out of bounds";
    if (function == do_openat2 && a[3].value > a[2].length)
        return "openat2: structure out of bounds";
    if (function == do_set_idmap && a[3].length < 32)
        return "idmap: structure out of bounds";
    if (function == do_send_to && a[3].value > a[2].length)
        return "send: payload out of bounds";
    return NULL;
}

static const char *check_branches(const struct instruction *in, unsigned left)
{
    for (unsigned i = 0; i < BRANCHES; i++)
        if (in->branches[i].skip > left)
            return "branch out of bounds";
    return NULL;
}

static const char *check_instruction(const struct instruction *in, const struct header *header, const struct data *data,
                                     unsigned left)
{
    const struct call *call = call_find(in->call);
    const char *problem = NULL;

    if (!call)
        return "unknown instruction";
    if (in->into < -1 || in->into >= (int64_t)header->slots)
        return "result slot out of bounds";
    for (unsigned i = 0; i < ARGUMENTS && !problem; i++)
        problem = check_argument(&in->arguments[i], header, data);
    if (!problem && call->signature)
        problem = check_signature(in, call->signature);
    if (!problem)
        problem = check_branches(in, left);
    if (!problem && call->function)
        problem = check_indices(in, header, data);
    if (!problem && !call->function && call->number < 0 && in->arguments[0].value > left)
        problem = "skip out of bounds"; /* SKIP is the one instruction that is neither */
    return problem;
}

static size_t count_pointers(const struct program *program, const struct data *data)
{
    size_t count = 0;

    for (unsigned i = 0; i < program->header->instructions; i++)
        for (unsigned j = 0; j < ARGUMENTS; j++) {
            const struct argument *argument = &program->instructions[i].arguments[j];
            if (argument->type == LIST)
                count += list_count(data->start + argument->value, argument->length) + 1;
        }
    return count;
}

static const char **load_list(struct argument *argument, const struct data *data, const char **next)
{
    const char *text = data->start + argument->value + sizeof(uint32_t);
    long count = list_count(data->start + argument->value, argument->length);

    argument->value = (uintptr_t)next;
    for (; count > 0; count--, text += strlen(text) + 1)
        *next++ = text;
    *next++ = NULL;
    return next;
}

static void load_arguments(struct program *program, const struct data *data)
{
    const char **next = program->pointers;

    for (unsigned i = 0; i < program->header->instructions; i++)
        for (unsigned j = 0; j < ARGUMENTS; j++) {
            struct argument *argument = &program->instructions[i].arguments[j];
            if (argument->type == LIST)
                next = load_list(argument, data, next);
            else if (argument->type == TEXT || argument->type == BYTES)
                argument->value = (uintptr_t)(data->start + argument->value);
        }
}

const char *program_load(struct program *program, const void *bytes, size_t size)
{
    const char *problem;

    memset(program, 0, sizeof *program);
    if (size < sizeof(struct header) || size > INT_MAX)
        return "not a program";
    program->header = malloc(size);
    if (!program->header)
        return "out of memory";
    memcpy(program->header, bytes, size);
    program->instructions = (struct instruction *)(program->header + 1);
    problem = check_header(program->header, size);
    if (problem)
        return problem;
    struct data data = {(char *)program->header + program->header->data, size - program->header->data};
    for (unsigned i = 0; i < program->header->instructions; i++) {
        problem =
            check_instruction(&program->instructions[i], program->header, &data, program->header->instructions - i - 1);
        if (problem)
            return problem;
    }
    program->pointers = malloc((count_pointers(program, &data) + 1) * sizeof *program->pointers);
    if (!program->pointers)
        return "out of memory";
    load_arguments(program, &data);
    return NULL;
}

void program_free(struct program *program)
{
    free(program->pointers);
    free(program->header);
}
