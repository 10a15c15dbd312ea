/* SPDX-License-Identifier: Apache-2.0 */
/* test_config: common/config.c: precedence, every refusal, secrets, the sample. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "config.h"
#include "slice.h"

extern char **environ;

static char path[] = "/tmp/kairan-test-config.XXXXXX";

static int
load_bytes(struct config *c, struct slice bytes, mode_t mode, struct err *err)
{
	int fd, result;

	memcpy(strrchr(path, '.') + 1, "XXXXXX", 6);
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes.ptr, bytes.len), bytes.len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	memset(err, 0, sizeof(*err));
	result = config_load(c, path, err);
	unlink(path);
	return result;
}

static int
load(struct config *c, const char *text, mode_t mode, struct err *err)
{
	return load_bytes(c, slice_str(text), mode, err);
}

static int
clear_environment(void **state)
{
	(void)state;
	for (char **e = environ; *e != NULL;) {
		if (strncmp(*e, "KAIRAN_", 7) == 0) {
			char name[200];

			(void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(*e, "="), *e);
			(void)unsetenv(name);
			e = environ;
		} else {
			e++;
		}
	}
	return 0;
}

static void
test_defaults(void **state)
{
	struct err err = { 0 };
	struct config c;

	(void)state;
	assert_int_equal(load(&c, "", 0644, &err), 0);
	assert_string_equal(c.database_url, "");
	assert_true(c.database_prepared);
	assert_string_equal(c.redis_url, "redis://127.0.0.1:6379/0");
	assert_string_equal(c.keys_file, "/etc/kairan/token.key");
	assert_int_equal(c.relay_port, 25);
	assert_int_equal(c.dispatcher_batch, 256);
	assert_false(c.feedback_sns_require_v2);
	assert_true(c.dispatcher_name[0] != '\0'); /* host name */
	assert_true(c.relay_ehlo[0] != '\0');
	config_release(&c);
	config_release(&c); /* twice does no harm */
}

static void
test_file_then_environment(void **state)
{
	struct err err;
	struct config c;

	(void)state;
	assert_int_equal(load(&c,
			     "[relay]\nport = 2525\nhost = mx.example\n[database]\nprepared = off\n"
			     "url = host=/run dbname=k\n",
			     0644, &err),
	    0);
	assert_int_equal(c.relay_port, 2525);
	assert_string_equal(c.relay_host, "mx.example");
	assert_false(c.database_prepared);
	assert_string_equal(c.database_url, "host=/run dbname=k");
	config_release(&c);
	setenv("KAIRAN_RELAY_PORT", "26", 1);
	setenv("KAIRAN_FEEDBACK_SNS_REQUIRE_V2", "yes", 1);
	assert_int_equal(load(&c, "[relay]\nport = 2525\n", 0644, &err), 0);
	assert_int_equal(c.relay_port, 26);
	assert_true(c.feedback_sns_require_v2);
	config_release(&c);
	setenv("KAIRAN_RELAY_PORT", "0", 1);
	assert_int_equal(load(&c, "", 0644, &err), -1);
	assert_non_null(strstr(err.msg, "KAIRAN_RELAY_PORT"));
	config_release(&c);
}

static void
test_refused_with_line(void **state)
{
	static const struct {
		const char *text, *line, *word;
	} bad[] = {
		{ "[relay]\nprot = 25\n", ":2:", "relay.prot" },
		{ "[rely]\nport = 25\n", ":2:", "rely.port" },
		{ "port = 25\n", ":1:", "before any [section]" },
		{ "[relay]\n\nport = 99999\n", ":3:", "1 to 65535" },
		{ "[relay]\nport = 25x\n", ":2:", "'25x'" },
		{ "[relay]\nport =\n", ":2:", "relay.port" },
		{ "[relay]\npipelining = maybe\n", ":2:", "yes or no" },
		{ "[relay\n", ":1:", "expected" },
		{ "[relay]\nport = 99999999999999999999\n", ":2:", "1 to 65535" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err;
		struct config c;

		assert_int_equal(load(&c, bad[i].text, 0644, &err), -1);
		if (strstr(err.msg, bad[i].line) == NULL || strstr(err.msg, bad[i].word) == NULL)
			fail_msg("%s: %s", bad[i].text, err.msg);
		config_release(&c);
	}
}

/* Else a list would end there, and nobody would know. */
static void
test_nul_is_refused(void **state)
{
	const struct slice bad[] = { SLICE("[smtp]\ndeny = 192.0.2.0/24\0, 10.0.0.0/8\n"),
		SLICE("[smtp]\n\0deny = 192.0.2.0/24\n"), SLICE("[smtp]\n#\0") };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err;
		struct config c;

		assert_int_equal(load_bytes(&c, bad[i], 0644, &err), -1);
		assert_non_null(strstr(err.msg, ":2: a NUL byte"));
		config_release(&c);
	}
}

