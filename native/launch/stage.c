/* pilot-launch: a small static program that runs a Program. The extension carries it, executes it from a sealed memfd
 * and gives it the number of a file: struct block, then the encoded Program. */
#include "launch.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

static void give_up(int channel, int error)
{
    struct message message = {.kind = FAILED, .step = NO_STEP, .error = error};

    send_message(channel, &message, -1);
    end_process(1);
}

int main(int count, char **arguments)
{
    static struct program program;
    static struct run run = {.program = &program};
    int file = count == 2 ? atoi(arguments[1]) : -1;
    struct stat status;

    if (file < 3 || fstat(file, &status) || (size_t)status.st_size < sizeof(struct block))
        return 2; /* somebody ran it by hand */
    const struct block *block = mmap(NULL, status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    if (block == MAP_FAILED)
        return 2;
    close(file);
    prctl(PR_SET_NAME, "pilot-launch");
    run.channel = block->channel;
    if (program_load(&program, block + 1, status.st_size - sizeof *block))
        give_up(run.channel, EPROTO);
    for (unsigned i = 0; i < program.header->slots; i++)
        run.slots[i] = block->slots[i];
    munmap((void *)block, status.st_size); /* it was copied; /proc/PID/map_files would show it */
    begin(&run);
}
