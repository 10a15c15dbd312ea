/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aws_call: one request to a service of Amazon over libcurl, signed, and its answer. Blocks until
 * the answer or the timeout: for commands, worker threads and start-up, never for an event loop.
 * No redirects; certificates are verified; an answer is cut at AWS_REPLY_MAX bytes.
 */
#ifndef KAIRAN_AWS_CALL_H
#define KAIRAN_AWS_CALL_H

#include <curl/curl.h>
#include <stdatomic.h>

#include "aws_credentials.h"
#include "aws_endpoint.h"
#include "buf.h"
#include "err.h"
#include "sigv4.h"

#define AWS_REPLY_MAX ((size_t)1 << 20)
#define AWS_ERROR_TYPE_MAX 200
#define AWS_USER_AGENT "kairan/" KAIRAN_VERSION

struct aws_reply {
	int status;
	char error_type[AWS_ERROR_TYPE_MAX + 1]; /* x-amzn-ErrorType, "" when absent */
	struct buf body;			 /* owned */
	bool whole;				 /* not cut */
};

struct aws_request {
	const char *method;
	struct slice path, query; /* encoded */
	const char *content_type; /* NULL: no body */
	const char *target;	  /* X-Amz-Target of the JSON protocols; NULL: none */
	struct slice body;
};

/* Whom to ask and as whom. */
struct aws_client {
	const struct aws_endpoint *endpoint;
	const struct aws_credentials *credentials;
	const char *ca_file; /* "": AWS_CA_BUNDLE, else the system's */
	long timeout_s;
	const atomic_bool *stop; /* true ends the wait within a second; NULL: never */
	CURL **kept; /* keeps connections from call to call, for one thread; NULL: none are. Made
		      * at need; the caller cleans it up */
};

void aws_reply_init(struct aws_reply *reply);
void aws_reply_release(struct aws_reply *reply);

/* Sends the signed request. 0 with an answer of any status, or -1 with err: no answer. */
MUST_CHECK int aws_call(const struct aws_client *client, const struct aws_request *request,
    struct aws_reply *reply, struct err *err);

/* The same without a signature, to any address. headers may be NULL. no_proxy: straight to it,
 * as agents on the own host are asked. */
struct aws_http {
	const char *url, *ca_file;
	const struct curl_slist *headers;
	bool no_proxy;
	long connect_timeout_ms, timeout_ms;
	const atomic_bool *stop; /* as of aws_client */
	CURL **kept;		 /* as of aws_client */
};
MUST_CHECK int aws_http(const struct aws_http *http, const char *method, struct slice body,
    struct aws_reply *reply, struct err *err);

/* What a signed request carries besides curl's own headers: Content-Type, X-Amz-Content-Sha256 (of
 * S3), X-Amz-Date, X-Amz-Target, X-Amz-Security-Token, Authorization, and nothing of Expect and
 * Accept. The lines point into the text. Made once, written again for each request. */
#define AWS_HEADER_LINES 8
struct aws_headers {
	struct buf text; /* owned; a NUL behind each line */
	struct curl_slist lines[AWS_HEADER_LINES];
	size_t count;
	char date[SIGV4_DATE_BYTES]; /* of date_s */
	time_t date_s;
};
void aws_headers_init(struct aws_headers *headers);
void aws_headers_release(struct aws_headers *headers);

/* Writes them for one request. at: the service's clock. The list for CURLOPT_HTTPHEADER, borrowed
 * until the next one, or NULL when they are too long or there is no memory. */
struct curl_slist *aws_headers_sign(struct aws_headers *headers, struct sigv4_signer *signer,
    const struct aws_endpoint *endpoint, const struct aws_credentials *credentials,
    const struct aws_request *request, time_t at);

/* Appends the whole head of the request whose headers these are, for a connection of one's own: request
 * line, Host, User-Agent, the headers, Content-Length (RFC 9112 3). */
void aws_headers_put(const struct aws_headers *headers, const struct aws_endpoint *endpoint,
    const struct aws_request *request, struct buf *out);

/* ca_file, else AWS_CA_BUNDLE, else NULL. */
const char *aws_ca_file(const char *ca_file);

#endif
