/* SPDX-License-Identifier: Apache-2.0 */
/* http_answer: each answer whole, byte by byte, and cut at every offset; what is no answer; limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "http_answer.h"

#define BODY_MAX 40
#define OK "HTTP/1.1 200 OK\r\n"
#define LENGTH "Content-Length: "
#define CHUNKED "Transfer-Encoding: chunked\r\n"

struct sample {
	const char *bytes;
	enum http_answer_result result;
	int status;
	const char *body; /* BAD: a part of why */
	bool keeps;
	size_t rest; /* bytes behind it that are not its own */
};

static const struct sample samples[] = {
	{ OK LENGTH "5\r\n\r\nhello", HTTP_ANSWER_WHOLE, 200, "hello", true, 0 },
	{ OK LENGTH "0\r\n\r\n", HTTP_ANSWER_WHOLE, 200, "", true, 0 },
	{ OK LENGTH "2\r\n\r\nhello", HTTP_ANSWER_WHOLE, 200, "he", true, 3 },
	{ OK "CONTENT-length:\t005 \r\n\r\nhello", HTTP_ANSWER_WHOLE, 200, "hello", true, 0 },
	{ "HTTP/1.1 400\r\n" LENGTH "2\r\n\r\nno", HTTP_ANSWER_WHOLE, 400, "no", true, 0 },
	{ "HTTP/1.1 503 \r\nConnection: x, Close ,\r\n" LENGTH "2\r\n\r\nno", HTTP_ANSWER_WHOLE,
	    503, "no", false, 0 },
	{ "HTTP/1.0 200 OK\r\n" LENGTH "2\r\n\r\nok", HTTP_ANSWER_WHOLE, 200, "ok", false, 0 },
	{ "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" LENGTH "2\r\n\r\nok", HTTP_ANSWER_WHOLE,
	    200, "ok", true, 0 },
	{ "HTTP/1.0 200 OK\r\nConnection: keep-alive, close\r\n" LENGTH "0\r\n\r\n",
	    HTTP_ANSWER_WHOLE, 200, "", false, 0 },
	/* no body, whatever is said of one (RFC 9110 15.3.5, 15.4.5) */
	{ "HTTP/1.1 204 None\r\n\r\n", HTTP_ANSWER_WHOLE, 204, "", true, 0 },
	{ "HTTP/1.1 304 Same\r\n" LENGTH "7\r\n\r\nrest", HTTP_ANSWER_WHOLE, 304, "", true, 4 },
	/* interim answers */
	{ "HTTP/1.1 100 Continue\r\nConnection: close\r\nDate: x\r\n\r\nHTTP/1.1 103 "
	  "Hints\r\nLink: "
	  "x\r\n\r\n" OK LENGTH "2\r\n\r\nok",
	    HTTP_ANSWER_WHOLE, 200, "ok", true, 0 },
	/* chunks */
	{ OK CHUNKED "\r\n5\r\nhello\r\n1;a=\"b\"\r\n!\r\n0\r\n\r\n", HTTP_ANSWER_WHOLE, 200,
	    "hello!", true, 0 },
	{ OK "transfer-encoding: Chunked\r\n\r\n00000A \r\n0123456789\r\n000\r\nTrailer: "
	     "x\r\nContent-Length: 3\r\n\r\nabc",
	    HTTP_ANSWER_WHOLE, 200, "0123456789", true, 3 },
	/* longer than it may be */
	{ OK LENGTH "41\r\n\r\n01234567890123456789012345678901234567890", HTTP_ANSWER_CUT, 200,
	    "0123456789012345678901234567890123456789", false, 0 },
	{ "HTTP/1.1 400 No\r\n" CHUNKED "\r\n29\r\n01234567890123456789012345678901234567890\r\n",
	    HTTP_ANSWER_CUT, 400, "0123456789012345678901234567890123456789", false, 2 },
	{ "HTTP/1.1 400 No\r\n\r\n01234567890123456789012345678901234567890", HTTP_ANSWER_CUT, 400,
	    "0123456789012345678901234567890123456789", false, 0 },
	/* none */
	{ "HTTP/2 200 OK\r\n", HTTP_ANSWER_BAD, 0, "HTTP/1", false, 0 },
	{ "HTTP/1.2 200 OK\r\n", HTTP_ANSWER_BAD, 0, "status line", false, 0 },
	{ "http/1.1 200 OK\r\n", HTTP_ANSWER_BAD, 0, "HTTP/1", false, 0 },
	{ "\r\n", HTTP_ANSWER_BAD, 0, "HTTP/1", false, 0 },
	{ "HTTP/1.1  200 OK\r\n", HTTP_ANSWER_BAD, 0, "status line", false, 0 },
	{ "HTTP/1.1 20 OK\r\n", HTTP_ANSWER_BAD, 0, "status line", false, 0 },
	{ "HTTP/1.1 2000 OK\r\n", HTTP_ANSWER_BAD, 0, "status line", false, 0 },
	{ "HTTP/1.1 099 OK\r\n", HTTP_ANSWER_BAD, 0, "not asked for", false, 0 },
	{ "HTTP/1.1 600 OK\r\n", HTTP_ANSWER_BAD, 0, "not asked for", false, 0 },
	{ "HTTP/1.1 101 Switching\r\n", HTTP_ANSWER_BAD, 0, "not asked for", false, 0 },
	{ "HTTP/1.1 200 OK\n", HTTP_ANSWER_BAD, 0, "malformed line", false, 0 },
	{ OK "A: b\rc\r\n", HTTP_ANSWER_BAD, 0, "malformed line", false, 0 },
	{ OK "A: b\x01\r\n", HTTP_ANSWER_BAD, 0, "malformed line", false, 0 },
	{ OK LENGTH "5\r\n" LENGTH "5\r\n", HTTP_ANSWER_BAD, 0, "two lengths", false, 0 },
	{ OK LENGTH "5\r\n" LENGTH "6\r\n", HTTP_ANSWER_BAD, 0, "two lengths", false, 0 },
	{ OK LENGTH "5, 5\r\n", HTTP_ANSWER_BAD, 0, "malformed length", false, 0 },
	{ OK LENGTH "+5\r\n", HTTP_ANSWER_BAD, 0, "malformed length", false, 0 },
	{ OK LENGTH "-0\r\n", HTTP_ANSWER_BAD, 0, "malformed length", false, 0 },
	{ OK LENGTH "0x5\r\n", HTTP_ANSWER_BAD, 0, "malformed length", false, 0 },
	{ OK LENGTH "\r\n", HTTP_ANSWER_BAD, 0, "malformed length", false, 0 },
	{ OK LENGTH "18446744073709551621\r\n", HTTP_ANSWER_BAD, 0, "malformed length", false, 0 },
	{ OK LENGTH "5\r\n" CHUNKED "\r\n", HTTP_ANSWER_BAD, 0, "length beside chunks", false, 0 },
	{ OK CHUNKED LENGTH "5\r\n\r\n", HTTP_ANSWER_BAD, 0, "length beside chunks", false, 0 },
	{ OK CHUNKED CHUNKED, HTTP_ANSWER_BAD, 0, "other than chunked", false, 0 },
	{ OK "Transfer-Encoding: gzip, chunked\r\n", HTTP_ANSWER_BAD, 0, "other than chunked",
	    false, 0 },
	{ OK "Transfer-Encoding:\r\n", HTTP_ANSWER_BAD, 0, "other than chunked", false, 0 },
	{ "HTTP/1.0 200 OK\r\n" CHUNKED "\r\n", HTTP_ANSWER_BAD, 0, "HTTP/1.0", false, 0 },
	{ OK "Content-Length : 5\r\n", HTTP_ANSWER_BAD, 0, "header field", false, 0 },
	{ OK " folded: 5\r\n", HTTP_ANSWER_BAD, 0, "header field", false, 0 },
	{ OK "A: b\r\n\tc: d\r\n", HTTP_ANSWER_BAD, 0, "header field", false, 0 },
	{ OK ": 5\r\n", HTTP_ANSWER_BAD, 0, "header field", false, 0 },
	{ OK "no colon\r\n", HTTP_ANSWER_BAD, 0, "header field", false, 0 },
	{ "HTTP/1.1 100 Go\r\n" LENGTH "5\r\n\r\n", HTTP_ANSWER_BAD, 0, "interim", false, 0 },
	{ OK CHUNKED "\r\n\r\n", HTTP_ANSWER_BAD, 0, "malformed chunk", false, 0 },
	{ OK CHUNKED "\r\n 5\r\n", HTTP_ANSWER_BAD, 0, "malformed chunk", false, 0 },
	{ OK CHUNKED "\r\n5x\r\n", HTTP_ANSWER_BAD, 0, "malformed chunk", false, 0 },
	{ OK CHUNKED "\r\n-5\r\n", HTTP_ANSWER_BAD, 0, "malformed chunk", false, 0 },
	{ OK CHUNKED "\r\n1000000000005\r\n", HTTP_ANSWER_BAD, 0, "chunk that is too long", false,
	    0 },
	{ OK CHUNKED "\r\n2\r\nhello\r\n", HTTP_ANSWER_BAD, 0, "longer than it says", false, 0 },
	{ OK CHUNKED "\r\n2\r\nhe\n", HTTP_ANSWER_BAD, 0, "malformed line", false, 0 },
	{ OK CHUNKED "\r\n0\r\nno colon\r\n", HTTP_ANSWER_BAD, 0, "header field", false, 0 },
};
#define SAMPLES (sizeof(samples) / sizeof(samples[0]))

