/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sns: decides whether a document comes from our topic at Amazon SNS. Owns nothing. Promises
 * that the bytes signed are the bytes used: strings carry their length, a key twice is refused,
 * each type has its own list of signed keys. Refuses what it does not know.
 */
#include "sns.h"

#include <assert.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "event.h"
#include "jsondoc.h"

#define SHORT_MAX 256
#define TOKEN_MAX 1024
#define SUBSCRIBE_URL_MAX 2048
#define SUBJECT_MAX 4096
#define SIGNATURE_MAX 2048

static const struct {
	const char *name;
	enum sns_type type;
} types[] = {
	{ "Notification", SNS_NOTIFICATION },
	{ "SubscriptionConfirmation", SNS_SUBSCRIPTION_CONFIRMATION },
	{ "UnsubscribeConfirmation", SNS_UNSUBSCRIBE_CONFIRMATION },
};

const char *
sns_type_name(enum sns_type type)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (types[i].type == type)
			return types[i].name;
	return "";
}

/* Copies a required string of at most max bytes. */
static int
read_string(const struct jsondoc *root, const char *key, size_t max, bool nul_allowed,
    struct arena *arena, struct slice *value, struct err *err)
{
	const struct jsondoc *item = jsondoc_get(root, key);

	if (!jsondoc_is(item, JSONDOC_STRING))
		return err_set(err, "%s is missing or not a string", key);
	if (item->text.len > max)
		return err_set(err, "%s is longer than %zu bytes", key, max);
	if (!nul_allowed && item->text.len > 0 &&
	    memchr(item->text.ptr, '\0', item->text.len) != NULL)
		return err_set(err, "%s holds a NUL", key);
	*value = arena_copy(arena, item->text);
	if (value->ptr == NULL)
		return err_set(err, "the document needs more memory than its arena has");
	return 0;
}

static int
read_type(const struct jsondoc *root, struct sns_message *msg, struct err *err)
{
	const struct jsondoc *item = jsondoc_get(root, "Type");

	if (!jsondoc_is(item, JSONDOC_STRING))
		return err_set(err, "Type is missing: not a document of SNS");
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (slice_equal(slice_str(types[i].name), item->text)) {
			msg->type = types[i].type;
			return 0;
		}
	}
	return err_set(err, "Type is unknown");
}

static int
read_version(const struct jsondoc *root, struct sns_message *msg, struct err *err)
{
	const struct jsondoc *item = jsondoc_get(root, "SignatureVersion");
	struct slice text = { NULL, 0 };

	if (jsondoc_is(item, JSONDOC_STRING))
		text = item->text;
	if (slice_equal(text, SLICE("1")))
		msg->signature_version = 1;
	else if (slice_equal(text, SLICE("2")))
		msg->signature_version = 2;
	else
		return err_set(err, "SignatureVersion is neither 1 nor 2");
	return 0;
}

static int
read_fields(
    const struct jsondoc *root, struct arena *arena, struct sns_message *msg, struct err *err)
{
	const struct {
		const char *key;
		size_t max;
		bool nul_allowed;
		bool confirmation_only;
		struct slice *where;
	} fields[] = {
		{ "MessageId", SHORT_MAX, false, false, &msg->message_id },
		{ "TopicArn", SNS_URL_MAX, false, false, &msg->topic_arn },
		{ "Message", SNS_MESSAGE_MAX, true, false, &msg->message },
		{ "Timestamp", SHORT_MAX, false, false, &msg->timestamp },
		{ "Signature", SIGNATURE_MAX, false, false, &msg->signature },
		{ "SigningCertURL", SNS_URL_MAX, false, false, &msg->cert_url },
		{ "Token", TOKEN_MAX, false, true, &msg->token },
		{ "SubscribeURL", SUBSCRIBE_URL_MAX, false, true, &msg->subscribe_url },
	};
	const struct jsondoc *subject = jsondoc_get(root, "Subject");

	if (read_type(root, msg, err) < 0 || read_version(root, msg, err) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (fields[i].confirmation_only && msg->type == SNS_NOTIFICATION)
			continue;
		if (read_string(root, fields[i].key, fields[i].max, fields[i].nul_allowed, arena,
			fields[i].where, err) < 0)
			return -1;
	}
	if (msg->type == SNS_NOTIFICATION && subject != NULL &&
	    !jsondoc_is(subject, JSONDOC_NULL)) {
		msg->has_subject = true;
		if (read_string(root, "Subject", SUBJECT_MAX, true, arena, &msg->subject, err) < 0)
			return -1;
	}
	msg->timestamp_us = feedback_time_parse(msg->timestamp);
	if (msg->timestamp_us == 0)
		return err_set(err, "Timestamp is not a time");
	return 0;
}

