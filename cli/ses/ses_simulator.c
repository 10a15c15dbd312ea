/* SPDX-License-Identifier: Apache-2.0 */
/* ses_simulator: see ses_simulator.h. */
#include "ses_simulator.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 4096
#define YEARS_10_S (10L * 365 * 86400)

/* ---- events ---- */

enum ses_simulated
ses_simulated_of(struct slice address)
{
	static const char *const names[SES_SIMULATED_KINDS] = { [SES_SIMULATED_SUCCESS] = "success",
		[SES_SIMULATED_BOUNCE] = "bounce",
		[SES_SIMULATED_OOTO] = "ooto",
		[SES_SIMULATED_COMPLAINT] = "complaint",
		[SES_SIMULATED_SUPPRESSED] = "suppressionlist" };
	const char *at = address.len > 0 ? memrchr(address.ptr, '@', address.len) : NULL;
	struct slice local, domain;
	const char *plus;

	if (at == NULL)
		return SES_SIMULATED_SUCCESS;
	local = slice_make(address.ptr, (size_t)(at - address.ptr));
	domain = slice_make(at + 1, address.len - local.len - 1);
	plus = local.len > 0 ? memchr(local.ptr, '+', local.len) : NULL;
	if (plus != NULL)
		local.len = (size_t)(plus - local.ptr);
	if (slice_equal_nocase(domain, SLICE("simulator.amazonses.com")))
		for (int i = 0; i < SES_SIMULATED_KINDS; i++)
			if (slice_equal_nocase(local, slice_str(names[i])))
				return (enum ses_simulated)i;
	return SES_SIMULATED_SUCCESS;
}

static json_t *
text(struct slice s)
{
	return json_stringn(s.ptr, s.len);
}

static void
hex_random(char *dst, size_t bytes)
{
	unsigned char random[32];

	if (bytes > sizeof(random) || RAND_bytes(random, (int)bytes) != 1)
		abort();
	for (size_t i = 0; i < bytes; i++)
		(void)snprintf(dst + 2 * i, 3, "%02x", random[i]);
}

