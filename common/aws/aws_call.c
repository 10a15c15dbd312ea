/* SPDX-License-Identifier: Apache-2.0 */
/* aws_call: see aws_call.h. */
#include "aws_call.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "curl_transfer.h"

#define OF_LIBCURL 2 /* the first lines only take away what libcurl would add */

void
aws_reply_init(struct aws_reply *reply)
{
	*reply = (struct aws_reply){ .whole = true };
	buf_init(&reply->body, AWS_REPLY_MAX);
}

void
aws_reply_release(struct aws_reply *reply)
{
	buf_release(&reply->body);
}

const char *
aws_ca_file(const char *ca_file)
{
	if (ca_file == NULL || ca_file[0] == '\0')
		ca_file = getenv("AWS_CA_BUNDLE");
	return ca_file != NULL && ca_file[0] != '\0' ? ca_file : NULL;
}

/* ---- signed headers ---- */

void
aws_headers_init(struct aws_headers *headers)
{
	*headers = (struct aws_headers){ .date_s = -1 };
	buf_init(&headers->text, AWS_TOKEN_MAX + 4096);
}

void
aws_headers_release(struct aws_headers *headers)
{
	buf_release(&headers->text);
}

static void
begin_line(struct aws_headers *h, const char *name)
{
	if (h->count > 0)
		buf_append(&h->text, "", 1);
	h->count++;
	buf_append_str(&h->text, name);
	buf_append_str(&h->text, ":");
}

static void
add_line(struct aws_headers *h, const char *name, struct slice value)
{
	begin_line(h, name);
	if (value.len > 0)
		buf_append_char(&h->text, ' ');
	buf_append_slice(&h->text, value);
}

/* The text does not move any more. */
static struct curl_slist *
link_lines(struct aws_headers *h)
{
	char *at = h->text.data;

	if (buf_failed(&h->text))
		return NULL;
	for (size_t i = 0; i < h->count; i++, at += strlen(at) + 1) {
		h->lines[i].data = at;
		h->lines[i].next = i + 1 < h->count ? &h->lines[i + 1] : NULL;
	}
	return h->lines;
}

/* Most requests are made in the same second as the one before. */
static const char *
date_of(struct aws_headers *h, time_t at)
{
	if (at != h->date_s) {
		sigv4_date(at, h->date);
		h->date_s = at;
	}
	return h->date;
}

struct curl_slist *
aws_headers_sign(struct aws_headers *h, struct sigv4_signer *signer,
    const struct aws_endpoint *endpoint, const struct aws_credentials *credentials,
    const struct aws_request *request, time_t at)
{
	struct slice token = slice_str(credentials->session_token);
	const char *date = date_of(h, at);
	char hash[SIGV4_HASH_BYTES];
	bool is_s3 = strcmp(endpoint->signing_name, "s3") == 0;
	struct sigv4_header headers[6];
	struct sigv4_request to_sign = { .method = request->method,
		.path = request->path,
		.path_is_final = is_s3,
		.query = request->query,
		.headers = headers,
		.body_hash = hash };
	size_t n = 0;

	sigv4_hash(request->body, hash);
	buf_reset(&h->text);
	h->count = 0;
	add_line(h, "Expect", slice_make(NULL, 0));
	add_line(h, "Accept", slice_make(NULL, 0));
	headers[n++] = (struct sigv4_header){ "host", slice_str(endpoint->host) };
	headers[n++] = (struct sigv4_header){ "x-amz-date", slice_str(date) };
	add_line(h, "X-Amz-Date", slice_str(date));
	if (request->content_type != NULL) {
		headers[n++] =
		    (struct sigv4_header){ "content-type", slice_str(request->content_type) };
		add_line(h, "Content-Type", slice_str(request->content_type));
	}
	if (is_s3) {
		headers[n++] = (struct sigv4_header){ "x-amz-content-sha256", slice_str(hash) };
		add_line(h, "X-Amz-Content-Sha256", slice_str(hash));
	}
	if (token.len > 0) {
		headers[n++] = (struct sigv4_header){ "x-amz-security-token", token };
		add_line(h, "X-Amz-Security-Token", token);
	}
	if (request->target != NULL) {
		headers[n++] = (struct sigv4_header){ "x-amz-target", slice_str(request->target) };
		add_line(h, "X-Amz-Target", slice_str(request->target));
	}
	to_sign.header_count = n;
	begin_line(h, "Authorization");
	buf_append_char(&h->text, ' ');
	return sigv4_sign(signer, &to_sign, date, &h->text) == 0 ? link_lines(h) : NULL;
}

