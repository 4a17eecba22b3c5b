/* Grace periods: an entry that was changed may still be in use by those who were inside then, and by nobody else.

   lane:   passes++ (odd) ─ reads entries, reads or writes slots, answers ─ passes++ (even) ─ wakes who waits
   waiter: changes entries ─ for each lane that is odd: until its passes differ

   All of it is sequentially consistent: either the waiter sees the lane inside, or the lane sees the changed entry. */
#include "lookaside.h"

void grace_open(struct grace *grace)
{
    pthread_mutex_init(&grace->lock, NULL);
    pthread_cond_init(&grace->left, NULL);
}

void grace_close(struct grace *grace)
{
    pthread_cond_destroy(&grace->left);
    pthread_mutex_destroy(&grace->lock);
}

void grace_enter(struct grace *grace, int lane) { atomic_fetch_add(&grace->lanes[lane].passes, 1); }

void grace_leave(struct grace *grace, int lane)
{
    atomic_fetch_add(&grace->lanes[lane].passes, 1);
    if (!atomic_load(&grace->waiting))
        return;
    pthread_mutex_lock(&grace->lock);
    pthread_cond_broadcast(&grace->left);
    pthread_mutex_unlock(&grace->lock);
}

void grace_wait(struct grace *grace)
{
    atomic_fetch_add(&grace->waiting, 1);
    pthread_mutex_lock(&grace->lock);
    for (int lane = 0; lane < MAX_LANES; lane++) {
        uint64_t passes = atomic_load(&grace->lanes[lane].passes);
        while (passes % 2 && atomic_load(&grace->lanes[lane].passes) == passes)
            pthread_cond_wait(&grace->left, &grace->lock);
    }
    pthread_mutex_unlock(&grace->lock);
    atomic_fetch_sub(&grace->waiting, 1);
}