static void
make_uuid(char dst[37])
{
	char hex[33];

	hex_random(hex, 16);
	(void)snprintf(
	    dst, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}

void
ses_simulator_id(char id[SES_SIMULATOR_ID], time_t now)
{
	char uuid[37];

	make_uuid(uuid);
	(void)snprintf(
	    id, SES_SIMULATOR_ID, "0100%012llx-%s-000000", (unsigned long long)now * 1000, uuid);
}

static json_t *
moment(time_t at)
{
	char date[32];
	struct tm tm;

	(void)gmtime_r(&at, &tm);
	(void)strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S.000Z", &tm);
	return json_string(date);
}

static json_t *
mail_of(const struct ses_order *order, const char *id, time_t now)
{
	json_t *tags = json_copy(order->tags);

	(void)json_object_set_new(
	    tags, "ses:configuration-set", json_pack("[o]", text(order->configuration_set)));
	return json_pack("{s:o, s:s, s:o, s:s, s:[o], s:b, s:[], s:o}", "timestamp", moment(now),
	    "messageId", id, "source", text(order->from), "sendingAccountId", "000000000000",
	    "destination", text(order->to), "headersTruncated", 0, "headers", "tags", tags);
}

static json_t *
delivery(const struct ses_order *order, time_t now)
{
	return json_pack("{s:o, s:i, s:[o], s:s, s:s}", "timestamp", moment(now),
	    "processingTimeMillis", 200, "recipients", text(order->to), "smtpResponse",
	    "250 2.6.0 Message received", "reportingMTA", "simulator.kairan.test");
}

static json_t *
bounce(const struct ses_order *order, const char *id, time_t now, bool suppressed)
{
	const char *diagnostic = suppressed
	    ? "Amazon SES has suppressed sending to this address because it has a recent history "
	      "of bouncing as an invalid address."
	    : "smtp; 550 5.1.1 user unknown";

	return json_pack("{s:s, s:s, s:[{s:o, s:s, s:s, s:s}], s:o, s:s, s:s}", "bounceType",
	    "Permanent", "bounceSubType", suppressed ? "Suppressed" : "General",
	    "bouncedRecipients", "emailAddress", text(order->to), "action", "failed", "status",
	    "5.1.1", "diagnosticCode", diagnostic, "timestamp", moment(now), "feedbackId", id,
	    "reportingMTA", "dsn; simulator.kairan.test");
}

static json_t *
complaint(const struct ses_order *order, const char *id, time_t now)
{
	return json_pack("{s:[{s:o}], s:o, s:s, s:n, s:s, s:s}", "complainedRecipients",
	    "emailAddress", text(order->to), "timestamp", moment(now), "feedbackId", id,
	    "complaintSubType", "complaintFeedbackType", "abuse", "userAgent", "Kairan simulator");
}

static json_t *
rendering_failure(const struct ses_order *order)
{
	return json_pack("{s:s, s:o}", "templateName", "", "errorMessage",
	    json_sprintf("Attribute '%.*s' is not present in the rendering data.",
		SLICE_ARG(order->missing)));
}

static json_t *
event(const char *type, const char *key, json_t *mail, json_t *what)
{
	return json_pack("{s:s, s:o, s:o}", "eventType", type, "mail", mail, key, what);
}

json_t *
ses_simulator_events(const struct ses_order *order, const char *id, time_t now)
{
	enum ses_simulated kind = ses_simulated_of(order->to);
	bool bounces = kind == SES_SIMULATED_BOUNCE || kind == SES_SIMULATED_SUPPRESSED;
	char feedback[SES_SIMULATOR_ID];
	json_t *list = json_array();

	ses_simulator_id(feedback, now);
	if (order->missing.len > 0) {
		(void)json_array_append_new(list,
		    event("Rendering Failure", "failure", mail_of(order, id, now),
			rendering_failure(order)));
		return list;
	}
	if (bounces)
		(void)json_array_append_new(list,
		    event("Bounce", "bounce", mail_of(order, id, now),
			bounce(order, feedback, now, kind == SES_SIMULATED_SUPPRESSED)));
	else
		(void)json_array_append_new(list,
		    event("Delivery", "delivery", mail_of(order, id, now), delivery(order, now)));
	if (kind == SES_SIMULATED_COMPLAINT)
		(void)json_array_append_new(list,
		    event("Complaint", "complaint", mail_of(order, id, now),
			complaint(order, feedback, now)));
	return list;
}

/* ---- the key ---- */

static int
file_in(char path[PATH_BYTES], const char *folder, const char *name, struct err *err)
{
	int n = snprintf(path, PATH_BYTES, "%s/%s", folder, name);

	return n > 0 && n < PATH_BYTES ? 0 : err_set(err, "%s is too long", folder);
}

/* Subject as an SNS certificate has it; whoever trusts ca.pem trusts this one alone. */
static X509 *
make_certificate(EVP_PKEY *key)
{
	X509 *cert = X509_new();
	X509_NAME *name = cert != NULL ? X509_get_subject_name(cert) : NULL;
	X509_EXTENSION *names =
	    X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:sns.amazonaws.com");
	bool fine = name != NULL && names != NULL && X509_set_version(cert, 2) == 1 &&
	    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1) == 1 &&
	    X509_gmtime_adj(X509_getm_notBefore(cert), -86400) != NULL &&
	    X509_gmtime_adj(X509_getm_notAfter(cert), YEARS_10_S) != NULL &&
	    X509_set_pubkey(cert, key) == 1 &&
	    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
		(const unsigned char *)"sns.amazonaws.com", -1, -1, 0) == 1 &&
	    X509_set_issuer_name(cert, name) == 1 && X509_add_ext(cert, names, -1) == 1 &&
	    X509_sign(cert, key, EVP_sha256()) > 0;

	X509_EXTENSION_free(names);
	if (fine)
		return cert;
	X509_free(cert);
	return NULL;
}

static int
write_pem(const char *path, EVP_PKEY *key, X509 *cert, struct err *err)
{
	int fd = open(
	    path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, key != NULL ? 0600 : 0644);
	FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;
	bool fine = out != NULL &&
	    (key != NULL ? PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL)
			 : PEM_write_X509(out, cert)) == 1;

	if (out != NULL && fclose(out) != 0)
		fine = false;
	return fine ? 0 : err_set(err, "cannot write %s: %s", path, strerror(errno));
}

