/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mailbox: see mailbox.h. Everything runs in the thread of its pull. The two protocols differ in
 * how mails are listed, fetched and taken away; the rest is the same.
 */
#include "mailbox.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "imap.h"
#include "inbound.h"
#include "log.h"
#include "nameset.h"
#include "reader.h"
#include "wire.h"

#define LISTED_MAX 10000 /* mails of one look */
#define TOGETHER_MAX 20	 /* at the intake */
#define REFUSED_MAX 64	 /* mails that the server does not hand out */
#define MAIL_MAX ((size_t)64 * 1024 * 1024)
#define PASSWORD_MAX 1024
#define COMMAND_MAX 600
#define NAME_MAX_BYTES 70

struct mail {
	uint32_t number;	       /* UID of IMAP, place of POP3 */
	char name[NAME_MAX_BYTES + 1]; /* of POP3: its unique id */
	size_t size;		       /* of POP3; 0: not said */
	bool is_done;		       /* taken away, gone, or left for a person */
};

struct mailbox {
	const struct config *config;
	struct reader reader;
	bool is_imap;
	struct wire wire;
	unsigned tag;
	bool has_uidplus;
	uint32_t validity; /* of the UIDs in left, refused and floor */
	uint32_t floor;	   /* UIDs below it are done with, or refused */
	bool is_unsorted;  /* the server lists UIDs in no order: no floor then */
	struct mail *listed;
	size_t count;
	bool is_more; /* mails than were listed */
	struct nameset left;
	struct mail refused[REFUSED_MAX]; /* asked for again at each look */
	size_t refused_count;
	bool is_refused_full;
	struct buf raw;
	struct unit units[TOGETHER_MAX];
	struct mail *together[TOGETHER_MAX];
	char password[PASSWORD_MAX];
};

/* What the server does not do, other than that it cannot be spoken to. */
enum { ANSWER_REFUSED = 1 };

/* ---- IMAP ------------------------------------------------------------------------------- */

/* Called with each untagged line of a command; a literal behind it is in m->raw, when it was
 * asked for. */
typedef void on_line(struct mailbox *m, struct slice line);

static void
ignore(struct mailbox *m, struct slice line)
{
	(void)m;
	(void)line;
}

/* The literals of an answer: a mail's is kept, others are dropped. */
static int
take_literal(struct mailbox *m, struct slice line, bool is_mail, struct err *err)
{
	struct buf none;
	size_t size;
	int result;

	if (!imap_literal(line, &size))
		return 0;
	if (size > IMAP_LITERAL_MAX)
		return err_set(err, "mailbox: a literal is longer than was asked for");
	buf_init(&none, 0);
	result = wire_bytes(&m->wire, size, is_mail ? &m->raw : &none, err);
	buf_release(&none);
	return result;
}

/* 0 when it was answered OK, ANSWER_REFUSED or -1 with err. */
static int
imap_try(struct mailbox *m, const char *command, on_line *each, struct err *err)
{
	char text[COMMAND_MAX], tag[16];
	struct slice line;
	int n;

	(void)snprintf(tag, sizeof(tag), "k%u", ++m->tag);
	n = snprintf(text, sizeof(text), "%s %s", tag, command);
	if (n < 0 || (size_t)n >= sizeof(text))
		return err_set(err, "mailbox: a command is too long");
	if (wire_send(&m->wire, slice_make(text, (size_t)n), err) < 0)
		return -1;
	for (;;) {
		if (wire_line(&m->wire, &line, err) < 0)
			return -1;
		switch (imap_answer(line, slice_str(tag))) {
		case IMAP_OK:
			return 0;
		case IMAP_REFUSED:
			(void)err_set(err, "mailbox: %.20s is refused: %.*s", command,
			    line.len < 150 ? (int)line.len : 150, line.ptr);
			return line.ptr[0] == '*' ? -1 : ANSWER_REFUSED;
		case IMAP_UNTAGGED:
		default:
			break;
		}
		each(m, line);
		if (take_literal(m, line, imap_is_fetch(line), err) < 0)
			return -1;
	}
}

static int
imap(struct mailbox *m, const char *command, on_line *each, struct err *err)
{
	return imap_try(m, command, each, err) == 0 ? 0 : -1;
}

static void
on_capability(struct mailbox *m, struct slice line)
{
	m->has_uidplus = m->has_uidplus || imap_has_capability(line, SLICE("UIDPLUS"));
}

