/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sts_fetch: see sts_fetch.h. The address is asked for on our own loop and given to libcurl, so that the
 * resolver that is configured answers, and so that DNS of strangers leads to public addresses only.
 */
#include "sts_fetch.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "curlloop.h"
#include "log.h"
#include "mx.h"

#define TIMEOUT_MS 60000L
#define CONNECT_MS 10000L
#define AT_ONCE 16L

struct sts_fetch {
	struct dispatcher *d;
	struct dnsloop *dns;
	struct curlloop *curl;
	struct fetch *first; /* under way in libcurl */
	bool stopped;
};

struct fetch {
	struct sts_fetch *s;
	struct fetch *next;
	char host[DNS_NAME_MAX + 16];
	CURL *easy;
	struct curl_slist *place;
	struct buf text;
	sts_fetch_done done;
	void *ctx;
};

static void
finish(struct fetch *f, const struct mta_sts_policy *policy)
{
	f->done(f->ctx, policy);
	curl_easy_cleanup(f->easy);
	curl_slist_free_all(f->place);
	buf_release(&f->text);
	free(f);
}

/* text/plain, perhaps with parameters (3.2) */
static bool
is_plain(CURL *easy)
{
	const char *type = NULL;

	return curl_easy_getinfo(easy, CURLINFO_CONTENT_TYPE, &type) == CURLE_OK && type != NULL &&
	    slice_starts_nocase(slice_str(type), SLICE("text/plain"));
}

static void
on_done(void *ctx, void *priv, CURLcode code)
{
	struct sts_fetch *s = ctx;
	struct fetch *f = priv, **at = &s->first;
	struct mta_sts_policy policy;
	long status = 0;
	bool good;

	while (*at != f)
		at = &(*at)->next;
	*at = f->next;
	(void)curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
	(void)curl_multi_remove_handle(curlloop_multi(s->curl), f->easy);
	good = code == CURLE_OK && status == 200 && is_plain(f->easy) && !buf_failed(&f->text) &&
	    mta_sts_read_policy(buf_slice(&f->text), &policy);
	if (!good)
		log_info("no MTA-STS policy to be had at %s: %s, status %ld", f->host,
		    code == CURLE_OK ? "not a policy" : curl_easy_strerror(code), status);
	finish(f, good ? &policy : NULL);
}

static size_t
on_write(char *bytes, size_t size, size_t n, void *ctx)
{
	struct fetch *f = ctx;

	buf_append(&f->text, bytes, size * n);
	return buf_failed(&f->text) ? 0 : size * n;
}

/* "host:port:address,address"; false when there is none that may be used. */
static bool
set_place(struct fetch *f, const struct dns_addresses *found)
{
	const struct config *c = f->s->d->config;
	struct buf place;
	size_t used = 0;

	buf_init(&place, 1024);
	buf_printf(&place, "%s:%ld:", f->host, c->mx_sts_port);
	for (size_t i = 0; i < found->count; i++) {
		const struct sockaddr *a = (const struct sockaddr *)&found->list[i];
		char text[64];

		if ((!c->mx_private && !mx_is_public(a)) || uv_ip_name(a, text, sizeof(text)) != 0)
			continue;
		buf_printf(&place, a->sa_family == AF_INET6 ? "%s[%s]" : "%s%s",
		    used++ > 0 ? "," : "", text);
	}
	if (used > 0 && !buf_failed(&place))
		f->place = curl_slist_append(NULL, buf_str(&place));
	buf_release(&place);
	return f->place != NULL;
}

static void
begin(struct fetch *f)
{
	const struct config *c = f->s->d->config;
	char url[sizeof(f->host) + 64];
	CURL *easy = f->easy;

	(void)snprintf(
	    url, sizeof(url), "https://%s:%ld/.well-known/mta-sts.txt", f->host, c->mx_sts_port);
	(void)curl_easy_setopt(easy, CURLOPT_URL, url);
	(void)curl_easy_setopt(easy, CURLOPT_PRIVATE, f);
	(void)curl_easy_setopt(easy, CURLOPT_RESOLVE, f->place);
	(void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https");
	(void)curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L); /* 3.3 */
	(void)curl_easy_setopt(easy, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_USERAGENT, "kairan/" KAIRAN_VERSION);
	(void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	(void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
	(void)curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (c->mx_ca_file[0] != '\0')
		(void)curl_easy_setopt(easy, CURLOPT_CAINFO, c->mx_ca_file);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_write);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, f);
	f->next = f->s->first;
	f->s->first = f;
	if (curl_multi_add_handle(curlloop_multi(f->s->curl), easy) == CURLM_OK)
		return;
	f->s->first = f->next;
	finish(f, NULL);
}

static void
on_found(void *ctx, const struct dns_addresses *found)
{
	struct fetch *f = ctx;

	if (!f->s->stopped && set_place(f, found) && (f->easy = curl_easy_init()) != NULL)
		begin(f);
	else
		finish(f, NULL);
}

struct sts_fetch *
sts_fetch_new(struct dispatcher *d, struct dnsloop *dns)
{
	struct sts_fetch *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->d = d;
	s->dns = dns;
	s->curl = curlloop_new(&d->loop, on_done, s);
	if (s->curl == NULL) {
		free(s);
		return NULL;
	}
	(void)curl_multi_setopt(curlloop_multi(s->curl), CURLMOPT_MAX_TOTAL_CONNECTIONS, AT_ONCE);
	return s;
}

void
sts_fetch_get(struct sts_fetch *s, const char *domain, sts_fetch_done done, void *ctx)
{
	struct fetch *f = s->stopped ? NULL : calloc(1, sizeof(*f));

	if (f == NULL) {
		done(ctx, NULL);
		return;
	}
	*f = (struct fetch){ .s = s, .done = done, .ctx = ctx };
	(void)snprintf(f->host, sizeof(f->host), "mta-sts.%s", domain);
	buf_init(&f->text, MTA_STS_BYTES_MAX);
	dnsloop_ask_addresses(s->dns, f->host, (unsigned)s->d->config->mx_sts_port, on_found, f);
}

void
sts_fetch_stop(struct sts_fetch *s)
{
	struct fetch *f;

	if (s == NULL || s->stopped)
		return;
	s->stopped = true;
	while ((f = s->first) != NULL) {
		s->first = f->next;
		(void)curl_multi_remove_handle(curlloop_multi(s->curl), f->easy);
		finish(f, NULL);
	}
	curlloop_stop(s->curl);
}

void
sts_fetch_free(struct sts_fetch *s)
{
	if (s == NULL)
		return;
	curlloop_free(s->curl);
	free(s);
}
