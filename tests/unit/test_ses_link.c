/* SPDX-License-Identifier: Apache-2.0 */
/* ses_link: against a server on the same loop that does as it is told: what leaves before the user
 * agrees, what is repeated (nothing), which connections are kept, and how waits end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ses_link.h"

#define PATIENCE_MS 20000
#define ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define HEAD "POST / HTTP/1.1\r\nHost: x\r\n\r\n"

/* One that takes connections one after the other. */
static struct {
	uv_tcp_t listener;
	uv_tcp_t *client; /* the newest; NULL: closed */
	int port;
	unsigned connections;
	size_t got;	    /* bytes, of all connections */
	size_t wanted;	    /* answers when so many have come since the last answer; 0: never */
	const char *first;  /* what it says to the first bytes of all; NULL: nothing */
	const char *answer; /* what it says then */
	bool closes;	    /* behind it */
	bool resets;
} server;

static uv_loop_t loop;
static struct config config;
static struct ses_link_place place;
static struct ses_link *l;

static struct {
	bool refuses;
	unsigned asked, ended;
	enum ses_link_end how;
	int status;
	bool begun;
	char text[100], body[100];
} user;

/* ---- the server ---- */

static void
on_closed(uv_handle_t *handle)
{
	free(handle);
}

static void
server_close(void)
{
	if (server.client == NULL)
		return;
	if (!server.resets || uv_tcp_close_reset(server.client, on_closed) != 0)
		uv_close((uv_handle_t *)server.client, on_closed);
	server.client = NULL;
}

static void
server_say(const char *text)
{
	uv_buf_t bytes = uv_buf_init((char *)text, (unsigned)strlen(text));

	/* nobody may be there any more */
	(void)uv_try_write((uv_stream_t *)server.client, &bytes, 1);
}

static void
on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
	static char bytes[1 << 16];

	(void)handle;
	(void)size;
	*buf = uv_buf_init(bytes, sizeof(bytes));
}

static void
on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	if (n < 0) {
		if (stream == (uv_stream_t *)server.client)
			server.client = NULL;
		uv_close((uv_handle_t *)stream, on_closed);
		return;
	}
	if (server.first != NULL) {
		assert_memory_equal(buf->base, "CONNECT ses.example:80 HTTP/1.1\r\n", 33);
		server_say(server.first);
		server.first = NULL;
		return;
	}
	server.got += (size_t)n;
	if (server.wanted == 0 || server.got < server.wanted)
		return;
	server.got = 0;
	if (server.answer != NULL)
		server_say(server.answer);
	if (server.closes)
		server_close();
}

static void
on_connection(uv_stream_t *listener, int status)
{
	uv_tcp_t *client = malloc(sizeof(*client));

	assert_int_equal(status, 0);
	assert_non_null(client);
	assert_int_equal(uv_tcp_init(&loop, client), 0);
	assert_int_equal(uv_accept(listener, (uv_stream_t *)client), 0);
	assert_int_equal(uv_read_start((uv_stream_t *)client, on_alloc, on_read), 0);
	server.client = client;
	server.connections++;
}

/* ---- the user ---- */

static bool
may_leave(void *ctx)
{
	(void)ctx;
	user.asked++;
	return !user.refuses;
}

static void
on_ended(void *ctx, const struct ses_link_report *report)
{
	(void)ctx;
	user.ended++;
	user.how = report->end;
	user.status = report->answer->status;
	user.begun = report->begun;
	(void)snprintf(user.text, sizeof(user.text), "%s", report->text);
	(void)snprintf(user.body, sizeof(user.body), "%s", buf_str(&report->answer->body));
}

static const struct ses_link_user link_user = { may_leave, on_ended };

/* ---- around them ---- */

