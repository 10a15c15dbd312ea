/* SPDX-License-Identifier: Apache-2.0 */
/* source: see source.h. One lock for each source. */
#include "source.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t
now_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void
source_init(struct source *s, const char *name, const struct source_kind *kind, void *self)
{
	*s = (struct source){ .name = name, .kind = kind, .self = self };
	s->health.waiting = s->health.oldest_us = s->health.behind_bytes = -1;
	(void)pthread_mutex_init(&s->lock, NULL);
}

void
source_release(struct source *s)
{
	(void)pthread_mutex_destroy(&s->lock);
}

struct source_health
source_health(struct source *s)
{
	struct source_health copy;

	(void)pthread_mutex_lock(&s->lock);
	copy = s->health;
	(void)pthread_mutex_unlock(&s->lock);
	return copy;
}

void
source_received(struct source *s, uint64_t count)
{
	if (s == NULL)
		return;
	(void)pthread_mutex_lock(&s->lock);
	s->health.received += count;
	(void)pthread_mutex_unlock(&s->lock);
}

void
source_committed(struct source *s, uint64_t count)
{
	if (s == NULL)
		return;
	(void)pthread_mutex_lock(&s->lock);
	s->health.committed += count;
	s->health.last_message_us = now_us();
	(void)pthread_mutex_unlock(&s->lock);
}

void
source_left(struct source *s)
{
	if (s == NULL)
		return;
	(void)pthread_mutex_lock(&s->lock);
	s->health.left++;
	(void)pthread_mutex_unlock(&s->lock);
}

const char *
source_kept_reason(size_t number)
{
	static const char *const reasons[SOURCE_KEPT_REASONS] = { "unreadable", "refused", "poison",
		"object_missing", "object_too_large", "bucket_not_allowed", "other" };

	return reasons[number];
}

void
source_kept(struct source *s, const char *reason)
{
	size_t i = 0;

	if (s == NULL)
		return;
	while (i + 1 < SOURCE_KEPT_REASONS && strcmp(reason, source_kept_reason(i)) != 0)
		i++;
	(void)pthread_mutex_lock(&s->lock);
	s->health.kept[i]++;
	(void)pthread_mutex_unlock(&s->lock);
}

void
source_up(struct source *s, bool is_up)
{
	if (s == NULL)
		return;
	(void)pthread_mutex_lock(&s->lock);
	s->health.is_up = is_up;
	(void)pthread_mutex_unlock(&s->lock);
}

void
source_lag(struct source *s, int64_t waiting, int64_t oldest_us, int64_t behind_bytes)
{
	if (s == NULL)
		return;
	(void)pthread_mutex_lock(&s->lock);
	s->health.waiting = waiting;
	s->health.oldest_us = oldest_us;
	s->health.behind_bytes = behind_bytes;
	(void)pthread_mutex_unlock(&s->lock);
}

void
source_error(struct source *s, const char *text)
{
	if (s == NULL)
		return;
	(void)pthread_mutex_lock(&s->lock);
	s->health.is_up = false;
	s->health.errors++;
	s->health.last_error_us = now_us();
	(void)snprintf(s->health.last_error, sizeof(s->health.last_error), "%s", text);
	(void)pthread_mutex_unlock(&s->lock);
}
