/* SPDX-License-Identifier: Apache-2.0 */
/* curl_transfer: see curl_transfer.h. */
#include "curl_transfer.h"

#include <string.h>

static int
on_progress(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	const atomic_bool *stop = context;

	(void)a;
	(void)b;
	(void)c;
	(void)d;
	return atomic_load(stop) ? 1 : 0;
}

static size_t
on_read(char *dst, size_t size, size_t count, void *context)
{
	struct slice *rest = context;
	size_t n = size * count < rest->len ? size * count : rest->len;

	if (n > 0)
		memcpy(dst, rest->ptr, n);
	*rest = slice_make(rest->ptr + n, rest->len - n);
	return n;
}

void
curl_transfer_stops(CURL *easy, const atomic_bool *stop)
{
	(void)curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
	(void)curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
	(void)curl_easy_setopt(easy, CURLOPT_XFERINFODATA, stop);
}

void
curl_transfer_gives(CURL *easy, struct slice *rest)
{
	(void)curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
	(void)curl_easy_setopt(easy, CURLOPT_READDATA, rest);
	(void)curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)rest->len);
}
