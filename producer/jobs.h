/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jobs: the lists of send ids in Redis that dispatchers take from, and the producer's connection to it.
 * A connection that is lost is opened again at the next round; nothing else waits for it.
 */
#ifndef KAIRAN_JOBS_H
#define KAIRAN_JOBS_H

#include <stdbool.h>
#include <stdint.h>

#include "keys.h"
#include "rds.h"

struct jobs {
	const struct rds_address *address; /* borrowed */
	redisContext *redis;		   /* NULL when it cannot be reached */
	int64_t again_ms;		   /* jobs_now_ms(): not tried before */
};

void jobs_close(struct jobs *j);

/* Milliseconds that only go forward. */
int64_t jobs_now_ms(void);

/* Connects when it is time. */
bool jobs_ready(struct jobs *j);

/* The connection failed while doing something: ends it, with a line in the log. */
void jobs_lost(struct jobs *j, const char *doing);

/* The number that a command answers (1 for a text); -1 when Redis is lost or says no. Frees the
 * reply. */
int64_t jobs_number(struct jobs *j, const char *doing, redisReply *reply);

/* The list of a lane of a run; lane 0: all others. */
void jobs_key(char key[KEY_MAX], int run, int lane);

/* Pushes ids with RPUSH or LPUSH. 0; -1: Redis is lost or says no. */
int jobs_push(
    struct jobs *j, int run, int lane, const char *command, const int64_t *ids, int count);

#endif