static void
on_select(struct mailbox *m, struct slice line)
{
	uint32_t validity = imap_uidvalidity(line);

	if (validity != 0 && validity != m->validity) {
		nameset_clear(&m->left);
		m->refused_count = 0;
		m->floor = 0;
		m->validity = validity;
	}
}

static struct mail *
find_refused(struct mailbox *m, const struct mail *mail)
{
	for (size_t i = 0; i < m->refused_count; i++)
		if (strcmp(m->refused[i].name, mail->name) == 0)
			return &m->refused[i];
	return NULL;
}

/* Unless a person is to look at it. False: no more have room. */
static bool
add_listed(struct mailbox *m, const struct mail *mail)
{
	if (nameset_has(&m->left, slice_str(mail->name)))
		return true;
	if (m->count == LISTED_MAX) {
		m->is_more = true;
		return false;
	}
	m->listed[m->count++] = *mail;
	return true;
}

static void
on_search(struct mailbox *m, struct slice line)
{
	size_t max = line.len / 2, n; /* a blank and a digit each */
	uint32_t *uids = calloc(max + 1, sizeof(*uids));

	n = uids != NULL ? imap_search(line, uids, max) : 0;
	for (size_t i = 0; i < n; i++) {
		struct mail mail = { .number = uids[i] };

		m->is_unsorted = m->is_unsorted || (i > 0 && uids[i] < uids[i - 1]);
		(void)snprintf(mail.name, sizeof(mail.name), "%" PRIu32, uids[i]);
		/* "7:*" names the last mail, too, when it is below 7 */
		if (uids[i] >= m->floor && find_refused(m, &mail) == NULL && !add_listed(m, &mail))
			break;
	}
	free(uids);
}

/* Behind what is done with: mails that stay must not hide those that come. */
static void
raise_floor(struct mailbox *m)
{
	uint32_t open = 0, high = 0;

	for (size_t i = 0; i < m->count && !m->is_unsorted; i++) {
		const struct mail *mail = &m->listed[i];

		if (!mail->is_done && (open == 0 || mail->number < open))
			open = mail->number;
		if (mail->number > high)
			high = mail->number;
	}
	if (open != 0)
		m->floor = open;
	else if (high >= m->floor && high > 0)
		m->floor = high + 1;
}

static int
imap_list(struct mailbox *m, struct err *err)
{
	char command[COMMAND_MAX];

	m->has_uidplus = false;
	(void)snprintf(command, sizeof(command), "SELECT \"%s\"", m->config->mailbox_folder);
	if (imap(m, "CAPABILITY", on_capability, err) < 0 || imap(m, command, on_select, err) < 0)
		return -1;
	for (size_t i = 0; i < m->refused_count; i++)
		m->listed[m->count++] = m->refused[i];
	if (m->is_unsorted)
		m->floor = 0;
	(void)snprintf(command, sizeof(command), "UID SEARCH UID %" PRIu32 ":* UNDELETED%s",
	    m->floor > 0 ? m->floor : 1,
	    strcmp(m->config->mailbox_after, "seen") == 0 ? " UNSEEN" : "");
	return imap(m, command, on_search, err);
}

static int
imap_fetch(struct mailbox *m, const struct mail *mail, struct err *err)
{
	char command[COMMAND_MAX];

	(void)snprintf(command, sizeof(command), "UID FETCH %" PRIu32 " (BODY.PEEK[]<0.%d>)",
	    mail->number, INBOUND_SIZE_MAX);
	return imap_try(m, command, ignore, err);
}

static int
imap_take_away(struct mailbox *m, const struct mail *mail, struct err *err)
{
	bool seen = strcmp(m->config->mailbox_after, "seen") == 0;
	char command[COMMAND_MAX];

	(void)snprintf(command, sizeof(command), "UID STORE %" PRIu32 " +FLAGS.SILENT (\\%s)",
	    mail->number, seen ? "Seen" : "Deleted");
	if (imap(m, command, ignore, err) < 0)
		return -1;
	if (seen || !m->has_uidplus)
		return 0;
	(void)snprintf(command, sizeof(command), "UID EXPUNGE %" PRIu32, mail->number);
	return imap(m, command, ignore, err);
}

/* ---- POP3 ------------------------------------------------------------------------------- */

