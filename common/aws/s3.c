/* SPDX-License-Identifier: Apache-2.0 */
/* s3: see s3.h. */
#include "s3.h"

#include <string.h>

#include "sigv4.h"

static bool
is_letter_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool
s3_bucket_check(struct slice b)
{
	if (b.len < 3 || b.len > S3_BUCKET_MAX || !is_letter_or_digit(b.ptr[0]) ||
	    !is_letter_or_digit(b.ptr[b.len - 1]))
		return false;
	for (size_t i = 0; i < b.len; i++) {
		char c = b.ptr[i];

		if (!is_letter_or_digit(c) && c != '-' && (c != '.' || b.ptr[i - 1] == '.'))
			return false;
	}
	return true;
}

bool
s3_key_check(struct slice key)
{
	size_t start = 0;

	if (key.len == 0 || key.len > S3_KEY_MAX)
		return false;
	for (size_t i = 0; i <= key.len; i++) {
		size_t n = i - start;

		if (i < key.len && ((unsigned char)key.ptr[i] < 0x20 || key.ptr[i] == 0x7f))
			return false;
		if (i < key.len && key.ptr[i] != '/')
			continue;
		if ((n == 1 || n == 2) && memcmp(key.ptr + start, "..", n) == 0)
			return false;
		start = i + 1;
	}
	return true;
}

int
s3_place(const struct aws_endpoint *api, struct slice bucket, struct slice key,
    struct aws_endpoint *e, struct buf *path, struct err *err)
{
	bool in_path = api->is_given || memchr(bucket.ptr, '.', bucket.len) != NULL;

	*e = *api;
	buf_append_char(path, '/');
	if (in_path) {
		buf_append_slice(path, bucket);
		buf_append_char(path, '/');
	} else if (snprintf(e->host, sizeof(e->host), "%.*s.%s", (int)bucket.len, bucket.ptr,
		       api->host) >= (int)sizeof(e->host)) {
		return err_set(err, "the bucket's host is too long");
	} else {
		(void)snprintf(e->origin, sizeof(e->origin), "https://%s", e->host);
	}
	sigv4_encode(path, key, true);
	return buf_failed(path) ? err_set(err, "no memory") : 0;
}
