/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_campaign_preview: `campaign preview` and `campaign test`: what one recipient would get.
 * Neither touches a run. preview of a file with a recipient given as an object opens no
 * database.
 */
#include "cmd_campaign.h"

#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "addr.h"
#include "auth.h"
#include "campaign_compose.h"
#include "curl_transfer.h"
#include "jsontext.h"
#include "relay.h"

#define TEST_TIMEOUT_S 120L

struct look {
	struct cli *cli;
	struct db db;
	bool db_open;
	struct campaign_source source;
	bool source_open;
	char *recipient; /* JSON, owned; NULL: samples */
	struct campaign_mail mail;
	bool mail_open;
};

static void
look_release(struct look *l)
{
	if (l->mail_open)
		campaign_mail_release(&l->mail);
	if (l->source_open)
		campaign_source_release(&l->source);
	if (l->db_open)
		db_close(&l->db);
	free(l->recipient);
}

static int
look_db(struct look *l)
{
	int code = l->db_open ? EXIT_DONE : cli_open_db(l->cli, &l->db);

	l->db_open = code == EXIT_DONE;
	return code;
}

static bool
is_file(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* A file when there is one of this name (or the name can only be a path), else a campaign. */
static int
look_source(struct look *l, const char *what)
{
	struct err err = { 0 };
	int code, found;

	if (is_file(what) || !campaign_name_ok(slice_str(what))) {
		l->source_open = true;
		if (campaign_source_read(&l->source, what, &err) != 0)
			return cli_fail(l->cli, EXIT_USAGE, "%s", err.msg);
		return EXIT_DONE;
	}
	code = look_db(l);
	if (code != EXIT_DONE)
		return code;
	l->source_open = true;
	found = campaign_source_fetch(&l->source, &l->db, what);
	if (found < 0)
		return cli_db_failed(l->cli, &l->db, "reading the campaign");
	if (found == 0)
		return cli_fail(
		    l->cli, EXIT_USAGE, "there is no file and no campaign \"%s\"", what);
	return EXIT_DONE;
}

static int
fetch_customer(struct look *l, const char *id)
{
	PGresult *r;
	int code = look_db(l);

	if (code != EXIT_DONE)
		return code;
	r = db_query(
	    &l->db, "SELECT to_jsonb(c) FROM kairan.customer c WHERE c.id = $1::bigint", 1, &id);
	if (r == NULL)
		return cli_db_failed(l->cli, &l->db, "reading the customer");
	if (PQntuples(r) == 1)
		l->recipient = strdup(db_text(r, 0, 0));
	PQclear(r);
	if (l->recipient == NULL)
		return cli_fail(l->cli, EXIT_USAGE, "there is no customer %s", id);
	return EXIT_DONE;
}

/* recipient: NULL, an object, or a number. */
static int
look_recipient(struct look *l, const char *recipient)
{
	json_error_t why;
	json_t *parsed;

	if (recipient == NULL)
		return EXIT_DONE;
	if (recipient[0] == '{') {
		/* for its error messages; values are read from the text */
		parsed = json_loads(recipient, JSON_REJECT_DUPLICATES, &why);
		if (parsed == NULL)
			return cli_fail(l->cli, EXIT_USAGE,
			    "--recipient is no JSON object: %s (column %d)", why.text, why.column);
		json_decref(parsed);
		if (!jsontext_check(slice_str(recipient)))
			return cli_fail(l->cli, EXIT_USAGE,
			    "--recipient has lists and objects more than %d inside each other",
			    JSONTEXT_DEPTH_MAX);
		l->recipient = strdup(recipient);
		return EXIT_DONE;
	}
	if (cli_parse_number(l->cli, "recipient", recipient, 0, INT64_C(999999999999999999)) < 0)
		return EXIT_USAGE;
	return fetch_customer(l, recipient);
}

static int
look_compose(
    struct look *l, const char *what, const char *recipient, const char *to, const char *mark)
{
	struct err err = { 0 };
	int code = look_source(l, what);

	if (code == EXIT_DONE)
		code = look_recipient(l, recipient);
	if (code != EXIT_DONE)
		return code;
	l->mail_open = true;
	if (campaign_compose(&l->mail, &l->source, &l->cli->config, slice_str(l->recipient), to,
		mark, &err) != 0)
		return cli_fail(l->cli, EXIT_FAILED, "%s", err.msg);
	if (campaign_sign(&l->mail, &l->source, &l->cli->config, &err) != 0)
		fprintf(stderr, "kairan: not signed here, the dispatcher will: %s\n", err.msg);
	return EXIT_DONE;
}

/* ---------------------------------------------------------------- preview */

static void
put_line(const char *label, const char *text)
{
	printf("%-10s", label);
	cli_put_text(stdout, text);
	putchar('\n');
}

/* The text part for a person: line ends stay, other control characters do not. */
static void
put_text(const char *text)
{
	while (*text != '\0') {
		size_t n = strcspn(text, "\n");
		char *line = strndup(text, n);

		if (line == NULL)
			return;
		if (n > 0 && line[n - 1] == '\r')
			line[n - 1] = '\0';
		cli_put_text(stdout, line);
		putchar('\n');
		free(line);
		text += n + (text[n] == '\n');
	}
}

static void
print_preview(const struct look *l)
{
	const struct campaign_file *f = &l->source.file;
	const struct campaign_mail *m = &l->mail;
	char number[32];

	if (l->cli->json) {
		cli_print_json(json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "campaign",
		    f->name, "from", m->from, "to", m->to, "subject", buf_str(&m->subject), "html",
		    buf_str(&m->html), "text", buf_str(&m->text), "eml", buf_str(&m->eml), "bytes",
		    (json_int_t)m->eml.len));
		return;
	}
	put_line("From:", m->from);
	put_line("To:", m->to);
	if (f->sender_address[0] != '\0')
		put_line("Sender:", f->sender_address);
	if (f->reply_to[0] != '\0')
		put_line("Reply-To:", f->reply_to);
	put_line("Subject:", buf_str(&m->subject));
	for (size_t i = 0; i < f->header_count; i++) {
		printf("%s: ", f->headers[i].name);
		cli_put_text(stdout, f->headers[i].value);
		putchar('\n');
	}
	putchar('\n');
	put_text(buf_str(&m->text));
	if (l->source.file_count > 0)
		putchar('\n');
	for (size_t i = 0; i < l->source.file_count; i++)
		put_line(i == 0 ? "Files:" : "", l->source.files[i].name.ptr);
	printf("\n(%s bytes as sent%s%s; --html, --eml show more)\n",
	    cli_number((int64_t)m->eml.len, number),
	    m->html.len > 0 ? ", with an HTML part" : ", text only",
	    l->source.html.len > 0 && l->source.text.len == 0 ? ", text made from it" : "");
}