int
sns_parse(struct slice body, struct arena *arena, struct sns_message *msg, struct err *err)
{
	const struct jsondoc *root =
	    jsondoc_parse(body, SNS_BODY_MAX, SNS_JSON_DEPTH_MAX, arena, err);

	memset(msg, 0, sizeof(*msg));
	return root != NULL ? read_fields(root, arena, msg, err) : -1;
}

int
sns_canonical(const struct sns_message *msg, struct arena *arena, struct slice *text)
{
	bool confirms = msg->type != SNS_NOTIFICATION;
	const struct {
		bool is_signed;
		struct slice key, value;
	} lines[] = {
		{ true, SLICE("Message"), msg->message },
		{ true, SLICE("MessageId"), msg->message_id },
		{ !confirms && msg->has_subject, SLICE("Subject"), msg->subject },
		{ confirms, SLICE("SubscribeURL"), msg->subscribe_url },
		{ true, SLICE("Timestamp"), msg->timestamp },
		{ confirms, SLICE("Token"), msg->token },
		{ true, SLICE("TopicArn"), msg->topic_arn },
		{ true, SLICE("Type"), slice_str(sns_type_name(msg->type)) },
	};
	size_t total = 0, n = 0;
	char *out;

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		total += lines[i].key.len + lines[i].value.len + 2;
	out = arena_alloc(arena, total + 1);
	if (out == NULL)
		return -1;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		if (!lines[i].is_signed)
			continue;
		memcpy(out + n, lines[i].key.ptr, lines[i].key.len);
		n += lines[i].key.len;
		out[n++] = '\n';
		if (lines[i].value.len > 0)
			memcpy(out + n, lines[i].value.ptr, lines[i].value.len);
		n += lines[i].value.len;
		out[n++] = '\n';
	}
	*text = slice_make(out, n);
	return 0;
}

bool
sns_topic_allowed(struct slice topic_arn, const struct slice *topics, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (topics[i].len > 0 && slice_equal(topic_arn, topics[i]))
			return true;
	return false;
}

/* Cuts the bytes before the first ':' off s. */
static struct slice
take_label(struct slice *s)
{
	const char *colon = s->len > 0 ? memchr(s->ptr, ':', s->len) : NULL;
	size_t len = colon != NULL ? (size_t)(colon - s->ptr) : s->len;
	size_t used = colon != NULL ? len + 1 : len;
	struct slice label = slice_make(s->ptr, len);

	s->ptr += used;
	s->len -= used;
	return label;
}

/* Lower-case letters, digits and '-': a region or partition. */
static bool
is_plain(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!((s.ptr[i] >= 'a' && s.ptr[i] <= 'z') ||
			(s.ptr[i] >= '0' && s.ptr[i] <= '9') || s.ptr[i] == '-'))
			return false;
	return s.len >= 3;
}

