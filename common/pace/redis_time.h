/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_time: moments of Redis's clock on the clock of this loop. All dispatchers must mean the
 * same moment by the time of a permit, or permits that are apart on one clock leave together.
 *
 * An answer says what time it was in Redis at some moment between question and answer, so the
 * shift of the clocks lies between two bounds; the shift that is kept is moved into them, no
 * further than it must. Answers that were quick make it exact, those that waited in a queue do not
 * spoil it, and a clock that was set is followed at once. Pure.
 */
#ifndef KAIRAN_REDIS_TIME_H
#define KAIRAN_REDIS_TIME_H

#include <stdbool.h>
#include <stdint.h>

/* Zeroed: nothing is known. */
struct redis_time {
	bool known;
	int64_t shift_us; /* ours minus Redis's */
};

/* Our time of the moment that Redis called redis_us, in a question asked at asked_us and answered
 * at answered_us (ours). */
static inline uint64_t
redis_time_ours(struct redis_time *t, uint64_t asked_us, int64_t redis_us, uint64_t answered_us)
{
	int64_t least = (int64_t)asked_us - redis_us, most = (int64_t)answered_us - redis_us;

	if (!t->known || t->shift_us > most)
		t->shift_us = most;
	else if (t->shift_us < least)
		t->shift_us = least;
	t->known = true;
	return (uint64_t)(redis_us + t->shift_us);
}

#endif
