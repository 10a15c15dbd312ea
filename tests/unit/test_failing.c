/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold when memory, files and libraries fail: each call of a run fails in turn, once. A
 * check never says yes to what is bad (A30); what is good is taken whole or refused with a reason;
 * nothing is lost that was written before; nothing leaks (under sanitizers).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "addr.h"
#include "config.h"
#include "failing.h"
#include "journal.h"
#include "smtp.h"
#include "smtp_body.h"
#include "smtp_reply.h"
#include "sns_cert.h"
#include "sns_intake.h"
#include "sns_sample.h"
#include "token.h"

#define LOCK_ID "0123456789abcdef0123456789abcdef"
#define SYSTEM UINT64_C(7000000000000000001)
#define KEY_LINE "1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"

static char folder[] = "/tmp/kairan-failing.XXXXXX";
static char journal_path[64], key_path[64], ca_path[64], certs[64];
static EVP_PKEY *our_key, *their_key;
static X509 *our_cert, *their_cert;

/* ---- the journal ---- */

static const struct journal_attempt someone = { 7, 3, 99, 2 };

static struct journal *
open_journal(struct err *err)
{
	return journal_open(journal_path, LOCK_ID, 1024, err);
}

static void
make_journal(void)
{
	struct err err;
	struct journal *j;

	(void)unlink(journal_path);
	j = open_journal(&err);
	assert_non_null(j);
	journal_begin_life(j, 7, SYSTEM);
	assert_int_equal(journal_dot(j, -1, &someone), 0);
	journal_close(j);
}

/* Whatever fails, the mark is found, or nobody is told that there is none; and the file is as it
 * was. */
static void
a_journal_tells_all_or_says_that_it_cannot(void **state)
{
	struct journal_mark mark;
	struct journal *j;

	(void)state;
	for (unsigned n = 1; failing_from(n); n++) {
		struct err err = { 0 };

		make_journal();
		failing_begin();
		j = open_journal(&err);
		failing_end();
		if (j == NULL)
			assert_true(err.msg[0] != '\0');
		else if (!journal_find(j, &someone, &mark))
			fail_msg("no mark after %s failed", failing_name());
		else if (failing.name != NULL) /* that is: which boot this is */
			assert_int_equal(journal_evidence(j, 7, SYSTEM), JOURNAL_SAYS_MARKS);
		journal_close(j);
		j = open_journal(&err);
		assert_non_null(j);
		assert_string_equal(journal_was_damaged(j), "");
		assert_true(journal_find(j, &someone, &mark));
		assert_int_equal(journal_evidence(j, 7, SYSTEM), JOURNAL_SAYS_ALL);
		journal_close(j);
	}
	assert_true(failing.at > 8);
}

/* One that is damaged is kept for a person, or stays where it is. */
static void
a_damaged_journal_is_never_lost(void **state)
{
	char junk[JOURNAL_HEADER_BYTES], command[200];

	(void)state;
	memset(junk, 'j', sizeof(junk));
	for (unsigned n = 1; failing_from(n); n++) {
		FILE *file = fopen(journal_path, "w");
		struct err err = { 0 };
		struct journal *j;

		assert_non_null(file);
		assert_int_equal(fwrite(junk, 1, sizeof(junk), file), sizeof(junk));
		assert_int_equal(fclose(file), 0);
		assert_int_equal(chmod(journal_path, 0600), 0);
		failing_begin();
		j = open_journal(&err);
		failing_end();
		if (j == NULL)
			assert_true(err.msg[0] != '\0');
		else
			assert_string_not_equal(journal_was_damaged(j), "");
		journal_close(j);
		(void)snprintf(command, sizeof(command),
		    "cat %s/journal* | grep -qs jjjjjjjj && rm -f %s/journal*", folder, folder);
		if (system(command) != 0)
			fail_msg("the damaged file is gone after %s failed", failing_name());
	}
}

