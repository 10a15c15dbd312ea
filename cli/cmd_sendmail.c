/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_sendmail: `kairan sendmail`, also under the name sendmail: one mail from standard input into the
 * standing run of a transactional stream, by kairan.mail_submit(). Speaks the options of sendmail(8)
 * and ends with the codes of sysexits(3), since mail systems call it.
 *
 * Never twice: every mail has a key. Asked again with it, PostgreSQL answers with what became of the
 * first; so a call whose commit is unknown is simply repeated.
 */
#include "cli.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "pgarray.h"
#include "submission.h"

#define KEY_BYTES_MAX 200
#define ARGUMENTS_MAX 200 /* recipients as words: SUBMISSION_RECIPIENTS_MAX, some of them twice */
#define SUBMIT_TRIES 5	  /* over connections that break, a second apart */
#define WAIT_POLL_MS 200
#define ARENA_MAX ((size_t)64 << 20)

/* The words of the command line. */
struct call {
	const char *sender, *full_name, *key, *stream;
	bool take_recipients, ignore_dots, wait;
	long wait_s;
	struct slice to[ARGUMENTS_MAX];
	size_t to_count;
};

struct job {
	struct cli *cli;
	struct call call;
	struct arena arena;
	struct buf input, mail, addresses, keys;
	struct submission submission;
	struct db db;
	char sender[ADDR_MAX + 1];
	char digest[65], key[KEY_BYTES_MAX + 1];
	bool key_lasts; /* the same input gives it again */
};

/* ---- words ---- */

/* Takes the value of an option from the word itself or the next one; NULL when there is none. */
static const char *
value_of(const char *attached, int *i, int argc, char **argv)
{
	if (*attached != '\0')
		return attached;
	return ++*i < argc ? argv[*i] : NULL;
}

static int
read_long(struct cli *cli, struct call *call, int *i, int argc, char **argv)
{
	const char *word = argv[*i] + 2, *equals = strchr(word, '=');
	size_t n = equals != NULL ? (size_t)(equals - word) : strlen(word);
	struct slice name = slice_make(word, n);
	const char **value = slice_equal(name, SLICE("key")) ? &call->key
	    : slice_equal(name, SLICE("stream"))	     ? &call->stream
							     : NULL;
	char *end;

	if (slice_equal(name, SLICE("wait"))) {
		call->wait = true;
		call->wait_s = equals != NULL ? strtol(equals + 1, &end, 10) : 60;
		if (equals != NULL && (*end != '\0' || call->wait_s < 0 || call->wait_s > 86400))
			return cli_fail(cli, EX_USAGE, "--wait takes seconds, 0 to 86400");
		return EX_OK;
	}
	if (value == NULL)
		return cli_fail(
		    cli, EX_USAGE, "unknown option %s; see kairan help sendmail", argv[*i]);
	*value = equals != NULL ? equals + 1 : value_of("", i, argc, argv);
	if (*value == NULL || **value == '\0')
		return cli_fail(cli, EX_USAGE, "--%.*s needs a value", SLICE_ARG(name));
	return EX_OK;
}

/* What an option with a value says; those of no effect here are taken all the same. */
static int
take_value(struct cli *cli, struct call *call, char letter, const char *value)
{
	if (value == NULL)
		return cli_fail(cli, EX_USAGE, "-%c needs a value", letter);
	if (letter == 'f' || letter == 'r')
		call->sender = value;
	else if (letter == 'F')
		call->full_name = value;
	else if (letter == 'o') /* all but -oi are for a sendmail that queues by itself */
		call->ignore_dots |= value[0] == 'i';
	else if (letter == 'b' && strcmp(value, "m") != 0)
		return cli_fail(
		    cli, EX_USAGE, "-b%s is not understood; see kairan help sendmail", value);
	return EX_OK;
}

/* One word that begins with a single dash, as sendmail(8) has them: letters, of which one that takes
 * a value is the last. -N and -R ask for what the feedback tells anyway, -B for what goes out as 7-bit. */
static int
read_short(struct cli *cli, struct call *call, int *i, int argc, char **argv)
{
	const char *word = argv[*i];

	for (const char *letter = word + 1; *letter != '\0'; letter++) {
		if (strchr("frFobBNRVhO", *letter) != NULL)
			return take_value(cli, call, *letter, value_of(letter + 1, i, argc, argv));
		if (strchr("tiGUvnm", *letter) == NULL)
			return cli_fail(
			    cli, EX_USAGE, "%s is not understood; see kairan help sendmail", word);
		call->take_recipients |= *letter == 't';
		call->ignore_dots |= *letter == 'i';
	}
	return EX_OK;
}

