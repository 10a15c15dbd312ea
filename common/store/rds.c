/* SPDX-License-Identifier: Apache-2.0 */
/* rds: see rds.h. */
#include "rds.h"

#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "digit.h"
#include "rds_read.h"

/* Copies with %XX decoded (RFC 3986 2.1). */
static int
copy_part(char *dst, size_t size, const char *from, size_t n, const char *what, struct err *err)
{
	size_t length = 0;

	for (size_t i = 0; i < n; i++, length++) {
		int high = 0, low = 0;

		if (length + 1 >= size)
			return err_set(err, "redis.url: %s is too long", what);
		dst[length] = from[i];
		if (from[i] != '%')
			continue;
		if (n - i < 3 || (high = digit_hex(from[i + 1])) < 0 ||
		    (low = digit_hex(from[i + 2])) < 0 || high + low == 0)
			return err_set(err,
			    "redis.url: %s has a '%%' that is not followed by two hexadecimal "
			    "digits",
			    what);
		dst[length] = (char)(high * 16 + low);
		i += 2;
	}
	dst[length] = '\0';
	return 0;
}

static int
parse_number(const char *text, long max, int *value)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (end == text || *end != '\0' || n < 0 || n > max)
		return -1;
	*value = (int)n;
	return 0;
}

static int
parse_host(struct rds_address *a, const char *at, struct err *err)
{
	const char *slash = strchr(at, '/'), *sign = strchr(at, '@'), *colon;
	size_t n;

	if (sign != NULL) {
		colon = memchr(at, ':', (size_t)(sign - at));
		n = colon != NULL ? (size_t)(colon - at) : 0;
		if (copy_part(a->user, sizeof(a->user), at, n, "the user", err) < 0)
			return -1;
		at = colon != NULL ? colon + 1 : at;
		if (copy_part(a->password, sizeof(a->password), at, (size_t)(sign - at),
			"the password", err) < 0)
			return -1;
		at = sign + 1;
	}
	n = slash != NULL ? (size_t)(slash - at) : strlen(at);
	colon = memchr(at, ':', n);
	if (copy_part(a->host, sizeof(a->host), at, colon != NULL ? (size_t)(colon - at) : n,
		"the host", err) < 0)
		return -1;
	if (colon != NULL) {
		char port[8] = "";

		n -= (size_t)(colon + 1 - at);
		if (n >= sizeof(port))
			return err_set(err, "redis.url: the port is not a number");
		memcpy(port, colon + 1, n);
		if (parse_number(port, 65535, &a->port) < 0)
			return err_set(err, "redis.url: the port is not a number");
	}
	if (slash != NULL && slash[1] != '\0' && parse_number(slash + 1, 1023, &a->number) < 0)
		return err_set(err, "redis.url: the database must be a number");
	if (a->host[0] == '\0')
		return err_set(err, "redis.url: there is no host");
	return 0;
}

int
rds_address_parse(struct rds_address *a, const char *url, struct err *err)
{
	*a = (struct rds_address){ .port = 6379 };
	if (strncmp(url, "redis://", 8) == 0)
		return parse_host(a, url + 8, err);
	if (strncmp(url, "unix://", 7) == 0) {
		const char *mark = strchr(url + 7, '?');

		if (mark != NULL &&
		    (strncmp(mark, "?db=", 4) != 0 || parse_number(mark + 4, 1023, &a->number) < 0))
			return err_set(err, "redis.url: expected ?db=NUMBER behind the path");
		if (url[7] != '/')
			return err_set(err, "redis.url: expected an absolute path behind unix://");
		return copy_part(a->path, sizeof(a->path), url + 7,
		    mark != NULL ? (size_t)(mark - url - 7) : strlen(url + 7), "the path", err);
	}
	return err_set(err, "redis.url must begin with redis:// or unix://");
}

/* ---- replies of a sane size ---- */

static redisReplyObjectFunctions bounded; /* hiredis's own, but for this one */
static void *(*create_any)(const redisReadTask *, int);

static void *
create_array(const redisReadTask *task, int elements)
{
	return elements <= RDS_ARRAY_MAX ? create_any(task, elements) : NULL;
}

void
rds_bound(redisContext *redis)
{
	if (redis->reader == NULL || redis->reader->fn == NULL || redis->reader->fn == &bounded)
		return;
	create_any = redis->reader->fn->createArray;
	bounded = *redis->reader->fn;
	bounded.createArray = create_array;
	redis->reader->fn = &bounded;
}

static int
expect_ok(redisContext *c, redisReply *reply, const char *doing, struct err *err)
{
	int result = 0;

	if (reply == NULL)
		result = err_set(err, "Redis, %s: %s", doing, c->errstr);
	else if (reply->type == REDIS_REPLY_ERROR)
		result = err_set(err, "Redis, %s: %s", doing, reply->str);
	freeReplyObject(reply);
	return result;
}

redisContext *
rds_open(const struct rds_address *a, struct err *err)
{
	struct timeval timeout = { .tv_sec = RDS_TIMEOUT_S };
	redisContext *c = a->path[0] != '\0' ? redisConnectUnixWithTimeout(a->path, timeout)
					     : redisConnectWithTimeout(a->host, a->port, timeout);
	int failed = 0;

	if (c == NULL || c->err != 0) {
		(void)err_set(err, "cannot reach Redis: %s; check redis.url",
		    c != NULL ? c->errstr : "no memory");
		if (c != NULL)
			redisFree(c);
		return NULL;
	}
	(void)redisSetTimeout(c, timeout);
	rds_bound(c);
	if (a->password[0] != '\0')
		failed = a->user[0] != '\0'
		    ? expect_ok(
			  c, redisCommand(c, "AUTH %s %s", a->user, a->password), "logging in", err)
		    : expect_ok(c, redisCommand(c, "AUTH %s", a->password), "logging in", err);
	if (failed == 0 && a->number != 0)
		failed = expect_ok(c, redisCommand(c, "SELECT %d", a->number), "selecting", err);
	if (failed == 0)
		failed = expect_ok(c, redisCommand(c, "PING"), "first command", err);
	if (failed != 0) {
		redisFree(c);
		return NULL;
	}
	return c;
}

int
rds_time(redisContext *redis, double *now, struct err *err)
{
	redisReply *reply = redisCommand(redis, "TIME");
	int result = 0;

	if (reply == NULL || !rds_read_time(reply, now))
		result = err_set(err, "Redis, asking the time: %s",
		    reply == NULL			   ? redis->errstr
			: reply->type == REDIS_REPLY_ERROR ? reply->str
							   : "its answer is no time");
	freeReplyObject(reply);
	return result;
}

int
rds_check_policy(redisContext *redis, struct err *err)
{
	redisReply *reply = redisCommand(redis, "CONFIG GET maxmemory-policy");
	int result = 0;

	if (reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
	    reply->element[1]->type == REDIS_REPLY_STRING &&
	    strncmp(reply->element[1]->str, "allkeys", 7) == 0)
		result = err_set(err,
		    "Redis would throw jobs away when it is full (maxmemory-policy %s); set it to "
		    "noeviction",
		    reply->element[1]->str);
	freeReplyObject(reply);
	return result;
}