/* Its pages would not be one memory for all, or its lock not one lock. */
static void
a_journal_is_on_a_local_disk(void **state)
{
	static const struct {
		unsigned long type;
		const char *name;
	} cases[] = { { 0x6969, "(NFS)" }, { 0xff534d42, "(CIFS)" }, { 0xfe534d42, "(SMB)" },
		{ 0x01021997, "(9P)" }, { 0x65735546, "(FUSE)" } };

	(void)state;
	make_journal();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = { 0 };

		failing.fs_type = cases[i].type;
		assert_null(open_journal(&err));
		assert_non_null(strstr(err.msg, cases[i].name));
	}
	failing.fs_type = 0;
}

static void
other_inode(struct stat *st)
{
	st->st_ino++;
}

static void
other_device(struct stat *st)
{
	st->st_dev++;
}

/* Between open and lock another process may have put the file aside. */
static void
a_journal_that_was_replaced_is_not_used(void **state)
{
	void (*const bends[])(struct stat *) = { other_inode, other_device };

	(void)state;
	make_journal();
	for (size_t i = 0; i < 2; i++) {
		struct err err = { 0 };

		failing.bend_stat = bends[i];
		assert_null(open_journal(&err));
		assert_non_null(strstr(err.msg, "replaced just now"));
	}
	failing.bend_stat = NULL;
}

/* ---- a session ---- */

struct session {
	unsigned outcomes, sent;
	bool dot;
};

static bool
before_dot(void *ctx, uint64_t ref)
{
	struct session *s = ctx;

	(void)ref;
	s->dot = true;
	return true;
}

static void
take_outcomes(struct smtp *smtp, struct session *s)
{
	struct outcome o;
	uint64_t ref;

	while (smtp_next_outcome(smtp, &ref, &o)) {
		s->outcomes++;
		s->sent += o.kind == OUTCOME_SENT;
		if (o.kind == OUTCOME_SENT || o.kind == OUTCOME_IN_DOUBT)
			assert_true(s->dot);
	}
}

static void
turn(struct smtp *smtp, struct session *s)
{
	struct slice out;

	take_outcomes(smtp, s);
	while ((out = smtp_output(smtp)).len > 0)
		smtp_wrote(smtp, out.len);
	take_outcomes(smtp, s);
}

static void
play(struct smtp *smtp, struct session *s, struct slice data)
{
	static const char *const replies[] = { "220-mx\r\n220 ready\r\n",
		"250-mx\r\n250-PIPELINING\r\n250-DSN\r\n250 AUTH PLAIN\r\n", "235 ok\r\n",
		"250 ok\r\n250 ok\r\n354 go\r\n", "250 queued as 1\r\n" };

	smtp_offer(smtp,
	    &(struct smtp_envelope){ .ref = 1,
		.mail_from = SLICE("a@example.org"),
		.rcpt_to = SLICE("b@example.net"),
		.data = data });
	for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
		turn(smtp, s);
		smtp_input(smtp, replies[i], strlen(replies[i]));
	}
	turn(smtp, s);
	smtp_eof(smtp);
	take_outcomes(smtp, s);
}

/* A message of so many bytes, while the n-th call fails. */
static void
try_session(const char *bytes, size_t size)
{
	static const struct auth auth = { "user", "secret", AUTH_PLAIN };
	struct session s = { 0 };
	struct smtp_options o = { .ehlo_name = "me.example",
		.tls = SMTP_TLS_ALREADY,
		.auth = &auth,
		.pipelining = true,
		.dsn = true,
		.ctx = &s,
		.before_dot = before_dot };
	struct smtp *smtp;

	failing_begin();
	smtp = smtp_new(&o, "mx.example");
	if (smtp != NULL)
		play(smtp, &s, slice_make(bytes, size));
	failing_end();
	if (smtp == NULL)
		return;
	assert_int_equal(s.outcomes, 1);
	assert_true(smtp_is_closed(smtp));
	if (failing.name == NULL)
		assert_int_equal(s.sent, 1);
	smtp_free(smtp);
}

static void
a_session_has_one_true_outcome(void **state)
{
	const size_t large = 3 << 20;
	char *bytes = malloc(large);

	(void)state;
	memset(bytes, 'x', large);
	for (unsigned n = 1; failing_from(n); n++)
		try_session(bytes, 100);
	for (unsigned n = 1; failing_from(n); n++)
		try_session(bytes, large);
	assert_true(failing.at > 4);
	free(bytes);
}

