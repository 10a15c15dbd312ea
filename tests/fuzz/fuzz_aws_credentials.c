/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials as files and services hand them out: every form over every input; whatever is
 * accepted must be fit for a request header. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "aws_credentials.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(const char *text, size_t max)
{
	size_t n = strnlen(text, max + 1);

	if (n > max)
		abort();
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)text[i] <= ' ' || (unsigned char)text[i] >= 0x7f)
			abort();
}

static void
check_keys(const struct aws_credentials *c)
{
	check(c->access_key, AWS_KEY_MAX);
	check(c->secret_key, AWS_SECRET_MAX);
	check(c->session_token, AWS_TOKEN_MAX);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct aws_profile p;
	static struct aws_credentials c;
	struct slice in = slice_make((const char *)data, size);
	struct err err;

	memset(&p, 0, sizeof(p));
	if (aws_profile_parse(&p, in, "shop", true, &err) == 0 &&
	    aws_profile_parse(&p, in, "shop", false, &err) == 0) {
		check_keys(&p.keys);
		check(p.region, sizeof(p.region) - 1);
		check(p.role_arn, sizeof(p.role_arn) - 1);
	}
	memset(&c, 0, sizeof(c));
	if (aws_json_answer_parse(&c, in, &err) == 0) {
		check_keys(&c);
		if (c.access_key[0] == '\0' || c.expires_s < 0)
			abort();
	}
	if (aws_sts_answer_parse(&c, in, &err) == 0 &&
	    (c.session_token[0] == '\0' || c.expires_s < 0))
		abort();
	check_keys(&c);
	return 0;
}
