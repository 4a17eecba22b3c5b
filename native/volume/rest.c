/* A lane whose disk is idle gives its buffer back: a mebibyte each, of which most workers need none most of the time.

   While a lane waits in read(2) its buffer must be resident (see Server._serve in volume/serving/fuse.py for why), so it
   has to be woken to give it up. A timer of the lane's own interrupts that read. Was nothing served since it last did,
   the lane drops the pages and waits where no buffer is needed, in epoll; the first request has it fault them in again.
   The timer stands still meanwhile: an idle worker is never woken. A busy lane pays one interrupted read in each period.

   The signal is let through inside serve_until_asked alone, so it interrupts nothing that Python does. Whatever of this
   the system refuses, the lane keeps its buffer, and serves. */
#include "lookaside.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

enum { IDLE_S = 2 };

static int wake_signal(void) { return SIGRTMIN + 4; }

static void do_nothing(int signal) { (void)signal; }

static void mask_signal(int how)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, wake_signal());
    pthread_sigmask(how, &set, NULL);
}

static void set_timer(const struct rest *rest, int seconds)
{
    struct itimerspec every = {{seconds, 0}, {seconds, 0}};

    timer_settime(rest->timer, 0, &every, NULL);
}

static void open_timer(struct rest *rest)
{
    struct sigaction action = {.sa_handler = do_nothing}; /* without SA_RESTART: read(2) must return */
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = wake_signal()};

    event.sigev_notify_thread_id = gettid();
    rest->has_timer = !sigaction(wake_signal(), &action, NULL) && !timer_create(CLOCK_MONOTONIC, &event, &rest->timer);
}

/* Exclusive: one request wakes one of the lanes that rest. */
static void open_epoll(struct rest *rest, int fuse_fd)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE};

    rest->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (rest->epoll_fd >= 0 && epoll_ctl(rest->epoll_fd, EPOLL_CTL_ADD, fuse_fd, &event)) {
        close(rest->epoll_fd);
        rest->epoll_fd = -1;
    }
}

void rest_enter(struct rest *rest, int fuse_fd)
{
    if (!rest->opened) {
        rest->opened = true;
        open_timer(rest);
        open_epoll(rest, fuse_fd);
        if (rest->has_timer && rest->epoll_fd >= 0)
            set_timer(rest, IDLE_S);
    }
    mask_signal(SIG_UNBLOCK);
}

void rest_leave(void) { mask_signal(SIG_BLOCK); }

void rest_close(struct rest *rest)
{
    if (!rest->opened)
        return;
    if (rest->has_timer)
        timer_delete(rest->timer);
    if (rest->epoll_fd >= 0)
        close(rest->epoll_fd);
}

/* The whole pages of the buffer; what shares a page with others stays. */
static char *whole_pages(char *buffer, size_t size, size_t *pages_bytes)
{
    size_t page = sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)buffer + page - 1) / page * page, end = ((uintptr_t)buffer + size) / page * page;

    *pages_bytes = end > first ? end - first : 0;
    return buffer + (first - (uintptr_t)buffer);
}

static void fault_in(char *pages, size_t size)
{
    for (size_t at = 0; at < size; at += sysconf(_SC_PAGESIZE))
        *(volatile char *)(pages + at) = 0;
}

static void rest_until_asked(const struct rest *rest, char *buffer, size_t size)
{
    struct epoll_event event;
    char *pages = whole_pages(buffer, size, &size);

    set_timer(rest, 0);
    madvise(pages, size, MADV_DONTNEED);
    while (epoll_wait(rest->epoll_fd, &event, 1, -1) < 0 && errno == EINTR)
        continue;
    fault_in(pages, size);
    set_timer(rest, IDLE_S);
}

void rest_if_idle(struct rest *rest, char *buffer, size_t size)
{
    bool idle = rest->served == rest->served_before;

    rest->served_before = rest->served;
    if (idle && rest->has_timer && rest->epoll_fd >= 0)
        rest_until_asked(rest, buffer, size);
}
