/* pilot.volume._lookaside: the parts. See README.md for what it is and what it must never do. */
#ifndef LOOKASIDE_H
#define LOOKASIDE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

enum {
    CHUNK_BYTES = 64 << 10, /* layout.CHUNK_BYTES */
    PAGE_ENTRIES = 1024,    /* layout.PAGE_ENTRIES */
    BLOCK_BYTES = 4096,     /* layout.BLOCK_BYTES: what direct I/O wants */
    MAX_PAGES = 1 << 18,    /* layout.MAX_SIZE_BYTES, in pages */
    MAX_SLABS = 1024,       /* deeper lineages are served by Python */
    MAX_LANES = 16,
    MAX_IO_BYTES = 1 << 20, /* kernel.fuse.MAX_WRITE_BYTES */
    MAX_IO_CHUNKS = MAX_IO_BYTES / CHUNK_BYTES + 1
};

/* Where a chunk is: KNOWN │ WRITABLE │ … │ place (layout: depth << 48 | slot). Place 0 is a hole; 0 as a whole: unknown. */
#define KNOWN (1ull << 63)
#define WRITABLE (1ull << 62)
#define PLACE_MASK (WRITABLE - 1)
#define DEPTH_SHIFT 48
#define SLOT_MASK ((1ull << DEPTH_SHIFT) - 1)

struct page {
    _Atomic uint64_t entries[PAGE_ENTRIES];
};

/* table.c: chunk → entry. Entries may be read and changed by any thread at any time; pages are made, never freed. */
struct table {
    struct page *_Atomic *pages;
    uint64_t count; /* no page from here on was ever made */
};

int table_open(struct table *table);
void table_close(struct table *table);
uint64_t table_get(const struct table *table, uint64_t chunk);
int table_put(struct table *table, uint64_t chunk, uint64_t entry); /* -1: no memory */
/* Takes `bits` off these entries, or all of each when bits is 0; how many had WRITABLE. */
size_t table_take(struct table *table, uint64_t first, uint64_t count, uint64_t bits);

/* grace.c: who is answering a request, and how to wait until all those are done who may have seen an older entry. */
struct grace {
    struct {
        _Atomic uint64_t passes; /* odd: inside */
        char apart[56];          /* no two in one cache line */
    } lanes[MAX_LANES];
    _Atomic int waiting;
    pthread_mutex_t lock;
    pthread_cond_t left;
};

void grace_open(struct grace *grace);
void grace_close(struct grace *grace);
void grace_enter(struct grace *grace, int lane);
void grace_leave(struct grace *grace, int lane);
void grace_wait(struct grace *grace);

/* rest.c: a lane that nobody asks gives its buffer's memory back. Of one lane, used by its thread alone. */
struct rest {
    bool opened, has_timer;
    timer_t timer;
    int epoll_fd;
    uint64_t served, served_before; /* requests: now, and when the timer last rang */
};

/* Around all waiting of a lane: outside of it no signal of this comes. */
void rest_enter(struct rest *rest, int fuse_fd);
void rest_leave(void);
/* A read was interrupted: drops the buffer and waits for a request if none has come lately. */
void rest_if_idle(struct rest *rest, char *buffer, size_t size);
void rest_close(struct rest *rest);

/* serve.c: requests of FUSE that need no decision. */
struct server {
    struct table table;
    struct grace grace;
    struct rest rests[MAX_LANES];
    int fuse_fd;
    _Atomic int slabs[MAX_SLABS];
    _Atomic uint64_t size_bytes;
    _Atomic uint64_t writes, synced; /* how many there were, and how many of them are stable or taken care of */
    _Atomic int clean_fd;            /* the slab whose sync is all that a flush has to do; -1: a flush is Python's */
    _Atomic uint64_t answered;
};

/* Bytes before the data of a WRITE: struct fuse_in_header and fuse_write_in. A request's buffer has room for
   WRITE_HEADER + MAX_IO_BYTES; its data begins on a page. */
enum { WRITE_HEADER = 80 };

/* Answers requests until one comes that Python must see: its length. -1 with errno: the connection has ended, or the
   kernel refuses an answer. `room` is what `request` holds; it is resident from its first use on whenever it is read to. */
ssize_t serve_until_asked(struct server *server, char *request, size_t room, int lane);

#endif
