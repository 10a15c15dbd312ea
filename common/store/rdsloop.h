/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rdsloop: one Redis connection on the event loop; opened again with growing waits when it is
 * lost. A command that is lost, or given while there is no connection, is answered with NULL.
 */
#ifndef KAIRAN_RDSLOOP_H
#define KAIRAN_RDSLOOP_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <uv.h>

#include "rds.h"

struct rdsloop;

/* reply is borrowed during the call; NULL: lost or absent. */
typedef void rdsloop_done(void *ctx, const redisReply *reply);

/* address is borrowed for the life. NULL without memory. */
struct rdsloop *rdsloop_new(uv_loop_t *loop, const struct rds_address *address);

/* Closes; commands under way are answered with NULL before it returns. */
void rdsloop_free(struct rdsloop *r);

bool rdsloop_is_ready(const struct rdsloop *r);

/* done is called from the loop, or at once with NULL when there is no connection. */
void rdsloop_command(
    struct rdsloop *r, rdsloop_done *done, void *ctx, int argc, const char *const *argv);

/* A script, by its SHA-1, loaded when Redis does not know it (NOSCRIPT). The struct is filled
 * once and lives as long as the loop. */
struct rdsloop_script {
	const char *text;
	char sha[41];
};
void rdsloop_script_init(struct rdsloop_script *script, const char *text);
/* argv: keys, then arguments. */
void rdsloop_script_run(struct rdsloop *r, const struct rdsloop_script *script, rdsloop_done *done,
    void *ctx, int keys, int argc, const char *const *argv);

#endif
