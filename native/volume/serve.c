/* Reads of known chunks, and writes to chunks that may be written in place. Everything else is left as it came, for
   Python: also whatever goes wrong here, so that there is one place that reports. */
#include "lookaside.h"

#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define RESENT (1ull << 63)
enum { DISK_NODE = 2 };

/* A piece of a request: consecutive slots of one slab, or holes. */
struct run {
    int slab; /* -1: holes */
    off_t at;
    size_t offset, length;
};

struct request {
    const struct fuse_in_header *header;
    uint64_t offset;
    size_t length;
    char *data;
    struct run runs[MAX_IO_CHUNKS];
    size_t count;
};

static bool joins(const struct run *before, const struct run *run)
{
    return run->slab == before->slab && (run->slab < 0 || run->at == before->at + (off_t)before->length);
}

static void add_run(struct request *request, struct run run)
{
    struct run *before = request->count ? &request->runs[request->count - 1] : NULL;

    if (before && joins(before, &run))
        before->length += run.length;
    else
        request->runs[request->count++] = run;
}

/* Whether all chunks of the request have these bits; then `runs` says where they are. */
static bool find_runs(const struct server *server, struct request *request, uint64_t bits)
{
    request->count = 0;
    for (size_t done = 0; done < request->length;) {
        uint64_t position = request->offset + done;
        uint64_t entry = table_get(&server->table, position / CHUNK_BYTES);
        uint64_t place = entry & PLACE_MASK, depth = place >> DEPTH_SHIFT;
        size_t inside = position % CHUNK_BYTES, length = CHUNK_BYTES - inside;
        struct run run = {.slab = -1, .offset = done};
        if ((entry & bits) != bits || depth >= MAX_SLABS)
            return false;
        run.length = length < request->length - done ? length : request->length - done;
        if (place) {
            run.slab = atomic_load(&server->slabs[depth]);
            run.at = (off_t)((place & SLOT_MASK) * CHUNK_BYTES + inside);
            if (run.slab < 0)
                return false;
        }
        add_run(request, run);
        done += run.length;
    }
    return request->count > 0;
}

/* A whole chunk of zeros becomes a hole: that is Python's. */
static bool has_zero_chunk(const struct request *request)
{
    size_t first = -request->offset % CHUNK_BYTES;

    for (size_t at = first; at + CHUNK_BYTES <= request->length; at += CHUNK_BYTES) {
        const char *chunk = request->data + at;
        if (!chunk[0] && !chunk[CHUNK_BYTES - 1] && !memcmp(chunk, chunk + 1, CHUNK_BYTES - 1))
            return true;
    }
    return false;
}

static bool read_runs(const struct request *request)
{
    for (const struct run *run = request->runs; run < request->runs + request->count; run++)
        if (run->slab < 0)
            memset(request->data + run->offset, 0, run->length);
        else if (pread(run->slab, request->data + run->offset, run->length, run->at) != (ssize_t)run->length)
            return false;
    return true;
}

static bool write_runs(const struct request *request)
{
    for (const struct run *run = request->runs; run < request->runs + request->count; run++)
        if (run->slab < 0
            || pwrite(run->slab, request->data + run->offset, run->length, run->at) != (ssize_t)run->length)
            return false;
    return true;
}

/* ENOENT: the request is gone (interrupted); ENODEV: the connection is, which the next read says. */
static int send_answer(struct server *server, const struct iovec *parts, int count)
{
    ssize_t sent;

    atomic_fetch_add(&server->answered, 1);
    do {
        sent = writev(server->fuse_fd, parts, count);
    } while (sent < 0 && errno == EINTR);
    return sent >= 0 || errno == ENOENT || errno == ENODEV ? 1 : -1;
}

/* 1: answered, 0: not ours, -1 errno. The answer's header takes the place of what ends where the data begins. */
static int answer_read(struct server *server, struct request *request)
{
    struct fuse_out_header header = {sizeof header + request->length, 0, request->header->unique};
    char *answer = request->data - sizeof header;
    struct iovec part = {answer, header.len};

    if (!find_runs(server, request, KNOWN) || !read_runs(request))
        return 0;
    memcpy(answer, &header, sizeof header);
    return send_answer(server, &part, 1);
}

