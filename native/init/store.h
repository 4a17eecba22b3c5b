/* The descriptor store: what survives the agent.
 *
 * The table lives in a memfd named "pilot-store", so that a new keeper finds it among our descriptors (/proc/PID/fd) and
 * reads names and numbers from it: `keeper.c`. Layout: {u32 magic, u32 count, entries[count] {char name[96], i32 fd, u32 sent_to}}.
 * Nobody but this process writes it. */
#ifndef PILOT_STORE_H
#define PILOT_STORE_H
#include <stdint.h>

#include "message.h"

#define STORE_MEMFD "pilot-store"
#define STORE_MAGIC 0x31545350u /* "PST1" */
#define STORE_LIMIT 32768

struct store_entry {
    char name[NAME_SIZE];
    int32_t fd;
    uint32_t sent_to; /* the number of the agent that has it already */
};

struct store_table {
    uint32_t magic;
    uint32_t count;
    struct store_entry entries[STORE_LIMIT];
};

/* Makes the table, for at most `descriptors` descriptors; 0 or an errno. */
int store_open(uint32_t descriptors);

/* Keeps `fd` under `name`, in place of what had that name; 0, and the store owns `fd`, or an errno, and the caller still does. */
int store_put(const char *name, int fd, uint32_t sent_to);

/* Closes and forgets `name`; nothing when there is none. */
void store_drop(const char *name);

/* The descriptor of this name, which stays the store's, or -1. */
int store_find(const char *name);

uint32_t store_count(void);

/* Some entry that the agent of this number has not got, or NULL. */
struct store_entry *store_unsent(uint32_t agent);
#endif
