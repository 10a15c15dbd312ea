/* SPDX-License-Identifier: Apache-2.0 */
/*
 * customer_invite: see customer_invite.h. The campaigns are the program's own, on the stream
 * transactional: kairan-invite-LANGUAGE for addresses (a run a day grows with each), and
 * kairan-invite-LANGUAGE-DIGEST for each segment and text, planned like any other.
 */
#include "customer_invite.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "own_text.h"

struct invite {
	struct cli *cli;
	struct db db;
	struct arena arena;
	struct confirm_mail mail;
	const char *segment, *language, *text, *html, *success, *failure, *list, *run_key;
	char *options; /* JSON, owned */
	char campaign[64];
};

static bool
url_ok(const char *url)
{
	size_t n = strlen(url);

	if (strncmp(url, "https://", 8) != 0 || n > 1000 || n == 8)
		return false;
	for (size_t i = 0; i < n; i++)
		if (url[i] <= ' ' || url[i] > '~' || strchr("\"<>\\^`{|}", url[i]) != NULL)
			return false;
	return true;
}

/* --text and --html */
static int
read_own_files(struct invite *in)
{
	const char *const paths[] = { in->text, in->html };
	struct err why = { 0 };
	struct slice text;
	int result;

	for (size_t i = 0; i < 2 && paths[i] != NULL; i++) {
		if (own_text_file(paths[i], &in->arena, &text, &why) < 0)
			return cli_fail(in->cli, EXIT_USAGE, "%s", why.msg);
		result = i == 0 ? confirm_mail_parse(&in->mail, text, &in->arena, &why)
				: confirm_mail_html(&in->mail, text, &in->arena, &why);
		if (result < 0)
			return cli_fail(in->cli, EXIT_USAGE, "%s: %s", paths[i], why.msg);
	}
	return EXIT_DONE;
}

static int
check(struct invite *in, int addresses)
{
	const struct config *c = &in->cli->config;
	const char *const urls[] = { in->success, in->failure };
	struct err err = { 0 };

	if ((in->segment == NULL) == (addresses == 0))
		return cli_fail(in->cli, EXIT_USAGE,
		    "name addresses, or a segment: kairan customer invite taro@example.jp");
	if (c->web_base[0] == '\0' || c->web_from_address[0] == '\0')
		return cli_fail(in->cli, EXIT_USAGE,
		    "set web.base (where the pages of kairan-feedback are reached) and "
		    "web.from_address first");
	if (strcmp(in->language, "en") != 0 && strcmp(in->language, "ja") != 0)
		return cli_fail(in->cli, EXIT_USAGE, "--language must be en or ja");
	for (size_t i = 0; i < 2; i++)
		if (urls[i] != NULL && !url_ok(urls[i]))
			return cli_fail(in->cli, EXIT_USAGE,
			    "--%s must be an https:// address without blanks and quotes",
			    i == 0 ? "success" : "failure");
	if (in->html != NULL && in->text == NULL)
		return cli_fail(in->cli, EXIT_USAGE, "--html stands beside --text");
	if (in->text != NULL)
		return read_own_files(in);
	if (confirm_mail_load(&in->mail, "invite", in->language, c->web_words, &in->arena, &err) <
	    0)
		return cli_fail(in->cli, EXIT_USAGE, "%s", err.msg);
	return EXIT_DONE;
}

static int
make_options(struct invite *in)
{
	json_t *o = json_pack("{s:b, s:s, s:s*, s:s*, s:s*}", "invite", 1, "language", in->language,
	    "success_url", in->success, "failure_url", in->failure, "for_list", in->list);

	in->options = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	return in->options != NULL ? EXIT_DONE
				   : cli_fail(in->cli, EXIT_FAILED, "there is not enough memory");
}

/* What the addresses of one campaign share must be the same for all of its mails. */
static void
name_campaign(struct invite *in)
{
	const char *const parts[] = { in->segment != NULL ? in->segment : "", in->mail.subject,
		in->mail.body, in->options, in->mail.html };
	/* without html the name stays what it was before there was html */
	size_t count = sizeof(parts) / sizeof(parts[0]) - (in->mail.html[0] == '\0');
	unsigned char digest[EVP_MAX_MD_SIZE] = { 0 };
	EVP_MD_CTX *md = EVP_MD_CTX_new();

	if (md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1) {
		for (size_t i = 0; i < count; i++)
			(void)EVP_DigestUpdate(md, parts[i], strlen(parts[i]) + 1);
		(void)EVP_DigestFinal_ex(md, digest, NULL);
	}
	EVP_MD_CTX_free(md);
	(void)snprintf(in->campaign, sizeof(in->campaign), "kairan-invite-%s-%02x%02x%02x%02x",
	    in->language, digest[0], digest[1], digest[2], digest[3]);
}

static int
make_campaign(struct invite *in, const char *segment)
{
	const struct config *c = &in->cli->config;
	const char *params[] = { in->campaign, c->web_from_name, c->web_from_address,
		in->mail.subject, in->mail.body, segment, in->mail.html };

	if (db_run(&in->db, "SELECT kairan.mail_campaign($1, $2, $3, $4, $5, $6, $7)", 7, params) ==
	    0)
		return EXIT_DONE;
	return cli_db_failed(in->cli, &in->db, "making the campaign of the invitation");
}