/* A host that turns us away has said why, whatever fails afterwards. */
static void
the_first_reason_is_kept(void **state)
{
	(void)state;
	for (unsigned n = 1; failing_from(n); n++) {
		struct smtp_options o = { .ehlo_name = "me.example" };
		struct session s = { 0 };
		struct smtp *smtp;

		failing_begin();
		smtp = smtp_new(&o, "mx.example");
		if (smtp != NULL) {
			smtp_input(smtp, "554 5.7.1 no\r\n", 14);
			turn(smtp, &s);
			smtp_eof(smtp);
		}
		failing_end();
		if (smtp == NULL)
			continue;
		assert_true(smtp_is_closed(smtp));
		assert_non_null(smtp_failure(smtp));
		if (n != 2) /* there was no memory for the reply itself */
			assert_int_equal(smtp_failure(smtp)->code, 554);
		smtp_free(smtp);
	}
}

/* A reply, a message or a chunk without memory is none; there is never half of one. */
static void
nothing_is_half_read_or_half_written(void **state)
{
	(void)state;
	for (unsigned n = 1; failing_from(n); n++) {
		struct smtp_reply_parser p;
		struct smtp_reply reply;
		struct buf out, chunk;
		uint64_t repaired = 0;
		size_t used;

		smtp_reply_init(&p);
		buf_init(&out, 4096);
		buf_init(&chunk, 4096);
		failing_begin();
		if (smtp_reply_feed(&p, "250 ok\r\n", 8, &used, &reply) == SMTP_REPLY_DONE)
			assert_true(slice_equal(reply.text, SLICE("ok")));
		if (smtp_body_append(&out, SLICE("a\n.b"), &repaired))
			assert_true(slice_equal(buf_slice(&out), SLICE("a\r\n..b\r\n.\r\n")));
		else
			assert_true(buf_failed(&out));
		if (smtp_body_append_chunk(&chunk, SLICE("a\n.b"), &repaired))
			assert_true(
			    slice_equal(buf_slice(&chunk), SLICE("BDAT 7 LAST\r\na\r\n.b\r\n")));
		else
			assert_true(buf_failed(&chunk));
		failing_end();
		smtp_reply_release(&p);
		buf_release(&out);
		buf_release(&chunk);
	}
}

/* ---- checks that must not say yes (A30) ---- */

static void
A30_addresses(void **state)
{
	static const char *const bad[] = { "", "a", "a@", "@example.org", "-oQ@example.org",
		"a b@example.org", "a@localhost", "a@[127.0.0.1]", "\xc3@example.org",
		"\xef\xbd\x81@example.org", "\xe2\x80\x8b\xc3\xa9@example.org" };
	struct addr a;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		for (unsigned n = 1; failing_from(n); n++) {
			failing_begin();
			assert_int_equal(addr_parse(&a, slice_str(bad[i]), &err), -1);
			failing_end();
		}
	for (unsigned n = 1; failing_from(n); n++) {
		int result;

		failing_begin();
		result = addr_parse(&a, SLICE("\xc3\xa9@example.org"), &err);
		failing_end();
		if (result == 0)
			assert_string_equal(a.key, "\xc3\xa9@example.org");
		else
			assert_non_null(failing.name);
	}
}

static void
A30_token_keys(void **state)
{
	(void)state;
	for (unsigned n = 1; failing_from(n); n++) {
		struct token_keys keys = { 0 }, before;
		struct err err = { 0 };
		int result;

		failing_begin();
		result = token_keys_load(&keys, key_path, &err);
		failing_end();
		assert_int_equal(result, failing.name == NULL ? 0 : -1);
		assert_int_equal(keys.count, result == 0 ? 1 : 0);
		if (result < 0)
			assert_true(err.msg[0] != '\0');
		before = keys;
		failing_begin();
		failing.at = n;
		result = token_keys_add(&keys, 0, &err);
		failing_end();
		if (result < 0)
			assert_memory_equal(&before, &keys, sizeof(keys));
		else
			assert_int_equal(keys.count, before.count + 1);
	}
}

