/* SPDX-License-Identifier: Apache-2.0 */
/* aws_endpoint: see aws_endpoint.h. */
#include "aws_endpoint.h"

#include <stdlib.h>
#include <string.h>

static const struct {
	const char *variable, *label, *signing_name;
} services[] = {
	[AWS_SESV2] = { "AWS_ENDPOINT_URL_SESV2", "email", "ses" },
	[AWS_SQS] = { "AWS_ENDPOINT_URL_SQS", "sqs", "sqs" },
	[AWS_STS] = { "AWS_ENDPOINT_URL_STS", "sts", "sts" },
	[AWS_S3] = { "AWS_ENDPOINT_URL_S3", "s3", "s3" },
};

static const char *
environment(const char *name)
{
	const char *value = getenv(name);

	return value != NULL ? value : "";
}

static const char *
first_of(const char *a, const char *b, const char *c)
{
	if (a != NULL && a[0] != '\0')
		return a;
	return b[0] != '\0' ? b : c;
}

/* Scheme and host; a path is refused, since nobody would sign it rightly. */
static int
split(struct aws_endpoint *e, const char *url, struct err *err)
{
	size_t n;

	e->is_tls = strncmp(url, "https://", 8) == 0;
	if (!e->is_tls && strncmp(url, "http://", 7) != 0)
		return err_set(err, "endpoint '%.100s' must begin with https:// (or http://)", url);
	url += e->is_tls ? 8 : 7;
	n = strspn(url, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]");
	if (n == 0 || n >= sizeof(e->host) || (url[n] != '\0' && strcmp(url + n, "/") != 0))
		return err_set(err,
		    "endpoint '%.100s' must be a host with or without a port and nothing behind it",
		    url);
	(void)snprintf(e->host, sizeof(e->host), "%.*s", (int)n, url);
	(void)snprintf(
	    e->origin, sizeof(e->origin), "%s%s", e->is_tls ? "https://" : "http://", e->host);
	/* the usual port does not stand in Host, so it must not be signed */
	n = strlen(e->host);
	if (e->is_tls && n > 4 && strcmp(e->host + n - 4, ":443") == 0)
		e->host[n - 4] = '\0';
	else if (!e->is_tls && n > 3 && strcmp(e->host + n - 3, ":80") == 0)
		e->host[n - 3] = '\0';
	return 0;
}

int
aws_endpoint_make(struct aws_endpoint *e, enum aws_service service, const char *given,
    const char *region, struct err *err)
{
	const char *url;
	size_t n;

	*e = (struct aws_endpoint){ .signing_name = services[service].signing_name };
	region = first_of(region, environment("AWS_REGION"), environment("AWS_DEFAULT_REGION"));
	n = strlen(region);
	if (n == 0)
		return err_set(err, "no region of Amazon is set; set its region or AWS_REGION");
	if (n >= sizeof(e->region) || strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-") != n)
		return err_set(err, "'%.40s' is no region of Amazon; e.g. ap-northeast-1", region);
	(void)snprintf(e->region, sizeof(e->region), "%s", region);
	url = first_of(
	    given, environment(services[service].variable), environment("AWS_ENDPOINT_URL"));
	e->is_given = url[0] != '\0';
	if (e->is_given)
		return split(e, url, err);
	e->is_tls = true;
	(void)snprintf(e->host, sizeof(e->host), "%s.%s.amazonaws.com%s", services[service].label,
	    region, strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
	(void)snprintf(e->origin, sizeof(e->origin), "https://%s", e->host);
	return 0;
}