/* Feeds the first `first` bytes, then the others in pieces. */
static enum http_answer_result
feed(struct http_answer *a, struct slice bytes, size_t first, size_t piece, size_t *at)
{
	enum http_answer_result result = HTTP_ANSWER_MORE;

	for (*at = 0; *at < bytes.len && result == HTTP_ANSWER_MORE;) {
		size_t n = *at == 0 && first > 0 ? first : piece, used;

		n = n < bytes.len - *at ? n : bytes.len - *at;
		result = http_answer_feed(a, bytes.ptr + *at, n, &used);
		assert_true(used <= n && (used == n || result != HTTP_ANSWER_MORE));
		*at += used;
	}
	return result;
}

static void
check(const struct sample *s, size_t first, size_t piece)
{
	struct slice bytes = slice_str(s->bytes);
	struct http_answer a;
	size_t at;

	http_answer_init(&a, BODY_MAX);
	for (int again = 0; again < 2; again++) { /* and it can be used again */
		enum http_answer_result result = feed(&a, bytes, first, piece, &at);

		if (result != s->result || a.status != s->status)
			fail_msg("%.60s: result %d status %d (%s)", s->bytes, (int)result, a.status,
			    a.why);
		if (result == HTTP_ANSWER_BAD) {
			if (strstr(a.why, s->body) == NULL)
				fail_msg("%.60s: %s", s->bytes, a.why);
		} else {
			assert_string_equal(buf_str(&a.body), s->body);
			assert_string_equal(a.why, "");
		}
		if (result == HTTP_ANSWER_WHOLE) {
			assert_int_equal(a.keeps, s->keeps);
			assert_int_equal(at, bytes.len - s->rest);
		}
		http_answer_reset(&a);
	}
	http_answer_release(&a);
}