int
campaign_preview(struct cli *cli, int argc, char **argv)
{
	const char *recipient = NULL;
	bool eml = false, html = false, text = false;
	const struct cli_option options[] = {
		{ .name = "recipient", .value_name = "ID|JSON", .value = &recipient },
		{ .name = "eml", .flag = &eml },
		{ .name = "html", .flag = &html },
		{ .name = "text", .flag = &text },
		{ 0 },
	};
	struct look l = { .cli = cli };
	int code;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc != 1 || eml + html + text > 1)
		return cli_fail(cli, EXIT_USAGE,
		    "campaign preview needs one campaign file or name, and at most one of --eml, "
		    "--html, --text");
	code = look_compose(&l, argv[0], recipient, NULL, NULL);
	if (code == EXIT_DONE && (eml || html || text) && !cli->json)
		(void)fwrite(buf_str(eml    ? &l.mail.eml
				     : html ? &l.mail.html
					    : &l.mail.text),
		    1,
		    (eml	   ? &l.mail.eml
			    : html ? &l.mail.html
				   : &l.mail.text)
			->len,
		    stdout);
	else if (code == EXIT_DONE)
		print_preview(&l);
	look_release(&l);
	return code;
}

/* ---------------------------------------------------------------- test */

/* curl writes the reply lines of the relay here; the last one is kept. */
static size_t
take_reply(char *bytes, size_t size, size_t count, void *user)
{
	struct err *last = user;
	size_t n = size * count < sizeof(last->msg) - 1 ? size * count : sizeof(last->msg) - 1;

	memcpy(last->msg, bytes, n);
	last->msg[n] = '\0';
	last->msg[strcspn(last->msg, "\r\n")] = '\0';
	return size * count;
}

