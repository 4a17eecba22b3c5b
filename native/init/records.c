#include "records.h"

#include <stddef.h>
#include <string.h>

static struct record records[RECORD_LIMIT]; /* by seq, so by time too; without holes */
static size_t count;
static uint64_t last_seq;

static void remove_range(size_t first, size_t size)
{
    count -= size;
    memmove(&records[first], &records[first + size], (count - first) * sizeof *records);
}

/* The index of the first record whose seq is not below `seq`. */
static size_t search(uint64_t seq)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (records[middle].seq < seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void records_add(uint32_t pid, uint64_t start_time, int32_t status, int64_t now_ms)
{
    if (count == RECORD_LIMIT)
        remove_range(0, 1);
    records[count++] =
        (struct record){.seq = ++last_seq, .start_time = start_time, .died_ms = now_ms, .pid = pid, .status = status};
}

void records_acknowledge(uint64_t seq)
{
    size_t index = search(seq);
    if (index < count && records[index].seq == seq)
        remove_range(index, 1);
}

void records_expire(int64_t oldest_ms)
{
    size_t expired = 0;
    while (expired < count && records[expired].died_ms < oldest_ms)
        expired++;
    remove_range(0, expired);
}

int64_t records_oldest_ms(void) { return count ? records[0].died_ms : -1; }

const struct record *records_after(uint64_t seq)
{
    size_t index = search(seq + 1);
    return index < count ? &records[index] : NULL;
}

uint64_t records_last_seq(void) { return last_seq; }