struct slice
sns_topic_region(struct slice topic_arn)
{
	struct slice s = topic_arn, none = { NULL, 0 }, region, account;

	if (!slice_equal(take_label(&s), SLICE("arn")) || !is_plain(take_label(&s)) ||
	    !slice_equal(take_label(&s), SLICE("sns")))
		return none;
	region = take_label(&s);
	account = take_label(&s);
	if (!is_plain(region) || region.len > 32 || account.len != 12 || s.len == 0 || s.len > 256)
		return none;
	for (size_t i = 0; i < account.len; i++)
		if (account.ptr[i] < '0' || account.ptr[i] > '9')
			return none;
	for (size_t i = 0; i < s.len; i++)
		if (!((s.ptr[i] >= 'a' && s.ptr[i] <= 'z') ||
			(s.ptr[i] >= 'A' && s.ptr[i] <= 'Z') ||
			(s.ptr[i] >= '0' && s.ptr[i] <= '9') || s.ptr[i] == '-' ||
			s.ptr[i] == '_' || s.ptr[i] == '.'))
			return none;
	return region;
}

/* Cuts an exact prefix off s; false when it is not there. */
static bool
take(struct slice *s, struct slice prefix)
{
	if (s->len < prefix.len || !slice_equal(slice_make(s->ptr, prefix.len), prefix))
		return false;
	s->ptr += prefix.len;
	s->len -= prefix.len;
	return true;
}

/* "https://sns.REGION.amazonaws.com" or its Chinese sister, then '/'. */
static bool
take_endpoint(struct slice *url, struct slice region)
{
	bool is_china = region.len > 3 && memcmp(region.ptr, "cn-", 3) == 0;

	return is_plain(region) && take(url, SLICE("https://sns.")) && take(url, region) &&
	    take(url, is_china ? SLICE(".amazonaws.com.cn/") : SLICE(".amazonaws.com/"));
}

bool
sns_cert_url_check(struct slice url, struct slice region)
{
	size_t hex = 0;

	if (url.len > SNS_URL_MAX || !take_endpoint(&url, region) ||
	    !take(&url, SLICE("SimpleNotificationService-")))
		return false;
	while (hex < url.len &&
	    ((url.ptr[hex] >= '0' && url.ptr[hex] <= '9') ||
		(url.ptr[hex] >= 'a' && url.ptr[hex] <= 'f')))
		hex++;
	url.ptr += hex;
	url.len -= hex;
	return hex > 0 && hex <= 128 && slice_equal(url, SLICE(".pem"));
}

bool
sns_subscribe_url_check(const struct sns_message *msg)
{
	struct slice url = msg->subscribe_url;

	if (msg->type != SNS_SUBSCRIPTION_CONFIRMATION || msg->token.len == 0)
		return false;
	for (size_t i = 0; i < msg->token.len; i++) {
		char c = msg->token.ptr[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			c == '-' || c == '_'))
			return false;
	}
	return take_endpoint(&url, sns_topic_region(msg->topic_arn)) &&
	    take(&url, SLICE("?Action=ConfirmSubscription&TopicArn=")) &&
	    take(&url, msg->topic_arn) && take(&url, SLICE("&Token=")) &&
	    slice_equal(url, msg->token);
}

bool
sns_type_header_check(const struct sns_message *msg, struct slice header)
{
	return header.len == 0 || slice_equal(header, slice_str(sns_type_name(msg->type)));
}

int
sns_admit(const struct sns_message *msg, const struct sns_policy *policy, struct slice type_header,
    struct err *err)
{
	if (!sns_topic_allowed(msg->topic_arn, policy->topics, policy->topic_count))
		return err_set(err, "the topic is not one of ours");
	if (!sns_type_header_check(msg, type_header))
		return err_set(err, "x-amz-sns-message-type differs from Type");
	if (policy->require_v2 && msg->signature_version != 2)
		return err_set(err, "SignatureVersion 2 is required");
	if (!sns_cert_url_check(msg->cert_url, sns_topic_region(msg->topic_arn)))
		return err_set(err, "SigningCertURL is not the one of the topic's region");
	return 0;
}

