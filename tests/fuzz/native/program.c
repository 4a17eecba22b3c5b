/* A Program of whoever asks the launcher: what is loaded has every bound checked. */
#include <stdlib.h>
#include <string.h>

#include "../../../native/launch/launch.h"

static volatile size_t total; /* so that nothing is left out as unused */

/* What the loader promises: each list is there to its end. */
static size_t read_all(const struct program *program)
{
    size_t size = 0;

    for (unsigned i = 0; i < program->header->instructions; i++)
        for (unsigned j = 0; j < ARGUMENTS; j++) {
            const struct argument *argument = &program->instructions[i].arguments[j];
            if (argument->type == LIST)
                for (const char **text = (const char **)argument->value; *text; text++)
                    size += strlen(*text);
            else if (argument->type == TEXT)
                size += strlen((const char *)argument->value);
            else if (argument->type == BYTES)
                for (uint32_t k = 0; k < argument->length; k++)
                    size += ((const char *)argument->value)[k];
        }
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct program program;
    struct header *header;
    uint8_t *copy = malloc(size + 1);

    memcpy(copy, data, size);
    if (size >= sizeof *header) { /* else a fuzzer spends its time on them */
        header = (struct header *)copy;
        header->magic = MAGIC;
        header->size = size;
        header->data = sizeof *header + header->instructions * sizeof(struct instruction);
    }
    if (!program_load(&program, copy, size))
        total += read_all(&program);
    program_free(&program);
    free(copy);
    return 0;
}