static void
test_pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < SAMPLES; i++) {
		size_t n = strlen(samples[i].bytes);

		check(&samples[i], 0, n);
		check(&samples[i], 0, 1);
		check(&samples[i], 0, 7);
		for (size_t cut = 1; cut < n; cut++)
			check(&samples[i], cut, n);
	}
}

/* A connection that ends early: a status counts, an answer does not. */
static void
test_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < SAMPLES; i++) {
		const struct sample *s = &samples[i];
		size_t n = strlen(s->bytes) - s->rest;

		for (size_t cut = 0; cut < n && s->result == HTTP_ANSWER_WHOLE; cut++) {
			struct http_answer a;
			enum http_answer_result result;
			size_t at;
			bool has_status;

			http_answer_init(&a, BODY_MAX);
			result = feed(&a, slice_make(s->bytes, cut), 0, 3, &at);
			assert_int_equal(result, HTTP_ANSWER_MORE);
			has_status = a.status >= 200;
			assert_int_equal(http_answer_end(&a, cut % 2 == 0),
			    has_status ? HTTP_ANSWER_CUT : HTTP_ANSWER_BAD);
			assert_int_equal(a.status, has_status ? s->status : 0);
			http_answer_release(&a);
		}
	}
}

static void
test_until_close(void **state)
{
	static const char bytes[] = "HTTP/1.1 502 Bad\r\nConnection: keep-alive\r\n\r\nsome text";
	struct http_answer a;
	size_t used;

	(void)state;
	http_answer_init(&a, BODY_MAX);
	assert_int_equal(http_answer_feed(&a, bytes, sizeof(bytes) - 1, &used), HTTP_ANSWER_MORE);
	assert_int_equal(http_answer_end(&a, true), HTTP_ANSWER_WHOLE);
	assert_int_equal(a.status, 502);
	assert_string_equal(buf_str(&a.body), "some text");
	assert_false(a.keeps);
	/* not in order: nobody knows whether that was all */
	http_answer_reset(&a);
	assert_int_equal(http_answer_feed(&a, bytes, sizeof(bytes) - 1, &used), HTTP_ANSWER_MORE);
	assert_int_equal(http_answer_end(&a, false), HTTP_ANSWER_CUT);
	http_answer_release(&a);
}

