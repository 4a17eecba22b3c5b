/* The floor of a volume: the smallest FUSE server that a disk can lie on.
 *
 *     fuse_floor FUSE FILE THREADS
 *
 * FUSE is the descriptor of a mounted connection. The filesystem has one file, /disk, which is FILE at the same offsets:
 * no map, no decisions, nothing to remember. So what it costs is what this kernel charges for any FUSE server; the
 * limits and flags that it agrees on are those of a volume's worker (kernel/fuse.py). It ends with the connection.
 * It must never be used for anything but a benchmark: nothing in it can be taken over, forked or saved.
 *
 *     loop ── READ, WRITE, FSYNC, FALLOCATE ──► FUSE ──► pread, pwrite, fdatasync, fallocate ──► FILE, O_DIRECT
 *
 * The buffer of a thread: data begins at a page, as direct I/O wants it; what surrounds it ends there.
 *
 *     page │                  fuse_in_header │ fuse_write_in │ page │ data of a WRITE
 *          │                                 fuse_out_header │ page │ data of a READ
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    PAGE_BYTES = 4096,
    MAX_IO_BYTES = 1 << 20,
    REPORTED_BLOCK_BYTES = 64 << 10, /* a loop device takes it for the least that is worth a discard */
    HEADER_BYTES = sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in),
    DISK_NODE = 2,
    VALID_S = 1000,
    MAX_THREADS = 64
};

struct request {
    const struct fuse_in_header *header;
    const void *body;
    char *data;
};

static int fuse_fd, file_fd;
static uint64_t size_bytes;

/* ENOENT: the request was taken back (interrupted); ENODEV: the connection is gone, which the next read says. */
static void send_answer(const struct iovec *parts, int count)
{
    if (writev(fuse_fd, parts, count) < 0 && errno != ENOENT && errno != ENODEV)
        err(1, "answer on /dev/fuse");
}

static void answer(const struct request *request, int error, void *body, size_t size)
{
    struct fuse_out_header header = {sizeof header + size, -error, request->header->unique};
    struct iovec parts[] = {{&header, sizeof header}, {body, size}};

    send_answer(parts, 2);
}

static void answer_result(const struct request *request, long result)
{
    answer(request, result < 0 ? errno : 0, NULL, 0);
}

/* ---- data */

static void serve_read(const struct request *request)
{
    const struct fuse_read_in *asked = request->body;
    struct fuse_out_header header = {.unique = request->header->unique};
    char *begin = request->data - sizeof header;
    ssize_t size = -1;

    errno = EINVAL;
    if (asked->size <= MAX_IO_BYTES)
        size = pread(file_fd, request->data, asked->size, (off_t)asked->offset);
    if (size < 0) {
        answer_result(request, size);
        return;
    }
    header.len = sizeof header + size;
    memcpy(begin, &header, sizeof header);
    send_answer(&(struct iovec){begin, header.len}, 1);
}

static void serve_write(const struct request *request)
{
    const struct fuse_write_in *asked = request->body;
    ssize_t size = pwrite(file_fd, request->data, asked->size, (off_t)asked->offset);
    struct fuse_write_out done = {.size = (uint32_t)size};

    if (size < 0)
        answer_result(request, size);
    else
        answer(request, 0, &done, sizeof done);
}

static void serve_sync(const struct request *request)
{
    answer_result(request, fdatasync(file_fd));
}

static void serve_fallocate(const struct request *request)
{
    const struct fuse_fallocate_in *asked = request->body;

    answer_result(request, fallocate(file_fd, (int)asked->mode, (off_t)asked->offset, (off_t)asked->length));
}

/* ---- names */

static struct fuse_attr attributes(uint64_t node)
{
    struct fuse_attr attr = {.ino = node, .nlink = 1, .blksize = PAGE_BYTES, .mode = S_IFDIR | 0555};

    if (node == DISK_NODE) {
        attr.mode = S_IFREG | 0600;
        attr.size = size_bytes;
        attr.blocks = size_bytes / 512;
    }
    return attr;
}

static void serve_lookup(const struct request *request)
{
    struct fuse_entry_out found = {.nodeid = DISK_NODE, .attr_valid = VALID_S, .attr = attributes(DISK_NODE)};

    if (strcmp(request->body, "disk"))
        answer(request, ENOENT, NULL, 0);
    else
        answer(request, 0, &found, sizeof found);
}

