/* SPDX-License-Identifier: Apache-2.0 */
/*
 * once: see once.h. Owns its connection and memory. Whatever may be better later is temporary,
 * so that an MTA keeps the mail; only a document that is forged or no document is refused.
 */
#include "once.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "db.h"
#include "exit.h"
#include "intake.h"
#include "ledger.h"
#include "mail_intake.h"
#include "sns_intake.h"

/* Everything up to max bytes; the rest is read and dropped. 1 when there was more. */
static int
read_all(int fd, size_t max, struct buf *bytes, struct err *err)
{
	char chunk[16 * 1024];
	bool is_cut = false;
	ssize_t n;

	for (;;) {
		size_t room = max - bytes->len;

		n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		is_cut = is_cut || (size_t)n > room;
		buf_append(bytes, chunk, (size_t)n < room ? (size_t)n : room);
	}
	if (n < 0)
		return err_set(err, "cannot read standard input: %s", strerror(errno));
	if (buf_failed(bytes))
		return err_set(err, "no memory");
	return is_cut ? 1 : 0;
}

static int
read_sns(const struct config *config, const struct mail_intake *how, struct slice body,
    struct arena *arena, struct feedback_events *events, struct err *err)
{
	struct sns_intake sns;
	struct sns_cert_cache *cache = NULL;
	const char *word;
	int status = 503;

	if (sns_intake_init(&sns, config, how->keys, err) == 0 &&
	    (cache = sns_cert_cache_new(&sns.cert, err)) != NULL) {
		ses_inbox_set_mail(sns.inbox, how->worker, how->keep);
		status = sns_intake_read(
		    &sns, cache, body, (struct slice){ NULL, 0 }, arena, events, &word, err);
	}
	sns_cert_cache_free(cache);
	sns_intake_release(&sns);
	return status == 200 ? EXIT_DONE : status == 503 ? EXIT_TEMPORARY : EXIT_FAILED;
}

static int
read_input(const struct config *config, const struct token_keys *keys, const struct once_input *in,
    struct buf *bytes, struct arena *arena, struct feedback_events *events, struct err *err)
{
	int cut = read_all(in->fd, in->is_sns ? SNS_BODY_MAX : INBOUND_SIZE_MAX, bytes, err);
	struct mail_intake how = { .keys = keys,
		.bounce_domain = slice_str(config->feedback_domain),
		.worker = in->worker };
	struct mail_intake_mail mail = { .rcpts = in->rcpts, .rcpt_count = in->rcpt_count };
	struct keep keep;

	if (cut < 0)
		return EXIT_TEMPORARY;
	if (in->is_sns && cut > 0) {
		(void)err_set(err, "the document is longer than %d bytes", SNS_BODY_MAX);
		return EXIT_FAILED;
	}
	if (!in->is_sns && bytes->len == 0) {
		(void)err_set(err, "there is no mail on standard input");
		return EXIT_FAILED;
	}
	mail.raw = buf_slice(bytes);
	if (config->reply_maildir[0] != '\0') {
		if (keep_init(&keep, config->reply_maildir, err) < 0)
			return EXIT_TEMPORARY;
		how.keep = &keep;
	}
	if (in->is_sns)
		return read_sns(config, &how, buf_slice(bytes), arena, events, err);
	if (mail_intake_read(&how, &mail, arena, events) == 0)
		return EXIT_DONE;
	(void)err_set(err, "no memory, or the mail cannot be kept in reply.maildir");
	return EXIT_TEMPORARY;
}

static int
commit(struct db *db, const struct feedback_event *events, size_t count, struct err *err)
{
	const char *params[LEDGER_PARAMS_MAX], *sql = NULL;
	struct ledger_batch batch;
	bool good = true;
	int status = -1, columns;

	ledger_init(&batch);
	for (size_t i = 0; i < count; i++)
		good = good && ledger_add(&batch, &events[i]);
	if (good)
		sql = ledger_statement(&batch, params, &columns);
	if (sql == NULL)
		(void)err_set(err, "no memory");
	else if ((status = db_run(db, sql, columns, params)) < 0)
		(void)err_set(err, "not recorded: %s", db->error);
	ledger_release(&batch);
	return status;
}

/* In halves, so that of the events only those that the database refuses are kept aside. */
static int
commit_or_quarantine(struct db *db, const struct feedback_event *events, size_t count,
    struct arena *arena, struct err *err)
{
	struct feedback_event *instead;
	int status;

	if (commit(db, events, count, err) == 0)
		return EXIT_DONE;
	if (db_is_lost(db) || !intake_is_fault_of_data(db->sqlstate))
		return EXIT_TEMPORARY;
	if (count > 1) {
		status = commit_or_quarantine(db, events, count / 2, arena, err);
		return status != EXIT_DONE
		    ? status
		    : commit_or_quarantine(db, events + count / 2, count - count / 2, arena, err);
	}
	instead = intake_refused_event(arena, events, db->error);
	return instead != NULL && commit(db, instead, 1, err) == 0 ? EXIT_DONE : EXIT_TEMPORARY;
}

int
once_run(const struct config *config, const struct token_keys *keys, const struct once_input *in,
    struct err *err)
{
	struct feedback_events events = { 0 };
	struct db db = { 0 };
	struct arena arena;
	struct buf bytes;
	int status;

	arena_init(&arena, in->is_sns ? SNS_INTAKE_ARENA_MAX : MAIL_INTAKE_ARENA_MAX);
	buf_init(&bytes, INBOUND_SIZE_MAX + 1);
	status = read_input(config, keys, in, &bytes, &arena, &events, err);
	if (status == EXIT_DONE) {
		status = EXIT_TEMPORARY;
		if (db_open(&db, config->database_url, "kairan_feedback", "kairan-feedback", err) ==
			0 &&
		    db_check_schema(&db, err) == 0)
			status = commit_or_quarantine(&db, events.items, events.count, &arena, err);
		db_close(&db);
	}
	buf_release(&bytes);
	arena_release(&arena);
	return status;
}