void
aws_headers_put(const struct aws_headers *h, const struct aws_endpoint *endpoint,
    const struct aws_request *request, struct buf *out)
{
	buf_append_str(out, request->method);
	buf_append_char(out, ' ');
	buf_append_slice(out, request->path);
	if (request->query.len > 0)
		buf_append_char(out, '?');
	buf_append_slice(out, request->query);
	buf_append_str(out, " HTTP/1.1\r\nHost: ");
	buf_append_str(out, endpoint->host);
	buf_append_str(out, "\r\nUser-Agent: " AWS_USER_AGENT "\r\n");
	for (size_t i = OF_LIBCURL; i < h->count; i++) {
		buf_append_str(out, h->lines[i].data);
		buf_append_str(out, "\r\n");
	}
	if (request->content_type != NULL) {
		buf_append_str(out, "Content-Length: ");
		buf_append_uint(out, request->body.len);
		buf_append_str(out, "\r\n");
	}
	buf_append_str(out, "\r\n");
}

/* ---- the request ---- */

static size_t
on_body(char *data, size_t size, size_t count, void *context)
{
	struct aws_reply *reply = context;

	(void)size;
	buf_append(&reply->body, data, count);
	reply->whole = !buf_failed(&reply->body);
	return reply->whole ? count : 0;
}

static size_t
on_header(char *data, size_t size, size_t count, void *context)
{
	static const char name[] = "x-amzn-errortype:";
	struct aws_reply *reply = context;
	struct slice value;

	(void)size;
	if (count > sizeof(name) - 1 && strncasecmp(data, name, sizeof(name) - 1) == 0) {
		value = slice_trim(slice_make(data + sizeof(name) - 1, count - sizeof(name) + 1));
		(void)snprintf(reply->error_type, sizeof(reply->error_type), "%.*s",
		    value.len < AWS_ERROR_TYPE_MAX ? (int)value.len : AWS_ERROR_TYPE_MAX,
		    value.ptr);
	}
	return count;
}

static void
set_options(CURL *curl, const struct aws_http *http, const char *method, struct slice body,
    struct aws_reply *reply)
{
	const char *ca = aws_ca_file(http->ca_file);

	(void)curl_easy_setopt(curl, CURLOPT_URL, http->url);
	(void)curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L); /* as it was signed */
	(void)curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	(void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	if (body.len > 0) {
		(void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.ptr);
		(void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
	} else if (strcmp(method, "GET") != 0) {
		(void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
	}
	if (http->headers != NULL)
		(void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, http->headers);
	if (ca != NULL)
		(void)curl_easy_setopt(curl, CURLOPT_CAINFO, ca);
	if (http->stop != NULL)
		curl_transfer_stops(curl, http->stop);
	if (http->no_proxy)
		(void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, http->connect_timeout_ms);
	(void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, http->timeout_ms);
	(void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(curl, CURLOPT_USERAGENT, AWS_USER_AGENT);
	(void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, reply);
	(void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	(void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, reply);
}

int
aws_http(const struct aws_http *http, const char *method, struct slice body,
    struct aws_reply *reply, struct err *err)
{
	CURL *curl = http->kept != NULL && *http->kept != NULL ? *http->kept : curl_easy_init();
	CURLcode code = CURLE_OUT_OF_MEMORY;
	long status = 0;

	if (curl != NULL) {
		curl_easy_reset(curl);
		set_options(curl, http, method, body, reply);
		code = curl_easy_perform(curl);
		(void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	}
	if (http->kept != NULL)
		*http->kept = curl;
	else
		curl_easy_cleanup(curl);
	reply->status = (int)status;
	if (code == CURLE_OK || (code == CURLE_WRITE_ERROR && !reply->whole && status != 0))
		return 0;
	return err_set(err, "no answer: %s", curl_easy_strerror(code));
}

int
aws_call(const struct aws_client *client, const struct aws_request *request,
    struct aws_reply *reply, struct err *err)
{
	struct aws_http http = { .ca_file = client->ca_file,
		.connect_timeout_ms = client->timeout_s * 1000,
		.timeout_ms = client->timeout_s * 1000,
		.stop = client->stop,
		.kept = client->kept };
	struct aws_headers headers;
	struct sigv4_signer signer;
	struct buf url;
	int result = -1;

	buf_init(&url, 64 << 10);
	if (sigv4_init(&signer, client->credentials, client->endpoint->region,
		client->endpoint->signing_name, err) < 0)
		return -1;
	buf_append_str(&url, client->endpoint->origin);
	buf_append_slice(&url, request->path);
	if (request->query.len > 0) {
		buf_append_char(&url, '?');
		buf_append_slice(&url, request->query);
	}
	aws_headers_init(&headers);
	http.headers = aws_headers_sign(
	    &headers, &signer, client->endpoint, client->credentials, request, time(NULL));
	http.url = buf_str(&url);
	if (http.headers == NULL || buf_failed(&url))
		(void)err_set(err, "the request is too long or there is no memory");
	else
		result = aws_http(&http, request->method, request->body, reply, err);
	aws_headers_release(&headers);
	sigv4_release(&signer);
	buf_release(&url);
	return result;
}