/* 0, ANSWER_REFUSED or -1 with err. */
static int
pop3_try(struct mailbox *m, const char *command, struct err *err)
{
	struct slice line;

	if (wire_send(&m->wire, slice_str(command), err) < 0 || wire_line(&m->wire, &line, err) < 0)
		return -1;
	if (pop3_is_ok(line))
		return 0;
	(void)err_set(err, "mailbox: %.20s is refused: %.*s", command,
	    line.len < 150 ? (int)line.len : 150, line.ptr);
	return ANSWER_REFUSED;
}

static int
pop3(struct mailbox *m, const char *command, struct err *err)
{
	return pop3_try(m, command, err) == 0 ? 0 : -1;
}

/* The sizes of what is listed; both lists are in the order of their numbers. */
static int
pop3_sizes(struct mailbox *m, struct err *err)
{
	struct slice line, size;
	uint32_t number;
	size_t i = 0;

	if (pop3(m, "LIST", err) < 0)
		return -1;
	for (;;) {
		if (wire_line(&m->wire, &line, err) < 0)
			return -1;
		if (slice_equal(line, SLICE(".")))
			return 0;
		if (!pop3_uidl(line, &number, &size))
			continue;
		while (i < m->count && m->listed[i].number < number)
			i++;
		for (size_t k = 0; i < m->count && m->listed[i].number == number && k < size.len &&
		     size.ptr[k] >= '0' && size.ptr[k] <= '9' && m->listed[i].size <= MAIL_MAX;
		     k++)
			m->listed[i].size = m->listed[i].size * 10 + (size_t)(size.ptr[k] - '0');
	}
}

static int
pop3_list(struct mailbox *m, struct err *err)
{
	struct slice line, id;
	struct mail mail = { 0 };

	if (pop3(m, "UIDL", err) < 0)
		return -1;
	for (;;) {
		if (wire_line(&m->wire, &line, err) < 0)
			return -1;
		if (slice_equal(line, SLICE(".")))
			return pop3_sizes(m, err);
		if (!pop3_uidl(line, &mail.number, &id))
			continue;
		(void)snprintf(mail.name, sizeof(mail.name), "%.*s", SLICE_ARG(id));
		(void)add_listed(m, &mail);
	}
}

static int
pop3_fetch(struct mailbox *m, const struct mail *mail, struct err *err)
{
	char command[COMMAND_MAX];
	struct slice line;
	size_t total = 0;
	int result;

	(void)snprintf(command, sizeof(command), "RETR %" PRIu32, mail->number);
	result = pop3_try(m, command, err);
	if (result != 0)
		return result;
	for (;;) {
		if (wire_line(&m->wire, &line, err) < 0)
			return -1;
		if (slice_equal(line, SLICE(".")))
			return 0;
		if (line.len > 0 && line.ptr[0] == '.')
			line = slice_make(line.ptr + 1, line.len - 1);
		total += line.len + 2;
		if (total > MAIL_MAX) { /* and than the server said */
			nameset_add(&m->left, slice_str(mail->name));
			return err_set(err, "mailbox: a mail is longer than %zu bytes", MAIL_MAX);
		}
		if (total > INBOUND_SIZE_MAX)
			continue; /* its beginning is enough */
		buf_append_slice(&m->raw, line);
		buf_append(&m->raw, "\r\n", 2);
	}
}

static int
pop3_take_away(struct mailbox *m, const struct mail *mail, struct err *err)
{
	char command[COMMAND_MAX];

	(void)snprintf(command, sizeof(command), "DELE %" PRIu32, mail->number);
	return pop3(m, command, err);
}

/* ---- one look --------------------------------------------------------------------------- */

/* Commits the units and takes away what was understood. */
static int
settle(struct mailbox *m, struct pull *pull, size_t count, struct err *err)
{
	pull_commit(pull, m->units, count);
	for (size_t i = 0; i < count; i++) {
		struct mail *mail = m->together[i];

		if (m->units[i].result != UNIT_COMMITTED)
			continue;
		if (!m->units[i].is_understood) {
			log_info("mailbox mail is not understood and left for a person number=%u",
			    mail->number);
			source_left(pull_source(pull));
			nameset_add(&m->left, slice_str(mail->name));
			mail->is_done = true;
			continue;
		}
		if ((m->is_imap ? imap_take_away(m, mail, err) : pop3_take_away(m, mail, err)) < 0)
			return -1;
		mail->is_done = true;
	}
	return 0;
}

/* What the server does not hand out must not keep the others back. It may be a matter of time, so it is asked for
 * at each look, and said once. */
