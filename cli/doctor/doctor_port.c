/* SPDX-License-Identifier: Apache-2.0 */
/* doctor_port: see doctor_port.h. */
#include "doctor_port.h"

#include <stdlib.h>
#include <string.h>

#include "mail_port.h"
#include "relay.h"

#define VISIT_MS 5000

/* ---- relays ---- */

static void
check_relay(struct doctor_checks *d, const struct relay *r, struct tls_context *context,
    const char *tls_name)
{
	char subject[RELAY_NAME_MAX + 20];
	const struct mail_port where = { .host = r->name,
		.port = r->port,
		.local = r->local,
		.tls = context,
		.tls_name = tls_name[0] != '\0' ? tls_name : r->name };
	struct err err = { 0 };

	if (r->local)
		(void)snprintf(
		    subject, sizeof(subject), "unix:%.*s", (int)sizeof(r->name) - 1, r->name);
	else
		(void)snprintf(subject, sizeof(subject),
		    strchr(r->name, ':') != NULL ? "[%.*s]:%u" : "%.*s:%u",
		    (int)sizeof(r->name) - 1, r->name, r->port);
	if (mail_port_visit(&where, VISIT_MS, NULL, &err) == 0)
		(void)doctor_add(d, "relay", DOCTOR_OK, subject, "", "the relay greets");
	else
		(void)doctor_add(d, "relay", DOCTOR_FAILED, subject,
		    "look at relay.host, relay.port and relay.tls", "the relay cannot be used: %s",
		    err.msg);
}

void
doctor_check_relays(struct doctor_checks *d, const struct config *config)
{
	const struct tls_settings settings = { .verify = true,
		.only_1_3 = config->relay_tls_only_1_3,
		.ca_file = config->relay_tls_ca_file,
		.cert_file = config->relay_tls_cert_file,
		.key_file = config->relay_tls_key_file };
	bool implicit = strcmp(config->relay_tls, "implicit") == 0;
	struct tls_context *context = NULL;
	struct relay relays[RELAYS_MAX];
	struct err err = { 0 };
	size_t count;

	if (strcmp(config->dispatcher_transport, "relay") != 0)
		return;
	if (relay_parse_list(relays, &count, config->relay_host, config->relay_port, &err) < 0 ||
	    (implicit && (context = tls_context_new(&settings, &err)) == NULL)) {
		(void)doctor_add(d, "relay", DOCTOR_FAILED, "relay.host",
		    "mend the section [relay]; dispatchers do not start with it", "%s", err.msg);
		return;
	}
	for (size_t i = 0; i < count; i++)
		check_relay(d, &relays[i], context, config->relay_tls_name);
	tls_context_free(context);
}

/* ---- port 25 ---- */

/* The host of "HOST", "HOST:PORT" or "[ADDRESS]:PORT", and the port behind it, 25 without one. */
static unsigned
split_probe(const char *probe, char host[DNS_NAME_MAX + 1], bool *has_port)
{
	const char *colon = strrchr(probe, ':');
	size_t n = strlen(probe);
	unsigned port = 25;

	*has_port = colon != NULL && (strchr(probe, ':') == colon || probe[0] == '[');
	if (*has_port) {
		port = (unsigned)strtoul(colon + 1, NULL, 10) % 65536;
		n = (size_t)(colon - probe);
	}
	if (probe[0] == '[' && n > 2)
		(void)snprintf(host, DNS_NAME_MAX + 1, "%.*s", (int)n - 2, probe + 1);
	else
		(void)snprintf(host, DNS_NAME_MAX + 1, "%.*s", (int)n, probe);
	return port;
}

void
doctor_check_port25(struct doctor_checks *d, const struct config *config, const char *probe)
{
	bool here = strcmp(config->dispatcher_transport, "mx") == 0, has_port;
	struct dns_answer answer = { .count = 0 };
	char host[DNS_NAME_MAX + 1], subject[DNS_NAME_MAX + 10];
	struct err err = { 0 };
	unsigned port = split_probe(probe, host, &has_port);

	if (!has_port)
		d->dns->ask(d->dns->ctx, &d->arena, host, DNS_MX, &answer);
	if (answer.count > 0 && answer.records[0].text.len > 0)
		(void)snprintf(host, sizeof(host), "%s", answer.records[0].text.ptr);
	(void)snprintf(subject, sizeof(subject), "%s:%u", host, port);
	if (mail_port_visit(
		&(struct mail_port){ .host = host, .port = port }, VISIT_MS, NULL, &err) == 0)
		(void)doctor_add(
		    d, "port25", DOCTOR_OK, subject, "", "mail servers can be reached");
	else
		(void)doctor_add(d, "port25", here ? DOCTOR_FAILED : DOCTOR_WARNING, subject,
		    "ask your provider to open port 25, or send through a relay on another port",
		    "it cannot be reached: %s%s", err.msg,
		    here ? "" : "; this matters only to mail that leaves from this host");
}