/* A document that somebody else signed, and one of ours. */
static void
A30_signatures(void **state)
{
	json_t *docs[] = { sns_sample("Notification", "2", false, their_key),
		sns_sample("Notification", "2", true, our_key) };

	(void)state;
	for (int good = 0; good < 2; good++) {
		char *text = json_dumps(docs[good], JSON_COMPACT);

		for (unsigned n = 1; failing_from(n); n++) {
			struct sns_message msg;
			struct sns_key *key;
			struct arena arena;
			struct err err = { 0 };
			int result = -1;

			arena_init(&arena, 1 << 20);
			failing_begin();
			key = sns_key_new(our_cert, &err);
			if (key != NULL && sns_parse(slice_str(text), &arena, &msg, &err) == 0)
				result = sns_verify(&msg, key, true, &arena, &err);
			failing_end();
			if (result == 0 && (!good || failing.name != NULL))
				fail_msg("yes although %s failed", failing_name());
			if (result < 0)
				assert_true(err.msg[0] != '\0');
			else
				assert_true(slice_equal(msg.message, SLICE("hello")));
			sns_key_free(key);
			arena_release(&arena);
		}
		assert_true(failing.at > 10);
		free(text);
		json_decref(docs[good]);
	}
}

static int
serve_certificate(void *context, struct slice url, struct buf *body, struct err *err)
{
	X509 *cert = context;
	BIO *bio = BIO_new(BIO_s_mem());
	char *pem;
	long n;

	(void)url;
	(void)err;
	(void)PEM_write_bio_X509(bio, our_cert == cert ? cert : their_cert);
	(void)PEM_write_bio_X509(bio, our_cert);
	n = BIO_get_mem_data(bio, &pem);
	buf_append(body, pem, (size_t)n);
	(void)BIO_free(bio);
	return 0;
}

/* A certificate of nobody we trust, and ours; each from the network and from the folder. */
static void
A30_certificates(void **state)
{
	int64_t now = (int64_t)time(NULL);

	(void)state;
	for (int way = 0; way < 5; way++) {
		bool good = way % 2 == 1;
		struct sns_cert_config config = { .directory = way < 2 ? NULL : certs,
			.ca_file = way < 4 ? ca_path : NULL,
			.fetch = serve_certificate,
			.fetch_context = good ? our_cert : their_cert };
		struct slice url =
		    good ? SLICE("https://h/ours.pem") : SLICE("https://h/theirs.pem");

		for (unsigned n = 1; failing_from(n); n++) {
			struct sns_cert_cache *cache;
			struct sns_key *key = NULL;
			struct err err = { 0 };
			enum sns_cert_result result = SNS_CERT_REFUSED;

			failing_begin();
			cache = sns_cert_cache_new(&config, &err);
			if (cache != NULL)
				result = sns_cert_get(cache, url, now, &key, &err);
			failing_end();
			if (result == SNS_CERT_OK && !good)
				fail_msg("yes although %s failed", failing_name());
			assert_true((result == SNS_CERT_OK) == (key != NULL));
			if (result != SNS_CERT_OK)
				assert_true(err.msg[0] != '\0');
			sns_cert_cache_free(cache);
		}
		assert_true(failing.at > 10);
	}
}

