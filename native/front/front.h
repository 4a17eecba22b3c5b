/* `pilot`: its parts and the packets that they exchange with the planner (src/pilot/planner/messages.py has the same). */
#ifndef PILOT_FRONT_H
#define PILOT_FRONT_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../launch/launch.h"

enum { MAX_PASSED = 253, MAX_HELD = MAX_SLOTS + 8 };
enum packet_kind { COLD_PATH = 1, CLONE, WAIT, EXIT, BEGUN, REAP, PASS, HOLD, REQUEST = 16, CLONED, ENDED, PASSED };
enum loss { RERUN, GIVE_UP }; /* what is to be done when the planner is lost, once it has begun */

/* From the planner. */
struct answer {
    uint32_t kind;
    int32_t status; /* EXIT; BEGUN: the exit status of GIVE_UP; PASS: the first number */
    uint64_t flags; /* CLONE: for clone3; BEGUN: enum loss */
    int32_t cgroup; /* CLONE: a slot, or -1 */
    uint32_t count; /* CLONE: slots; PASS: how many numbers */
    int16_t slots[MAX_SLOTS];
};

/* To the planner. A REQUEST is followed by BUILD, the words (`pid` of them) and the environment, each ended by NUL. */
struct report {
    uint32_t kind;
    int32_t pid;    /* CLONED; PASSED: the number that is not open */
    int32_t error;  /* CLONED, PASSED: errno; ENDED: 0 exited, 1 killed by a signal, 2 with a core, 3 nobody knows */
    int32_t status; /* ENDED: exit status or signal */
};

/* A packet with its descriptors, and those of the HOLDs before it; they are ours to close. */
struct received {
    struct answer answer;
    int fds[MAX_HELD];
    unsigned count;
    int lacks; /* the kernel found no number for one of them: we have as many open as we may */
};

/* packets.c: 0, or -1 when there is no planner any more. What is received comes behind what is there. */
int send_report(int planner, const struct report *report, const int *fds, unsigned count);
int send_request(int planner, int count, char **words);
int receive_answer(int planner, struct received *received);

/* clone.c */
int answer_clone(int planner, const struct received *received);

/* attend.c: signals are held from `hold_signals` on, and passed on while a process is attended to. */
void hold_signals(void);
void release_signals(void);
int answer_wait(int planner, const struct received *received, int *status);
int answer_reap(int planner, const struct received *received);

/* execute.c: the Python command line, or the path that could not be executed, with errno. Replaces the first word. */
const char *execute_python(char **words);

/* cold.c: the Python command line, as it follows or instead of a planner. */
void become_cold(char **words) __attribute__((noreturn));
void settle(int words_fd);
void end_children(void);

#endif