static void
pass_over(struct mailbox *m, struct pull *pull, struct mail *mail, const struct err *why)
{
	mail->is_done = true;
	if (find_refused(m, mail) != NULL)
		return;
	if (m->refused_count == REFUSED_MAX) {
		m->is_refused_full = true;
		mail->is_done = false;
		if (!m->is_imap)
			m->refused_count = 0; /* some may be long gone */
		return;
	}
	m->refused[m->refused_count++] = *mail;
	m->refused[m->refused_count - 1].is_done = false;
	source_left(pull_source(pull));
	log_warn("mailbox mail is passed over, it is asked for again at each look number=%u "
		 "error=\"%s\"",
	    mail->number, why->msg);
}

static bool
is_too_long(struct mailbox *m, struct pull *pull, struct mail *mail)
{
	if (mail->size <= MAIL_MAX)
		return false;
	log_warn("mailbox mail is longer than %zu bytes and left for a person number=%u", MAIL_MAX,
	    mail->number);
	source_left(pull_source(pull));
	nameset_add(&m->left, slice_str(mail->name));
	mail->is_done = true;
	return true;
}

/* Into m->raw. False when there is nothing of it; *result says whether the look goes on. */
static bool
fetch(struct mailbox *m, struct pull *pull, struct mail *mail, int *result, struct err *err)
{
	struct mail *before;

	buf_reset(&m->raw);
	*result = 0;
	if (is_too_long(m, pull, mail))
		return false;
	*result = m->is_imap ? imap_fetch(m, mail, err) : pop3_fetch(m, mail, err);
	if (*result == ANSWER_REFUSED) {
		pass_over(m, pull, mail, err);
		*result = 0;
		return false;
	}
	if (*result < 0)
		return false;
	before = find_refused(m, mail);
	if (before != NULL)
		*before = m->refused[--m->refused_count];
	mail->is_done = m->raw.len == 0; /* gone meanwhile */
	return m->raw.len > 0;
}

/* Mails of this look that are not done with. */
static void
tell_lag(const struct mailbox *m, struct pull *pull)
{
	int64_t waiting = 0;

	for (size_t i = 0; i < m->count; i++)
		waiting += !m->listed[i].is_done;
	source_lag(pull_source(pull), waiting, -1, -1);
}

static int
read_all(struct mailbox *m, struct pull *pull, struct err *err)
{
	int result = 0;
	size_t n = 0;

	m->is_refused_full = false;
	tell_lag(m, pull);
	for (size_t i = 0; result == 0 && i < m->count && !pull_is_stopping(pull); i++) {
		struct mail *mail = &m->listed[i];

		if (!fetch(m, pull, mail, &result, err))
			continue;
		source_received(pull_source(pull), 1);
		unit_reset(&m->units[n]);
		reader_mail(&m->reader, buf_slice(&m->raw), &m->units[n]);
		m->together[n++] = mail;
		if (n == TOGETHER_MAX) {
			result = settle(m, pull, n, err);
			n = 0;
		}
	}
	return result < 0 ? -1 : settle(m, pull, n, err);
}

/* After the look, and the QUIT of POP3: what a person has to see to. */
static int
complain(const struct mailbox *m, struct err *err)
{
	if (m->is_refused_full)
		return err_set(
		    err, "mailbox: the server does not hand out more than %d mails", REFUSED_MAX);
	if (!m->is_imap && m->left.count >= NAMESET_SLOTS / 4 * 3)
		return err_set(err,
		    "mailbox: %zu mails are left in it for a person; move them away, they are all "
		    "read again",
		    m->left.count);
	return 0;
}

static enum pull_verdict
run_round(void *ctx, struct pull *pull, struct err *err)
{
	struct mailbox *m = ctx;
	int result;

	m->count = 0;
	m->is_more = false;
	result = wire_open(&m->wire,
	    &(struct wire_config){ .url = m->config->mailbox_url,
		.user = m->config->mailbox_user,
		.password = m->password,
		.ca_file = m->config->mailbox_ca_file,
		.needs_tls = m->config->mailbox_tls,
		.stop = pull_stop_flag(pull) },
	    err);
	if (result == 0)
		result = m->is_imap ? imap_list(m, err) : pop3_list(m, err);
	if (result == 0)
		result = read_all(m, pull, err);
	/* IMAP has done it all by now; POP3 deletes when QUIT is answered */
	if (result == 0)
		result = m->is_imap ? wire_send(&m->wire, SLICE("k0 LOGOUT"), err)
				    : pop3(m, "QUIT", err);
	wire_close(&m->wire);
	if (m->is_imap)
		raise_floor(m);
	if (result == 0)
		tell_lag(m, pull);
	if (result < 0 || complain(m, err) < 0)
		return PULL_FAILED;
	if (m->is_more)
		log_warn("mailbox has more than %d new mails, going on behind them", LISTED_MAX);
	return m->is_more && m->listed[0].is_done ? PULL_MORE : PULL_NOTHING;
}