static void serve_attributes(const struct request *request)
{
    struct fuse_attr_out out = {.attr_valid = VALID_S, .attr = attributes(request->header->nodeid)};

    answer(request, 0, &out, sizeof out);
}

static void serve_open(const struct request *request)
{
    struct fuse_open_out out = {.open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES};

    answer(request, 0, &out, sizeof out);
}

static void serve_statfs(const struct request *request)
{
    struct fuse_statfs_out out = {.st = {
        .blocks = size_bytes / REPORTED_BLOCK_BYTES,
        .bsize = REPORTED_BLOCK_BYTES,
        .frsize = REPORTED_BLOCK_BYTES,
        .namelen = 255,
    }};

    answer(request, 0, &out, sizeof out);
}

static void serve_init(const struct request *request)
{
    const struct fuse_init_in *offered = request->body;
    struct fuse_init_out out = {
        .major = FUSE_KERNEL_VERSION,
        .minor = offered->minor < FUSE_KERNEL_MINOR_VERSION ? offered->minor : FUSE_KERNEL_MINOR_VERSION,
        .max_readahead = MAX_IO_BYTES,
        .flags = offered->flags
            & (FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES),
        .max_background = 64,
        .congestion_threshold = 48,
        .max_write = MAX_IO_BYTES,
        .time_gran = 1,
        .max_pages = MAX_IO_BYTES / PAGE_BYTES,
    };

    answer(request, 0, &out, sizeof out);
}

/* ---- the loop */

static void consent(const struct request *request)
{
    answer(request, 0, NULL, 0);
}

static void stay_silent(const struct request *request)
{
    (void)request; /* the kernel does not want these answered */
}

/* What is not in it (FLUSH too, as a volume's worker does) is answered with ENOSYS, and does not come again. */
static void (*const SERVES[])(const struct request *) = {
    [FUSE_INIT] = serve_init,           [FUSE_LOOKUP] = serve_lookup,       [FUSE_GETATTR] = serve_attributes,
    [FUSE_SETATTR] = serve_attributes,  [FUSE_OPEN] = serve_open,           [FUSE_STATFS] = serve_statfs,
    [FUSE_READ] = serve_read,           [FUSE_WRITE] = serve_write,         [FUSE_FSYNC] = serve_sync,
    [FUSE_FALLOCATE] = serve_fallocate, [FUSE_RELEASE] = consent,           [FUSE_ACCESS] = consent,
    [FUSE_FORGET] = stay_silent,        [FUSE_BATCH_FORGET] = stay_silent,  [FUSE_INTERRUPT] = stay_silent,
};

static void serve_one(const struct request *request)
{
    uint32_t opcode = request->header->opcode;

    if (opcode < sizeof SERVES / sizeof *SERVES && SERVES[opcode])
        SERVES[opcode](request);
    else
        answer(request, ENOSYS, NULL, 0);
}

static void *serve(void *unused)
{
    char *buffer = mmap(NULL, PAGE_BYTES + MAX_IO_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    char *begin = buffer + PAGE_BYTES - HEADER_BYTES;
    struct request request = {(void *)begin, begin + sizeof(struct fuse_in_header), buffer + PAGE_BYTES};

    if (buffer == MAP_FAILED)
        err(1, "map a buffer");
    for (;;) {
        if (read(fuse_fd, begin, HEADER_BYTES + MAX_IO_BYTES) >= 0)
            serve_one(&request);
        else if (errno == ENODEV)
            return unused; /* the connection has ended */
        else if (errno != ENOENT && errno != EINTR && errno != EAGAIN) /* ENOENT: the request was taken back */
            err(1, "read /dev/fuse");
    }
}

int main(int count, char **words)
{
    pthread_t threads[MAX_THREADS];
    struct stat status;

    if (count != 4)
        errx(2, "usage: fuse_floor FUSE FILE THREADS");
    int wanted = atoi(words[3]);
    if (wanted < 1 || wanted > MAX_THREADS)
        errx(2, "threads: 1 to %d", MAX_THREADS);
    fuse_fd = atoi(words[1]);
    file_fd = open(words[2], O_RDWR | O_DIRECT | O_CLOEXEC);
    if (file_fd < 0 || fstat(file_fd, &status) < 0)
        err(1, "open %s", words[2]);
    size_bytes = (uint64_t)status.st_size;
    for (int i = 0; i < wanted; i++)
        if (pthread_create(&threads[i], NULL, serve, NULL))
            errx(1, "start thread %d", i);
    for (int i = 0; i < wanted; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