static int
read_words(struct cli *cli, struct call *call, int argc, char **argv)
{
	bool options = true;
	int code = EX_OK;

	for (int i = 0; i < argc && code == EX_OK; i++) {
		if (options && strcmp(argv[i], "--") == 0)
			options = false;
		else if (options && argv[i][0] == '-' && argv[i][1] == '-')
			code = read_long(cli, call, &i, argc, argv);
		else if (options && argv[i][0] == '-' && argv[i][1] != '\0')
			code = read_short(cli, call, &i, argc, argv);
		else if (call->to_count == ARGUMENTS_MAX)
			code = cli_fail(cli, EX_USAGE, "more than %d recipients", ARGUMENTS_MAX);
		else
			call->to[call->to_count++] = slice_trim(slice_str(argv[i]));
	}
	if (code == EX_OK && call->key != NULL && strlen(call->key) > KEY_BYTES_MAX)
		code = cli_fail(cli, EX_USAGE, "--key takes at most %d bytes", KEY_BYTES_MAX);
	if (code == EX_OK && call->to_count == 0 && !call->take_recipients)
		code = cli_fail(cli, EX_USAGE, "who is to get it? Name recipients, or give -t");
	return code;
}

/* ---- the mail ---- */

/* What stands from `begin` on is a single dot, before its line end. */
static bool
is_dot(const struct buf *input, size_t begin)
{
	size_t n = input->len - begin;

	return n > 0 && input->data[begin] == '.' &&
	    (n == 1 || (n == 2 && input->data[begin + 1] == '\r'));
}

/* Standard input up to its end or, without -i, up to a line with a single dot. Not line by line: a line
 * may be of any length. */
static int
read_input(struct job *j)
{
	size_t max = (size_t)j->cli->config.sendmail_max_bytes, begin = 0;
	bool dots = !j->call.ignore_dots;
	int c;

	buf_init(&j->input, max);
	while ((c = getc_unlocked(stdin)) != EOF) {
		if (c == '\n' && dots && is_dot(&j->input, begin))
			break;
		buf_append_char(&j->input, (char)c);
		if (buf_failed(&j->input))
			return cli_fail(j->cli, EX_DATAERR,
			    "the mail is larger than %zu bytes (sendmail.max_bytes)", max);
		if (c == '\n')
			begin = j->input.len;
	}
	if (ferror(stdin))
		return cli_fail(j->cli, EX_IOERR, "cannot read the mail: %s", strerror(errno));
	if (dots && is_dot(&j->input, begin))
		j->input.len = begin;
	return EX_OK;
}

static int
check_sender(struct job *j)
{
	struct slice sender = slice_trim(slice_str(j->call.sender));
	struct err why = { 0 };
	struct addr a;

	if (sender.len >= 2 && sender.ptr[0] == '<' && sender.ptr[sender.len - 1] == '>')
		sender = slice_make(sender.ptr + 1, sender.len - 2);
	if (sender.len == 0)
		return EX_OK; /* the null sender, or none was named */
	if (addr_parse(&a, sender, &why) < 0)
		return cli_fail(j->cli, EX_USAGE, "-f: not an address: %s", why.msg);
	(void)snprintf(j->sender, sizeof(j->sender), "%s", a.text);
	return EX_OK;
}

static void
hex(char *dst, const unsigned char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		(void)snprintf(dst + 2 * i, 3, "%02x", bytes[i]);
}

/* SHA-256 of sender, recipients and input, each with its end. */
static bool
make_digest(struct job *j)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char bytes[EVP_MAX_MD_SIZE];
	bool good = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
	    EVP_DigestUpdate(ctx, j->sender, strlen(j->sender) + 1) == 1;

	for (size_t i = 0; good && i < j->submission.recipient_count; i++) {
		const char *key = j->submission.recipients[i].key;

		good = EVP_DigestUpdate(ctx, key, strlen(key) + 1) == 1;
	}
	good = good && EVP_DigestUpdate(ctx, "", 1) == 1 &&
	    (j->input.len == 0 || EVP_DigestUpdate(ctx, j->input.data, j->input.len) == 1) &&
	    EVP_DigestFinal_ex(ctx, bytes, NULL) == 1;
	EVP_MD_CTX_free(ctx);
	if (good)
		hex(j->digest, bytes, 32);
	return good;
}

/* --key; else what Message-ID and content say; else a random one, which serves this call alone. */
static void
make_key(struct job *j, const char *random)
{
	j->key_lasts = j->call.key != NULL || j->submission.message_id.len > 0;
	if (j->call.key != NULL)
		(void)snprintf(j->key, sizeof(j->key), "%s", j->call.key);
	else if (j->key_lasts)
		(void)snprintf(j->key, sizeof(j->key), "mail:%s", j->digest);
	else
		(void)snprintf(j->key, sizeof(j->key), "once:%s", random);
}