/* ---- the source ------------------------------------------------------------------------- */

static void
release(void *ctx)
{
	struct mailbox *m = ctx;

	for (size_t i = 0; i < TOGETHER_MAX; i++)
		unit_release(&m->units[i]);
	buf_release(&m->raw);
	reader_release(&m->reader);
	explicit_bzero(m->password, sizeof(m->password));
	free(m->listed);
	free(m);
}

static bool
is_loopback(const char *url)
{
	static const char *const hosts[] = { "127.0.0.1", "localhost", "[::1]" };
	const char *host = strstr(url, "://");

	for (size_t i = 0; host != NULL && i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		size_t n = strlen(hosts[i]);

		if (strncmp(host + 3, hosts[i], n) == 0 &&
		    (host[3 + n] == '\0' || host[3 + n] == ':' || host[3 + n] == '/'))
			return true;
	}
	return false;
}

static int
check(struct mailbox *m, struct err *err)
{
	const struct config *c = m->config;
	const char *url = c->mailbox_url, *rest = strstr(url, "://");

	m->is_imap = strncmp(url, "imap://", 7) == 0 || strncmp(url, "imaps://", 8) == 0;
	if (!m->is_imap && strncmp(url, "pop3://", 7) != 0 && strncmp(url, "pop3s://", 8) != 0)
		return err_set(err,
		    "mailbox.url must begin with imaps://, imap://, pop3s:// or "
		    "pop3://");
	if (rest == NULL || rest[3] == '\0' || strpbrk(rest + 3, "/@? #") != NULL)
		return err_set(err,
		    "mailbox.url must be like imaps://host or imaps://host:port; "
		    "user and folder are settings of their own");
	if (c->mailbox_user[0] == '\0' || c->mailbox_password_file[0] == '\0')
		return err_set(err, "set mailbox.user and mailbox.password_file");
	if (!c->mailbox_tls && !is_loopback(url))
		return err_set(err, "mailbox.tls = no is for the loopback only");
	if (strcmp(c->mailbox_after, "delete") != 0 &&
	    (strcmp(c->mailbox_after, "seen") != 0 || !m->is_imap))
		return err_set(err, "mailbox.after must be delete, or seen with IMAP");
	for (const char *f = c->mailbox_folder; *f != '\0'; f++)
		if (*f < ' ' || *f > '~' || *f == '"' || *f == '\\')
			return err_set(err,
			    "mailbox.folder must be printable ASCII without quotes "
			    "and backslashes (modified UTF-7)");
	if (strlen(c->mailbox_folder) > COMMAND_MAX / 2)
		return err_set(err, "mailbox.folder is too long");
	return reader_password(c->mailbox_password_file, "mailbox.password_file", m->password,
	    sizeof(m->password), err);
}

struct source *
mailbox_new(uv_loop_t *loop, const struct config *config, const struct token_keys *keys,
    struct intake *intake, struct mail_worker *worker, struct err *err)
{
	struct mailbox *m = calloc(1, sizeof(*m));

	if (m == NULL) {
		(void)err_set(err, "no memory");
		return NULL;
	}
	m->config = config;
	buf_init(&m->raw, IMAP_LITERAL_MAX);
	for (size_t i = 0; i < TOGETHER_MAX; i++)
		unit_init(&m->units[i]);
	m->listed = calloc(LISTED_MAX, sizeof(*m->listed));
	if (m->listed == NULL)
		(void)err_set(err, "no memory");
	if (m->listed == NULL || reader_init(&m->reader, config, keys, err) < 0 ||
	    check(m, err) < 0) {
		release(m);
		return NULL;
	}
	reader_set_mail(&m->reader, worker, NULL);
	log_info("mailbox is emptied url=%s", config->mailbox_url);
	return pull_new(loop,
	    &(struct pull_config){ .name = m->is_imap ? "imap" : "pop3",
		.ctx = m,
		.round = run_round,
		.release = release,
		.poll_ms = config->mailbox_poll_s * 1000,
		.intake = intake },
	    err);
}
