/* The descriptors that init was given at its start. */
#ifndef PILOT_INHERITED_H
#define PILOT_INHERITED_H

/* Takes PILOT_FDS apart, "dial:3,log:4" (what is before the last colon of an item is the name). To be called before we open
 * anything: a number that is not open now would name a descriptor of our own later. Bad items are logged and left out.
 * `list` is cut up, and must stay; NULL is no descriptors. */
void inherited_read(char *list);

/* Puts them into the store. */
void inherited_store(void);
#endif
