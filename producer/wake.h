/* SPDX-License-Identifier: Apache-2.0 */
/* wake: a thread that waits for a time can be told by another that there is something to do. */
#ifndef KAIRAN_WAKE_H
#define KAIRAN_WAKE_H

#include <pthread.h>
#include <stdbool.h>

struct wake {
	pthread_mutex_t lock;
	pthread_cond_t told;
	bool news; /* since the last wait */
};

void wake_init(struct wake *w);

/* For whoever waits now, or next. */
void wake_up(struct wake *w);

/* Waits so many milliseconds, or until it is told; true when it was. */
bool wake_wait(struct wake *w, long ms);

#endif
