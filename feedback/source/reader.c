/* SPDX-License-Identifier: Apache-2.0 */
/* reader: see reader.h. */
#include "reader.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "jsontext.h"
#include "mail_intake.h"
#include "secret.h"
#include "ses.h"

int
reader_init(struct reader *reader, const struct config *config, const struct token_keys *keys,
    struct err *err)
{
	*reader = (struct reader){ .config = config, .keys = keys };
	if (sns_intake_init(&reader->sns, config, keys, err) < 0)
		return -1;
	reader->cache = sns_cert_cache_new(&reader->sns.cert, err);
	return reader->cache != NULL ? 0 : -1;
}

void
reader_set_mail(struct reader *reader, struct mail_worker *worker, const struct keep *keep)
{
	reader->worker = worker;
	ses_inbox_set_mail(reader->sns.inbox, worker, keep);
}

void
reader_release(struct reader *reader)
{
	sns_cert_cache_free(reader->cache);
	reader->cache = NULL;
	sns_intake_release(&reader->sns);
}

static void
set(struct unit *unit, enum unit_result result)
{
	unit->result = result;
	if (result == UNIT_OPEN)
		unit->is_understood = mail_intake_is_understood(&unit->events);
}

void
reader_mail(struct reader *reader, struct slice raw, struct unit *unit)
{
	reader_mail_to(reader, raw, NULL, 0, unit);
}

void
reader_mail_to(struct reader *reader, struct slice raw, const struct slice *rcpts, size_t count,
    struct unit *unit)
{
	struct mail_intake how = { .keys = reader->keys,
		.bounce_domain = slice_str(reader->config->feedback_domain),
		.worker = reader->worker };
	struct mail_intake_mail in = { .raw = raw, .rcpts = rcpts, .rcpt_count = count };

	if (mail_intake_read(&how, &in, &unit->arena, &unit->events) == 0) {
		set(unit, UNIT_OPEN);
		return;
	}
	(void)err_set(&unit->why, "no memory");
	set(unit, UNIT_AGAIN);
}

static void
read_unsigned(struct reader *reader, struct slice raw, struct unit *unit)
{
	const char *reason;
	struct ses_input in = { .json = raw,
		.keys = reader->keys,
		.bounce_domain = slice_str(reader->config->feedback_domain) };

	switch (ses_inbox_read(
	    reader->sns.inbox, raw, &unit->arena, &unit->events, &reason, &unit->why)) {
	case SES_INBOX_READ:
		set(unit, UNIT_OPEN);
		return;
	case SES_INBOX_KEEP:
		reader_keep(unit, "sns", reason, feedback_digest(&unit->arena, raw), raw, true);
		return;
	case SES_INBOX_AGAIN:
		set(unit, UNIT_AGAIN);
		return;
	case SES_INBOX_OTHER:
	default:
		break;
	}
	if (ses_parse(&in, &unit->arena, &unit->events, &unit->why) < 0) {
		set(unit, UNIT_LEFT);
		return;
	}
	set(unit, UNIT_OPEN);
	if (unit->events.count == 0) {
		reader_keep(unit, "sns", "sns_test", feedback_digest(&unit->arena, raw), raw, true);
		unit->is_understood = true;
	}
}

/* SNS signs a Message of a Topic; a notice of SES has neither. */
static bool
is_sns(struct slice raw)
{
	return jsontext_kind(jsontext_member(raw, SLICE("TopicArn"))) == JSONTEXT_STRING &&
	    jsontext_kind(jsontext_member(raw, SLICE("Message"))) == JSONTEXT_STRING;
}

void
reader_notice(struct reader *reader, struct slice raw, bool accept_unsigned, struct unit *unit)
{
	const char *word;

	if (raw.len > SNS_BODY_MAX) {
		(void)err_set(&unit->why, "longer than %d bytes", SNS_BODY_MAX);
		set(unit, UNIT_LEFT);
		return;
	}
	/* a NUL in a string is legal and fails jsontext_check: such a text is left to jansson */
	if (jsontext_check(raw) && !is_sns(raw)) {
		if (accept_unsigned) {
			read_unsigned(reader, raw, unit);
			return;
		}
		(void)err_set(&unit->why, "it carries no signature of SNS");
		set(unit, UNIT_LEFT);
		return;
	}
	switch (sns_intake_read(&reader->sns, reader->cache, raw, (struct slice){ NULL, 0 },
	    &unit->arena, &unit->events, &word, &unit->why)) {
	case 200:
		set(unit, UNIT_OPEN);
		break;
	case 503:
		set(unit, UNIT_AGAIN);
		break;
	default:
		set(unit, UNIT_LEFT);
		break;
	}
}

void
reader_keep(struct unit *unit, const char *source, const char *reason, struct slice name,
    struct slice raw, bool is_believed)
{
	struct err why = unit->why;
	struct slice parts[] = { slice_str(source), slice_str(reason), name };
	struct feedback_event *e = intake_quarantine_event(
	    &unit->arena, source, reason, feedback_key(&unit->arena, parts, 3), why.msg, raw);

	if (e == NULL || e->key.len == 0) {
		set(unit, UNIT_AGAIN);
		return;
	}
	if (strcmp(reason, "sns_test") != 0)
		intake_keep_whole(&unit->arena, e,
		    &(struct feedback_kept){
			.form = "notice", .is_believed = is_believed, .content = raw });
	unit->events = (struct feedback_events){ .items = e, .count = 1, .capacity = 1 };
	set(unit, UNIT_OPEN);
}

int
reader_password(const char *path, const char *key, char *dst, size_t size, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t n = -1;

	dst[0] = '\0';
	if (fd < 0)
		return err_set(err, "%s: cannot open %s: %s", key, path, strerror(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		(void)err_set(err, "%s: %s is not a regular file", key, path);
	} else if (!secret_is_private(path, st.st_mode)) {
		(void)err_set(
		    err, "%s: %s can be read by others; run: chmod 600 %s", key, path, path);
	} else if ((n = read(fd, dst, size - 1)) <= 0 || (size_t)n == size - 1) {
		(void)err_set(err, "%s: %s must hold one line, the password", key, path);
		n = -1;
	}
	(void)close(fd);
	if (n < 0) {
		explicit_bzero(dst, size);
		return -1;
	}
	dst[n] = '\0';
	dst[strcspn(dst, "\r\n")] = '\0';
	return dst[0] != '\0' ? 0 : err_set(err, "%s: %s is empty", key, path);
}