/* The first relay of the list, and the login. */
struct way {
	struct relay relays[RELAYS_MAX];
	struct auth auth;
	struct curl_slist *connect_to; /* owned */
};

static int
way_find(struct way *w, const struct config *config, struct err *err)
{
	size_t count;

	*w = (struct way){ 0 };
	if (relay_parse_list(w->relays, &count, config->relay_host, config->relay_port, err) < 0)
		return -1;
	if (strcmp(config->relay_protocol, "lmtp") == 0)
		return err_set(err, "a relay that speaks LMTP cannot be given a single mail here");
	if (config->relay_auth_file[0] == '\0')
		return 0;
	if (strcmp(config->relay_tls, "required") != 0 &&
	    strcmp(config->relay_tls, "implicit") != 0)
		return err_set(err, "relay.auth_file needs relay.tls = required or implicit");
	return auth_load(&w->auth, config->relay_auth_file, err);
}

static void
way_release(struct way *w)
{
	auth_wipe(&w->auth);
	curl_slist_free_all(w->connect_to);
}

/* The URL names whom the certificate must be for; the connection goes where the relay is. */
static void
set_place(CURL *curl, struct way *w, const struct config *config)
{
	const struct relay *r = &w->relays[0];
	bool implicit = strcmp(config->relay_tls, "implicit") == 0;
	const char *name = config->relay_tls_name[0] != '\0' ? config->relay_tls_name
	    : r->local					     ? "localhost"
							     : r->name;
	bool v6 = strchr(name, ':') != NULL, to_v6 = strchr(r->name, ':') != NULL;
	char url[800], host[256], place[300];

	if (gethostname(host, sizeof(host)) != 0)
		host[0] = '\0';
	host[sizeof(host) - 1] = '\0';
	(void)snprintf(url, sizeof(url), "%s://%s%s%s:%u/%s", implicit ? "smtps" : "smtp",
	    v6 ? "[" : "", name, v6 ? "]" : "", r->port,
	    config->relay_ehlo[0] != '\0' ? config->relay_ehlo : host);
	(void)curl_easy_setopt(curl, CURLOPT_URL, url);
	if (r->local) {
		(void)curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, r->name);
		return;
	}
	(void)snprintf(place, sizeof(place), "::%s%s%s:%u", to_v6 ? "[" : "", r->name,
	    to_v6 ? "]" : "", r->port);
	w->connect_to = curl_slist_append(NULL, place);
	(void)curl_easy_setopt(curl, CURLOPT_CONNECT_TO, w->connect_to);
}

static void
set_tls(CURL *curl, const struct config *config)
{
	bool must = strcmp(config->relay_tls, "required") == 0 ||
	    strcmp(config->relay_tls, "implicit") == 0;
	bool may = strcmp(config->relay_tls, "opportunistic") == 0;

	(void)curl_easy_setopt(curl, CURLOPT_USE_SSL,
	    (long)(must	  ? CURLUSESSL_ALL
		    : may ? CURLUSESSL_TRY
			  : CURLUSESSL_NONE));
	(void)curl_easy_setopt(curl, CURLOPT_SSLVERSION,
	    (long)(config->relay_tls_only_1_3 ? CURL_SSLVERSION_TLSv1_3 : CURL_SSLVERSION_TLSv1_2));
	(void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, must ? 1L : 0L);
	(void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, must ? 2L : 0L);
	if (config->relay_tls_ca_file[0] != '\0')
		(void)curl_easy_setopt(curl, CURLOPT_CAINFO, config->relay_tls_ca_file);
	if (config->relay_tls_cert_file[0] != '\0') {
		(void)curl_easy_setopt(curl, CURLOPT_SSLCERT, config->relay_tls_cert_file);
		(void)curl_easy_setopt(curl, CURLOPT_SSLKEY, config->relay_tls_key_file);
	}
}