/* "invited", "suppressed", … for each address. */
static int
invite_addresses(struct invite *in, int argc, char **argv)
{
	json_t *said = json_array();
	size_t invited = 0;
	int code = make_campaign(in, "false");

	for (int i = 0; i < argc && code == EXIT_DONE; i++) {
		struct addr a;
		struct err why = { 0 };
		const char *params[] = { in->campaign, a.text, a.key, in->options }, *word;
		PGresult *r = NULL;

		if (addr_parse(&a, slice_str(argv[i]), &why) < 0) {
			word = "invalid";
		} else if ((r = db_query(&in->db, "SELECT kairan.invite_add($1, $2, $3, $4)", 4,
				params)) == NULL) {
			code = cli_db_failed(in->cli, &in->db, "inviting");
			break;
		} else {
			word = db_text(r, 0, 0);
		}
		invited += strcmp(word, "invited") == 0;
		(void)json_array_append_new(
		    said, json_pack("{s:s, s:s}", "address", argv[i], "result", word));
		if (!in->cli->json) {
			cli_put_text(stdout, argv[i]);
			printf(": %s%s%s\n", word, why.msg[0] != '\0' ? ", " : "", why.msg);
		}
		PQclear(r);
	}
	if (code == EXIT_DONE && invited == 0)
		code = EXIT_NOTHING;
	if (in->cli->json && (code == EXIT_DONE || code == EXIT_NOTHING))
		cli_print_json(json_incref(said));
	json_decref(said);
	return code;
}

/* The condition behind a name, or the text itself. Planning it is the check: in the producer it
 * runs with the rights of a segment. */
static int
check_segment(struct invite *in)
{
	PGresult *r = db_query(
	    &in->db, "SELECT condition FROM kairan.segment WHERE name = $1", 1, &in->segment);
	struct buf sql;
	int code = EXIT_DONE;

	buf_init(&sql, 64 * 1024);
	buf_printf(&sql, "EXPLAIN SELECT c.id FROM kairan.customer c WHERE (%s)",
	    r != NULL && PQntuples(r) == 1 ? db_text(r, 0, 0) : in->segment);
	PQclear(r);
	if (db_run(&in->db, "BEGIN READ ONLY", 0, NULL) < 0 ||
	    db_run(&in->db, "SET LOCAL ROLE kairan_segment", 0, NULL) < 0)
		code = cli_db_failed(in->cli, &in->db, "taking the rights of a segment");
	else if (buf_failed(&sql))
		code = cli_fail(in->cli, EXIT_USAGE, "the segment is too long");
	else if (db_run(&in->db, buf_str(&sql), 0, NULL) < 0)
		code = cli_fail(in->cli, EXIT_USAGE, "the segment is refused: %s", in->db.error);
	buf_release(&sql);
	if (db_run(&in->db, "ROLLBACK", 0, NULL) < 0 && code == EXIT_DONE)
		code = cli_db_failed(in->cli, &in->db, "checking the segment");
	return code;
}

static int
invite_segment(struct invite *in)
{
	const char *params[] = { in->campaign, in->run_key, in->options };
	PGresult *r;
	int code = check_segment(in);

	if (code == EXIT_DONE)
		code = make_campaign(in, in->segment);
	if (code != EXIT_DONE)
		return code;
	r = db_query(&in->db,
	    "SELECT * FROM kairan.invite_run($1, coalesce($2, to_char(now(), 'YYYY-MM-DD')), $3)",
	    3, params);
	if (r == NULL)
		return cli_db_failed(in->cli, &in->db, "making the run");
	code = db_text(r, 0, 1)[0] == 't' ? EXIT_DONE : EXIT_NOTHING;
	if (in->cli->json)
		cli_print_json(json_pack("{s:s, s:I, s:b}", "campaign", in->campaign, "run",
		    (json_int_t)db_int(r, 0), "new", code == EXIT_DONE));
	else
		printf("%s: run %s %s\n", in->campaign, db_text(r, 0, 0),
		    code == EXIT_DONE ? "is scheduled; kairan campaign status shows it"
				      : "was made before with this key");
	PQclear(r);
	return code;
}

int
customer_invite(struct cli *cli, int argc, char **argv)
{
	struct invite in = { .cli = cli, .language = cli->config.web_language };
	const struct cli_option options[] = {
		{ .name = "segment", .value_name = "SEGMENT", .value = &in.segment },
		{ .name = "language", .value_name = "LANGUAGE", .value = &in.language },
		{ .name = "text", .value_name = "FILE", .value = &in.text },
		{ .name = "html", .value_name = "FILE", .value = &in.html },
		{ .name = "success", .value_name = "URL", .value = &in.success },
		{ .name = "failure", .value_name = "URL", .value = &in.failure },
		{ .name = "list", .value_name = "LIST", .value = &in.list },
		{ .name = "run-key", .value_name = "KEY", .value = &in.run_key }, { 0 }
	};
	int code;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	arena_init(&in.arena, (size_t)16 << 20);
	code = check(&in, argc);
	if (code == EXIT_DONE)
		code = make_options(&in);
	if (code == EXIT_DONE)
		code = cli_open_db(cli, &in.db);
	if (code == EXIT_DONE) {
		name_campaign(&in);
		code = in.segment != NULL ? invite_segment(&in) : invite_addresses(&in, argc, argv);
		cli_audit(&in.db, "customer.invite", in.campaign,
		    in.segment != NULL ? in.segment : "addresses");
		db_close(&in.db);
	}
	free(in.options);
	arena_release(&in.arena);
	return code;
}