static int answer_write(struct server *server, struct request *request)
{
    struct fuse_write_out done = {.size = request->length};
    struct fuse_out_header header = {sizeof header + sizeof done, 0, request->header->unique};
    struct iovec parts[] = {{&header, sizeof header}, {&done, sizeof done}};

    if (!find_runs(server, request, KNOWN | WRITABLE) || has_zero_chunk(request) || !write_runs(request))
        return 0;
    atomic_fetch_add(&server->writes, 1); /* before the answer: a sync asked for afterwards must cover it */
    return send_answer(server, parts, 2);
}

/* A sync that fails tells so once only, so it is answered here whatever it says. */
static int answer_sync(struct server *server, const struct fuse_in_header *request, int lane)
{
    int fd = atomic_load(&server->clean_fd);
    uint64_t writes = atomic_load(&server->writes);

    if (fd < 0)
        return 0;
    rest_leave(); /* where the slab's filesystem can be interrupted, EINTR would be this sync's answer */
    int error = fdatasync(fd) ? errno : 0;
    rest_enter(&server->rests[lane], server->fuse_fd);
    for (uint64_t synced = atomic_load(&server->synced); !error && synced < writes;)
        if (atomic_compare_exchange_weak(&server->synced, &synced, writes))
            break;
    struct fuse_out_header header = {sizeof header, -error, request->unique};
    struct iovec part = {&header, sizeof header};
    return send_answer(server, &part, 1);
}

/* struct fuse_read_in and fuse_write_in agree in what is read of them. */
static int answer_io(struct server *server, char *bytes, size_t size)
{
    const struct fuse_in_header *header = (const void *)bytes;
    const struct fuse_write_in *body = (const void *)(bytes + sizeof *header);
    bool writes = header->opcode == FUSE_WRITE;
    struct request request = {
        .header = header, .offset = body->offset, .length = body->size, .data = bytes + WRITE_HEADER};
    if (size < WRITE_HEADER || request.length > MAX_IO_BYTES || (writes && size != WRITE_HEADER + request.length))
        return 0;
    if (request.offset % BLOCK_BYTES || request.length % BLOCK_BYTES)
        return 0;
    uint64_t disk_bytes = atomic_load(&server->size_bytes);
    if (request.offset > disk_bytes || request.length > disk_bytes - request.offset)
        return 0;
    return writes ? answer_write(server, &request) : answer_read(server, &request);
}

/* Answers the request if it can, inside a grace period; as the functions above. */
static int try(struct server *server, char *bytes, size_t size, int lane)
{
    const struct fuse_in_header *header = (const void *)bytes;

    if (header->nodeid != DISK_NODE || header->unique & RESENT)
        return 0;
    switch (header->opcode) {
    case FUSE_READ:
    case FUSE_WRITE:
        return answer_io(server, bytes, size);
    case FUSE_FSYNC:
        return answer_sync(server, header, lane);
    default:
        return 0;
    }
}

static ssize_t serve(struct server *server, char *request, size_t room, int lane)
{
    struct rest *rest = &server->rests[lane];

    for (;;) {
        ssize_t size = read(server->fuse_fd, request, WRITE_HEADER + MAX_IO_BYTES);
        if (size < 0) {
            if (errno == EINTR)
                rest_if_idle(rest, request, room);
            else if (errno != ENOENT && errno != EAGAIN) /* ENOENT: the request was taken back before we read it */
                return -1;
            continue;
        }
        rest->served++;
        if (size < (ssize_t)sizeof(struct fuse_in_header))
            return size;
        grace_enter(&server->grace, lane);
        int done = try(server, request, size, lane);
        grace_leave(&server->grace, lane);
        if (done <= 0)
            return done < 0 ? -1 : size;
    }
}

ssize_t serve_until_asked(struct server *server, char *request, size_t room, int lane)
{
    rest_enter(&server->rests[lane], server->fuse_fd);
    ssize_t size = serve(server, request, room, lane);
    int error = errno;
    rest_leave();
    errno = error;
    return size;
}