static void
test_fields(void **state)
{
	static const char bytes[] =
	    "HTTP/1.1 429 Slow\r\nX-AMZN-ErrorType:  TooManyRequestsException:http://x/ \r\n"
	    "date: Sun, 22 Nov 2026 12:00:00 GMT\r\nContent-Length: 0\r\n\r\n";
	char name[HTTP_ANSWER_ERROR_TYPE_MAX + 50];
	struct http_answer a;
	struct buf long_one;
	size_t used;

	(void)state;
	http_answer_init(&a, BODY_MAX);
	assert_int_equal(http_answer_feed(&a, bytes, sizeof(bytes) - 1, &used), HTTP_ANSWER_WHOLE);
	assert_string_equal(a.error_type, "TooManyRequestsException:http://x/");
	assert_string_equal(a.date, "Sun, 22 Nov 2026 12:00:00 GMT");
	/* what is long is cut, and nothing stays for the next */
	http_answer_reset(&a);
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	buf_init(&long_one, 4096);
	buf_printf(&long_one, "%sx-amzn-errortype:%s\r\nContent-Length: 0\r\n\r\n", OK, name);
	assert_int_equal(
	    http_answer_feed(&a, long_one.data, long_one.len, &used), HTTP_ANSWER_WHOLE);
	assert_int_equal(strlen(a.error_type), HTTP_ANSWER_ERROR_TYPE_MAX);
	assert_string_equal(a.date, "");
	buf_release(&long_one);
	http_answer_release(&a);
}

/* arguments: what begins it, what is fed again and again until it is too much */
static void
too_much(const char *begin, const char *more, size_t max)
{
	struct http_answer a;
	enum http_answer_result result;
	size_t used, sent = 0, n = strlen(more);

	http_answer_init(&a, BODY_MAX);
	result = http_answer_feed(&a, begin, strlen(begin), &used);
	for (; result == HTTP_ANSWER_MORE && sent <= max + n; sent += n)
		result = http_answer_feed(&a, more, n, &used);
	assert_int_equal(result, HTTP_ANSWER_BAD);
	assert_string_equal(a.why, "a head that is too long");
	assert_int_equal(http_answer_end(&a, true), HTTP_ANSWER_BAD);
	http_answer_release(&a);
}

static void
test_limits(void **state)
{
	(void)state;
	too_much("", "x", HTTP_ANSWER_HEAD_MAX);
	too_much(OK, "A: b\r\n", HTTP_ANSWER_HEAD_MAX);
	too_much(OK "A: ", "bbbb", HTTP_ANSWER_HEAD_MAX);
	too_much("", "HTTP/1.1 100 Continue\r\n\r\n", HTTP_ANSWER_HEAD_MAX);
	too_much(OK CHUNKED "\r\n0\r\n", "A: b\r\n", HTTP_ANSWER_HEAD_MAX);
	too_much(OK CHUNKED "\r\n5;", "xx", HTTP_ANSWER_CHUNK_LINE_MAX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_until_close),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