static EVP_PKEY *
read_key(const char *path)
{
	FILE *in = fopen(path, "re");
	EVP_PKEY *key = in != NULL ? PEM_read_PrivateKey(in, NULL, NULL, NULL) : NULL;

	if (in != NULL)
		fclose(in);
	return key;
}

int
ses_simulator_key_open(struct ses_simulator_key *key, const char *folder, struct err *err)
{
	char path[PATH_BYTES];
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	X509 *cert;
	int result;

	*key = (struct ses_simulator_key){ 0 };
	if (file_in(path, folder, "key.pem", err) < 0)
		return -1;
	key->key = read_key(path);
	if (key->key == NULL &&
	    ((key->key = EVP_RSA_gen(2048)) == NULL || write_pem(path, key->key, NULL, err) < 0))
		return -1;
	/* named by the key: the same file at each start */
	cert = make_certificate(key->key);
	if (cert == NULL || X509_pubkey_digest(cert, EVP_sha1(), digest, &n) != 1) {
		X509_free(cert);
		return err_set(err, "OpenSSL makes no certificate");
	}
	(void)snprintf(key->certificate, sizeof(key->certificate),
	    "SimpleNotificationService-%02x%02x%02x%02x.pem", digest[0], digest[1], digest[2],
	    digest[3]);
	result = file_in(path, folder, key->certificate, err) < 0 ||
		(access(path, F_OK) < 0 &&
		    (write_pem(path, NULL, cert, err) < 0 ||
			file_in(path, folder, "ca.pem", err) < 0 ||
			write_pem(path, NULL, cert, err) < 0))
	    ? -1
	    : 0;
	X509_free(cert);
	return result;
}

void
ses_simulator_key_close(struct ses_simulator_key *key)
{
	EVP_PKEY_free(key->key);
	key->key = NULL;
}

/* ---- documents ---- */

/* SNS Developer Guide, "Verifying the signatures": sorted keys, each with its value on a line. */
static bool
sign(const struct ses_simulator_key *key, json_t *document)
{
	static const char *const names[] = { "Message", "MessageId", "Subject", "Timestamp",
		"TopicArn", "Type" };
	unsigned char raw[512], signature[1024];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t n = sizeof(raw);
	bool fine = ctx != NULL && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key->key) == 1;

	for (size_t i = 0; fine && i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = json_string_value(json_object_get(document, names[i]));

		fine = value != NULL &&
		    EVP_DigestSignUpdate(ctx, names[i], strlen(names[i])) == 1 &&
		    EVP_DigestSignUpdate(ctx, "\n", 1) == 1 &&
		    EVP_DigestSignUpdate(ctx, value, strlen(value)) == 1 &&
		    EVP_DigestSignUpdate(ctx, "\n", 1) == 1;
	}
	fine = fine && EVP_DigestSignFinal(ctx, raw, &n) == 1;
	EVP_MD_CTX_free(ctx);
	if (!fine)
		return false;
	(void)EVP_EncodeBlock(signature, raw, (int)n);
	return json_object_set_new(document, "Signature", json_string((const char *)signature)) ==
	    0;
}

bool
ses_simulator_document(
    const struct ses_simulator_key *key, const json_t *event_json, time_t now, struct buf *out)
{
	char uuid[37], url[200];
	char *message = json_dumps(event_json, JSON_COMPACT), *whole = NULL;
	json_t *document;

	make_uuid(uuid);
	(void)snprintf(url, sizeof(url), "https://sns." SES_SIMULATOR_REGION ".amazonaws.com/%s",
	    key->certificate);
	document = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:s, s:s}", "Type", "Notification",
	    "MessageId", uuid, "TopicArn", SES_SIMULATOR_TOPIC, "Subject",
	    "Amazon SES Email Event Notification", "Message", message != NULL ? message : "",
	    "Timestamp", moment(now), "SignatureVersion", "2", "SigningCertURL", url);
	if (message != NULL && document != NULL && sign(key, document))
		whole = json_dumps(document, JSON_COMPACT);
	if (whole != NULL)
		buf_append_str(out, whole);
	json_decref(document);
	free(message);
	free(whole);
	return whole != NULL && !buf_failed(out);
}