static CURLcode
curl_send(CURL *curl, struct way *way, const struct config *config, const char *from,
    const struct curl_slist *to, struct slice *rest, struct err *reply, char *reason)
{
	bool token = way->auth.mechanisms == AUTH_XOAUTH2;
	char sender[300];

	set_place(curl, way, config);
	set_tls(curl, config);
	if (way->auth.user[0] != '\0') {
		(void)curl_easy_setopt(curl, CURLOPT_USERNAME, way->auth.user);
		(void)curl_easy_setopt(
		    curl, token ? CURLOPT_XOAUTH2_BEARER : CURLOPT_PASSWORD, way->auth.secret);
	}
	if (config->relay_source[0] != '\0')
		(void)curl_easy_setopt(curl, CURLOPT_INTERFACE, config->relay_source);
	(void)snprintf(sender, sizeof(sender), "<%s>", from);
	(void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	(void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(curl, CURLOPT_MAIL_FROM, sender);
	(void)curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, to);
	curl_transfer_gives(curl, rest);
	(void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_reply);
	(void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, reply);
	(void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
	(void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, config->relay_connect_timeout_s);
	(void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, TEST_TIMEOUT_S);
	return curl_easy_perform(curl);
}

int
campaign_send_one(const struct config *config, const char *from, const char *to,
    struct slice message, bool *temporary, struct err *err)
{
	char reason[CURL_ERROR_SIZE] = "";
	struct err reply = { 0 };
	struct curl_slist *list;
	long answer = 0;
	struct way way;
	CURLcode code;
	CURL *curl;

	*temporary = false;
	if (way_find(&way, config, err) < 0)
		return -1;
	*temporary = true;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return err_set(err, "curl cannot be used");
	curl = curl_easy_init();
	list = curl_slist_append(NULL, to);
	if (curl == NULL || list == NULL) {
		curl_slist_free_all(list);
		curl_easy_cleanup(curl);
		way_release(&way);
		return err_set(err, "there is not enough memory");
	}
	code = curl_send(curl, &way, config, from, list, &message, &reply, reason);
	(void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer);
	curl_easy_cleanup(curl);
	curl_slist_free_all(list);
	curl_global_cleanup();
	way_release(&way);
	if (code == CURLE_OK)
		return 0;
	*temporary = answer < 500 || answer > 599;
	return err_set(err, "the relay %s port %u did not take it: %s%s%s", way.relays[0].name,
	    way.relays[0].port, reply.msg[0] >= '4' && reply.msg[0] <= '5' ? reply.msg : "",
	    reply.msg[0] >= '4' && reply.msg[0] <= '5' ? "; " : "",
	    reason[0] != '\0' ? reason : curl_easy_strerror(code));
}

int
campaign_test(struct cli *cli, int argc, char **argv)
{
	const char *recipient = NULL, *to = NULL;
	const struct cli_option options[] = {
		{ .name = "to", .value_name = "ADDRESS", .value = &to },
		{ .name = "recipient", .value_name = "ID|JSON", .value = &recipient },
		{ 0 },
	};
	struct look l = { .cli = cli };
	struct err err = { 0 };
	struct addr address;
	bool temporary = false;
	int code;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc != 1 || to == NULL)
		return cli_fail(cli, EXIT_USAGE,
		    "campaign test needs a campaign and --to with an address of yours");
	if (addr_parse(&address, slice_str(to), &err) != 0)
		return cli_fail(cli, EXIT_USAGE, "--to: %s", err.msg);
	code = look_compose(&l, argv[0], recipient, to, "[TEST]");
	if (code == EXIT_DONE && campaign_source_scan(&l.source, cli->config.scan_clamd, &err) != 0)
		code = cli_fail(cli, EXIT_FAILED, "%s", err.msg);
	if (code == EXIT_DONE &&
	    campaign_send_one(&cli->config, l.source.file.from_address, address.text,
		buf_slice(&l.mail.eml), &temporary, &err) != 0)
		code = cli_fail(cli, temporary ? EXIT_TEMPORARY : EXIT_FAILED, "%s", err.msg);
	else if (code == EXIT_DONE && cli->json)
		cli_print_json(json_pack("{s:s, s:s, s:I}", "campaign", l.source.file.name, "to",
		    address.text, "bytes", (json_int_t)l.mail.eml.len));
	else if (code == EXIT_DONE)
		printf("sent a test of %s to %s\n", l.source.file.name, address.text);
	look_release(&l);
	return code;
}
