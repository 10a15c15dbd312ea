/* SPDX-License-Identifier: Apache-2.0 */
/* smtp_server: see smtp_server.h. Owns rules, lists and the TLS context. */
#include "smtp_server.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cidr.h"
#include "listen_address.h"
#include "log.h"
#include "mail_server.h"
#include "rules.h"

#define TRACE_MAX 2048

struct smtp {
	const struct config *config;
	struct mail_intake mail;
	struct rules rules;
	struct cidr_list allow, deny;
	struct tls_context *tls;
	struct timespec tls_read; /* the certificate's file as it was read */
};

/* ---- who, and for whom ------------------------------------------------------------------ */

static const char *
refuses(void *owner, const struct sockaddr *peer)
{
	const struct smtp *s = owner;

	if (cidr_list_has(&s->deny, peer) ||
	    (s->allow.count > 0 && !cidr_list_has(&s->allow, peer)))
		return "554 5.7.1 not from your address\r\n";
	return NULL;
}

/* RFC 5321 4.5.1: postmaster needs no domain. */
static enum rule_action
decide(const struct smtp *s, struct slice address)
{
	struct slice domain = s->mail.bounce_domain;
	struct token token;
	char whole[300];
	bool is_token = feedback_verp_verify(s->mail.keys, TOKEN_BOUNCE, address, domain, &token) ||
	    feedback_verp_verify(s->mail.keys, TOKEN_UNSUBSCRIBE, address, domain, &token);

	if (slice_equal_nocase(address, SLICE("postmaster"))) {
		(void)snprintf(whole, sizeof(whole), "postmaster@%.*s", SLICE_ARG(domain));
		address = slice_str(whole);
	}
	return rules_decide(&s->rules, address, is_token);
}

static enum smtpd_verdict
accepts(void *context, struct slice address)
{
	switch (decide(context, address)) {
	case RULE_FOREIGN:
		return SMTPD_FOREIGN;
	case RULE_BOUNCE:
		return SMTPD_UNKNOWN;
	case RULE_ACCEPT:
	case RULE_KEEP:
	case RULE_DROP:
		break;
	}
	return SMTPD_TAKE;
}

/* ---- a mail ----------------------------------------------------------------------------- */

/* RFC 5321 4.4. For the copy that a person gets. */
static struct slice
make_trace(const struct smtp *s, const struct smtpd_message *mail, const struct sockaddr *peer,
    struct arena *arena)
{
	char ip[64] = "unknown", date[64] = "", text[TRACE_MAX];
	time_t now = time(NULL);
	struct tm tm;
	int n;

	(void)getnameinfo(peer,
	    peer->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in),
	    ip, sizeof(ip), NULL, 0, NI_NUMERICHOST);
	if (gmtime_r(&now, &tm) != NULL)
		(void)strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S +0000", &tm);
	n = snprintf(text, sizeof(text),
	    "Return-Path: <%.*s>\r\nReceived: from %.*s ([%s%s])\r\n\tby %s with %s;\r\n\t%s\r\n",
	    SLICE_ARG(mail->sender), SLICE_ARG(mail->helo),
	    peer->sa_family == AF_INET6 ? "IPv6:" : "", ip, s->config->relay_ehlo,
	    mail->is_tls	    ? "ESMTPS"
		: mail->is_extended ? "ESMTP"
				    : "SMTP",
	    date);
	return n > 0 && (size_t)n < sizeof(text) ? arena_copy(arena, slice_make(text, (size_t)n))
						 : slice_make(NULL, 0);
}

static int
take(void *owner, const struct smtpd_message *mail, const struct sockaddr *peer,
    struct arena *arena, struct feedback_events *events)
{
	const struct smtp *s = owner;
	struct slice rcpts[SMTPD_RCPTS_MAX];
	struct mail_intake_mail in = { .raw = mail->data, .rcpts = rcpts };
	char trace[TRACE_MAX];

	for (size_t i = 0; i < mail->rcpt_count; i++) {
		enum rule_action action = decide(s, mail->rcpts[i]);

		if (action == RULE_KEEP)
			in.is_for_person = true;
		if (action == RULE_ACCEPT || action == RULE_KEEP)
			rcpts[in.rcpt_count++] = mail->rcpts[i];
	}
	if (in.rcpt_count == 0)
		return 0; /* dropped by rule */
	/* reading may empty the arena */
	in.trace = make_trace(s, mail, peer, arena);
	memcpy(trace, in.trace.len > 0 ? in.trace.ptr : "", in.trace.len);
	in.trace.ptr = trace;
	return mail_intake_read(&s->mail, &in, arena, events);
}

/* ---- TLS -------------------------------------------------------------------------------- */

static int
load_tls(struct smtp *s, const struct stat *st, struct err *err)
{
	struct tls_context *fresh = tls_context_new(&(struct tls_settings){ .is_server = true,
							.ca_file = "",
							.cert_file = s->config->smtp_tls_cert_file,
							.key_file = s->config->smtp_tls_key_file },
	    err);

	s->tls_read = st->st_mtim; /* a broken one is not tried again before it changes */
	if (fresh == NULL)
		return -1;
	tls_context_free(s->tls);
	s->tls = fresh;
	return 0;
}

