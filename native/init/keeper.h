/* A new keeper takes the store of the one that runs. */
#ifndef PILOT_KEEPER_H
#define PILOT_KEEPER_H
#include <sys/types.h>

/* Stops the keeper `old`, copies its descriptors into our store, and kills it, its agent with it; 0 or an errno, and then
 * `old` runs on as before. Its children go to the next subreaper; its exit records end with it. */
int keeper_take_from(pid_t old);
#endif
