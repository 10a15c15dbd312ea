/* SPDX-License-Identifier: Apache-2.0 */
/* lmtp_server: see lmtp_server.h. Owns nothing but its copy of the settings. */
#include "lmtp_server.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "listen_address.h"
#include "log.h"
#include "mail_server.h"

#define SETTING "feedback.lmtp_listen"

struct lmtp {
	struct lmtp_server_config config;
};

static enum smtpd_verdict
accepts(void *context, struct slice address)
{
	static const struct slice others[] = { { "postmaster", 10 }, { "abuse", 5 }, { "fbl", 3 } };
	const struct lmtp *l = context;
	struct slice domain = l->config.mail.bounce_domain;
	const char *at = address.len > 0 ? memrchr(address.ptr, '@', address.len) : NULL;

	if (domain.len == 0 && at != NULL)
		domain = slice_make(at + 1, (size_t)(address.ptr + address.len - at) - 1);
	return smtpd_address_known(address, &domain, 1, others, sizeof(others) / sizeof(others[0]))
	    ? SMTPD_TAKE
	    : SMTPD_UNKNOWN;
}

static int
take(void *owner, const struct smtpd_message *mail, const struct sockaddr *peer,
    struct arena *arena, struct feedback_events *events)
{
	const struct lmtp *l = owner;
	struct mail_intake_mail in = {
		.raw = mail->data, .rcpts = mail->rcpts, .rcpt_count = mail->rcpt_count
	};

	(void)peer;
	return mail_intake_read(&l->config.mail, &in, arena, events);
}

static bool
is_loopback(const struct sockaddr_storage *a)
{
	if (a->ss_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(
		    &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
	return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
}

static int
listen_tcp(struct mail_server *server, const char *text, struct err *err)
{
	static const char network[] = "network:";
	bool is_open = strncmp(text, network, sizeof(network) - 1) == 0;
	struct sockaddr_storage address;

	if (is_open)
		text += sizeof(network) - 1;
	if (listen_address_parse(text, SETTING, &address, err) < 0)
		return -1;
	if (!is_open && !is_loopback(&address))
		return err_set(err,
		    SETTING " %s is not the loopback, and LMTP knows no password; use "
			    "unix:/path or 127.0.0.1:port, or network:%s in a closed network",
		    text, text);
	return mail_server_listen_tcp(server, &address, SETTING, err);
}

struct source *
lmtp_server_new(uv_loop_t *loop, const struct lmtp_server_config *config, struct err *err)
{
	struct lmtp *l = calloc(1, sizeof(*l));
	struct mail_server *server;
	int status;

	if (l == NULL) {
		(void)err_set(err, "no memory");
		return NULL;
	}
	l->config = *config;
	server = mail_server_new(loop,
	    &(struct mail_server_config){ .name = "lmtp",
		.smtpd = { .hostname = config->hostname, .accepts = accepts, .context = l },
		.sessions_max = LMTP_SESSIONS_MAX,
		.idle_s = LMTP_IDLE_S,
		.intake = config->intake,
		.owner = l,
		.take = take,
		.release = free },
	    err);
	if (server == NULL)
		return NULL;
	if (strncmp(config->listen, "unix:", 5) == 0)
		status = mail_server_listen_unix(server, config->listen + 5, SETTING, err);
	else
		status = listen_tcp(server, config->listen, err);
	if (status < 0) {
		struct source *source = mail_server_source(server);

		source->kind->free(source->self);
		return NULL;
	}
	log_info("lmtp listens address=%s", config->listen);
	return mail_server_source(server);
}