static void
on_time(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

/* Turns the loop until *value is at least `least`. */
static void
turn_until(const unsigned *value, unsigned least)
{
	bool late = false;
	uv_timer_t timer;

	(void)uv_timer_init(&loop, &timer);
	timer.data = &late;
	(void)uv_timer_start(&timer, on_time, PATIENCE_MS, 0);
	while (*value < least && !late)
		(void)uv_run(&loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&timer, NULL);
	(void)uv_run(&loop, UV_RUN_NOWAIT);
	assert_true(*value >= least);
}

static void
turn_ms(uint64_t ms)
{
	bool over = false;
	uv_timer_t timer;

	(void)uv_timer_init(&loop, &timer);
	timer.data = &over;
	(void)uv_timer_start(&timer, on_time, ms, 0);
	while (!over)
		(void)uv_run(&loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&timer, NULL);
	(void)uv_run(&loop, UV_RUN_NOWAIT);
}

static int
begin(void **state)
{
	static char url[64];
	struct sockaddr_in address;
	int n = sizeof(address);

	(void)state;
	memset(&server, 0, sizeof(server));
	memset(&user, 0, sizeof(user));
	config =
	    (struct config){ .ses_connect_timeout_s = 10, .ses_timeout_s = 60, .ses_idle_s = 20 };
	server.wanted = strlen(HEAD);
	server.answer = ANSWER;
	(void)unsetenv("http_proxy");
	if (uv_loop_init(&loop) != 0 || uv_tcp_init(&loop, &server.listener) != 0 ||
	    uv_ip4_addr("127.0.0.1", 0, &address) != 0 ||
	    uv_tcp_bind(&server.listener, (struct sockaddr *)&address, 0) != 0 ||
	    uv_listen((uv_stream_t *)&server.listener, 8, on_connection) != 0 ||
	    uv_tcp_getsockname(&server.listener, (struct sockaddr *)&address, &n) != 0)
		return -1;
	server.port = ntohs(address.sin_port);
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d", server.port);
	place = (struct ses_link_place){ .loop = &loop,
		.curl = curlloop_new(&loop, ses_link_connected, NULL),
		.url = url,
		.config = &config };
	l = ses_link_new(&place, &link_user, NULL);
	return l != NULL ? 0 : -1;
}

static int
finish(void **state)
{
	(void)state;
	ses_link_close(l);
	curlloop_stop(place.curl);
	server_close();
	uv_close((uv_handle_t *)&server.listener, NULL);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	ses_link_free(l);
	curlloop_free(place.curl);
	return uv_loop_close(&loop);
}

static void
send_one(struct slice request)
{
	unsigned before = user.ended;

	assert_true(ses_link_send(l, request));
	turn_until(&user.ended, before + 1);
	assert_int_equal(user.ended, before + 1);
}

/* ---- tests ---- */

static void
test_kept(void **state)
{
	(void)state;
	for (unsigned i = 1; i <= 3; i++) {
		send_one(SLICE(HEAD));
		assert_int_equal(user.how, SES_LINK_WHOLE);
		assert_int_equal(user.status, 200);
		assert_string_equal(user.body, "ok");
		assert_int_equal(user.asked, i);
		assert_int_equal(server.connections, 1);
	}
	/* unless the answer says otherwise, or there is more than it */
	server.answer = "HTTP/1.1 429 Slow\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
	send_one(SLICE(HEAD));
	assert_int_equal(user.status, 429);
	server.answer = ANSWER "HTTP/1.1 400";
	send_one(SLICE(HEAD));
	assert_int_equal(user.how, SES_LINK_WHOLE);
	assert_int_equal(user.status, 200);
	assert_int_equal(server.connections, 2);
	server.answer = ANSWER;
	send_one(SLICE(HEAD));
	assert_int_equal(server.connections, 3);
}

/* An idle connection that ends costs nothing, in the loop's time or in the middle of a turn. */
static void
test_stale(void **state)
{
	(void)state;
	for (unsigned i = 1; i <= 2; i++) {
		server.resets = i == 2;
		send_one(SLICE(HEAD));
		assert_int_equal(user.how, SES_LINK_WHOLE);
		assert_int_equal(server.connections, i);
		server_close();
		turn_ms(50);
	}
	/* closed while nobody turned the loop, and idle for so long that it is looked at */
	server.resets = false;
	send_one(SLICE(HEAD));
	assert_int_equal(server.connections, 3);
	assert_int_equal(shutdown(server.client->io_watcher.fd, SHUT_WR), 0);
	usleep(1100000);
	send_one(SLICE(HEAD));
	assert_int_equal(user.how, SES_LINK_WHOLE);
	assert_int_equal(server.connections, 4);
	assert_int_equal(user.asked, 4);
	/* bytes that nobody asked for end it, too */
	server_say("x");
	turn_ms(50);
	send_one(SLICE(HEAD));
	assert_int_equal(server.connections, 5);
	/* and too long an idle time */
	config.ses_idle_s = 0;
	ses_link_tick(l);
	send_one(SLICE(HEAD));
	assert_int_equal(user.how, SES_LINK_WHOLE);
	assert_int_equal(server.connections, 6);
}

/* Past the point of no return nothing is repeated. */
static void
test_silent(void **state)
{
	(void)state;
	server.answer = NULL;
	server.closes = true;
	send_one(SLICE(HEAD));
	assert_int_equal(user.how, SES_LINK_SILENT);
	assert_string_equal(user.text, "the server has closed the connection");
	assert_true(user.begun);
	server.resets = true;
	send_one(SLICE(HEAD));
	assert_int_equal(user.how, SES_LINK_SILENT);
	/* a status counts, though the rest is lost; words that are no answer do not */
	server.resets = false;
	server.answer = "HTTP/1.1 400 No\r\nContent-Length: 9\r\n\r\n{";
	send_one(SLICE(HEAD));
	assert_int_equal(user.how, SES_LINK_CUT);
	assert_int_equal(user.status, 400);
	server.closes = false;
	server.answer = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok";
	send_one(SLICE(HEAD));
	assert_int_equal(user.how, SES_LINK_SILENT);
	assert_string_equal(user.text, "two lengths");
	assert_int_equal(user.asked, 4);
	turn_ms(50);
	assert_int_equal(server.connections, 4);
	assert_int_equal(user.ended, 4);
	/* nobody is there */
	uv_close((uv_handle_t *)&server.listener, NULL);
	(void)uv_run(&loop, UV_RUN_NOWAIT);
	send_one(SLICE(HEAD));
	assert_int_equal(user.how, SES_LINK_SILENT);
	assert_false(user.begun);
	assert_int_equal(user.asked, 4);
	assert_int_equal(uv_tcp_init(&loop, &server.listener), 0);
}

static void
test_refused(void **state)
{
	(void)state;
	user.refuses = true;
	send_one(SLICE(HEAD));
	assert_int_equal(user.how, SES_LINK_REFUSED);
	assert_false(user.begun);
	turn_ms(50);
	assert_int_equal(server.got, 0);
	/* nothing was written, so it can be used */
	user.refuses = false;
	send_one(SLICE(HEAD));
	assert_int_equal(user.how, SES_LINK_WHOLE);
	assert_int_equal(server.connections, 1);
}

/* Of a large request all but its last piece leaves before the user is asked, and nothing else. */
static void
test_large(void **state)
{
	static const size_t sizes[] = { SES_LINK_PIECE, SES_LINK_PIECE + 1, 3 * SES_LINK_PIECE,
		5000000 };
	char *bytes = malloc(5000000);

	(void)state;
	assert_non_null(bytes);
	memset(bytes, 'x', 5000000);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t n = sizes[i], last = (n - 1) % SES_LINK_PIECE + 1;

		user.refuses = true;
		server.wanted = 0;
		server.got = 0;
		send_one(slice_make(bytes, n));
		assert_int_equal(user.how, SES_LINK_REFUSED);
		assert_int_equal(user.begun, n > last);
		turn_ms(100);
		assert_int_equal(server.got, n - last);
		user.refuses = false;
		server.wanted = n;
		server.got = 0;
		send_one(slice_make(bytes, n));
		assert_int_equal(user.how, SES_LINK_WHOLE);
		assert_int_equal(user.asked, 2 * (i + 1));
	}
	/* an answer before it is all there: the rest is not sent */
	server.wanted = 1;
	server.answer = "HTTP/1.1 413 Too large\r\nContent-Length: 0\r\n\r\n";
	send_one(slice_make(bytes, 5000000));
	assert_int_equal(user.how, SES_LINK_WHOLE);
	assert_int_equal(user.status, 413);
	assert_int_equal(user.asked, 8);
	free(bytes);
}