static int
make_mail(struct job *j)
{
	struct submission_input in = { .bytes = buf_slice(&j->input),
		.take_recipients = j->call.take_recipients,
		.to = j->call.to,
		.to_count = j->call.to_count,
		.default_from = slice_str(j->sender),
		.full_name = slice_str(j->call.full_name),
		.date = time(NULL) };
	unsigned char random[16];
	char id[33];
	struct err err = { 0 };

	if (RAND_bytes(random, sizeof(random)) != 1)
		return cli_fail(j->cli, EX_OSERR, "there are no random numbers");
	hex(id, random, sizeof(random));
	in.id_left = slice_make(id, 32);
	buf_init(&j->mail, 4 * (size_t)j->cli->config.sendmail_max_bytes + 100000);
	if (submission_make(&in, &j->arena, &j->mail, &j->submission, &err) < 0)
		return cli_fail(j->cli, EX_DATAERR, "%s", err.msg);
	if (!make_digest(j))
		return cli_fail(j->cli, EX_OSERR, "cannot compute a digest");
	make_key(j, id);
	buf_init(&j->addresses, 1 << 20);
	buf_init(&j->keys, 1 << 20);
	for (size_t i = 0; i < j->submission.recipient_count; i++) {
		pgarray_text(&j->addresses, slice_str(j->submission.recipients[i].text));
		pgarray_text(&j->keys, slice_str(j->submission.recipients[i].key));
	}
	return EX_OK;
}

/* ---- into PostgreSQL ---- */

static PGresult *
submit_once(struct job *j)
{
	const char *params[] = { j->call.stream, j->key, j->digest, j->submission.from.text,
		j->sender, buf_str(&j->mail), pgarray_end(&j->addresses), pgarray_end(&j->keys) };

	return db_query(&j->db,
	    "SELECT run_id, send_id, address, state, reason, evidence, is_new "
	    "FROM kairan.mail_submit($1, $2, $3, $4, $5, $6, $7::text[], $8::text[])",
	    8, params);
}

static int
refused(struct job *j)
{
	const char *state = j->db.sqlstate;
	int code = strcmp(state, "42501") == 0 ? EX_NOPERM
	    : strcmp(state, "P0002") == 0      ? EX_CONFIG
	    : strcmp(state, "23505") == 0      ? EX_DATAERR
					       : EX_TEMPFAIL;

	return cli_fail(j->cli, code, "%s", j->db.error);
}

/* Asked until there is an answer: the key makes that harmless. */
static int
submit(struct job *j, PGresult **rows)
{
	bool asked = false;

	*rows = NULL;
	for (int i = 0; i < SUBMIT_TRIES; i++) {
		bool open = j->db.conn != NULL || cli_open_db(j->cli, &j->db) == EXIT_DONE;

		if (!open && !asked)
			return EX_TEMPFAIL; /* it said why */
		if (open) {
			asked = true;
			*rows = submit_once(j);
			if (*rows != NULL)
				return EX_OK;
			if (!db_is_lost(&j->db))
				return refused(j);
			db_close(&j->db);
			j->db = (struct db){ 0 };
		}
		(void)poll(NULL, 0, 1000);
	}
	if (j->key_lasts)
		return cli_fail(
		    j->cli, EX_TEMPFAIL, "PostgreSQL went away; try again, it is not sent twice");
	return cli_fail(j->cli, EX_SOFTWARE,
	    "PostgreSQL went away, and whether it took the mail is not known; `kairan send why` "
	    "tells");
}

/* ---- what became of it ---- */

/* Looks until all rows are settled or the time is over. Replaces *rows. */
static void
wait_settled(struct job *j, PGresult **rows)
{
	char run[16];
	const char *params[] = { run, j->call.stream, j->key };
	time_t end = time(NULL) + j->call.wait_s;
	bool left = true;

	(void)snprintf(run, sizeof(run), "%s", PQntuples(*rows) > 0 ? db_text(*rows, 0, 0) : "0");
	while (left) {
		PGresult *now = db_query(&j->db,
		    "SELECT s.run_id, s.id, s.address, s.state, s.reason, s.reply, false "
		    "FROM kairan.mail m JOIN kairan.stream st ON st.id = m.stream_id "
		    "JOIN kairan.mail_send l ON l.mail_id = m.id "
		    "JOIN kairan.send s ON s.run_id = l.run_id AND s.id = l.send_id "
		    "WHERE s.run_id = $1 AND st.name = $2 AND m.key = $3 ORDER BY s.id",
		    3, params);

		if (now == NULL)
			return; /* it is queued; nobody can tell more */
		PQclear(*rows);
		*rows = now;
		left = false;
		for (int i = 0; i < PQntuples(now); i++)
			left |= strcmp(db_text(now, i, 3), "queued") == 0 ||
			    strcmp(db_text(now, i, 3), "sending") == 0;
		if (left && time(NULL) >= end)
			return;
		if (left)
			(void)poll(NULL, 0, WAIT_POLL_MS);
	}
}

