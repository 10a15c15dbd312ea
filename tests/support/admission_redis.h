/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admission_redis: a private Redis on a unix socket, and the scripts of common/lua called the
 * way a dispatcher does (by SHA, loaded again on NOSCRIPT). For tests and benches; header only.
 */
#ifndef KAIRAN_ADMISSION_REDIS_H
#define KAIRAN_ADMISSION_REDIS_H

#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admission.h"
#include "buf.h"
#include "permit.h"

struct private_redis {
	pid_t pid;
	char dir[64];
	redisContext *c;
};

static inline void
private_redis_stop(struct private_redis *r)
{
	char path[128];

	if (r->c != NULL)
		redisFree(r->c);
	if (r->pid > 0) {
		(void)kill(r->pid, SIGTERM);
		(void)waitpid(r->pid, NULL, 0);
	}
	(void)snprintf(path, sizeof(path), "%s/sock", r->dir);
	(void)unlink(path);
	(void)rmdir(r->dir);
}

/* False when redis-server cannot be started. */
static inline bool
private_redis_start(struct private_redis *r)
{
	char path[128];

	*r = (struct private_redis){ .pid = -1 };
	(void)snprintf(r->dir, sizeof(r->dir), "/tmp/kairan-pace.XXXXXX");
	if (mkdtemp(r->dir) == NULL)
		return false;
	(void)snprintf(path, sizeof(path), "%s/sock", r->dir);
	r->pid = fork();
	if (r->pid == 0) {
		if (freopen("/dev/null", "w", stdout) != NULL)
			execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", path,
			    "--save", "", "--appendonly", "no", "--dir", r->dir, (char *)NULL);
		_exit(127);
	}
	for (int i = 0; i < 500 && r->c == NULL; i++) {
		(void)usleep(20000);
		if (waitpid(r->pid, NULL, WNOHANG) == r->pid) {
			r->pid = -1;
			break;
		}
		r->c = redisConnectUnix(path);
		if (r->c != NULL && r->c->err != 0) {
			redisFree(r->c);
			r->c = NULL;
		}
	}
	if (r->c == NULL)
		private_redis_stop(r);
	return r->c != NULL;
}

/* keys and arguments follow the number of keys; the reply is owned. */
static inline redisReply *
redis_script(struct private_redis *r, char sha[41], const char *text, int keys, int argc,
    const char *const *argv)
{
	char number[12];
	const char **all = calloc((size_t)argc + 3, sizeof(*all));
	redisReply *reply;

	if (all == NULL)
		return NULL;
	(void)snprintf(number, sizeof(number), "%d", keys);
	all[0] = "EVALSHA";
	all[1] = sha[0] != '\0' ? sha : "0000000000000000000000000000000000000000";
	all[2] = number;
	memcpy(all + 3, argv, (size_t)argc * sizeof(*all));
	reply = redisCommandArgv(r->c, argc + 3, all, NULL);
	if (reply != NULL && reply->type == REDIS_REPLY_ERROR &&
	    strncmp(reply->str, "NOSCRIPT", 8) == 0) {
		freeReplyObject(reply);
		reply = redisCommand(r->c, "SCRIPT LOAD %s", text);
		if (reply != NULL && reply->type == REDIS_REPLY_STRING)
			(void)snprintf(sha, 41, "%s", reply->str);
		freeReplyObject(reply);
		all[1] = sha;
		reply = redisCommandArgv(r->c, argc + 3, all, NULL);
	}
	free(all);
	return reply;
}

/* "CHAIN|from,till,interval;..." as the scripts read it. */
static inline void
calendar_text(struct buf *b, const char *chain, const struct admission_row *rows, size_t count)
{
	buf_printf(b, "%s|", chain);
	for (size_t i = 0; i < count; i++)
		buf_printf(b, "%.17g,%.17g,%.17g;", rows[i].from, rows[i].till, rows[i].interval);
}

#endif