/* A proxy is libcurl's: it is asked for a way to the server, and hears nothing else. */
static void
test_proxy(void **state)
{
	char proxy[64];
	struct ses_link *direct = l;

	(void)state;
	(void)snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%d", server.port);
	(void)setenv("http_proxy", proxy, 1);
	place.url = "http://ses.example";
	server.first = "HTTP/1.1 200 Connection established\r\n\r\n";
	l = ses_link_new(&place, &link_user, NULL);
	assert_non_null(l);
	for (int i = 0; i < 2; i++) {
		send_one(SLICE(HEAD));
		assert_int_equal(user.how, SES_LINK_WHOLE);
		assert_string_equal(user.body, "ok");
	}
	assert_int_equal(server.connections, 1);
	assert_null(server.first);
	(void)unsetenv("http_proxy");
	ses_link_free(l);
	l = direct;
}

static void
test_waits(void **state)
{
	unsigned connections;

	(void)state;
	server.answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok";
	assert_true(ses_link_send(l, SLICE(HEAD)));
	turn_ms(50);
	ses_link_tick(l);
	assert_int_equal(user.ended, 0);
	config.ses_timeout_s = 0;
	ses_link_tick(l);
	assert_int_equal(user.ended, 1);
	assert_int_equal(user.how, SES_LINK_CUT);
	assert_int_equal(user.status, 200);
	/* before it has connected */
	connections = server.connections;
	assert_true(ses_link_send(l, SLICE(HEAD)));
	ses_link_tick(l);
	assert_int_equal(user.ended, 2);
	assert_int_equal(user.how, SES_LINK_SILENT);
	assert_string_equal(user.text, curl_easy_strerror(CURLE_OPERATION_TIMEDOUT));
	assert_false(user.begun);
	turn_ms(50);
	assert_in_range(server.connections, connections, connections + 1);
	/* forgotten without a word */
	assert_true(ses_link_send(l, SLICE(HEAD)));
	ses_link_close(l);
	turn_ms(50);
	assert_int_equal(user.ended, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_kept, begin, finish),
		cmocka_unit_test_setup_teardown(test_stale, begin, finish),
		cmocka_unit_test_setup_teardown(test_silent, begin, finish),
		cmocka_unit_test_setup_teardown(test_refused, begin, finish),
		cmocka_unit_test_setup_teardown(test_large, begin, finish),
		cmocka_unit_test_setup_teardown(test_proxy, begin, finish),
		cmocka_unit_test_setup_teardown(test_waits, begin, finish),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