static void
tell_json(const struct job *j, const PGresult *rows, bool is_new)
{
	json_t *list = json_array();

	for (int i = 0; i < PQntuples(rows); i++)
		(void)json_array_append_new(list,
		    json_pack("{s:s, s:s, s:s, s:I, s:I}", "address", db_text(rows, i, 2), "state",
			db_text(rows, i, 3), "reason", db_text(rows, i, 4), "run",
			(json_int_t)db_number(rows, i, 0), "recipient",
			(json_int_t)db_number(rows, i, 1)));
	cli_print_json(json_pack("{s:b, s:s, s:s, s:o}", "new", is_new, "stream", j->call.stream,
	    "key", j->key_lasts ? j->key : "", "recipients", list));
}

/* The code: a mail that nobody gets is refused, one that somebody does is taken. */
static int
tell(const struct job *j, const PGresult *rows, bool is_new)
{
	int count = PQntuples(rows), out = 0, failed = 0, doubt = 0;

	for (int i = 0; i < count; i++) {
		const char *state = db_text(rows, i, 3);
		bool gone = strcmp(state, "failed") == 0;
		bool skipped = strcmp(state, "skipped") == 0 || strcmp(state, "cancelled") == 0;

		failed += gone;
		out += skipped;
		doubt += strcmp(state, "in_doubt") == 0;
		if ((!gone && !skipped) || j->cli->json)
			continue;
		fputs("kairan: not sent to ", stderr);
		cli_put_text(stderr, db_text(rows, i, 2));
		fprintf(stderr, ": %s ", db_text(rows, i, 4));
		cli_put_text(stderr, db_text(rows, i, 5));
		fputc('\n', stderr);
	}
	if (j->cli->json)
		tell_json(j, rows, is_new);
	if (j->call.wait && doubt > 0)
		return EX_SOFTWARE;
	return (j->call.wait && failed > 0) || out == count ? EX_UNAVAILABLE : EX_OK;
}

static int
run_job(struct job *j)
{
	PGresult *rows = NULL;
	bool is_new;
	int code = check_sender(j);

	if (code == EX_OK)
		code = read_input(j);
	if (code == EX_OK)
		code = make_mail(j);
	if (code == EX_OK)
		code = submit(j, &rows);
	if (code == EX_OK) {
		is_new = PQntuples(rows) > 0 && db_text(rows, 0, 6)[0] == 't';
		if (j->call.wait)
			wait_settled(j, &rows);
		code = tell(j, rows, is_new);
	}
	PQclear(rows);
	return code;
}

static int
run_sendmail(struct cli *cli, int argc, char **argv)
{
	struct job j = { .cli = cli };
	struct err err = { 0 };
	int code = read_words(cli, &j.call, argc, argv);

	if (code != EX_OK)
		return code;
	if (config_load(&cli->config, cli->config_path, &err) < 0)
		return cli_fail(cli, EX_CONFIG, "%s", err.msg);
	if (j.call.stream == NULL)
		j.call.stream = cli->config.sendmail_stream;
	arena_init(&j.arena, ARENA_MAX);
	code = run_job(&j);
	if (j.db.conn != NULL)
		db_close(&j.db);
	buf_release(&j.input);
	buf_release(&j.mail);
	buf_release(&j.addresses);
	buf_release(&j.keys);
	arena_release(&j.arena);
	return code;
}

const struct cli_command cli_sendmail_commands[] = {
	{ "sendmail", "[-t] [-i] [-f SENDER] [-F NAME] [RECIPIENT]...",
	    "send one mail from standard input through a stream, as sendmail(8)",
	    "Options:\n"
	    "  -t            recipients are in To, Cc and Bcc, or in the Resent- ones when there "
	    "are such\n"
	    "                (besides those named)\n"
	    "  -i, -oi       a line with a single dot does not end the mail\n"
	    "  -f SENDER     envelope sender; also From, when the mail has none\n"
	    "  -F NAME       name for that From\n"
	    "  --stream S    stream (default: sendmail.stream); its mail_from must allow From\n"
	    "  --key KEY     the same key again sends nothing (default: Message-ID with content)\n"
	    "  --wait[=S]    wait until it is sent or refused, S seconds at most (60)\n"
	    "\n"
	    "Exit codes are those of sysexits(3), see kairan-sendmail(1). A link named sendmail "
	    "works, too.\n"
	    "\n"
	    "Example:\n"
	    "  printf 'From: shop@example.jp\\nTo: you@example.jp\\nSubject: hello\\n\\nhello\\n' "
	    "|\n"
	    "    kairan sendmail -t --key order-4711\n",
	    false, run_sendmail },
	{ 0 },
};
