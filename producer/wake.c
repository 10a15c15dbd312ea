/* SPDX-License-Identifier: Apache-2.0 */
/* wake: see wake.h. */
#include "wake.h"

#include <time.h>

void
wake_init(struct wake *w)
{
	pthread_condattr_t attributes;

	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_mutex_init(&w->lock, NULL);
	(void)pthread_cond_init(&w->told, &attributes);
	(void)pthread_condattr_destroy(&attributes);
	w->news = false;
}

void
wake_up(struct wake *w)
{
	(void)pthread_mutex_lock(&w->lock);
	w->news = true;
	(void)pthread_cond_signal(&w->told);
	(void)pthread_mutex_unlock(&w->lock);
}

bool
wake_wait(struct wake *w, long ms)
{
	struct timespec end;
	bool news;

	(void)clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += ms / 1000;
	end.tv_nsec += ms % 1000 * 1000000;
	if (end.tv_nsec >= 1000000000) {
		end.tv_sec++;
		end.tv_nsec -= 1000000000;
	}
	(void)pthread_mutex_lock(&w->lock);
	while (!w->news && pthread_cond_timedwait(&w->told, &w->lock, &end) == 0)
		;
	news = w->news;
	w->news = false;
	(void)pthread_mutex_unlock(&w->lock);
	return news;
}
