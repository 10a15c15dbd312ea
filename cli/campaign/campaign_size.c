/* SPDX-License-Identifier: Apache-2.0 */
/* campaign_size: see campaign_size.h. */
#include "campaign_size.h"

#include <inttypes.h>
#include <string.h>

#include "mail_port.h"
#include "ses_request.h"

#define VISIT_MS 3000

bool
campaign_size_exceeds(
    const struct config *config, size_t bytes, campaign_size_ask *ask, void *ctx, struct err *err)
{
	struct relay relays[RELAYS_MAX];
	struct err unread = { 0 };
	size_t count;
	uint64_t size, most = 0;

	if (config->pace_routes[0] != '\0')
		return false; /* what the others take only their dispatchers know */
	if (strcmp(config->dispatcher_transport, "ses") == 0 && bytes > SES_MESSAGE_MAX) {
		(void)err_set(
		    err, "the mail has %zu bytes, and Amazon SES takes %d", bytes, SES_MESSAGE_MAX);
		return true;
	}
	if (strcmp(config->dispatcher_transport, "relay") != 0 || bytes <= CAMPAIGN_SIZE_ALWAYS ||
	    relay_parse_list(relays, &count, config->relay_host, config->relay_port, &unread) < 0)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (ask(ctx, &relays[i], &size) < 0 || size == 0 || size >= bytes)
			return false;
		if (size > most)
			most = size;
	}
	(void)err_set(err,
	    "the mail has %zu bytes, and %s at most %" PRIu64
	    " (SIZE): make it smaller, or have relay.host take more",
	    bytes, count == 1 ? "the relay takes" : "each relay takes", most);
	return true;
}

/* ---- asking ---- */

struct asking {
	const struct config *config;
	struct tls_context *tls;
};

static int
ask_relay(void *ctx, const struct relay *relay, uint64_t *size)
{
	const struct asking *a = ctx;
	const struct config *c = a->config;
	const struct mail_port where = { .host = relay->name,
		.port = relay->port,
		.local = relay->local,
		.tls = a->tls,
		.tls_name = c->relay_tls_name[0] != '\0' ? c->relay_tls_name : relay->name,
		.starttls = strcmp(c->relay_tls, "implicit") != 0,
		.ehlo = c->relay_ehlo,
		.lmtp = strcmp(c->relay_protocol, "lmtp") == 0 };
	struct smtp_features features = { 0 };
	struct err err = { 0 };

	if (mail_port_visit(&where, VISIT_MS, &features, &err) < 0)
		return -1;
	*size = features.size_max;
	return 0;
}

bool
campaign_size_is_too_large(const struct config *config, size_t bytes, struct err *err)
{
	const struct tls_settings settings = { .verify =
						   strcmp(config->relay_tls, "opportunistic") != 0,
		.only_1_3 = config->relay_tls_only_1_3,
		.ca_file = config->relay_tls_ca_file,
		.cert_file = config->relay_tls_cert_file,
		.key_file = config->relay_tls_key_file };
	struct asking a = { .config = config };
	struct err unread = { 0 };
	bool exceeds;

	/* certificates may be for the dispatcher's eyes: SIZE is told in clear as well, but for implicit TLS */
	if (strcmp(config->relay_tls, "off") != 0)
		a.tls = tls_context_new(&settings, &unread);
	if (a.tls == NULL && strcmp(config->relay_tls, "implicit") == 0)
		return false;
	exceeds = campaign_size_exceeds(config, bytes, ask_relay, &a, err);
	tls_context_free(a.tls);
	return exceeds;
}
