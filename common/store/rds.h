/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rds: where Redis is, and a blocking connection to it for the producer and commands. The
 * dispatcher uses hiredis's asynchronous side with the same address.
 */
#ifndef KAIRAN_RDS_H
#define KAIRAN_RDS_H

#include <hiredis/hiredis.h>
#include <stdbool.h>

#include "err.h"

#define RDS_TIMEOUT_S 5
#define RDS_ARRAY_MAX 65536		 /* elements of one reply; a batch has 4,096 at most */
#define RDS_REPLY_MAX ((size_t)16 << 20) /* bytes of one reply */

struct rds_address {
	char path[108]; /* unix socket, or "" */
	char host[256];
	int port;
	char user[64], password[256]; /* "" when there is none */
	int number;		      /* of the database */
};

/* redis://[[user]:password@]host[:port][/number] or unix:///path[?db=number]. 0, or -1 with err. */
int rds_address_parse(struct rds_address *a, const char *url, struct err *err) MUST_CHECK;

/* Connects, authenticates, selects. NULL with err that says what to check; owned
 * (redisFree). */
redisContext *rds_open(const struct rds_address *a, struct err *err) MUST_CHECK;

/* A reply that announces more than RDS_ARRAY_MAX elements ends the connection: hiredis would make
 * room for all of them at once. */
void rds_bound(redisContext *redis);

/* The clock of Redis, us since 2026. 0, or -1 with err: it is away, or what it says is no time. */
int rds_time(redisContext *redis, double *now, struct err *err) MUST_CHECK;

/* Refuses a server that may throw our lists away: 0 when its maxmemory-policy keeps everything
 * or cannot be asked for; -1 with err. */
int rds_check_policy(redisContext *redis, struct err *err) MUST_CHECK;

#endif