/* Strict base64 with padding (RFC 4648 section 4); the length, or 0. */
static size_t
decode_base64(struct slice text, unsigned char *out)
{
	size_t pad = 0, n = text.len;
	int len;

	if (n == 0 || n % 4 != 0 || n > SIGNATURE_MAX)
		return 0;
	while (pad < 2 && text.ptr[n - 1 - pad] == '=')
		pad++;
	for (size_t i = 0; i < n - pad; i++) {
		char c = text.ptr[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			c == '+' || c == '/'))
			return 0;
	}
	len = EVP_DecodeBlock(out, (const unsigned char *)text.ptr, (int)n);
	assert(len > (int)pad);
	return (size_t)len - pad;
}

/* One way to sign: the digest, and the key with its padding set. */
struct method {
	EVP_MD *md;
	EVP_PKEY_CTX *context;
};

struct sns_key {
	EVP_MD_CTX *digest;
	struct method methods[2]; /* of signature versions 1 and 2 */
};

static bool
method_init(struct method *method, const char *name, EVP_PKEY *key)
{
	method->md = EVP_MD_fetch(NULL, name, NULL);
	method->context = EVP_PKEY_CTX_new(key, NULL);
	return method->md != NULL && method->context != NULL &&
	    EVP_PKEY_verify_init(method->context) == 1 &&
	    EVP_PKEY_CTX_set_rsa_padding(method->context, RSA_PKCS1_PADDING) == 1 &&
	    EVP_PKEY_CTX_set_signature_md(method->context, method->md) == 1;
}

bool
sns_key_check(X509 *cert, struct err *err)
{
	const EVP_PKEY *public = X509_get0_pubkey(cert);

	if (public != NULL && EVP_PKEY_get_base_id(public) == EVP_PKEY_RSA &&
	    EVP_PKEY_get_bits(public) >= SNS_RSA_BITS_MIN)
		return true;
	(void)err_set(err, "the certificate has no RSA key of %d bits", SNS_RSA_BITS_MIN);
	return false;
}

struct sns_key *
sns_key_new(X509 *cert, struct err *err)
{
	EVP_PKEY *public = X509_get0_pubkey(cert);
	struct sns_key *key;

	if (!sns_key_check(cert, err))
		return NULL;
	key = calloc(1, sizeof(*key));
	if (key != NULL && (key->digest = EVP_MD_CTX_new()) != NULL &&
	    method_init(&key->methods[0], "SHA1", public) &&
	    method_init(&key->methods[1], "SHA256", public))
		return key;
	sns_key_free(key);
	(void)err_set(err, "no memory for the key of a certificate");
	return NULL;
}

void
sns_key_free(struct sns_key *key)
{
	if (key == NULL)
		return;
	for (size_t i = 0; i < 2; i++) {
		EVP_PKEY_CTX_free(key->methods[i].context);
		EVP_MD_free(key->methods[i].md);
	}
	EVP_MD_CTX_free(key->digest);
	free(key);
}

int
sns_verify(const struct sns_message *msg, struct sns_key *key, bool require_v2, struct arena *arena,
    struct err *err)
{
	unsigned char signature[SIGNATURE_MAX], hash[EVP_MAX_MD_SIZE];
	const struct method *method = &key->methods[msg->signature_version == 2];
	unsigned int n;
	struct slice text;
	size_t size;
	int verdict;

	if (msg->signature_version != 2 && (require_v2 || msg->signature_version != 1))
		return err_set(err, "SignatureVersion is not accepted");
	size = decode_base64(msg->signature, signature);
	if (size == 0)
		return err_set(err, "Signature is not base64");
	if (sns_canonical(msg, arena, &text) < 0 ||
	    EVP_DigestInit_ex2(key->digest, method->md, NULL) != 1 ||
	    EVP_DigestUpdate(key->digest, text.ptr, text.len) != 1 ||
	    EVP_DigestFinal_ex(key->digest, hash, &n) != 1) {
		(void)err_set(err, "no memory to check the signature");
		return SNS_NOT_NOW;
	}
	/* below 0 for what cannot be a signature by this key, too: its length, its padding */
	verdict = EVP_PKEY_verify(method->context, signature, size, hash, n);
	return verdict == 1 ? 0 : err_set(err, "the signature does not fit");
}
