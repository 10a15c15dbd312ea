/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of HTTP/1: the same bytes whole and in pieces give the same answer, and the end of the
 * connection at any point makes no whole one of a part. First byte: size of the pieces. */
#include "http_answer.h"

#include <stdlib.h>
#include <string.h>

#define BODY_MAX 100

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum http_answer_result
read_all(struct http_answer *a, const char *bytes, size_t n, size_t piece, size_t *at)
{
	enum http_answer_result result = HTTP_ANSWER_MORE;

	http_answer_init(a, BODY_MAX);
	for (*at = 0; *at < n && result == HTTP_ANSWER_MORE;) {
		size_t take = n - *at < piece ? n - *at : piece, used;

		result = http_answer_feed(a, bytes + *at, take, &used);
		if (used > take || (result == HTTP_ANSWER_MORE && used != take))
			abort();
		*at += used;
	}
	return result;
}

static void
check(const struct http_answer *a, enum http_answer_result result)
{
	if (a->body.len > BODY_MAX || strlen(a->error_type) > HTTP_ANSWER_ERROR_TYPE_MAX ||
	    strlen(a->date) > HTTP_ANSWER_DATE_MAX)
		abort();
	if ((result == HTTP_ANSWER_BAD) != (a->why[0] != '\0'))
		abort();
	if (result == HTTP_ANSWER_BAD
		? a->status != 0
		: (result != HTTP_ANSWER_MORE && (a->status < 200 || a->status > 599)))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *bytes = (const char *)data + 1;
	enum http_answer_result result;
	struct http_answer a, b;
	size_t whole_at, at;

	if (size < 2)
		return 0;
	size--;
	result = read_all(&a, bytes, size, size, &whole_at);
	check(&a, result);
	if (read_all(&b, bytes, size, 1 + data[0] % 64U, &at) != result || a.status != b.status ||
	    a.keeps != b.keeps || strcmp(a.why, b.why) != 0 || strcmp(a.date, b.date) != 0 ||
	    strcmp(a.error_type, b.error_type) != 0 ||
	    !slice_equal(buf_slice(&a.body), buf_slice(&b.body)) ||
	    (result == HTTP_ANSWER_WHOLE && at != whole_at))
		abort();
	if (result == HTTP_ANSWER_MORE) {
		bool until_close = a.state == HTTP_ANSWER_UNTIL_CLOSE;

		result = http_answer_end(&a, true);
		check(&a, result);
		if ((result == HTTP_ANSWER_WHOLE) != until_close ||
		    http_answer_end(&b, false) == HTTP_ANSWER_WHOLE)
			abort();
	}
	http_answer_release(&a);
	http_answer_release(&b);
	return 0;
}