static struct tls_context *
tls_now(void *owner)
{
	struct smtp *s = owner;
	struct err err = { 0 };
	struct stat st;

	if (stat(s->config->smtp_tls_cert_file, &st) == 0 &&
	    (st.st_mtim.tv_sec != s->tls_read.tv_sec ||
		st.st_mtim.tv_nsec != s->tls_read.tv_nsec)) {
		if (load_tls(s, &st, &err) < 0)
			log_error("smtp keeps the certificate it has error=\"%s\"", err.msg);
		else
			log_info("smtp has read its certificate again");
	}
	return s->tls;
}

/* ---- settings --------------------------------------------------------------------------- */

static int
read_rules(struct smtp *s, struct err *err)
{
	const char *path = s->config->smtp_rules_file;
	struct err why = { 0 };
	struct buf text;
	FILE *f;
	int result;

	if (path[0] == '\0') {
		if (rules_standard(&s->rules, s->mail.bounce_domain, &why) == 0)
			return 0;
		return err_set(err, "smtp.listen without smtp.rules_file: %s", why.msg);
	}
	f = fopen(path, "re");
	if (f == NULL)
		return err_set(err, "smtp.rules_file: cannot open %s: %s", path, strerror(errno));
	buf_init(&text, RULES_TEXT_MAX + 1);
	while (buf_reserve(&text, 4096)) {
		size_t n = fread(text.data + text.len, 1, 4096, f);

		if (n == 0)
			break;
		buf_commit(&text, n);
	}
	result = ferror(f) != 0 ? err_set(&why, "cannot be read")
	    : buf_failed(&text) ? err_set(&why, "more than %zu bytes", RULES_TEXT_MAX)
				: rules_parse(&s->rules, buf_slice(&text), &why);
	(void)fclose(f);
	buf_release(&text);
	if (result == 0 && s->rules.count == 0)
		result = err_set(&why, "holds no rule, so nothing would be taken");
	return result == 0 ? 0 : err_set(err, "smtp.rules_file %s: %s", path, why.msg);
}

static int
read_settings(struct smtp *s, struct err *err)
{
	const struct config *c = s->config;
	struct stat st = { 0 };

	if (read_rules(s, err) < 0 ||
	    cidr_list_parse(&s->allow, slice_str(c->smtp_allow), "smtp.allow", err) < 0 ||
	    cidr_list_parse(&s->deny, slice_str(c->smtp_deny), "smtp.deny", err) < 0)
		return -1;
	if (c->smtp_tls_cert_file[0] == '\0' && c->smtp_tls_key_file[0] == '\0')
		return c->smtp_tls_required
		    ? err_set(
			  err, "smtp.tls_required needs smtp.tls_cert_file and smtp.tls_key_file")
		    : 0;
	if (stat(c->smtp_tls_cert_file, &st) < 0)
		return err_set(err, "smtp.tls_cert_file: cannot open %s: %s", c->smtp_tls_cert_file,
		    strerror(errno));
	return load_tls(s, &st, err);
}

static void
release(void *owner)
{
	struct smtp *s = owner;

	rules_release(&s->rules);
	cidr_list_release(&s->allow);
	cidr_list_release(&s->deny);
	tls_context_free(s->tls);
	free(s);
}

static struct mail_server *
make_server(uv_loop_t *loop, struct smtp *s, struct intake *intake, struct err *err)
{
	const struct config *c = s->config;

	return mail_server_new(loop,
	    &(struct mail_server_config){ .name = "smtp",
		.smtpd = { .hostname = c->relay_ehlo,
		    .size_max = (size_t)c->smtp_size_kb * 1024,
		    .accepts = accepts,
		    .context = s,
		    .dialect = SMTPD_SMTP,
		    .offers_tls = s->tls != NULL,
		    .requires_tls = c->smtp_tls_required },
		.sessions_max = (unsigned)c->smtp_connections,
		.per_peer_max = (unsigned)c->smtp_connections_per_ip,
		.idle_s = (unsigned)c->smtp_idle_s,
		.session_s = (unsigned)c->smtp_session_s,
		.intake = intake,
		.owner = s,
		.refuses = refuses,
		.tls = tls_now,
		.take = take,
		.release = release },
	    err);
}

struct source *
smtp_server_new(uv_loop_t *loop, const struct config *config, const struct mail_intake *mail,
    struct intake *intake, struct err *err)
{
	struct smtp *s = calloc(1, sizeof(*s));
	struct sockaddr_storage address;
	struct mail_server *server;

	if (s == NULL) {
		(void)err_set(err, "no memory");
		return NULL;
	}
	s->config = config;
	s->mail = *mail;
	if (listen_address_parse(config->smtp_listen, "smtp.listen", &address, err) < 0 ||
	    read_settings(s, err) < 0) {
		release(s);
		return NULL;
	}
	server = make_server(loop, s, intake, err);
	if (server == NULL)
		return NULL;
	if (mail_server_listen_tcp(server, &address, "smtp.listen", err) < 0) {
		struct source *source = mail_server_source(server);

		source->kind->free(source->self);
		return NULL;
	}
	if (mail->keep == NULL)
		log_warn("reply.maildir is not set: of replies to smtp.listen only sender, subject "
			 "and the beginning are kept");
	log_info("smtp listens address=%s tls=%d rules=%zu", config->smtp_listen, s->tls != NULL,
	    s->rules.count);
	return mail_server_source(server);
}