/* The whole way: 200 for our document alone. */
static void
A30_intake(void **state)
{
	json_t *docs[] = { sns_sample("Notification", "2", false, their_key),
		sns_sample("Notification", "2", false, our_key) };
	static struct config config;
	struct token_keys keys = { .count = 1, .id = { 1 } };
	struct err err = { 0 };

	(void)state;
	assert_int_equal(setenv("KAIRAN_FEEDBACK_SNS_TOPICS", ARN, 1), 0);
	assert_int_equal(setenv("KAIRAN_FEEDBACK_SNS_CERT_DIR", certs, 1), 0);
	assert_int_equal(setenv("KAIRAN_FEEDBACK_SNS_CA_FILE", ca_path, 1), 0);
	assert_int_equal(config_load(&config, "", &err), 0);
	for (int good = 0; good < 2; good++) {
		char *text;

		(void)json_object_set_new(docs[good], "SigningCertURL", json_string(CERT_URL));
		text = json_dumps(docs[good], JSON_COMPACT);
		for (unsigned n = 1; failing_from(n); n++) {
			struct feedback_events events = { 0 };
			struct sns_cert_cache *cache = NULL;
			const char *word = "";
			struct sns_intake intake;
			struct arena arena;
			int answer = 0;

			err.msg[0] = '\0';
			arena_init(&arena, SNS_INTAKE_ARENA_MAX);
			failing_begin();
			if (sns_intake_init(&intake, &config, &keys, &err) == 0)
				cache = sns_cert_cache_new(&intake.cert, &err);
			if (cache != NULL)
				answer = sns_intake_read(&intake, cache, slice_str(text), SLICE(""),
				    &arena, &events, &word, &err);
			failing_end();
			if (answer == 200 && (!good || events.count == 0))
				fail_msg("yes although %s failed", failing_name());
			/* Amazon does not repeat what was answered with 4xx */
			if (good && answer / 100 == 4 &&
			    strcmp(failing_name(), "EVP_PKEY_verify") != 0)
				fail_msg("no since %s failed", failing_name());
			if (answer != 200)
				assert_true(err.msg[0] != '\0' || answer == 503);
			sns_cert_cache_free(cache);
			sns_intake_release(&intake);
			arena_release(&arena);
		}
		assert_true(failing.at > 20);
		free(text);
		json_decref(docs[good]);
	}
	config_release(&config);
}

/* ---- */

static void
write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, 0600), 0);
}

static void
write_cert(const char *name, X509 *cert)
{
	char path[200];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s%s", certs, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(PEM_write_X509(file, cert), 1);
	assert_int_equal(fclose(file), 0);
}

static int
make_folder(void **state)
{
	(void)state;
	if (mkdtemp(folder) == NULL)
		return -1;
	(void)snprintf(journal_path, sizeof(journal_path), "%s/journal", folder);
	(void)snprintf(key_path, sizeof(key_path), "%s/key", folder);
	(void)snprintf(ca_path, sizeof(ca_path), "%s/ca.pem", folder);
	(void)snprintf(certs, sizeof(certs), "%s/certs", folder);
	if (mkdir(certs, 0700) < 0)
		return -1;
	our_key = EVP_RSA_gen(2048);
	their_key = EVP_RSA_gen(2048);
	our_cert = make_cert(our_key, "sns.amazonaws.com", -60, 3600, NULL, NULL);
	their_cert = make_cert(their_key, "sns.amazonaws.com", -60, 3600, NULL, NULL);
	write_file(key_path, KEY_LINE);
	write_cert("/ours.pem", our_cert);
	write_cert("/theirs.pem", their_cert);
	write_cert("/SimpleNotificationService-0123abcdef.pem", our_cert);
	write_cert("/../ca.pem", our_cert);
	return 0;
}

static int
remove_folder(void **state)
{
	char command[100];

	(void)state;
	X509_free(our_cert);
	X509_free(their_cert);
	EVP_PKEY_free(our_key);
	EVP_PKEY_free(their_key);
	(void)snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_journal_tells_all_or_says_that_it_cannot),
		cmocka_unit_test(a_damaged_journal_is_never_lost),
		cmocka_unit_test(a_journal_is_on_a_local_disk),
		cmocka_unit_test(a_journal_that_was_replaced_is_not_used),
		cmocka_unit_test(a_session_has_one_true_outcome),
		cmocka_unit_test(the_first_reason_is_kept),
		cmocka_unit_test(nothing_is_half_read_or_half_written),
		cmocka_unit_test(A30_addresses),
		cmocka_unit_test(A30_token_keys),
		cmocka_unit_test(A30_signatures),
		cmocka_unit_test(A30_certificates),
		cmocka_unit_test(A30_intake),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("failing", tests, make_folder, remove_folder);
}