static void
test_secret_must_be_closed(void **state)
{
	static const char *const secret[] = {
		"[database]\nurl = postgresql://u:secret@h/db\n",
		"[database]\nurl = host=h password=secret\n",
		"[redis]\nurl = redis://:secret@h:1/0\n",
	};
	struct err err;
	struct config c;

	(void)state;
	for (size_t i = 0; i < sizeof(secret) / sizeof(secret[0]); i++) {
		assert_int_equal(load(&c, secret[i], 0644, &err), -1);
		assert_non_null(strstr(err.msg, "chmod 600"));
		assert_null(strstr(err.msg, "secret"));
		config_release(&c);
		assert_int_equal(load(&c, secret[i], 0600, &err), 0);
		config_release(&c);
	}
	assert_int_equal(load(&c, "[database]\nurl = postgresql://u@h:5432/db\n", 0644, &err), 0);
	config_release(&c);
}

static void
print_to(const struct config *c, char *dst, size_t size)
{
	FILE *out = fmemopen(dst, size, "w");

	assert_non_null(out);
	if (c != NULL)
		config_print(c, out);
	else
		config_print_sample(out);
	assert_int_equal(fclose(out), 0);
}

static void
test_print_hides_secrets(void **state)
{
	static char text[65536];
	struct err err;
	struct config c;

	(void)state;
	assert_int_equal(
	    load(&c, "[database]\nurl = postgresql://u:hunter2@h/db\n", 0600, &err), 0);
	print_to(&c, text, sizeof(text));
	assert_null(strstr(text, "hunter2"));
	assert_non_null(strstr(text, "url = (hidden)"));
	assert_non_null(strstr(text, "port = 25\n"));
	config_release(&c);
}

static void
test_sample_is_the_defaults(void **state)
{
	static char text[65536];
	struct err err;
	struct config c;
	int keys = 0;

	(void)state;
	print_to(NULL, text, sizeof(text));
	/* every key without its '#' is accepted */
	for (char *p = text; (p = strstr(p, "\n#")) != NULL; p++)
		if (p[2] != ' ') { /* inih takes an indented line for the end of the one above */
			memmove(p + 1, p + 2, strlen(p + 2) + 1);
			keys++;
		}
	assert_true(keys > 30);
	if (load(&c, text, 0600, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(c.relay_port, 25);
	config_release(&c);
}

static void
test_missing_file(void **state)
{
	struct err err = { 0 };
	struct config c;

	(void)state;
	assert_int_equal(config_load(&c, "/nonexistent/kairan.conf", &err), -1);
	assert_non_null(strstr(err.msg, "/nonexistent/kairan.conf"));
	config_release(&c);
	assert_int_equal(config_load(&c, "/tmp", &err), -1);
	config_release(&c);
	setenv("KAIRAN_CONFIG", "/nonexistent/other.conf", 1);
	assert_int_equal(config_load(&c, NULL, &err), -1);
	assert_non_null(strstr(err.msg, "other.conf"));
	config_release(&c);
}

struct told {
	char text[400];
};

static void
note(void *ctx, const char *key, const char *from, const char *to, bool is_live)
{
	struct told *t = ctx;
	size_t n = strlen(t->text);

	(void)snprintf(t->text + n, sizeof(t->text) - n, "%s %s->%s %d; ", key, from, to, is_live);
}

static void
test_take(void **state)
{
	static const char *const live[] = { "relay.connections", "relay.pipelining",
		"dispatcher.retry_ladder" };
	struct told told = { "" };
	struct err err;
	struct config c, fresh;

	(void)state;
	assert_int_equal(load(&c, "[dispatcher]\nname = a\n[relay]\nehlo = e\n", 0644, &err), 0);
	assert_int_equal(
	    load(&fresh,
		"[database]\nurl = postgresql://u:secret@h/d\n[dispatcher]\nname = b\n"
		"retry_ladder = 5s\n[relay]\nehlo = e\nconnections = 99\npipelining = no\n",
		0600, &err),
	    0);
	config_take(&c, &fresh, live, 3, note, &told);
	assert_string_equal(told.text,
	    "database.url ->(hidden) 0; dispatcher.name a->b 0; dispatcher.retry_ladder "
	    "7m,17m,37m,79m,163m,331m | greylisted 6m,17m,37m,79m,163m,331m | mailbox_full 331m | "
	    "dns 3m,7m,17m,37m,79m,163m,331m->5s 1; relay.connections 16->99 1; relay.pipelining "
	    "yes->no 1; ");
	assert_string_equal(c.dispatcher_name, "a");
	assert_string_equal(c.dispatcher_retry_ladder, "5s");
	assert_int_equal(c.relay_connections, 99);
	assert_false(c.relay_pipelining);
	assert_string_equal(c.database_url, "");
	config_release(&fresh); /* the old text of the ladder */
	assert_string_equal(c.dispatcher_retry_ladder, "5s");
	config_release(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_defaults, clear_environment),
		cmocka_unit_test_setup(test_file_then_environment, clear_environment),
		cmocka_unit_test_setup(test_refused_with_line, clear_environment),
		cmocka_unit_test_setup(test_nul_is_refused, clear_environment),
		cmocka_unit_test_setup(test_secret_must_be_closed, clear_environment),
		cmocka_unit_test_setup(test_print_hides_secrets, clear_environment),
		cmocka_unit_test_setup(test_sample_is_the_defaults, clear_environment),
		cmocka_unit_test_setup(test_missing_file, clear_environment),
		cmocka_unit_test_setup(test_take, clear_environment),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
